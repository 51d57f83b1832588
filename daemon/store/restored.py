"""What a store that came out of a backup may no longer accept: any code that may have been used since."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from attrs import frozen

from pam_arena.errors import StoreError

from .audits import Link
from .inventory import Row
from .schema import HELD, NOBODY, State, holder, recovery, session_grant, token

_REAL = token.c.state != State.DECOY.value
# Steps are those of each token's own period (RFC 6238 section 4.2, T0 = 0); SQLite divides whole numbers to whole ones.
_FLOOR = sa.text(
    "UPDATE token SET last_step = max(last_step, :now / period + drift + :window) WHERE kind = 'totp' AND state != 'decoy'"
)
_CARRY = """
    UPDATE main.token SET last_step = was.last_step FROM replaced.token AS was
    WHERE was.serial = main.token.serial AND was.last_step > main.token.last_step
    AND main.token.kind = 'totp' AND main.token.state != 'decoy'
"""
_CONTINUES = "SELECT count(*) FROM replaced.audit WHERE id = ? AND hash = ?"
_RAISE = """
    UPDATE token SET last_step = max(last_step, ? / period + drift + ?) WHERE kind = 'totp' AND state != 'decoy'
"""
_RAISE_UNKNOWN = _RAISE + " AND serial NOT IN (SELECT serial FROM replaced.token)"
# When each shows the first code that works, if its clock runs as the backup says.
_OPEN = """
    SELECT max((last_step + 1 - drift) * period) FROM main.token
    WHERE kind = 'totp' AND state IN ('active', 'staged') AND holder_id IS NOT NULL
"""

_CARRY_BURNT = """
    INSERT INTO main.meta SELECT name, value FROM replaced.meta
    WHERE name LIKE 'burnt-%' AND name NOT IN (SELECT name FROM main.meta)
"""


class InUse(StoreError):
    """Somebody has the store open."""


@frozen
class Ended:
    """What a restore ended: tokens whose next codes are wanted, tokens by counter that wait, codes, session grants."""

    by_time: int
    by_counter: int
    codes: int
    grants: int


def end_what_was_used(connection: sa.engine.Connection, now: int, window: int) -> Ended:
    """Refuse every code that can have been used up to `now` (seconds since 1970 UTC); window in steps. Waits stay."""
    by_time = connection.execute(_FLOOR, {"now": now, "window": window}).rowcount
    # Whatever their state: one in the stock, or lost, may have been used in the time that the backup does not know.
    by_counter = connection.execute(sa.update(token).where(token.c.kind == "hotp", _REAL).values(drift=HELD)).rowcount
    usable = sa.and_(recovery.c.used_at.is_(None), sa.or_(recovery.c.valid_until.is_(None), recovery.c.valid_until > now))
    codes = connection.execute(sa.update(recovery).where(usable).values(valid_until=now)).rowcount
    grants = connection.execute(sa.delete(session_grant)).rowcount
    return Ended(by_time, by_counter, codes, grants)


@frozen
class LostTime:
    """The time of which a backup knows nothing: the newest link of its audit, the restore's time in seconds since 1970 UTC,
    and how many steps beyond its drift a key can have shown codes by then, by the window and the reach of the next code."""

    head: Link
    until: int
    steps: int


def carry_over(path: Path, replaced: Path | None, lost: LostTime) -> int | None:
    """Refuse also what may have been used with a drift that grew since the backup; returns when all keys by time work again.

    The replaced store knows what was used, if the backup is one of its own past: its audit has the backup's newest row.
    Of another one, or without one, nobody knows: a code of a step still to come may have been shown before by a key whose
    clock had run ahead, and be the same. So all that login would follow such a clock to are refused. In seconds since
    1970 UTC, of keys whose drift is as the backup says; None: nobody has one.
    """
    try:
        connection = sqlite3.connect(path, timeout=10)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            if replaced is not None:
                connection.execute("ATTACH ? AS replaced", (str(replaced),))
            with connection:
                known = False
                if replaced is not None:
                    connection.execute(_CARRY)
                    connection.execute(_CARRY_BURNT)
                    known = connection.execute(_CONTINUES, (lost.head.id, lost.head.hash)).fetchone()[0] == 1
                connection.execute(_RAISE_UNKNOWN if known else _RAISE, (lost.until, lost.steps))
                opens: int | None = connection.execute(_OPEN).fetchone()[0]
                return opens
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"the store {replaced or path} cannot be read: {error}") from None


def count_people(connection: sa.engine.Connection) -> Row:
    """How many there are: holders, tokens."""
    holders = sa.select(sa.func.count()).select_from(holder).where(holder.c.id != NOBODY).scalar_subquery()
    tokens = sa.select(sa.func.count()).select_from(token).where(_REAL).scalar_subquery()
    return connection.execute(sa.select(holders.label("holders"), tokens.label("tokens"))).one()


def copy_store(path: Path, to: Path) -> None:
    """A copy of the store as of one moment, while others read and write it. Raises StoreError."""
    try:
        connection = sqlite3.connect(path, timeout=10)
        try:
            connection.execute("VACUUM INTO ?", (str(to),))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"the store {path} cannot be copied to {to}: {error}") from None


def make_whole(path: Path, *, check: bool = True) -> None:
    """Check a store that nobody has open, and leave all of it in its one file. Raises InUse, or StoreError for damage."""
    try:
        connection = sqlite3.connect(path, timeout=10)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if check else "ok"
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            # The file's own mode too: a reader of a file in WAL mode would look for, or make, a log beside it.
            mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise InUse(f"the store {path} is in use: {error}") from None
    except sqlite3.Error as error:
        raise StoreError(f"the store {path} is damaged: {error}") from None
    if found != "ok":
        raise StoreError(f"the store {path} is damaged: {found}")
    if busy or mode != "delete":
        raise InUse(f"the store {path} is in use: somebody has it open")
