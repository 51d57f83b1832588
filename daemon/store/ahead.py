"""Tokens that a clock left behind: a code of theirs was used while it was ahead, and none works before that time comes.

The floor (last_step) is the only memory of what was used, and so it never goes down by itself. The desk may lower it by a
resync; the steps that were used while the clock was ahead, and all between them, are then noted as *burnt*: they never
work, not even when their time comes.
"""

from typing import Any

import sqlalchemy as sa
from attrs import frozen

from .marks import note_time, read_time
from .schema import State, audit, meta, token

REACH = 32  # steps that a login may use beyond what it expects: in reach, the next code, and what slow typing adds
_FROM, _TO = "burnt-from:", "burnt-to:"  # rows of meta, with a token's serial behind


def _noted(name: str, otherwise: int) -> Any:
    found = sa.select(sa.cast(meta.c.value, sa.Integer)).where(
        meta.c.name == sa.literal_column(f"'{name}'", sa.Text) + token.c.serial
    )
    return sa.func.coalesce(found.scalar_subquery(), otherwise)


def is_unburnt(step: Any) -> Any:
    """Whether a step of a token is none that was used while the clock was ahead, as an SQL expression."""
    return sa.not_(step.between(_noted(_FROM, 1), _noted(_TO, 0)))


def burnt_steps(connection: sa.engine.Connection, serial: str) -> range:
    """The steps of a token that never work."""
    first, last = read_time(connection, _FROM + serial), read_time(connection, _TO + serial)
    return range(0) if first is None or last is None else range(first, last + 1)


def burn_steps(connection: sa.engine.Connection, serial: str, steps: range) -> None:
    """Note steps that never work, with those noted before and all between."""
    known = burnt_steps(connection, serial)
    first, last = min(steps.start, *known[:1] or [steps.start]), max(steps[-1], *known[-1:] or [steps[-1]])
    for name, value in ((_FROM, first), (_TO, last)):
        note_time(connection, name + serial, value)


@frozen
class Uses:
    """When a token was used, by the audit: last up to a time, and first after it. None: never. certain: no row is missing."""

    last_before: int | None
    first_after: int | None
    certain: bool


_OURS = sa.and_(audit.c.serial == sa.bindparam("serial"), audit.c.event.in_(["login", "observe"]))
_SPENT_NOTHING = ("used-code", "used-code-again", "later-code-used", "drifted")  # daemon/audit.py's Reason
# After these the rows do not tell any more which codes were used, or by which drift.
_UNSURE = sa.or_(
    audit.c.event.in_(["audit-drop", "restore"]),
    sa.and_(audit.c.serial == sa.bindparam("serial"), audit.c.event.not_in(["login", "observe"])),
)


def uses_of(connection: sa.engine.Connection, serial: str, at: int) -> Uses:
    """What the audit knows of a token around a time in seconds since 1970. It reads the whole audit."""
    before = sa.select(sa.func.max(audit.c.at)).where(_OURS, audit.c.at <= at, audit.c.reason.not_in(_SPENT_NOTHING))
    after = sa.select(sa.func.min(audit.c.at)).where(_OURS, audit.c.at > at)
    unsure = sa.select(audit.c.id).where(_UNSURE, audit.c.at > at).limit(1)
    words = {"serial": serial}
    return Uses(
        connection.execute(before, words).scalar(),
        connection.execute(after, words).scalar(),
        connection.execute(unsure, words).first() is None,
    )


@frozen
class Ahead:
    """A token none of whose codes work before a time, in seconds since 1970."""

    serial: str
    until: int


def tokens_ahead(connection: sa.engine.Connection, at: int, most: int) -> tuple[int, list[Ahead]]:
    """The active tokens that the clock left behind: how many, and the first `most` by serial."""
    here = sa.bindparam("at", type_=sa.Integer) / token.c.period + token.c.drift
    behind = sa.and_(
        token.c.kind == "totp",
        token.c.state == State.ACTIVE.value,
        sa.or_(
            token.c.last_step > here + REACH,
            sa.and_(here >= _noted(_FROM, 1), here <= _noted(_TO, 0)),
        ),
    )
    until = (sa.case((token.c.last_step > here, token.c.last_step), else_=_noted(_TO, 0)) + 1 - token.c.drift) * token.c.period
    wanted = sa.select(token.c.serial, until.label("until")).where(behind).order_by(token.c.serial).limit(most)
    number = connection.execute(sa.select(sa.func.count()).select_from(token).where(behind), {"at": at}).scalar()
    return int(number or 0), [Ahead(row.serial, row.until) for row in connection.execute(wanted, {"at": at}).all()]
