"""An import in the store: its rows come in transactions of a thousand, staged, and count from the one that sets `done`.

Until then no reader sees them. After that, what is staged is what the rest of the row says; turning it into plain rows,
or deleting the rows of an import that came to nothing, is bookkeeping in small transactions that may stop anywhere.
"""

from typing import Any

import sqlalchemy as sa

from .inventory import Row
from .recovery import add_codes
from .schema import NOBODY, CodeKind, State, batch, holder, recovery, token

ROWS = 1000  # of an import in a transaction: logins wait no longer than for each other
AUDITED = 250  # of those that need a row of the audit each


def begin_batch(connection: sa.engine.Connection, at: int, actor: str, source: str) -> int:
    """Begin an import; returns its id."""
    values = {"started_at": at, "actor": actor, "source": source, "done": False}
    return int(connection.execute(sa.insert(batch).values(**values)).inserted_primary_key[0])


def set_done(connection: sa.engine.Connection, batch_id: int) -> None:
    """Put an import in effect, all of it."""
    connection.execute(sa.update(batch).where(batch.c.id == batch_id).values(done=True))


def list_batches(connection: sa.engine.Connection) -> list[Row]:
    """The imports that are under way, or whose bookkeeping is."""
    return list(connection.execute(sa.select(batch).order_by(batch.c.id)).all())


_SERIALS = sa.select(
    *(token.c[name] for name in ("serial", "kind", "algorithm", "digits", "period", "seed", "seed_version", "batch")),
    sa.select(batch.c.done).where(batch.c.id == token.c.batch).scalar_subquery().label("done"),
).where(token.c.serial.in_(sa.bindparam("serials", expanding=True)))
_HOLDERS = sa.select(
    *(holder.c[name] for name in ("id", "name", "batch")),
    holder.c.pin.is_not(None).label("has_pin"),
    sa.select(batch.c.done).where(batch.c.id == holder.c.batch).scalar_subquery().label("done"),
).where(holder.c.name.in_(sa.bindparam("names", expanding=True)), holder.c.id != NOBODY)
_OWNED = (
    sa.select(token.c.holder_id, sa.func.count())
    .where(
        token.c.holder_id.in_(sa.bindparam("holders", expanding=True)),
        token.c.state != State.LOST.value,  # it fills no place
        token.c.batch.is_distinct_from(sa.bindparam("but", type_=sa.Integer)),
    )
    .group_by(token.c.holder_id)
)


def find_serials(connection: sa.engine.Connection, serials: list[str]) -> dict[str, Row]:
    """Those of some serials that are taken, be it by an import under way: `done` is None for those of no import."""
    return {row.serial: row for row in connection.execute(_SERIALS, {"serials": serials}).all()}


def find_holders(connection: sa.engine.Connection, names: list[str]) -> dict[str, Row]:
    """Those of some names that are holders', be it of an import under way: id, name, has_pin, batch, done."""
    return {row.name: row for row in connection.execute(_HOLDERS, {"names": names}).all()} if names else {}


def count_owned(connection: sa.engine.Connection, holders: list[int], but: int) -> dict[int, int]:
    """How many tokens some holders have, those of the import `but` not counted."""
    if not holders:
        return {}
    return {int(row[0]): int(row[1]) for row in connection.execute(_OWNED, {"holders": holders, "but": but}).all()}


# What all have in common is part of the statement: of a million rows it would be bound a million times.
_ADD = sa.insert(token).values(
    seed_version=sa.literal_column("1"),
    state=sa.literal_column(f"'{State.STAGED.value}'"),
    why=sa.literal_column("''"),
    granted_step=sa.literal_column("-1"),
    wrong_pins=sa.literal_column("0"),
)
_ADD_HOLDERS = sa.insert(holder)


def add_staged(connection: sa.engine.Connection, batch_id: int, at: int, rows: list[dict[str, Any]]) -> None:
    """Stage tokens: serial, kind, algorithm, digits, period, seed (sealed), valid_until, holder_id, last_step, drift."""
    same = {"batch": batch_id, "created_at": at}
    connection.execute(_ADD, [{**row, **same} for row in rows])


def add_staged_holders(connection: sa.engine.Connection, batch_id: int, at: int, rows: list[dict[str, Any]]) -> dict[str, Row]:
    """Stage holders: name, pin, pin_length, pin_set_at, new_pin_until; returns them by name."""
    if not rows:
        return {}
    connection.execute(_ADD_HOLDERS, [{**row, "batch": batch_id, "created_at": at} for row in rows])
    return find_holders(connection, [row["name"] for row in rows])


def add_scratch_codes(connection: sa.engine.Connection, holder_id: int, at: int, digests: list[bytes]) -> None:
    """Give a staged holder the recovery codes that they had elsewhere: good until used."""
    add_codes(connection, holder_id, CodeKind.EMERGENCY, digests, at, None)


def settle_some(connection: sa.engine.Connection, batch_id: int, new_pin_until: int) -> list[Row] | None:
    """Turn some staged tokens of an import that is done into plain ones; None if none was left.

    Returns those that became somebody's: serial, holder, holder_id. Their holders become plain too, and may create a PIN
    until then if they have none.
    """
    staged = (
        sa.select(token.c.id, token.c.serial, token.c.state, token.c.holder_id, holder.c.name.label("holder"))
        .select_from(token.outerjoin(holder, token.c.holder_id == holder.c.id))
        .where(token.c.batch == batch_id)
        .order_by(token.c.id)
        .limit(ROWS)
    )
    rows = connection.execute(staged).all()
    if not rows:
        return None
    if any(row.holder_id is not None for row in rows):
        rows = rows[:AUDITED]
    owned = sa.case((token.c.holder_id.is_(None), State.STOCK.value), else_=State.ACTIVE.value)
    plain = sa.case((token.c.state == State.STAGED.value, owned), else_=token.c.state)
    # In the order of ids: the last one names them all.
    chunk = sa.and_(token.c.batch == batch_id, token.c.id <= rows[-1].id)
    connection.execute(sa.update(token).where(chunk).values(state=plain, batch=None))
    assigned = [row for row in rows if row.holder_id is not None and row.state == State.STAGED.value]
    if whose := sorted({row.holder_id for row in assigned}):
        mine = holder.c.id.in_(whose)
        connection.execute(sa.update(holder).where(mine, holder.c.pin.is_(None)).values(new_pin_until=new_pin_until))
        connection.execute(sa.update(holder).where(mine, holder.c.batch == batch_id).values(batch=None))
    return assigned


def undo_some(connection: sa.engine.Connection, batch_id: int) -> int:
    """Delete some rows of an import that is not done; returns how many."""
    mine = sa.select(holder.c.id).where(holder.c.batch == batch_id)
    for table in (token, recovery, holder):
        theirs = recovery.c.holder_id.in_(mine) if table is recovery else table.c.batch == batch_id
        some = sa.select(table.c.id).where(theirs).limit(ROWS)
        if gone := connection.execute(sa.delete(table).where(table.c.id.in_(some))).rowcount:
            return int(gone)
    return 0


def forget_batch(connection: sa.engine.Connection, batch_id: int) -> None:
    """Forget an import that has no staged token any more. Its row of the audit stays."""
    connection.execute(sa.update(holder).where(holder.c.batch == batch_id).values(batch=None))
    connection.execute(sa.delete(batch).where(batch.c.id == batch_id))
