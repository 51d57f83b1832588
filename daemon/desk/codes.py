"""Recovery codes that the desk gives out: made and shown once, stored as keyed digests alone."""

from typing import Any

from pam_arena.errors import Refusal

from ..store.recovery import replace_codes
from ..store.schema import CodeKind
from .caller import Caller, Connection, Result, holder_of
from .words import show_time

EMERGENCY_CODES = 10  # on a page
DAYS, COUNT = (1, 30), (1, 20)  # of temporary codes
DEFAULT_DAYS, DEFAULT_COUNT = 3, 5
_DAY = 86400


def give_emergency_codes(connection: Connection, caller: Caller, who: str) -> Result:
    """A new set of codes for the drawer, each good until it is used; an older set ends."""
    return _give(connection, caller, who, CodeKind.EMERGENCY, EMERGENCY_CODES, None)


def give_temporary_codes(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result:
    """A new set of codes that work for some days; an older set of that kind ends."""
    days = _whole("days", wanted.get("days", DEFAULT_DAYS), *DAYS)
    count = _whole("count", wanted.get("count", DEFAULT_COUNT), *COUNT)
    return _give(connection, caller, who, CodeKind.TEMPORARY, count, caller.now + days * _DAY)


def _give(connection: Connection, caller: Caller, who: str, kind: CodeKind, count: int, valid_until: int | None) -> Result:
    holder = holder_of(connection, caller, who)
    codes, replaced = replace_codes(
        connection,
        holder.id,
        kind,
        count,
        lambda code: caller.vault.digest_code(code, holder.name),
        caller.now,
        valid_until,
    )
    detail = f"{count}" if valid_until is None else f"{count} until {show_time(valid_until)}"
    caller.note(connection, f"code-{kind.value}", holder.name, detail=detail)
    return {
        "holder": holder.name,
        "kind": kind.value,
        "created_at": caller.now,
        "valid_until": valid_until,
        "replaced": replaced,
        "has_pin": holder.pin is not None,
        "language": holder.language or caller.config.language,
        "help": caller.config.help,
        "codes": codes,
    }


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise Refusal(f"{name}: allowed: {low} to {high}")
