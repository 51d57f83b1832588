"""What a step of the clock would make longer or shorter than is written: it is put right in one transaction."""

import sqlalchemy as sa
from attrs import frozen

from .schema import CodeKind, audit, holder, origin, recovery, session_grant


@frozen
class Settled:
    """What was put right: waits that moved with the clock, session grants and mailed codes that ended."""

    waits: int
    grants: int
    codes: int


def newest_row(connection: sa.engine.Connection) -> int | None:
    """The time of the audit's newest row, in seconds since 1970."""
    found: int | None = connection.execute(sa.select(audit.c.at).order_by(audit.c.id.desc()).limit(1)).scalar()
    return found


def settle_step(connection: sa.engine.Connection, now: int, step: int | None, longest: int, lapses: int) -> Settled:
    """Put right what a step to `now` (seconds since 1970) changed. step: by how many seconds, None where nobody saw it.

    longest: seconds of the longest wait; lapses: of new-PIN mode. A wait goes on for as long as was left of it. Grants and
    mailed codes end, whose hours cannot be told any more. What is of a time yet to come counts as of now, so that nothing
    is favoured, young or open for years.
    """
    moved = 0
    waits = origin.c.wait_until != 0  # the clock may be before 1970, and none is not to become a wait then
    if step is not None:
        waiting = sa.update(origin).where(waits, origin.c.wait_until > now - step, sa.not_(origin.c.closed))
        moved = connection.execute(waiting.values(wait_until=origin.c.wait_until + step)).rowcount
    connection.execute(sa.update(origin).where(waits, origin.c.wait_until > now + longest).values(wait_until=now + longest))
    connection.execute(sa.update(origin).where(origin.c.granted_at > now).values(granted_at=now))
    connection.execute(sa.update(holder).where(holder.c.pin_set_at > now).values(pin_set_at=now))
    connection.execute(sa.update(holder).where(holder.c.new_pin_until > now + lapses).values(new_pin_until=now + lapses))
    grants = connection.execute(sa.delete(session_grant)).rowcount
    mailed = sa.and_(recovery.c.kind == CodeKind.MAIL.value, recovery.c.used_at.is_(None))
    codes = connection.execute(sa.delete(recovery).where(mailed)).rowcount
    return Settled(moved, grants, codes)
