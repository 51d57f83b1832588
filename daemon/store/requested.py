"""The open request for a token, as far as assigning the token decides it."""

import sqlalchemy as sa

from pam_arena.errors import Refusal

from .schema import RequestState, request, token


def settle_request(connection: sa.engine.Connection, token_id: int, serial: str, name: str, actor: str, at: int) -> None:
    """Approve the open request of a holder for a token. Raises Refusal if somebody else asked for it."""
    mine = sa.and_(request.c.token_id == token_id, request.c.state == RequestState.OPEN.value)
    asking = connection.execute(sa.select(request.c.id, request.c.holder).where(mine)).all()
    for row in asking:
        if row.holder != name:
            raise Refusal(f"token {serial} is requested by {row.holder}: arenactl request reject {row.id} first")
    if asking:
        decided = {"state": RequestState.APPROVED.value, "decided_at": at, "decided_by": actor}
        connection.execute(sa.update(request).where(mine).values(**decided))


def drop_requests(connection: sa.engine.Connection, name: str, why: str, actor: str, at: int) -> list[int]:
    """Reject the open requests of a name; returns the ids of the tokens that were asked for."""
    mine = sa.and_(request.c.holder == name, request.c.state == RequestState.OPEN.value)
    tokens = [int(row.token_id) for row in connection.execute(sa.select(request.c.token_id).where(mine)).all()]
    decided = {"state": RequestState.REJECTED.value, "why": why, "decided_at": at, "decided_by": actor}
    connection.execute(sa.update(request).where(mine).values(**decided))
    return tokens


def open_request(connection: sa.engine.Connection, name: str) -> str | None:
    """The serial of a token whose activation a name has asked for, if that is not decided yet."""
    wanted = (
        sa.select(token.c.serial)
        .select_from(request.join(token, token.c.id == request.c.token_id))
        .where(request.c.holder == name, request.c.state == RequestState.OPEN.value)
        .order_by(request.c.id)
        .limit(1)
    )
    return connection.execute(wanted).scalar()
