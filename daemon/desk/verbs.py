"""What the desk does with tokens, PINs and waits, one function a verb.

A verb gets a connection inside a transaction and a `Caller`: it changes the store and the audit together, or nothing.
"""

import os
import pwd
import re
import secrets
from typing import Any

from attrs import evolve

from pam_arena.errors import NotFound, Refusal
from pam_arena.otp import DIGITS, PERIOD_SECONDS, Algorithm, Enrolment, Kind, Mechanism, read_seed, write_uri
from pam_arena.secret import Secret

from ..audit import Reason
from ..store import inventory as store
from ..store.accounts import SLOTS
from ..store.grants import revoke_grants
from ..store.schema import State
from .caller import Caller, Connection, Result, holder_of, token_of
from .words import explain

SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_GENERATED_BYTES = 20  # 160 bits (RFC 4226 section 4, R6)
_GENERATED_PERIOD = 30  # seconds: what phone apps know
_LIST_LIMIT = 10_000
_SHOWN = tuple(state.value for state in State if state not in (State.STAGED, State.DECOY))


def status(connection: Connection, caller: Caller) -> Result:
    """The store at a glance."""
    with_pin, without = store.count_holders(connection)
    holders = {"with a PIN": with_pin, "without a PIN": without}
    return {"key": caller.vault.key_id, "tokens": store.count_tokens(connection, caller.now), "holders": holders}


def add_token(connection: Connection, caller: Caller, wanted: dict[str, Any]) -> Result:
    """Add a token to the stock; without a seed one is generated, and shown this once."""
    enrolment = _enrolment(wanted)
    serial = wanted.get("serial") or enrolment.serial or "A" + secrets.token_hex(4).upper()
    if not SERIAL.fullmatch(serial):
        raise Refusal(f"serial {serial!r}: allowed: 1 to 64 letters, digits and . _ : / -, beginning with a letter or digit")
    if store.serial_exists(connection, serial):
        raise Refusal(f"serial {serial} exists already: arenactl token show {serial}")
    enrolment = evolve(enrolment, serial=serial)
    sealed = caller.vault.seal_seed(enrolment.seed, serial, 1)
    last_step = enrolment.counter - 1 if enrolment.mechanism.kind is Kind.HOTP else -1
    store.add_token(connection, store.NewToken(serial, enrolment.mechanism, sealed, last_step), caller.now, State.STOCK)
    caller.note(connection, "token-add", serial=serial)
    shown = show_token(connection, caller, serial)
    return shown if wanted.get("seed") else {**shown, "uri": write_uri(enrolment, "Arena")}


def _enrolment(wanted: dict[str, Any]) -> Enrolment:
    generated = not wanted.get("seed")
    try:
        mechanism = Mechanism(
            Kind(wanted.get("type") or "totp"),
            Algorithm(wanted.get("algorithm") or "sha1"),
            int(wanted.get("digits") or 6),
            int(wanted.get("period") or (_GENERATED_PERIOD if generated else 60)),
        )
    except ValueError as error:
        raise Refusal(f"token: {error}") from None
    low, high = PERIOD_SECONDS
    if mechanism.digits not in DIGITS or not low <= mechanism.period <= high:
        raise Refusal(f"token: digits: 6 or 8; period: {low} to {high} seconds")
    if generated:
        return Enrolment(Secret(os.urandom(_GENERATED_BYTES)), mechanism)
    return read_seed(str(wanted["seed"]), mechanism)


def assign_token(connection: Connection, caller: Caller, serial: str, name: str) -> Result:
    """Make a token a holder's: active, and in new-PIN mode unless the holder has a PIN."""
    token = token_of(connection, caller, serial)
    if token.holder is not None:
        raise Refusal(f"token {serial} is {token.holder}'s: arenactl token unassign {serial} first")
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise NotFound(f"no user {name!r} on this system (getent passwd {name})") from None
    holder = store.find_holder(connection, name)
    if holder is None:
        if store.is_staged(connection, name):
            raise Refusal(f"an import under way brings {name}: try again when that is over")
        holder_id, has_pin = store.add_holder(connection, name, caller.now), False
    else:
        holder_id, has_pin = holder.id, holder.pin is not None
    if len(store.list_tokens(connection, name, None, SLOTS + 1, caller.now)) >= SLOTS:
        raise Refusal(f"{name} has {SLOTS} tokens already: unassign one first")
    if not has_pin:
        store.update_holder(connection, holder_id, new_pin_until=lapses(caller))
    store.update_token(connection, token.id, holder_id=holder_id, state=State.ACTIVE.value, why="", wrong_pins=0)
    caller.note(connection, "token-assign", name, serial)
    return show_token(connection, caller, serial)


