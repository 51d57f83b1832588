"""What a login reads and writes: one account in, one attempt's marks out. No lookup grows with the number of tokens."""

from typing import Any

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy.dialects.sqlite import insert

from pam_arena.otp import Algorithm, Kind, Mechanism

from .ahead import is_unburnt
from .schema import NOBODY, State, failure, holder, is_holder, is_in_effect, origin, state_at, token
from .statement import Statement

SLOTS = 3  # tokens that an attempt works on, whatever the holder owns
YEAR_DAYS = 365  # failures of that many days are counted together
DAY = 86400  # seconds


@frozen
class Slot:
    """One token as the store has it; real is False for a decoy."""

    id: int
    serial: str
    mechanism: Mechanism
    seed: bytes
    seed_version: int
    state: State
    last_step: int
    granted_step: int
    drift: int
    wrong_pins: int

    @property
    def real(self) -> bool:
        return self.state is not State.DECOY


@frozen
class Standing:
    """How an origin stands with a holder: failures since the last success, and the wait they brought."""

    kind: str
    key: str
    failures: int = 0
    wait_until: int = 0
    closed: bool = False
    granted_at: int = 0


@frozen
class Account:
    """A holder with three tokens, or nobody with three decoys. owner is the name that the sealed PIN belongs to.

    year_failures: counted failures of the last 365 days, over all origins.
    """

    holder_id: int
    owner: str
    pin: bytes
    pin_length: bytes
    has_pin: bool
    pin_set_at: int
    new_pin_until: int
    year_failures: int
    slots: tuple[Slot, ...]
    standings: tuple[Standing, ...]

    @property
    def real(self) -> bool:
        return self.holder_id != NOBODY


def _is_owned() -> Any:
    """A token that is only meant for its holder, and has shown no right code yet, is none of theirs to a login."""
    return token.c.state.not_in(_words(State.UNPROVEN, State.REQUESTED))


def _words(*states: State) -> list[Any]:
    return [sa.literal_column(f"'{state.value}'") for state in states]


_STATE_NOW = state_at(sa.bindparam("at"))

# Whom the slots are for first: a key that was lost years ago must not push out one that works, nor one the desk may enable.
_RANK = sa.case(
    (_STATE_NOW.in_(_words(State.EXPIRED, State.DISABLED)), 1), (_STATE_NOW.in_(_words(State.LOST, State.RETIRED)), 2), else_=0
)
_FIRST_DECOY = sa.select(sa.func.min(token.c.id)).where(token.c.holder_id == NOBODY).scalar_subquery()
# A decoy for the PIN of one who has none, the holder's own tokens, then decoys for what is missing: as many rows for a
# holder of three tokens as for one of none, because each takes its time to read.
_PLACE = sa.case((token.c.id == _FIRST_DECOY, 0), (holder.c.id != NOBODY, 1 + _RANK), else_=4)
_TOKENS = Statement(
    sa.select(
        holder.c.id.label("holder_id"),
        holder.c.name,
        holder.c.pin,
        holder.c.pin_length,
        holder.c.pin_set_at,
        holder.c.new_pin_until,
        sa.select(sa.func.coalesce(sa.func.sum(failure.c.count), 0))
        .where(failure.c.holder_id == holder.c.id, failure.c.day > sa.bindparam("since"))
        .scalar_subquery()
        .label("year_failures"),
        token.c.id,
        token.c.serial,
        token.c.kind,
        token.c.algorithm,
        token.c.digits,
        token.c.period,
        token.c.seed,
        token.c.seed_version,
        _STATE_NOW.label("state"),
        token.c.last_step,
        token.c.granted_step,
        token.c.drift,
        token.c.wrong_pins,
    )
    .select_from(holder.outerjoin(token, sa.and_(token.c.holder_id == holder.c.id, is_in_effect(), _is_owned())))
    .where(sa.or_(holder.c.name == sa.bindparam("asked"), holder.c.name == ""), is_holder())
    .order_by(_PLACE, token.c.id)
    .limit(SLOTS + 1)
)
_STANDINGS = Statement(
    sa.select(origin).where(
        origin.c.holder_id == sa.bindparam("holder"),
        origin.c.kind == sa.bindparam("kind"),
        sa.or_(origin.c.key == sa.bindparam("key"), origin.c.key == ""),
    )
)


