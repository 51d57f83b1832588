"""How long the audit is kept: what is older than `keep`, or beyond `max_size`, goes, a thousand rows a transaction.

Each such transaction leaves a row that says what went, so that rows cannot be taken away under this name unseen.
"""

import re

import sqlalchemy as sa

from .audit import Event, append
from .config import Audit
from .store.audits import Link, drop_oldest, read_anchor, read_head, row_size

EVENT = "audit-drop"
CHUNK = 1000  # rows a transaction: logins wait no longer than for it
_SAMPLE = 1000  # rows by which the size of the others is reckoned
_DROPPED = re.compile(r"rows ([0-9]+) to (?P<link>[0-9]+, [0-9a-f]{64})")


def drop_due(connection: sa.engine.Connection, policy: Audit, now: float, chunk: int = CHUNK) -> bool:
    """Drop a chunk of what is due at `now`, in seconds since 1970 UTC; whether anything was. For a transaction."""
    before = int(now - policy.keep) if policy.keep else 0
    dropped = drop_oldest(connection, before, _beyond(connection, policy.max_size), chunk)
    if dropped is None:
        return False
    first, last = dropped
    detail = f"rows {first} to {last.id}, {last.hash.hex()}"
    append(connection, now, Event(EVENT, detail=detail, actor="arenad", service="arenad"))
    return True


def dropped_link(detail: str) -> Link | None:
    """The last link that a row of the event EVENT says was dropped; None if it says something else."""
    found = _DROPPED.fullmatch(detail)
    return Link.read(found["link"].replace(", ", ":")) if found else None


def _beyond(connection: sa.engine.Connection, max_size: int) -> int:
    """The id up to which rows are to go, once all take more than `max_size` bytes; ids have no gaps.

    A hundredth more goes than has to: each time leaves a row behind, and would be due again at once.
    """
    one = row_size(connection, _SAMPLE) if max_size else 0.0
    if not one:
        return 0
    oldest, newest, most = read_anchor(connection).id, read_head(connection).id, int(max_size / one)
    return newest - most + most // 100 if newest - oldest > most else 0
