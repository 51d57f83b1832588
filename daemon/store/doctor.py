"""What a look over the whole store finds. It reads much: not for a transaction that writes."""

from collections.abc import Callable, Iterator
from functools import partial

import sqlalchemy as sa

from pam_arena.errors import VaultError

from ..vault import Vault
from .inventory import Row
from .schema import NOBODY, audit, holder, is_in_effect, meta, recovery, token

MOST_PEOPLE = 1000


def read_meta(connection: sa.engine.Connection, name: str) -> str | None:
    """A row of meta; None if there is none."""
    value = connection.execute(sa.select(meta.c.value).where(meta.c.name == name)).scalar()
    return None if value is None else bytes(value).decode("utf-8", "replace")


def check(connection: sa.engine.Connection) -> str:
    """SQLite's own check of its pages; what it says of the first damage, '' if there is none."""
    said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    return "" if said == "ok" else said


def unopened(connection: sa.engine.Connection, vault: Vault) -> Iterator[str]:
    """What a login could need, and does not open: the seed of a token, a holder's PIN, its length, or earlier PINs."""
    seeds = sa.select(token.c.serial, token.c.seed, token.c.seed_version).where(is_in_effect(), token.c.state != "retired")
    for row in connection.execute(seeds):
        yield from _closed(partial(vault.open_seed, row.seed, row.serial, row.seed_version), f"seed of {row.serial}")
    opened: dict[str, Callable[[bytes, str], object]] = {
        "pin": vault.open_pin,
        "pin_length": vault.open_pin_length,
        "pin_history": vault.open_history,
    }
    names = {"pin": "PIN", "pin_length": "PIN's length", "pin_history": "earlier PINs"}
    for row in connection.execute(sa.select(holder)):
        for column, open_one in opened.items():
            if (sealed := getattr(row, column)) is not None:
                what = f"{names[column]} of {row.name or 'nobody'}"
                yield from _closed(partial(open_one, sealed, row.name), what)


def _closed(work: Callable[[], object], what: str) -> Iterator[str]:
    try:
        work()
    except VaultError:
        yield what


def without_pin(connection: sa.engine.Connection, at: int) -> tuple[list[str], list[str]]:
    """The holders of a token who have no PIN, by name: those whose time to create one is over, and those who may."""
    owns = sa.exists().where(token.c.holder_id == holder.c.id, is_in_effect())
    wanted = (
        sa.select(holder.c.name, holder.c.new_pin_until)
        .where(holder.c.id != NOBODY, holder.c.pin.is_(None), owns)
        .order_by(holder.c.name)
    )
    rows = connection.execute(wanted).all()
    lapsed = [str(row.name) for row in rows if at >= (row.new_pin_until or 0)]
    return lapsed, [str(row.name) for row in rows if at < (row.new_pin_until or 0)]


def entered(connection: sa.engine.Connection, at: int, most: int) -> list[Row]:
    """Holders with a PIN who were granted a login that was enforced: holder, at, codes_left (recovery codes that work)."""
    last = (
        sa.select(audit.c.holder, sa.func.max(audit.c.at).label("at"))
        .where(audit.c.event == "login", audit.c.outcome == "granted")
        .group_by(audit.c.holder)
        .subquery()
    )
    works = sa.and_(recovery.c.used_at.is_(None), sa.or_(recovery.c.valid_until.is_(None), recovery.c.valid_until > at))
    left = sa.select(sa.func.count()).where(recovery.c.holder_id == holder.c.id, works).scalar_subquery()
    wanted = (
        sa.select(last.c.holder, last.c.at, left.label("codes_left"))
        .join(holder, holder.c.name == last.c.holder)
        .where(holder.c.pin.is_not(None))
        .order_by(last.c.at.desc())
        .limit(most)
    )
    return list(connection.execute(wanted).all())


def granted(connection: sa.engine.Connection, service: str, since: int) -> list[Row]:
    """The logins at a service that were granted since a time, the latest first: holder, at."""
    wanted = (
        sa.select(audit.c.holder, audit.c.at)
        .where(audit.c.event == "login", audit.c.outcome == "granted", audit.c.service == service, audit.c.at >= since)
        .order_by(audit.c.id.desc())
        .limit(MOST_PEOPLE)
    )
    return list(connection.execute(wanted).all())