def read_account(connection: sa.engine.Connection, name: str, at: float, kind: str, key: str) -> Account:
    """The account of a name, filled up with decoys; nobody's for a name that is no holder's.

    Of its origins, those that an attempt from `kind` and `key` at the time `at` may stand with.
    """
    rows = _TOKENS.all(connection, {"asked": askable(name), "at": int(at), "since": int(at) // DAY - YEAR_DAYS})
    decoys = [row for row in rows if row.holder_id == NOBODY]
    mine = [row for row in rows if row.holder_id != NOBODY]
    tokens = [row for row in mine if row.id is not None]
    head = mine[0] if mine else decoys[0]
    pinned = head if head.pin is not None else decoys[0]
    standings = _STANDINGS.all(connection, {"holder": head.holder_id, "kind": kind, "key": key})
    return Account(
        head.holder_id,
        pinned.name,
        pinned.pin,
        pinned.pin_length or b"",
        head.pin is not None,
        head.pin_set_at or 0,
        head.new_pin_until or 0,
        head.year_failures,
        tuple(_slot(row) for row in [*tokens, *decoys][:SLOTS]),
        tuple(Standing(s.kind, s.key, s.failures, s.wait_until, bool(s.closed), s.granted_at) for s in standings),
    )


def askable(name: str) -> str:
    """A name that no system would give is looked up as one that no holder has: the empty one, nobody's."""
    return name if name.isprintable() and len(name.encode("utf-8", "replace")) <= 255 else ""


_KNOWN = Statement(
    sa.select(origin.c.granted_at)
    .select_from(origin.join(holder, holder.c.id == origin.c.holder_id))
    .where(holder.c.name == sa.bindparam("asked"), origin.c.kind == sa.bindparam("kind"), origin.c.key == sa.bindparam("key"))
)


def last_granted(connection: sa.engine.Connection, name: str, kind: str, key: str) -> int:
    """When an origin last opened the door for a holder, in seconds since 1970; 0: never."""
    return int(_KNOWN.scalar(connection, {"asked": askable(name), "kind": kind, "key": key}) or 0)


def _slot(row: "sa.engine.Row[tuple[object, ...]]") -> Slot:
    mechanism = Mechanism(Kind(row.kind), Algorithm(row.algorithm), row.digits, row.period)
    return Slot(
        row.id,
        row.serial,
        mechanism,
        row.seed,
        row.seed_version,
        State(row.state),
        row.last_step,
        row.granted_step,
        row.drift,
        row.wrong_pins,
    )


_OWNED = Statement(
    sa.select(state_at(sa.bindparam("at")))
    .select_from(token.join(holder, token.c.holder_id == holder.c.id))
    .where(holder.c.name == sa.bindparam("asked"), holder.c.id != NOBODY, is_in_effect(), _is_owned())
)


def active_tokens(connection: sa.engine.Connection, name: str, at: int) -> tuple[int, int]:
    """How many tokens a name has at a time: (active, all); a lost one is one of all, or losing it would open doors."""
    states = [row[0] for row in _OWNED.all(connection, {"asked": askable(name), "at": at})]
    return states.count(State.ACTIVE), len(states)


_SPEND = Statement(
    sa.update(token)
    .where(
        token.c.id == sa.bindparam("slot"),
        token.c.last_step < sa.bindparam("step"),
        is_unburnt(sa.bindparam("step", type_=sa.Integer)),
    )
    .values(last_step=sa.bindparam("step"))
)
_STATE = Statement(sa.select(state_at(sa.bindparam("at"))).where(token.c.id == sa.bindparam("slot"), is_in_effect()))


def spend(connection: sa.engine.Connection, slot: Slot, step: int, at: int) -> bool:
    """Use up a step, once, whatever the token's state: False if it, or a later one, was used, or the token is not active."""
    fresh = bool(_SPEND.change(connection, {"slot": slot.id, "step": step}))
    # Asked here again: the desk may have disabled it since the account was read.
    state = _STATE.scalar(connection, {"slot": slot.id, "at": at})
    return fresh and state in (State.ACTIVE, State.DECOY)


# Added to what stands there by now: the desk, or another arenad, may have written since the account was read.
_TOO_MANY = sa.and_(sa.bindparam("wrong") > 0, token.c.wrong_pins + sa.bindparam("wrong") >= sa.bindparam("limit"))
_MARK = Statement(
    sa.update(token)
    .where(token.c.id == sa.bindparam("slot"))
    .values(
        granted_step=sa.case((sa.bindparam("granted") >= 0, sa.bindparam("granted")), else_=token.c.granted_step),
        drift=token.c.drift + sa.bindparam("learnt"),
        wrong_pins=sa.case((sa.bindparam("granted") >= 0, 0), else_=token.c.wrong_pins + sa.bindparam("wrong")),
        used_at=sa.bindparam("at"),
        state=sa.case((_TOO_MANY, State.DISABLED.value), else_=token.c.state),
        why=sa.case(
            (_TOO_MANY, sa.cast(token.c.wrong_pins + sa.bindparam("wrong"), sa.Text) + " right codes with a wrong PIN"),
            else_=token.c.why,
        ),
    )
)


def mark(
    connection: sa.engine.Connection, slot: Slot, *, granted_step: int, learnt: int, wrong_pin: bool, limit: int, at: int
) -> None:
    """Write what an attempt changed of a token: the step that opened, -1 if none did, and the steps of drift it showed.

    A right code with a wrong PIN is counted, and the `limit`th since the last success disables the token.
    """
    values = {"granted": granted_step, "learnt": learnt, "wrong": int(wrong_pin), "limit": limit, "at": at}
    _MARK.change(connection, {"slot": slot.id, **values})


# One statement whether the row is there or not: how long a denial takes must not tell whether others came before it.
# PostgreSQL's insert has the same words for it.
_STANDING = insert(origin).values(
    holder_id=sa.bindparam("whose"),
    kind=sa.bindparam("what"),
    key=sa.bindparam("where"),
    failures=sa.bindparam("failed"),
    wait_until=sa.bindparam("until"),
    closed=sa.bindparam("shut"),
    granted_at=sa.bindparam("granted"),
)
_STAND = Statement(
    _STANDING.on_conflict_do_update(
        index_elements=[origin.c.holder_id, origin.c.kind, origin.c.key],
        set_={name: _STANDING.excluded[name] for name in ("failures", "wait_until", "closed", "granted_at")},
    )
)


def write_standing(connection: sa.engine.Connection, holder_id: int, standing: Standing) -> None:
    """Store how an origin stands now."""
    values = {
        "whose": holder_id,
        "what": standing.kind,
        "where": standing.key,
        "failed": standing.failures,
        "until": standing.wait_until,
        "shut": standing.closed,
        "granted": standing.granted_at,
    }
    _STAND.change(connection, values)


_STALE = Statement(
    sa.delete(origin).where(
        origin.c.holder_id == sa.bindparam("whose"),
        origin.c.kind == "remote",
        origin.c.key != "",
        origin.c.granted_at <= sa.bindparam("before"),
    )
)


def forget_addresses(connection: sa.engine.Connection, holder_id: int, before: int) -> None:
    """Forget the addresses that did not open the door after `before`: they stand with all others again."""
    _STALE.change(connection, {"whose": holder_id, "before": before})


_FAILURE = insert(failure).values(
    holder_id=sa.bindparam("whose"), day=sa.bindparam("today"), count=sa.bindparam("more", type_=sa.Integer)
)
_FAILED = Statement(
    _FAILURE.on_conflict_do_update(
        index_elements=[failure.c.holder_id, failure.c.day], set_={"count": failure.c.count + _FAILURE.excluded["count"]}
    )
)
_FORGET = Statement(
    sa.delete(failure).where(failure.c.holder_id == sa.bindparam("whose"), failure.c.day <= sa.bindparam("before"))
)


def count_failures(connection: sa.engine.Connection, holder_id: int, at: float, more: int) -> None:
    """Add to the failures of today, and forget those of a year ago: 365 rows a holder at most."""
    today = int(at) // DAY
    _FAILED.change(connection, {"whose": holder_id, "today": today, "more": more})
    _FORGET.change(connection, {"whose": holder_id, "before": today - YEAR_DAYS})


_PIN = (
    sa.update(holder)
    .where(holder.c.id == sa.bindparam("whose"), holder.c.pin.is_not_distinct_from(sa.bindparam("before")))
    .values(
        pin=sa.bindparam("sealed"),
        pin_length=sa.bindparam("length"),
        pin_history=sa.bindparam("history"),
        pin_set_at=sa.bindparam("at"),
        new_pin_until=None,
    )
)


def set_pin(
    connection: sa.engine.Connection,
    holder_id: int,
    before: bytes | None,
    sealed: bytes,
    length: bytes,
    history: bytes | None,
    at: int,
) -> bool:
    """Give a holder the PIN that they chose; False if it is not `before` any more that they had."""
    values = {"sealed": sealed, "length": length, "history": history, "at": at}
    return bool(connection.execute(_PIN, {"whose": holder_id, "before": before, **values}).rowcount)


def read_history(connection: sa.engine.Connection, holder_id: int) -> bytes | None:
    """The sealed hashes of earlier PINs."""
    sealed = connection.execute(sa.select(holder.c.pin_history).where(holder.c.id == holder_id)).scalar()
    return None if sealed is None else bytes(sealed)
