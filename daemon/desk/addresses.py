"""Where holders get mail, and in which language: as the desk noted it, one by one or from a file, or else as configured."""

from typing import Any

from attrs import frozen

from pam_arena.errors import NotFound, Refusal
from pam_arena.texts import LANGUAGES

from ..spool import is_address
from ..store import inventory as store
from .caller import Caller, Connection, Result, holder_of

NOTED = ("mail", "language")
MOST_ROWS = 5000  # of one file: they are one transaction, and a login waits for it
_MOST_ERRORS = 20  # that are told of one file


def address_of(holder: store.Row, caller: Caller) -> Result:
    """Where a holder's mail goes, and in which language: as noted, or else as configured."""
    domain = caller.config.mail.domain
    mail = holder.mail or (f"{holder.name}@{domain}" if domain else None)
    return {"mail": mail, "language": holder.language or caller.config.language}


def set_holder(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result:
    """Note where a holder gets mail, and in which language; an empty value: as the configuration says."""
    if not wanted or set(wanted) - set(NOTED):
        raise Refusal(f"nothing to note; there are: {', '.join(sorted(NOTED))}")
    values = {name: str(value) for name, value in wanted.items()}
    for name, value in values.items():
        if (wrong := _flaw(name, value)) is not None:
            raise Refusal(wrong)
    holder = holder_of(connection, caller, who)
    _note(connection, caller, holder, values)
    return {"name": holder.name, **address_of(holder_of(connection, caller, holder.name), caller)}


def _flaw(name: str, value: str) -> str | None:
    if name == "mail" and value and not is_address(value):
        return f"mail: {value!r} is no mail address"
    if name == "language" and value and value not in LANGUAGES:
        return f"language: allowed: {', '.join(LANGUAGES)}"
    return None


def _note(connection: Connection, caller: Caller, holder: store.Row, values: dict[str, str]) -> None:
    store.update_holder(connection, holder.id, **{name: value or None for name, value in values.items()})
    said = ", ".join(f"{name} {value or 'as configured'}" for name, value in values.items())
    caller.note(connection, "holder-set", holder.name, detail=said)


@frozen
class _Line:
    """What a line of a file is to change."""

    holder: store.Row
    values: dict[str, str]


def set_holders(connection: Connection, caller: Caller, wanted: dict[str, Any]) -> Result:
    """Note what the rows of a file say: `line`, `user`, `mail`, `language`, an empty value changing nothing. All, or none.

    With `dry_run`, only say what would change.
    """
    rows, dry_run = wanted.get("rows"), bool(wanted.get("dry_run"))
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS:
        raise Refusal(f"rows: 1 to {MOST_ROWS} are expected; split the file")
    lines: list[_Line] = []
    errors: list[str] = []
    seen: dict[str, object] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise Refusal("rows: each is to be a JSON object")
        line = row.get("line", number)
        try:
            found = _read(connection, caller, row)
            if found.holder.name in seen:
                raise Refusal(f"{found.holder.name} was on line {seen[found.holder.name]} already")
        except Refusal as refusal:
            errors.append(f"line {line}: {refusal}")
            continue
        seen[found.holder.name] = line
        lines.append(found)
    if errors:
        more = [f"and {len(errors) - _MOST_ERRORS} more"] if len(errors) > _MOST_ERRORS else []
        raise Refusal("\n".join(["nothing was changed:", *errors[:_MOST_ERRORS], *more]))
    changing = [line for line in lines if line.values]
    if not dry_run:
        for line in changing:
            _note(connection, caller, line.holder, line.values)
    changes = [
        {"holder": line.holder.name, "mail": line.values.get("mail"), "language": line.values.get("language")}
        for line in changing
    ]
    return {
        "dry_run": dry_run,
        "changed": len(changing),
        "unchanged": len(lines) - len(changing),
        "changes": changes,
    }


def _read(connection: Connection, caller: Caller, row: dict[str, Any]) -> _Line:
    """Raises Refusal for a line that cannot be noted."""
    user = str(row.get("user", "")).strip()
    if not user:
        raise Refusal("no user")
    try:
        holder = holder_of(connection, caller, user)
    except NotFound:
        raise Refusal(f"{user!r} is no holder: assign a key first") from None
    values = {name: str(row.get(name) or "").strip() for name in NOTED}
    for name, value in values.items():
        if (wrong := _flaw(name, value)) is not None:
            raise Refusal(wrong)
    return _Line(holder, {name: value for name, value in values.items() if value and value != getattr(holder, name)})
