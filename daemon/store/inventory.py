"""What the desk reads and writes: holders, tokens, waits. Every change is to go with its audit row in one transaction."""

from typing import Any

import sqlalchemy as sa
from attrs import frozen

from pam_arena.otp import Mechanism

from .schema import (
    NOBODY,
    CodeKind,
    State,
    audit,
    holder,
    is_held,
    is_holder,
    is_in_effect,
    origin,
    recovery,
    state_at,
    stranger,
    token,
)

Row = Any  # a result row: its attributes are the columns selected


@frozen
class NewToken:
    """A token to be added; seed is sealed. last_step: no code up to it will work."""

    serial: str
    mechanism: Mechanism
    seed: bytes
    last_step: int = -1


def add_token(connection: sa.engine.Connection, new: NewToken, at: int, state: State, holder_id: int | None = None) -> None:
    """Add a token. The database refuses a serial that exists (IntegrityError)."""
    connection.execute(
        sa.insert(token).values(
            serial=new.serial,
            kind=new.mechanism.kind.value,
            algorithm=new.mechanism.algorithm.value,
            digits=new.mechanism.digits,
            period=new.mechanism.period,
            seed=new.seed,
            seed_version=1,
            state=state.value,
            why="",
            holder_id=holder_id,
            last_step=new.last_step,
            granted_step=-1,
            drift=0,
            wrong_pins=0,
            created_at=at,
        )
    )


def add_holder(connection: sa.engine.Connection, name: str, at: int, **values: Any) -> int:
    """Add a holder; returns the id."""
    result = connection.execute(sa.insert(holder).values(name=name, created_at=at, **values))
    return int(result.inserted_primary_key[0])


def find_holder(connection: sa.engine.Connection, name: str) -> Row | None:
    """A holder by name; nobody is none, and neither is one of an import that is still under way."""
    return connection.execute(sa.select(holder).where(holder.c.name == name, holder.c.id != NOBODY, is_holder())).first()


def is_staged(connection: sa.engine.Connection, name: str) -> bool:
    """Whether a name is one that an import brings which is still under way."""
    wanted = sa.select(holder.c.id).where(holder.c.name == name, sa.not_(is_holder()))
    return connection.execute(wanted).first() is not None


_RESTORED: Any = sa.literal_column("'restored from a backup: arenactl token resync '")
TOKEN = sa.select(
    token.c.id,
    token.c.serial,
    token.c.kind,
    token.c.algorithm,
    token.c.digits,
    token.c.period,
    state_at(sa.bindparam("at")).label("state"),
    sa.case((is_held(), _RESTORED.concat(token.c.serial)), else_=token.c.why).label("why"),
    token.c.valid_until,
    sa.case((token.c.kind == "hotp", 0), else_=token.c.drift).label("drift"),
    token.c.wrong_pins,
    token.c.last_step,
    token.c.granted_step,
    token.c.created_at,
    token.c.used_at,
    token.c.holder_id,
    holder.c.name.label("holder"),
).select_from(token.outerjoin(holder, token.c.holder_id == holder.c.id))
VISIBLE = sa.and_(token.c.state != State.DECOY.value, is_in_effect())  # a decoy, or a token that is being imported, is nobody's


# One who has left keeps no more than a name. A holder that is being imported is not there yet.
IS_SOMEBODY = sa.and_(
    holder.c.id != NOBODY,
    is_holder(),
    sa.or_(
        holder.c.pin.is_not(None),
        sa.exists().where(token.c.holder_id == holder.c.id, is_in_effect()),
        sa.exists().where(
            recovery.c.holder_id == holder.c.id, recovery.c.kind != CodeKind.MAIL.value, recovery.c.used_at.is_(None)
        ),
    ),
)


def find_token(connection: sa.engine.Connection, serial: str, at: int) -> Row | None:
    """A token by its serial number, without its seed, as it stands at a time."""
    return connection.execute(TOKEN.where(token.c.serial == serial, VISIBLE), {"at": at}).first()


def serial_exists(connection: sa.engine.Connection, serial: str) -> bool:
    """Whether a serial is taken, be it by an import under way."""
    return connection.execute(sa.select(token.c.id).where(token.c.serial == serial)).first() is not None


def read_seed(connection: sa.engine.Connection, token_id: int) -> Row:
    """The sealed seed of a token: seed, seed_version."""
    return connection.execute(sa.select(token.c.seed, token.c.seed_version).where(token.c.id == token_id)).one()


def list_tokens(connection: sa.engine.Connection, holder_name: str | None, state: str | None, limit: int, at: int) -> list[Row]:
    """Tokens in order of their serial, without their seeds, as they stand at a time."""
    wanted = TOKEN.where(VISIBLE).order_by(token.c.serial).limit(limit)
    if holder_name is not None:
        wanted = wanted.where(holder.c.name == holder_name)
    if state is not None:
        wanted = wanted.where(state_at(sa.bindparam("at")) == state)
    return list(connection.execute(wanted, {"at": at}).all())


def count_tokens(connection: sa.engine.Connection, at: int) -> dict[str, int]:
    """How many tokens are in each state at a time."""
    state = state_at(sa.bindparam("at")).label("now")
    counted = sa.select(state, sa.func.count()).where(VISIBLE).group_by(state)
    return {str(row[0]): int(row[1]) for row in connection.execute(counted, {"at": at}).all()}


def count_holders(connection: sa.engine.Connection) -> tuple[int, int]:
    """How many holders have a PIN, and how many have none."""
    counted = sa.select(sa.func.count(), sa.func.count(holder.c.pin)).where(IS_SOMEBODY)
    everybody, with_pin = connection.execute(counted).one()
    return int(with_pin), int(everybody - with_pin)


def update_token(connection: sa.engine.Connection, token_id: int, **values: Any) -> None:
    """Change columns of a token."""
    connection.execute(sa.update(token).where(token.c.id == token_id).values(**values))


def update_holder(connection: sa.engine.Connection, holder_id: int, **values: Any) -> None:
    """Change columns of a holder."""
    connection.execute(sa.update(holder).where(holder.c.id == holder_id).values(**values))


def read_address(connection: sa.engine.Connection, holder_id: int) -> Row:
    """Where a holder gets mail, as far as the desk noted it: mail, language."""
    return connection.execute(sa.select(holder.c.mail, holder.c.language).where(holder.c.id == holder_id)).one()


def clear_waits(connection: sa.engine.Connection, holder_id: int) -> int:
    """Let every origin of a holder try again; returns how many were waiting or counting."""
    touched = connection.execute(
        sa.update(origin)
        .where(origin.c.holder_id == holder_id, sa.or_(origin.c.failures > 0, origin.c.closed))
        .values(failures=0, wait_until=0, closed=False)
    )
    return int(touched.rowcount)


def find_by_ref(connection: sa.engine.Connection, ref: str) -> Row | None:
    """What was noted under a failure reference of a holder."""
    return connection.execute(sa.select(audit).where(audit.c.ref == ref)).first()


def find_stranger_by_ref(connection: sa.engine.Connection, ref: str) -> Row | None:
    """What was noted under a failure reference of someone who is no holder."""
    return connection.execute(sa.select(stranger).where(stranger.c.ref == ref)).first()
