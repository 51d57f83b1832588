"""The audit: one row for each thing that changed what a person can do, in the transaction that changed it.

Each row's hash covers its values and the hash before it, so that a row cannot be changed or taken out unseen.
"""

import enum
import hashlib
import json
import secrets
from typing import Any

import sqlalchemy as sa
from attrs import fields, frozen

from .store.schema import audit, stranger
from .store.statement import Statement

_REF_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: read over a telephone without mix-ups
_REF_LENGTH = 8  # 40 bits: not to be guessed


class Reason(enum.StrEnum):
    """Why an attempt ended as it did."""

    RIGHT = "right"
    FIRST_CODE = "first-code"
    MALFORMED = "malformed"
    UNKNOWN = "unknown-name"
    NO_TOKEN = "no-token"
    DISABLED = "disabled"
    EXPIRED = "expired"
    WRONG_CODE = "wrong-code"
    WRONG_PIN = "wrong-pin"
    WRONG_BOTH = "wrong-pin-and-code"
    NO_PIN_YET = "no-pin-yet"
    LAPSED = "new-pin-lapsed"
    USED = "used-code"
    USED_AGAIN = "used-code-again"
    AHEAD = "later-code-used"
    DRIFTED = "drifted"
    WAITING = "waiting"
    CLOSED = "closed"
    GAVE_UP = "gave-up"
    NEXT_ASKED = "next-code-asked"
    NEXT_WRONG = "next-code-wrong"
    RECOVERY = "recovery-code"
    RECOVERY_WRONG = "recovery-code-wrong"
    RECOVERY_USED = "recovery-code-used"
    RECOVERY_OVER = "recovery-code-over"
    MAILED = "mailed"
    MAIL_WRONG_PIN = "mail-wrong-pin"
    MAIL_TOO_MANY = "mail-too-many"
    MAIL_NO_ADDRESS = "mail-no-address"
    SESSION_GRANT = "session-grant"
    REQUEST_UNKNOWN = "request-unknown-key"
    REQUEST_WRONG = "request-wrong-codes"
    REQUEST_USED = "request-used-codes"
    REQUEST_TAKEN = "request-key-taken"
    REQUEST_MANY = "request-too-many-open"
    REQUEST_TOO_OFTEN = "request-too-often"


@frozen
class Event:
    """One row of the audit, but for its time and its hash."""

    event: str
    holder: str = ""
    serial: str = ""
    outcome: str = "done"
    reason: str = ""
    detail: str = ""
    actor: str = ""
    service: str = ""
    address: str = ""
    ref: str | None = None


@frozen
class Noted:
    """A row that was written, for who tells of it once it is durable. row: its id in the chain; 0 for a stranger's."""

    at: int
    event: Event
    row: int = 0
    hash: bytes = b""


# Built once: every login appends a row.
_LAST = Statement(sa.select(audit.c.hash).order_by(audit.c.id.desc()).limit(1))
_INSERT = Statement(sa.insert(audit).values({c.name: sa.bindparam(c.name) for c in audit.c if c.name != "id"}))
_INSERT_STRANGER = Statement(sa.insert(stranger).values({c.name: sa.bindparam(c.name) for c in stranger.c if c.name != "id"}))
# By the index alone, but for one row. Past a name's own rows it goes on into those of the name before: as long a way for
# one who has none, or the time would tell who is a holder.
_LATEST = Statement(
    sa.select(audit.c.holder, audit.c.at)
    .where(audit.c.holder <= sa.bindparam("name"))
    .order_by(audit.c.holder.desc(), audit.c.id.desc())
    .limit(1)
    .offset(sa.bindparam("before"))
)
_NEWEST = sa.select(sa.func.max(stranger.c.id)).scalar_subquery()
_PUSH_OUT = Statement(sa.delete(stranger).where(stranger.c.id <= _NEWEST - sa.bindparam("kept", type_=sa.Integer)))
STRANGERS = 10_000  # denials to names that are no holder's: the latest so many are kept
_COLUMNS = tuple(attribute.name for attribute in fields(Event))
_NOTED = "arena-noted"  # what a connection wrote and nobody took yet


def new_ref() -> str:
    """A reference that carries nothing and cannot be guessed."""
    return "".join(secrets.choice(_REF_ALPHABET) for _ in range(_REF_LENGTH))


def chain(previous: bytes, values: dict[str, str | int | None]) -> bytes:
    """The hash of a row: SHA-256 over the hash before it and the row's values as sorted JSON."""
    return hashlib.sha256(previous + json.dumps(values, sort_keys=True).encode()).digest()


def chain_row(previous: bytes, row: Any) -> bytes:
    """The hash that a row of the store is to have after the one of the hash `previous`."""
    return chain(previous, {name: getattr(row, name) for name in (*_COLUMNS, "at")})


def append(connection: sa.engine.Connection, at: float, event: Event) -> None:
    """Add a row; at is in seconds since 1970 UTC."""
    values, digest = _next_row(connection, at, event)
    added = _INSERT.insert(connection, {**values, "hash": digest})
    _noted_on(connection).append(Noted(int(at), event, added, digest))


def append_stranger(connection: sa.engine.Connection, at: float, event: Event) -> None:
    """Note a denial to a name that is no holder's, with the work of a row of the audit."""
    values, _ = _next_row(connection, at, event)
    _INSERT_STRANGER.insert(connection, values)
    _noted_on(connection).append(Noted(int(at), event))


def push_out_strangers(connection: sa.engine.Connection) -> None:
    """Have the oldest denials to strangers give way. After every attempt, or the time would tell who is a holder."""
    _PUSH_OUT.change(connection, {"kept": STRANGERS})


def has_rows(connection: sa.engine.Connection, name: str, many: int, since: int) -> bool:
    """Whether a holder's latest `many` rows all came after `since`, in seconds since 1970 UTC. Costs as much as `many`."""
    written = storable(name)
    row = _LATEST.first(connection, {"name": written, "before": many - 1})
    return row is not None and row.holder == written and row.at > since


def take_noted(connection: sa.engine.Connection) -> list[Noted]:
    """What was noted on a connection since the last call; for after the commit."""
    noted: list[Noted] = connection.info.pop(_NOTED, [])
    return noted


def _noted_on(connection: sa.engine.Connection) -> list[Noted]:
    noted: list[Noted] = connection.info.setdefault(_NOTED, [])
    return noted


def _next_row(connection: sa.engine.Connection, at: float, event: Event) -> tuple[dict[str, str | int | None], bytes]:
    previous = _LAST.scalar(connection, {})
    texts: dict[str, str | None] = {name: getattr(event, name) for name in _COLUMNS}
    values: dict[str, str | int | None] = {name: None if text is None else storable(text) for name, text in texts.items()}
    values["at"] = int(at)
    return values, chain(previous or b"", values)


def storable(text: str) -> str:
    """Text as a database can hold it: names and hosts come from outside and need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
