"""What the desk looks for among tokens and holders: in pages, by what the store can tell by itself."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from .inventory import IS_SOMEBODY, TOKEN, VISIBLE, Row
from .schema import State, audit, holder, origin, state_at, token

_HELD = (State.ACTIVE.value, State.DISABLED.value, State.EXPIRED.value)
_GIVEN = ("token-assign", "token-replace")  # the events that make a token a holder's


@frozen
class Wanted:
    """Which tokens; None: any. Times in seconds since 1970 UTC.

    prefix: of the serial. after: serials behind this one. unused_since: held, and no login since then, nor given to its
    holder since. ends_before: held, and its time will be over by then.
    """

    holder: str | None = None
    state: str | None = None
    prefix: str | None = None
    kind: str | None = None
    after: str | None = None
    unused_since: int | None = None
    ends_before: int | None = None


LAST_LOGIN = sa.case(
    (token.c.granted_step < 0, sa.null()),
    (token.c.kind == "totp", (token.c.granted_step - token.c.drift) * token.c.period),
    else_=token.c.used_at,
)
_GIVEN_AT = (
    sa.select(sa.func.max(audit.c.at))
    .where(audit.c.holder == holder.c.name, audit.c.serial == token.c.serial, audit.c.event.in_(_GIVEN))
    .scalar_subquery()
)


def find_tokens(connection: sa.engine.Connection, wanted: Wanted, limit: int, at: int) -> list[Row]:
    """Tokens in order of their serial, without their seeds, as they stand at a time; beside the columns: last_login_at."""
    now = state_at(sa.bindparam("at"))
    conditions: list[Any] = [VISIBLE]
    if wanted.holder is not None:
        conditions.append(holder.c.name == wanted.holder)
    if wanted.state is not None:
        conditions.append(now == wanted.state)
    if wanted.prefix is not None:
        conditions += [token.c.serial >= wanted.prefix, token.c.serial < wanted.prefix + "\U0010ffff"]
    if wanted.kind is not None:
        conditions.append(token.c.kind == wanted.kind)
    if wanted.after is not None:
        conditions.append(token.c.serial > wanted.after)
    if wanted.unused_since is not None:
        last = sa.func.coalesce(LAST_LOGIN, _GIVEN_AT, token.c.created_at)
        conditions += [holder.c.id.is_not(None), now.in_(_HELD), last < wanted.unused_since]
    if wanted.ends_before is not None:
        conditions += [now.in_(_HELD), token.c.valid_until > sa.bindparam("at"), token.c.valid_until <= wanted.ends_before]
    found = TOKEN.add_columns(LAST_LOGIN.label("last_login_at")).where(*conditions).order_by(token.c.serial).limit(limit)
    return list(connection.execute(found, {"at": at}).all())


def _has(table: sa.Table, *conditions: Any) -> Any:
    return sa.select(sa.func.count()).select_from(table).where(table.c.holder_id == holder.c.id, *conditions).scalar_subquery()


_LAST_IN = (
    sa.select(sa.func.max(audit.c.at))
    .where(audit.c.holder == holder.c.name, audit.c.event == "login", audit.c.outcome == "granted")
    .scalar_subquery()
)


def find_holders(connection: sa.engine.Connection, after: str | None, limit: int, at: int) -> list[Row]:
    """Those who have a key, a PIN or a recovery code, by name.

    id, name, has_pin, new_pin_until, last_login_at, waiting and closed (origins that wait at that time, or are closed).
    """
    wanted = (
        sa.select(
            holder.c.id,
            holder.c.name,
            holder.c.pin.is_not(None).label("has_pin"),
            holder.c.new_pin_until,
            _LAST_IN.label("last_login_at"),
            _has(origin, origin.c.wait_until > sa.bindparam("at"), sa.not_(origin.c.closed)).label("waiting"),
            _has(origin, origin.c.closed).label("closed"),
        )
        .where(IS_SOMEBODY)
        .order_by(holder.c.name)
        .limit(limit)
    )
    if after is not None:
        wanted = wanted.where(holder.c.name > after)
    return list(connection.execute(wanted, {"at": at}).all())


def keys_of(connection: sa.engine.Connection, names: Iterable[str], at: int) -> dict[str, list[Row]]:
    """The tokens (serial, state) of the holders from the first to the last of these names, by name."""
    listed = sorted(names)
    if not listed:
        return {}
    wanted = (
        sa.select(holder.c.name, token.c.serial, state_at(sa.bindparam("at")).label("state"))
        .select_from(token.join(holder, token.c.holder_id == holder.c.id))
        .where(VISIBLE, holder.c.name >= listed[0], holder.c.name <= listed[-1])
        .order_by(token.c.serial)
    )
    found: dict[str, list[Row]] = {}
    for row in connection.execute(wanted, {"at": at}).all():
        found.setdefault(str(row.name), []).append(row)
    return found
