"""Reports over everybody. They read much, and so never inside a transaction that writes."""

from itertools import groupby

from ..store import history
from ..store.inventory import Row
from ..store.schema import State
from .caller import Caller, Connection, Result
from .tokens import is_user
from .words import explain

_Missing = tuple[str, str]  # what is missing, and the remedy


def report_observe(connection: Connection, caller: Caller) -> list[Result]:
    """Who is ready for enforcement: everyone who has a key, or was seen in observe mode, by name."""
    attempts = {row.holder: row for row in history.last_attempts(connection)}
    people = {
        name: list(rows) for name, rows in groupby(history.list_people(connection, caller.now), key=lambda row: str(row.name))
    }
    found = []
    for name, rows in people.items():
        last = attempts.get(name)
        keys = [row for row in rows if row.serial is not None]
        if keys or (last is not None and last.observed):
            missing = _missing(name, rows[0], keys, last, caller.now)
            found.append(_person(name, [_key(row) for row in keys], rows[0].has_pin, last, missing))
    for row in history.last_observed_strangers(connection):
        if row.holder not in people and is_user(row.holder):  # a name kept as a keyed hash is none
            found.append(_person(row.holder, [], False, row, ("a key", f"arenactl token assign SERIAL {row.holder}")))
    return sorted(found, key=lambda person: str(person["name"]))


def _person(name: str, keys: list[str], has_pin: bool, last: Row | None, missing: _Missing | None) -> Result:
    what, remedy = missing or ("", "")
    return {
        "name": name,
        "keys": keys,
        "pin": bool(has_pin),
        "seen_at": None if last is None else last.at,
        "outcome": "" if last is None else last.outcome,
        "reason": "" if last is None else explain(last.reason, last.detail)[0],
        "failures": 0 if last is None else last.failures,
        "ready": missing is None,
        "missing": what,
        "remedy": remedy,
    }


def _missing(name: str, holder: Row, keys: list[Row], last: Row | None, now: int) -> _Missing | None:
    """What a holder lacks for a login that is enforced; None if the last one would have opened the door."""
    if not keys:
        return "a key", f"arenactl token assign SERIAL {name}"
    if all(key.state != State.ACTIVE for key in keys):
        return _missing_key(keys)
    if not holder.has_pin:
        if now >= (holder.new_pin_until or 0):
            return "a PIN, and the time to create one is over", f"arenactl pin reset {name}"
        return "a PIN", "have them log in once: leave the PIN empty, type the code, choose a PIN"
    if last is None:
        return "a login", "have them log in once with PIN + code"
    if last.outcome != "granted":
        serial = last.serial or (keys[0].serial if len(keys) == 1 else "")
        return "a login that succeeds", explain(last.reason, last.detail, name, serial)[1]
    return None


def _missing_key(keys: list[Row]) -> _Missing:
    """What one lacks whose keys do not work, by the one that is mended the soonest."""
    by_state = {State(key.state): key.serial for key in reversed(keys)}
    if State.UNPROVEN in by_state:
        return "a key that showed a right code", f"arenactl token prove {by_state[State.UNPROVEN]}"
    if State.EXPIRED in by_state:
        return "a key whose time is not over", f"arenactl token enable {by_state[State.EXPIRED]} --until DATE"
    if State.DISABLED in by_state:
        return "a key that is not disabled", f"arenactl token enable {by_state[State.DISABLED]}"
    if State.LOST in by_state:
        return "a key that is not lost", f"arenactl token replace {by_state[State.LOST]} NEW --lost"
    return "a key that is approved", "arenactl request list"


def _key(row: Row) -> str:
    return str(row.serial) if row.state == State.ACTIVE else f"{row.serial} ({row.state})"
