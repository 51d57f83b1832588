"""Bringing a token back whose clock or counter ran away: two codes in a row, read from its display, say where it is."""

import re
from typing import Any

from pam_arena.errors import Refusal
from pam_arena.otp import Algorithm, Kind, Mechanism, find_consecutive

from ..store import inventory as store
from ..store.ahead import REACH, burn_steps, burnt_steps, uses_of
from ..store.inventory import Row
from ..store.schema import State
from ..store.states import Verb, after
from .caller import Caller, Connection, Result, token_meant
from .words import show_time

TOTP_REACH = 1440  # steps either side of now: a day for a token of 60 seconds
LOOK = 10  # steps that the codes of a token which the clock left behind may be off by
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
    if totp and token.last_step > now + token.drift + REACH:
        return _let_fall(connection, caller, token, mechanism, step)
    if step <= token.last_step or {step, step + 1} & set(burnt_steps(connection, serial)):
        raise Refusal(
            f"these codes of token {serial} were used before, or are older than one that was: wait for two new ones;"
            " if they are refused for hours, replace the token"
        )
    drift = step + 1 - now if totp else 0
    store.update_token(connection, token.id, drift=drift, last_step=step + 1)
    detail = f"drift of {drift:+d} steps" if totp else f"{step + 1 - token.last_step} steps ahead"
    caller.note(connection, "token-resync", token.holder or "", serial, detail)
    return {"serial": serial, "holder": token.holder, "was": token.drift, "drift": drift, "now": detail}


def _let_fall(connection: Connection, caller: Caller, token: Row, mechanism: Mechanism, step: int) -> Result:
    """Lower the floor of a token that showed a code while the clock was ahead, to the codes that it shows now.

    Only where the audit tells which steps were used then: these are burnt. And where no code of before can have been one
    of those that work from now on. Else the token has to be replaced.
    """
    serial, period, now = token.serial, mechanism.period, mechanism.step_at(caller.now)
    until = show_time((token.last_step + 1 - token.drift) * period)
    wrong = f"token {serial} showed a code of {until} while the clock was ahead"
    slow = int(caller.config.code.slow_typing) // period + 1
    uses = uses_of(connection, serial, caller.now)
    burnt = burnt_steps(connection, serial)
    if uses.first_after is None or not uses.certain or burnt:
        raise Refusal(
            f"{wrong}, and the audit does not tell which others: replace it (arenactl token replace), or"
            " arenactl code temporary until then"
        )
    if abs(step + 1 - now - token.drift) > LOOK:
        raise Refusal(f"{wrong}, and these codes are not of now: type the two that it shows")
    # As late as any code can have been that opened before: what was typed then must lie below the new floor.
    latest = uses.last_before // period + token.drift + REACH if uses.last_before is not None else -1
    if step <= latest:
        wait = (latest + 1 - step) * period // 60 + 1
        raise Refusal(f"{wrong}, and it was used less than {REACH} codes ago: try again in {wait} minutes")
    first = uses.first_after // period + token.drift - REACH - slow
    if first <= step + 1:
        raise Refusal(f"{wrong}, which is soon: arenactl code temporary until then")
    burn_steps(connection, serial, range(first, token.last_step + 1))
    store.update_token(connection, token.id, drift=step + 1 - now, last_step=step + 1)
    from_when = show_time((first - token.drift) * period)
    detail = f"drift of {step + 1 - now:+d} steps; its codes from {from_when} until {until} never work"
    caller.note(connection, "token-resync", token.holder or "", serial, detail)
    return {"serial": serial, "holder": token.holder, "was": token.drift, "drift": step + 1 - now, "now": detail}


def _codes(wanted: dict[str, Any], digits: int) -> tuple[str, str]:
    codes = wanted.get("codes")
    if isinstance(codes, list) and len(codes) == 2:
        first, second = (re.sub(r"\s", "", str(code)) for code in codes)
        if all(code.isascii() and code.isdigit() and len(code) == digits for code in (first, second)):
            return first, second
    raise Refusal(f"two codes of {digits} digits are needed, in the order in which the token shows them")
