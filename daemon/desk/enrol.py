"""New keys: into the stock, or as a soft token that counts only once it has shown a right code."""

import os
import re
import secrets
from typing import Any

from attrs import evolve

from pam_arena.errors import Refusal
from pam_arena.otp import DIGITS, PERIOD_SECONDS, Algorithm, Enrolment, Kind, Mechanism, find_step, read_seed, write_uri
from pam_arena.secret import Secret

from ..store import inventory as store
from ..store.schema import State
from ..store.states import Verb, after
from .assignment import give, known_holder, require_user
from .caller import Caller, Connection, Result, token_meant, token_of
from .dates import read_until
from .life import require_slot, through
from .tokens import shown

SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_GENERATED_BYTES = 20  # 160 bits (RFC 4226 section 4, R6)
_GENERATED_PERIOD = 30  # seconds: what phone apps know
_REACH = 10  # steps either side that are looked at, to tell a phone whose clock is wrong
TRIES, TRIES_IN = 5, 3600  # wrong codes, and the seconds that must pass after them


def add_token(connection: Connection, caller: Caller, wanted: dict[str, Any]) -> Result:
    """Add a token to the stock; without a seed one is generated, and shown this once.

    With `prove`, it counts only after a right code; then it is the `holder`'s through the day `until`, or in the stock.
    """
    enrolment = _enrolment(wanted)
    serial = wanted.get("serial") or enrolment.serial or "A" + secrets.token_hex(4).upper()
    if not isinstance(serial, str) or not SERIAL.fullmatch(serial):
        raise Refusal(f"serial {serial!r}: allowed: 1 to 64 letters, digits and . _ : / -, beginning with a letter or digit")
    if store.serial_exists(connection, serial):
        raise Refusal(f"serial {serial} exists already: arenactl token show {serial}")
    enrolment = evolve(enrolment, serial=serial)
    sealed = caller.vault.seal_seed(enrolment.seed, serial, 1)
    last_step = enrolment.counter - 1 if enrolment.mechanism.kind is Kind.HOTP else -1
    state = State.UNPROVEN if bool(wanted.get("prove")) else State.STOCK
    store.add_token(connection, store.NewToken(serial, enrolment.mechanism, sealed, last_step), caller.now, state)
    name = _keep_for(connection, caller, serial, wanted)
    caller.note(connection, "token-add", name or "", serial, f"for {name}, once proven" if name else "")
    added = shown(token_of(connection, caller, serial))
    return added if wanted.get("seed") else {**added, "uri": write_uri(enrolment, "Arena")}


def _keep_for(connection: Connection, caller: Caller, serial: str, wanted: dict[str, Any]) -> str | None:
    """Note whose a soft token will be; returns the name."""
    name, until = wanted.get("holder"), wanted.get("until")
    if not bool(wanted.get("prove")):
        if name is not None or until is not None:
            raise Refusal("holder and until are for a token that is to be proven: arenactl token add --qr")
        return None
    if wanted.get("seed"):
        raise Refusal("a token that is to be proven gets its seed here: leave the seed out")
    if name is None:
        if until is not None:
            raise Refusal("until: whose is the token to be? --holder USER")
        return None
    require_user(str(name))
    require_slot(connection, caller, str(name))
    holder_id, _ = known_holder(connection, caller, str(name))
    token = token_of(connection, caller, serial)
    store.update_token(connection, token.id, holder_id=holder_id, valid_until=read_until(wanted, caller.now))
    return str(name)


def _enrolment(wanted: dict[str, Any]) -> Enrolment:
    generated = not wanted.get("seed")
    try:
        mechanism = Mechanism(
            Kind(wanted.get("type") or "totp"),
            Algorithm(wanted.get("algorithm") or "sha1"),
            int(wanted.get("digits") or 6),
            int(wanted.get("period") or (_GENERATED_PERIOD if generated else 60)),
        )
    except (ValueError, TypeError) as error:
        raise Refusal(f"token: {error}") from None
    low, high = PERIOD_SECONDS
    if mechanism.digits not in DIGITS or not low <= mechanism.period <= high:
        raise Refusal(f"token: digits: 6 or 8; period: {low} to {high} seconds")
    if generated:
        return Enrolment(Secret(os.urandom(_GENERATED_BYTES)), mechanism)
    return read_seed(str(wanted["seed"]), mechanism)


def prove_token(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result | Refusal:
    """Let a soft token count, by one right code, which is used up: active if it was made for a holder, else in the stock.

    A wrong code is returned as a Refusal, not raised: it is to be counted. After five of them an hour has to pass.
    """
    token = token_meant(connection, caller, who, Verb.PROVE)
    serial, becomes = token.serial, after(Verb.PROVE, State(token.state), token.serial, token.holder)
    mechanism = Mechanism(Kind(token.kind), Algorithm(token.algorithm), token.digits, token.period)
    code = re.sub(r"\s", "", str(wanted.get("code", "")))
    if not (code.isascii() and code.isdigit() and len(code) == mechanism.digits):
        raise Refusal(f"a code of {mechanism.digits} digits is needed, as the app shows it")
    # Of a token that nobody logs in with, wrong_pins and used_at count wrong codes, and tell when the last one came.
    failed = token.wrong_pins if token.used_at is not None and caller.now - token.used_at < TRIES_IN else 0
    if failed >= TRIES:
        raise Refusal(
            f"token {serial} was tried {TRIES} times with a wrong code: wait an hour,"
            f" or arenactl token retire {serial} and add another"
        )
    step = _step_of(connection, caller, token, mechanism, code)
    if isinstance(step, str):
        store.update_token(connection, token.id, wrong_pins=failed + 1, used_at=caller.now)
        caller.note(connection, "token-prove-failed", token.holder or "", serial, step)
        return Refusal(f"token {serial}: {step}; {TRIES - failed - 1} tries left")
    store.update_token(connection, token.id, last_step=step, state=becomes.value, wrong_pins=0, used_at=None)
    if token.holder is not None:
        ready = after(Verb.ASSIGN, becomes, serial)
        give(connection, caller, token, token.holder, ready, token.valid_until)
    caller.note(connection, "token-prove", token.holder or "", serial, through(token.valid_until))
    return shown(token_of(connection, caller, serial))


def _step_of(connection: Connection, caller: Caller, token: store.Row, mechanism: Mechanism, code: str) -> int | str:
    """The step of a code in the window that was not used; else why there is none, in words."""
    totp, window = mechanism.kind is Kind.TOTP, caller.config.code.window
    here = mechanism.step_at(caller.now) if totp else token.last_step + 1 + _REACH
    sealed = store.read_seed(connection, token.id)
    with caller.vault.open_seed(sealed.seed, token.serial, sealed.seed_version) as seed:
        step = find_step(seed, mechanism, code, range(here - _REACH, here + _REACH + 1))
    if step is None:
        return "wrong code"
    if step <= token.last_step:
        return "this code was typed before: wait for the next one"
    if totp and abs(step - here) > window:
        return f"the app's clock is off by {step - here:+d} steps of {mechanism.period} s: set it, or this host's, right"
    return step
