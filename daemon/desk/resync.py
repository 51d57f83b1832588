"""Bringing a token back whose clock or counter ran away: two codes in a row, read from its display, say where it is."""

import re
from typing import Any

from pam_arena.errors import Refusal
from pam_arena.otp import Algorithm, Kind, Mechanism, find_consecutive

from ..store import inventory as store
from ..store.schema import State
from ..store.states import Verb, after
from .caller import Caller, Connection, Result, token_meant

TOTP_REACH = 1440  # steps either side of now: a day for a token of 60 seconds
HOTP_REACH = 100  # steps beyond the last one used (RFC 4226 section 7.4)


def resync_token(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result:
    """Find two consecutive codes, note how far off the token is, and use both up."""
    token = token_meant(connection, caller, who, Verb.RESYNC)
    serial = token.serial
    after(Verb.RESYNC, State(token.state), serial, token.holder)
    mechanism = Mechanism(Kind(token.kind), Algorithm(token.algorithm), token.digits, token.period)
    first, second = _codes(wanted, mechanism.digits)
    now = mechanism.step_at(caller.now)
    totp = mechanism.kind is Kind.TOTP
    low, high = (now - TOTP_REACH, now + TOTP_REACH) if totp else (token.last_step + 1, token.last_step + HOTP_REACH)
    sealed = store.read_seed(connection, token.id)
    with caller.vault.open_seed(sealed.seed, serial, sealed.seed_version) as seed:
        step = find_consecutive(seed, mechanism, first, second, range(low, high + 1))
    if step is None:
        where = f"{TOTP_REACH} steps around now" if totp else f"the {HOTP_REACH} steps after the last one used"
        raise Refusal(
            f"these are no two codes in a row of token {serial} within {where}: check the serial; type the code on the"
            " display, wait for the next and type that"
        )
    if step <= token.last_step:
        raise Refusal(
            f"these codes of token {serial} were used before, or are older than one that was: wait for two new ones;"
            " if they are refused for hours, replace the token"
        )
    drift = step + 1 - now if totp else 0
    store.update_token(connection, token.id, drift=drift, last_step=step + 1)
    detail = f"drift of {drift:+d} steps" if totp else f"{step + 1 - token.last_step} steps ahead"
    caller.note(connection, "token-resync", token.holder or "", serial, detail)
    return {"serial": serial, "holder": token.holder, "was": token.drift, "drift": drift, "now": detail}


def _codes(wanted: dict[str, Any], digits: int) -> tuple[str, str]:
    codes = wanted.get("codes")
    if isinstance(codes, list) and len(codes) == 2:
        first, second = (re.sub(r"\s", "", str(code)) for code in codes)
        if all(code.isascii() and code.isdigit() and len(code) == digits for code in (first, second)):
            return first, second
    raise Refusal(f"two codes of {digits} digits are needed, in the order in which the token shows them")
