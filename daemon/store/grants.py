"""Session grants as the store has them: one passcode covers further connections of a user, address and SSH key."""

from typing import Any

import sqlalchemy as sa

from .accounts import askable
from .schema import NOBODY, State, holder, is_in_effect, session_grant, state_at, token

Row = Any  # a result row: its attributes are the columns selected

_HAS_ACTIVE_TOKEN = sa.exists().where(
    token.c.holder_id == holder.c.id, state_at(sa.bindparam("at")) == State.ACTIVE.value, is_in_effect()
)
_FIND = (
    sa.select(session_grant.c.id, holder.c.id.label("holder_id"))
    .select_from(session_grant.join(holder, holder.c.id == session_grant.c.holder_id))
    .where(
        holder.c.name == sa.bindparam("name"),
        holder.c.id != NOBODY,
        holder.c.pin.is_not(None),
        session_grant.c.address == sa.bindparam("address"),
        session_grant.c.valid_until > sa.bindparam("at"),
        session_grant.c.granted_at > sa.bindparam("since"),
        _HAS_ACTIVE_TOKEN,
    )
)
_FIND_OWN = _FIND.where(
    session_grant.c.service == sa.bindparam("service"), session_grant.c.key_hash == sa.bindparam("key_hash")
)


def find_grant(
    connection: sa.engine.Connection, name: str, service: str, address: str, key_hash: bytes, at: int, since: int
) -> bool:
    """Whether a grant given after `since` covers a connection at the time `at`; the holder must still have PIN and token."""
    words = {"name": askable(name), "service": service, "address": address, "key_hash": key_hash, "at": at, "since": since}
    return connection.execute(_FIND_OWN, words).first() is not None


def find_session_grant(connection: sa.engine.Connection, name: str, address: str, at: int, since: int) -> bool:
    """Whether any service's grant to this user at this address holds: for sudo inside a session from there."""
    return connection.execute(_FIND, {"name": askable(name), "address": address, "at": at, "since": since}).first() is not None


def give_grant(
    connection: sa.engine.Connection, holder_id: int, service: str, address: str, key_hash: bytes, at: int, until: int
) -> None:
    """Give a grant, in the place of an earlier one of its kind; those whose time is over are forgotten."""
    own = {"holder_id": holder_id, "service": service, "address": address, "key_hash": key_hash}
    same = sa.and_(*(session_grant.c[name] == value for name, value in own.items()))
    connection.execute(sa.delete(session_grant).where(sa.or_(session_grant.c.valid_until <= at, same)))
    connection.execute(sa.insert(session_grant), {**own, "granted_at": at, "valid_until": until})


def list_grants(connection: sa.engine.Connection, at: int, holder_id: int | None = None) -> list[Row]:
    """The grants that hold at the time `at`, of one holder or of all; key_hash is SHA-256 of the SSH key."""
    wanted = (
        sa.select(session_grant, holder.c.name.label("holder"))
        .select_from(session_grant.join(holder, holder.c.id == session_grant.c.holder_id))
        .where(session_grant.c.valid_until > at)
        .order_by(holder.c.name, session_grant.c.granted_at)
    )
    if holder_id is not None:
        wanted = wanted.where(session_grant.c.holder_id == holder_id)
    return list(connection.execute(wanted).all())


def revoke_grants(connection: sa.engine.Connection, holder_id: int) -> int:
    """End every grant of a holder; returns how many there were."""
    return int(connection.execute(sa.delete(session_grant).where(session_grant.c.holder_id == holder_id)).rowcount)
