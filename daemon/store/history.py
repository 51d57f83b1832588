"""What the store remembers of people: how their attempts went, what was done to them, and what they have to wait for."""

from typing import Any

import sqlalchemy as sa

from .accounts import DAY, YEAR_DAYS
from .inventory import Row
from .schema import NOBODY, audit, failure, holder, is_in_effect, origin, state_at, stranger, token

_LAST_EVENTS = (
    sa.select(audit).where(audit.c.holder == sa.bindparam("name")).order_by(audit.c.id.desc()).limit(sa.bindparam("most"))
)


def last_events(connection: sa.engine.Connection, name: str, most: int) -> list[Row]:
    """The last rows of the audit about a holder, the latest first."""
    return list(connection.execute(_LAST_EVENTS, {"name": name, "most": most}).all())


def list_waits(connection: sa.engine.Connection, holder_id: int) -> list[Row]:
    """The origins of a holder that failed since their last success: kind, key, failures, wait_until, closed."""
    failed = sa.or_(origin.c.failures > 0, origin.c.closed)
    wanted = sa.select(origin).where(origin.c.holder_id == holder_id, failed).order_by(origin.c.kind, origin.c.key)
    return list(connection.execute(wanted).all())


def year_failures(connection: sa.engine.Connection, holder_id: int, at: int) -> int:
    """The counted failures of a holder in the 365 days before `at`, over all origins."""
    since = at // DAY - YEAR_DAYS
    summed = sa.select(sa.func.sum(failure.c.count)).where(failure.c.holder_id == holder_id, failure.c.day > since)
    return int(connection.execute(summed).scalar() or 0)


def last_attempts(connection: sa.engine.Connection) -> list[Row]:
    """Of each holder, the last attempt in observe mode, or the last success anywhere: a row of the audit.

    Beside its columns, `observed` and `failures` count attempts in observe mode. Denials of logins that are enforced tell
    nothing of the holder: anybody can bring them about, and a holder who means it succeeds in the end. It reads the whole
    audit: not for a transaction that writes.
    """
    return _last(connection, audit, sa.and_(audit.c.event == "login", audit.c.outcome == "granted"))


def last_observed_strangers(connection: sa.engine.Connection) -> list[Row]:
    """As `last_attempts`, of the names in observe mode that are no holder's; one that NSS does not know is a keyed hash."""
    return _last(connection, stranger, sa.false())


def _last(connection: sa.engine.Connection, table: sa.Table, too: Any) -> list[Row]:
    observed = table.c.event == "observe"
    failed = sa.and_(observed, table.c.outcome == "denied")
    grouped = (
        sa.select(
            sa.func.max(table.c.id).label("last"),
            sa.func.sum(sa.case((observed, 1), else_=0)).label("observed"),
            sa.func.sum(sa.case((failed, 1), else_=0)).label("failures"),
        )
        .where(sa.or_(observed, too))
        .group_by(table.c.holder)
        .subquery()
    )
    wanted = sa.select(table, grouped.c.observed, grouped.c.failures).join(grouped, grouped.c.last == table.c.id)
    return list(connection.execute(wanted).all())


def list_people(connection: sa.engine.Connection, at: int) -> list[Row]:
    """Each holder with each of their tokens, as they stand at a time.

    name, has_pin, new_pin_until, serial, state; serial None for a holder of none.
    """
    wanted = (
        sa.select(
            holder.c.name,
            holder.c.pin.is_not(None).label("has_pin"),
            holder.c.new_pin_until,
            token.c.serial,
            state_at(sa.bindparam("at")).label("state"),
        )
        .select_from(holder.outerjoin(token, sa.and_(token.c.holder_id == holder.c.id, is_in_effect())))
        .where(holder.c.id != NOBODY)
        .order_by(holder.c.name, token.c.serial)
    )
    return list(connection.execute(wanted, {"at": at}).all())


def forget_attempts(connection: sa.engine.Connection, holder_id: int) -> None:
    """Forget from where a holder came, and how often they failed; the audit has it still."""
    for table in (origin, failure):
        connection.execute(sa.delete(table).where(table.c.holder_id == holder_id))


def last_attempt(connection: sa.engine.Connection, name: str) -> Row | None:
    """The last attempt of a holder that was enforced: a row of the audit."""
    wanted = sa.select(audit).where(audit.c.holder == name, audit.c.event == "login").order_by(audit.c.id.desc()).limit(1)
    return connection.execute(wanted).first()
