"""Requests as the store has them: a holder's wish to have a key activated, from its beginning to the desk's decision."""

from typing import Any

import sqlalchemy as sa

from pam_arena.errors import Refusal

from .schema import NOBODY, RequestState, State, audit, holder, is_in_effect, request, state_at, token

Row = Any  # a result row: its attributes are the columns selected

EVENT = "key-request"  # the audit's name of a holder's own request
_OPEN = request.c.state == RequestState.OPEN.value
_REQUEST = sa.select(request, token.c.serial, token.c.digits, state_at(sa.bindparam("now")).label("token_state")).select_from(
    request.join(token, token.c.id == request.c.token_id)
)


def add_request(
    connection: sa.engine.Connection,
    token_id: int,
    name: str,
    at: int,
    actor: str,
    *,
    proven: bool = False,
    ticket: str = "",
    valid_until: int | None = None,
) -> int:
    """Add an open request, and make its token requested; returns the id."""
    mark_requested(connection, token_id, name)
    values = {"proven": proven, "ticket": ticket, "valid_until": valid_until, "why": "", "decided_by": ""}
    row = {"token_id": token_id, "holder": name, "at": at, "actor": actor, "state": RequestState.OPEN.value, **values}
    return int(connection.execute(sa.insert(request), row).inserted_primary_key[0])


def mark_requested(connection: sa.engine.Connection, token_id: int, name: str) -> None:
    """Make a token requested: nobody's yet, and no code of it opens anything."""
    values = {"state": State.REQUESTED.value, "why": f"requested for {name}", "batch": None}
    connection.execute(sa.update(token).where(token.c.id == token_id).values(**values))


def prove_request(connection: sa.engine.Connection, request_id: int) -> None:
    """Note that the holder showed two codes of the key after all."""
    connection.execute(sa.update(request).where(request.c.id == request_id).values(proven=True))


def decide_request(
    connection: sa.engine.Connection, request_id: int, state: RequestState, at: int, actor: str, why: str = ""
) -> None:
    """Close an open request."""
    values = {"state": state.value, "why": why, "decided_at": at, "decided_by": actor}
    connection.execute(sa.update(request).where(request.c.id == request_id, _OPEN).values(**values))


def settle_request(connection: sa.engine.Connection, token_id: int, serial: str, name: str, actor: str, at: int) -> None:
    """Approve the open request of a holder for a token. Raises Refusal if somebody else asked for it."""
    asking = connection.execute(sa.select(request.c.id, request.c.holder).where(_OPEN, request.c.token_id == token_id)).all()
    for row in asking:
        if row.holder != name:
            raise Refusal(f"token {serial} is requested by {row.holder}: arenactl request reject {row.id} first")
        decide_request(connection, row.id, RequestState.APPROVED, at, actor)


def drop_requests(connection: sa.engine.Connection, name: str, why: str, actor: str, at: int) -> list[int]:
    """Reject the open requests of a name; returns the ids of the tokens that were asked for."""
    asking = connection.execute(sa.select(request.c.id, request.c.token_id).where(_OPEN, request.c.holder == name)).all()
    for row in asking:
        decide_request(connection, row.id, RequestState.REJECTED, at, actor, why)
    return [int(row.token_id) for row in asking]


def open_request_of(connection: sa.engine.Connection, serial: str, at: int) -> Row | None:
    """The open request for the token of a serial."""
    return connection.execute(_REQUEST.where(_OPEN, token.c.serial == serial), {"now": at}).first()


def find_request(connection: sa.engine.Connection, request_id: int, at: int) -> Row | None:
    """A request by its id."""
    return connection.execute(_REQUEST.where(request.c.id == request_id), {"now": at}).first()


def list_requests(
    connection: sa.engine.Connection, at: int, *, state: str | None = None, name: str | None = None, limit: int
) -> list[Row]:
    """Requests, the latest first: of a state, of a name, or all."""
    wanted = _REQUEST.order_by(request.c.id.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(request.c.state == state)
    if name is not None:
        wanted = wanted.where(request.c.holder == name)
    return list(connection.execute(wanted, {"now": at}).all())


_COUNT_OPEN = sa.select(sa.func.count()).select_from(request).where(_OPEN, request.c.holder == sa.bindparam("name"))
_COUNT_DENIED = (
    sa.select(sa.func.count())
    .select_from(audit)
    .where(
        audit.c.holder == sa.bindparam("name"),
        audit.c.event == EVENT,
        audit.c.outcome == "denied",
        audit.c.actor == sa.bindparam("actor"),
        audit.c.at > sa.bindparam("since"),
    )
)


def count_open(connection: sa.engine.Connection, name: str) -> int:
    """How many requests of a name wait for the desk."""
    return int(connection.execute(_COUNT_OPEN, {"name": name}).scalar() or 0)


def count_denied(connection: sa.engine.Connection, name: str, actor: str, since: int) -> int:
    """How many requests of an actor for a name were denied after `since`."""
    return int(connection.execute(_COUNT_DENIED, {"name": name, "actor": actor, "since": since}).scalar() or 0)


_CLAIMED = (
    sa.select(token, state_at(sa.bindparam("now")).label("state_now"), holder.c.name.label("holder"))
    .select_from(token.outerjoin(holder, token.c.holder_id == holder.c.id))
    .where(
        sa.or_(
            sa.and_(token.c.serial == sa.bindparam("typed"), token.c.state != State.DECOY.value, is_in_effect()),
            token.c.holder_id == NOBODY,
        )
    )
    .order_by(token.c.holder_id == NOBODY, token.c.id)
)
_SPEND_TWO = (
    sa.update(token)
    .where(token.c.id == sa.bindparam("which"), token.c.last_step < sa.bindparam("first"))
    .values(last_step=sa.bindparam("first", type_=sa.Integer) + 1)
)


def read_claimed(connection: sa.engine.Connection, serial: str, at: int) -> Row:
    """The token of a serial with its sealed seed, or a decoy: `state_now` tells which."""
    rows = connection.execute(_CLAIMED, {"typed": serial, "now": at}).all()
    return next((row for row in rows if row.holder_id != NOBODY or row.holder_id is None), rows[0])


def spend_two(connection: sa.engine.Connection, token_id: int, first: int) -> bool:
    """Use up a step and the next, once; False if the first, or a later one, was used."""
    return bool(connection.execute(_SPEND_TWO, {"which": token_id, "first": first}).rowcount)