def unassign_token(connection: Connection, caller: Caller, serial: str) -> Result:
    """Take a token from its holder, back into the stock; their session grants end."""
    token = token_of(connection, caller, serial)
    if token.holder is None:
        raise Refusal(f"token {serial} is nobody's")
    store.update_token(connection, token.id, holder_id=None, state=State.STOCK.value, why="", wrong_pins=0)
    caller.note(connection, "token-unassign", token.holder, serial, _ended(connection, token.holder_id))
    return show_token(connection, caller, serial)


def enable_token(connection: Connection, caller: Caller, serial: str) -> Result:
    """Make a disabled token of a holder work again."""
    token = token_of(connection, caller, serial)
    if token.holder is None:
        raise Refusal(f"token {serial} is nobody's: arenactl token assign {serial} USER")
    store.update_token(connection, token.id, state=State.ACTIVE.value, why="", wrong_pins=0)
    caller.note(connection, "token-enable", token.holder, serial)
    return show_token(connection, caller, serial)


def disable_token(connection: Connection, caller: Caller, serial: str) -> Result:
    """Let no code of a token work; its holder's session grants end."""
    token = token_of(connection, caller, serial)
    if token.holder is None:
        raise Refusal(f"token {serial} is nobody's, so no code of it works")
    store.update_token(connection, token.id, state=State.DISABLED.value, why=f"disabled by {caller.actor}")
    caller.note(connection, "token-disable", token.holder, serial, _ended(connection, token.holder_id))
    return show_token(connection, caller, serial)


def list_tokens(connection: Connection, caller: Caller, holder: str | None, state: str | None) -> list[Result]:
    """Tokens by serial, without their seeds."""
    if state is not None and state not in _SHOWN:
        raise Refusal(f"state {state!r}: allowed: {', '.join(_SHOWN)}")
    return [_shown(row) for row in store.list_tokens(connection, holder, state, _LIST_LIMIT, caller.now)]


def show_token(connection: Connection, caller: Caller, serial: str) -> Result:
    """One token, without its seed."""
    return _shown(token_of(connection, caller, serial))


def reset_pin(connection: Connection, caller: Caller, who: str) -> Result:
    """Take a holder's PIN away: the next login is new-PIN mode. Their session grants end."""
    holder = holder_of(connection, caller, who)
    store.update_holder(connection, holder.id, pin=None, pin_set_at=None, new_pin_until=lapses(caller))
    caller.note(connection, "pin-reset", holder.name, detail=_ended(connection, holder.id))
    return {"holder": holder.name, "new_pin_until": lapses(caller)}


def unlock(connection: Connection, caller: Caller, who: str) -> Result:
    """End all waits of a holder, and open what was closed."""
    holder = holder_of(connection, caller, who)
    ended = store.clear_waits(connection, holder.id)
    caller.note(connection, "unlock", holder.name, detail=str(ended))
    return {"holder": holder.name, "origins": ended}


def why(connection: Connection, caller: Caller, ref: str) -> Result:
    """What a failure reference stands for, and what to do."""
    asked = ref.upper().translate(str.maketrans("ILO", "110", " -"))
    row = store.find_by_ref(connection, asked)
    reason = "" if row is None else row.reason
    if row is None:
        row = store.find_stranger_by_ref(connection, asked)
        # Whatever else was noted: sshd answers in the place of a name that does not exist, and strangers share their waits.
        reason = Reason.UNKNOWN.value
    if row is None:
        raise NotFound(f"no failure has the reference {ref}")
    what, remedy = explain(reason, row.detail, row.holder, row.serial or _only_serial(connection, caller, row.holder))
    fields = {name: getattr(row, name) for name in ("ref", "at", "holder", "service", "address", "serial")}
    return {**fields, "reason": reason, "what": what, "remedy": remedy}


def _only_serial(connection: Connection, caller: Caller, name: str) -> str:
    """The serial of a holder who has one token: a wrong code belongs to no token, and yet it is meant."""
    tokens = store.list_tokens(connection, name, None, 2, caller.now)
    return str(tokens[0].serial) if len(tokens) == 1 else ""


def _ended(connection: Connection, holder_id: int) -> str:
    """End a holder's session grants; returns what the audit is to say of it."""
    ended = revoke_grants(connection, holder_id)
    return f"session grants ended: {ended}" if ended else ""


def _shown(row: store.Row) -> Result:
    names = (
        *("serial", "state", "holder", "kind", "algorithm", "digits", "period", "drift", "why"),
        *("created_at", "used_at", "valid_until"),
    )
    return {name: getattr(row, name) for name in names}


def lapses(caller: Caller) -> int:
    """When a new-PIN mode that begins now ends."""
    return caller.now + int(caller.config.pin.new_pin_lapses)
