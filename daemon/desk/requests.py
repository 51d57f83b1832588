"""Requests at the desk: entered by ticket for one who cannot log in yet, looked through, approved or rejected.

An approval is token assign and a mail; whoever asked by arena-key has shown two codes of the key, and for a ticket the
desk stands good.
"""

import re
from typing import Any

from pam_arena.errors import NotFound, Refusal

from ..letters.templates import Kind
from ..store import inventory as store
from ..store import requests as asked
from ..store.schema import RequestState, State
from ..store.states import Verb, after
from .assignment import assign_token, require_user
from .caller import Caller, Connection, Result, token_of
from .dates import read_until
from .life import require_slot

_LIMIT = 10_000
_NUMBER = re.compile(r"[0-9]{1,15}")
_LONGEST = 200  # characters of a ticket or a reason
_ALL = "all"
_STATES = (*(state.value for state in RequestState), _ALL)


def list_requests(connection: Connection, caller: Caller, state: str | None) -> list[Result]:
    """Requests, the latest first: those that wait, or those of a state, or all."""
    wanted = RequestState.OPEN.value if state is None else state
    if wanted not in _STATES:
        raise Refusal(f"state {wanted!r}: allowed: {', '.join(_STATES)}")
    rows = asked.list_requests(connection, caller.now, state=None if wanted == _ALL else wanted, limit=_LIMIT)
    return [_shown(row) for row in rows]


def add_request(connection: Connection, caller: Caller, serial: str, wanted: dict[str, Any]) -> Result:
    """Enter a request by ticket. wanted: holder, ticket, and until: the last day of the token."""
    name, ticket = str(wanted.get("holder", "")), _line("ticket", wanted.get("ticket"))
    until = read_until(wanted, caller.now)
    token = token_of(connection, caller, serial)
    after(Verb.REQUEST, State(token.state), serial, token.holder)
    require_user(name)
    require_slot(connection, caller, name)
    number = asked.add_request(connection, token.id, name, caller.now, caller.actor, ticket=ticket, valid_until=until)
    caller.note(connection, "request-add", name, serial, f"ticket {ticket}")
    return _shown(asked.find_request(connection, number, caller.now))


def approve_request(connection: Connection, caller: Caller, which: str) -> Result:
    """Make the key the holder's, active and in new-PIN mode unless they have a PIN, and tell them by mail."""
    one = _open(connection, caller, which)
    assign_token(connection, caller, one.serial, one.holder, until=one.valid_until)  # this closes the request, too
    caller.note(connection, "request-approve", one.holder, one.serial, _grounds(one))
    holder = store.find_holder(connection, one.holder)
    assert holder is not None  # assign_token made or found them
    words: dict[str, str | int] = {"serial": one.serial, "digits": one.digits}
    kind = Kind.ACTIVATED_WITH_PIN
    if holder.pin is None:
        low, high = caller.config.pin.length
        kind, words = Kind.ACTIVATED, {**words, "until": holder.new_pin_until, "min": low, "max": high}
    told = caller.tell(connection, kind, one.holder, **words)
    until = holder.new_pin_until if holder.pin is None else None
    return {**_shown(asked.find_request(connection, one.id, caller.now)), "new_pin_until": until, **told}


def reject_request(connection: Connection, caller: Caller, which: str, wanted: dict[str, Any]) -> Result:
    """Leave the key in the stock, and tell whoever asked why."""
    why = _line("why", wanted.get("why"))
    one = _open(connection, caller, which)
    if one.token_state == State.REQUESTED:  # else the desk did something else with it meanwhile
        becomes = after(Verb.REJECT, State.REQUESTED, one.serial)
        store.update_token(connection, one.token_id, state=becomes.value, why="")
    asked.decide_request(connection, one.id, RequestState.REJECTED, caller.now, caller.actor, why)
    caller.note(connection, "request-reject", one.holder, one.serial, why)
    told = caller.tell(connection, Kind.REJECTED, one.holder, serial=one.serial, why=why)
    return {**_shown(asked.find_request(connection, one.id, caller.now)), **told}


def _open(connection: Connection, caller: Caller, which: str) -> store.Row:
    """The open request that is meant by its id or the serial of its token. Raises NotFound, and Refusal where it is neither."""
    of_serial = asked.open_request_of(connection, which, caller.now)
    numbered = asked.find_request(connection, int(which), caller.now) if _NUMBER.fullmatch(which) else None
    if of_serial is not None:
        if numbered is not None and numbered.id != of_serial.id and numbered.state == RequestState.OPEN:
            raise Refusal(f"{which} is a request's id, and another's serial: say {of_serial.id} or {numbered.serial}")
        return of_serial
    if numbered is None:
        raise NotFound(f"{which!r} is neither the id nor the serial of an open request: arenactl request list")
    if numbered.state != RequestState.OPEN:
        raise Refusal(f"request {which} was {numbered.state} by {numbered.decided_by}: arenactl request list --state all")
    return numbered


def _grounds(one: store.Row) -> str:
    return f"ticket {one.ticket}" if one.ticket else "proven by two codes"


def _line(name: str, value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST or not all(one.isprintable() or one == "\u00a0" for one in text):
        raise Refusal(f"{name}: wanted: a line of text, of at most {_LONGEST} characters")
    return text


def _shown(row: store.Row) -> Result:
    names = (
        "id",
        "serial",
        "holder",
        "at",
        "actor",
        "proven",
        "ticket",
        "valid_until",
        "state",
        "why",
        "decided_at",
        "decided_by",
    )
    return {name: getattr(row, name) for name in names}
