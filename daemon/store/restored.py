"""What a store that came out of a backup may no longer accept: any code that may have been used since."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from attrs import frozen

from pam_arena.errors import StoreError

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


def carry_over(path: Path, replaced: Path) -> None:
    """Refuse also what the replaced store says was used: a drift learnt since the backup reaches beyond the window of it."""
    try:
        connection = sqlite3.connect(path, timeout=10)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("ATTACH ? AS replaced", (str(replaced),))
            with connection:
                connection.execute(_CARRY)
                connection.execute(_CARRY_BURNT)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"the store {replaced} cannot be read: {error}") from None


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
