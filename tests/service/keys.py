"""Keys in any state, put into the store of a test as years of use would leave them there."""

import time
from typing import Any

import sqlalchemy as sa
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.inventory import NewToken, add_holder, add_token, find_holder
from arenad.store.schema import NOBODY, State, audit, failure, holder, origin, recovery, request, session_grant, stranger
from arenad.store.schema import token as token_table
from arenad.vault import Vault
from seeds import make_seed

from pam_arena.otp import Mechanism, tokencode
from pam_arena.secret import Secret

OWNED = {State.ACTIVE, State.DISABLED, State.EXPIRED, State.LOST}
DAY = 86400


def put(
    service: Service,
    serial: str,
    state: State = State.ACTIVE,
    user: str | None = None,
    *,
    mechanism: Mechanism | None = None,
    **values: Any,
) -> Secret:
    """Put a key there, a holder's if its state has one; values: columns of its row. Returns its seed."""
    mechanism = mechanism or Mechanism()
    seed, now, stored = Secret(make_seed(mechanism.period, mechanism.algorithm)), int(time.time()), state
    if state is State.EXPIRED:
        stored, values = State.ACTIVE, {"valid_until": now - 1, **values}
    name = user or (f"h-{serial}" if state in OWNED else None)
    with make_engine(service.url).begin() as connection:
        whose = None
        if name is not None:
            known = find_holder(connection, name)
            whose = known.id if known is not None else add_holder(connection, name, now, new_pin_until=now + 14 * DAY)
        sealed = Vault(Secret(service.key)).seal_seed(seed, serial, 1)
        add_token(connection, NewToken(serial, mechanism, sealed), now, stored, whose)
        if values:
            connection.execute(sa.update(token_table).where(token_table.c.serial == serial).values(**values))
    return seed


def empty(service: Service) -> None:
    """Take everything from the store but the decoys, and what nobody's holder has."""
    with make_engine(service.url).begin() as connection:
        for table in (request, recovery, session_grant, origin, failure, stranger, audit):
            connection.execute(sa.delete(table))
        connection.execute(sa.delete(token_table).where(token_table.c.state != State.DECOY.value))
        connection.execute(sa.delete(holder).where(holder.c.id != NOBODY))


def code_of(seed: Secret, mechanism: Mechanism, ahead: int = 0) -> str:
    """What a key shows now, or so many steps later."""
    return tokencode(seed, mechanism, mechanism.step_at(time.time()) + ahead)
