"""The audit as a whole: its links, its rows by filters, and the end of old ones.

Rows are dropped from the beginning alone. The last one dropped leaves its id and its hash behind, the *anchor*, so that
the rest of the chain still hangs on something.
"""

from typing import Any

import sqlalchemy as sa
from attrs import fields, frozen

from .inventory import Row
from .schema import audit, meta

ANCHOR = "audit-anchor"  # the row of meta that has the last link that was dropped


@frozen
class Link:
    """A row's place in the chain. (0, nothing): where it begins."""

    id: int = 0
    hash: bytes = b""

    def __str__(self) -> str:
        return f"{self.id}:{self.hash.hex()}"

    @classmethod
    def read(cls, text: str) -> "Link":
        """What `str` wrote. Raises ValueError."""
        number, _, digest = text.partition(":")
        return cls(int(number), bytes.fromhex(digest))


@frozen
class Filters:
    """Which rows are wanted; None: whatever it is. since and until in seconds since 1970 UTC; after: an id."""

    holder: str | None = None
    serial: str | None = None
    event: str | None = None
    outcome: str | None = None
    ref: str | None = None
    since: int | None = None
    until: int | None = None
    after: int | None = None


_ANCHOR = sa.select(meta.c.value).where(meta.c.name == ANCHOR)
_HEAD = sa.select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)
_CHUNK = sa.select(audit).where(audit.c.id > sa.bindparam("after")).order_by(audit.c.id).limit(sa.bindparam("most"))
_LINKS = (
    sa.select(audit.c.id, audit.c.at, audit.c.hash)
    .where(audit.c.id > sa.bindparam("after"))
    .order_by(audit.c.id)
    .limit(sa.bindparam("most"))
)
_TEXTS = ("actor", "service", "address", "event", "serial", "outcome", "reason", "detail")
_INDEXED = ("holder", "ref")  # once in the row, and once in their index
_ROW_BYTES = 72  # hash, numbers, and what SQLite keeps of a row and its two entries of indexes


def read_anchor(connection: sa.engine.Connection) -> Link:
    """The last link that was dropped."""
    noted = connection.execute(_ANCHOR).scalar()
    return Link() if noted is None else Link.read(bytes(noted).decode())


def read_head(connection: sa.engine.Connection) -> Link:
    """The newest link."""
    row = connection.execute(_HEAD).first()
    return Link() if row is None else Link(row.id, row.hash)


def first_id(connection: sa.engine.Connection) -> int | None:
    """The id of the oldest row that is there."""
    found: int | None = connection.execute(sa.select(sa.func.min(audit.c.id))).scalar()
    return found


def read_rows(connection: sa.engine.Connection, after: int, most: int) -> list[Row]:
    """Whole rows in order of their ids, from the one after `after`."""
    return list(connection.execute(_CHUNK, {"after": after, "most": most}).all())


def read_links(connection: sa.engine.Connection, after: int, most: int) -> list[Row]:
    """id, at and hash of rows, as `read_rows`."""
    return list(connection.execute(_LINKS, {"after": after, "most": most}).all())


def find_hash(connection: sa.engine.Connection, digest: bytes) -> int | None:
    """The id of the row with a hash. It reads the whole audit."""
    found: int | None = connection.execute(sa.select(audit.c.id).where(audit.c.hash == digest)).scalar()
    return found


def hash_of(connection: sa.engine.Connection, row_id: int) -> bytes | None:
    """The hash of a row."""
    found: bytes | None = connection.execute(sa.select(audit.c.hash).where(audit.c.id == row_id)).scalar()
    return found


def find_rows(connection: sa.engine.Connection, filters: Filters, most: int) -> list[Row]:
    """The newest rows that pass, or the oldest after `after`; the newest last."""
    wanted = sa.select(audit).limit(most)
    for name in ("holder", "serial", "event", "outcome", "ref"):
        if (value := getattr(filters, name)) is not None:
            wanted = wanted.where(audit.c[name] == value)
    if filters.since is not None:
        wanted = wanted.where(audit.c.at >= filters.since)
    if filters.until is not None:
        wanted = wanted.where(audit.c.at < filters.until)
    if filters.after is not None:
        return list(connection.execute(wanted.where(audit.c.id > filters.after).order_by(audit.c.id)).all())
    return list(connection.execute(wanted.order_by(audit.c.id.desc())).all())[::-1]


def row_size(connection: sa.engine.Connection, sample: int) -> float:
    """What a row takes in the store, in bytes with its entries of indexes, by the newest ones. 0: there is none."""

    def length(name: str) -> Any:
        return sa.func.length(sa.cast(sa.func.coalesce(audit.c[name], ""), sa.LargeBinary))

    one = sum((length(name) for name in _TEXTS), sa.literal(_ROW_BYTES)) + sum(2 * length(name) for name in _INDEXED)
    newest = sa.select(one.label("size")).order_by(audit.c.id.desc()).limit(sample).subquery()
    return float(connection.execute(sa.select(sa.func.avg(newest.c.size))).scalar() or 0.0)


def drop_oldest(connection: sa.engine.Connection, before: int, up_to: int, most: int) -> tuple[int, Link] | None:
    """Drop rows from the beginning: older than `before`, or of an id up to `up_to`; `most` at most, never the newest.

    Returns the first id and the last link that are gone; None where nothing is due.
    """
    rows = read_links(connection, read_anchor(connection).id, most + 1)
    due = 0
    while due < min(most, len(rows) - 1) and (rows[due].at < before or rows[due].id <= up_to):
        due += 1
    if not due:
        return None
    last = Link(rows[due - 1].id, rows[due - 1].hash)
    connection.execute(sa.delete(audit).where(audit.c.id <= last.id))
    connection.execute(sa.delete(meta).where(meta.c.name == ANCHOR))
    connection.execute(sa.insert(meta).values(name=ANCHOR, value=str(last).encode()))
    return rows[0].id, last


FILTERS = tuple(one.name for one in fields(Filters))
