"""Recovery codes as the store has them: only a keyed digest of each, spent by one conditional UPDATE like a step."""

from collections.abc import Callable

import sqlalchemy as sa
from attrs import frozen

from pam_arena import recovery as codes

from .schema import NOBODY, CodeKind, holder, is_holder, recovery
from .statement import Statement


@frozen
class Code:
    """One recovery code of a holder. Times in seconds since 1970; valid_until None: until it is used."""

    id: int
    kind: CodeKind
    valid_until: int | None
    used_at: int | None

    def is_valid(self, now: float) -> bool:
        """Whether it may still be used, as far as this row knows."""
        return self.used_at is None and (self.valid_until is None or now < self.valid_until)


_FIND = Statement(
    sa.select(recovery.c.id, recovery.c.kind, recovery.c.valid_until, recovery.c.used_at).where(
        recovery.c.holder_id == sa.bindparam("whose"), recovery.c.digest == sa.bindparam("typed")
    )
)
_SPEND = Statement(
    sa.update(recovery)
    .where(
        recovery.c.id == sa.bindparam("code"),
        recovery.c.used_at.is_(None),
        sa.or_(recovery.c.valid_until.is_(None), recovery.c.valid_until > sa.bindparam("at")),
    )
    .values(used_at=sa.bindparam("at"))
)
_USABLE = sa.and_(
    recovery.c.holder_id == sa.bindparam("whose"),
    recovery.c.used_at.is_(None),
    sa.or_(recovery.c.valid_until.is_(None), recovery.c.valid_until > sa.bindparam("at")),
)
_LEFT = sa.select(sa.func.count()).select_from(recovery).where(_USABLE, recovery.c.kind != CodeKind.MAIL.value)
_MAILED = (
    sa.select(sa.func.count())
    .select_from(recovery)
    .where(
        recovery.c.holder_id == sa.bindparam("whose"),
        recovery.c.kind == CodeKind.MAIL.value,
        recovery.c.created_at > sa.bindparam("since"),
    )
)


def find_code(connection: sa.engine.Connection, holder_id: int, digest: bytes) -> Code | None:
    """The code of a holder that has this digest."""
    row = _FIND.first(connection, {"whose": holder_id, "typed": digest})
    return None if row is None else Code(row.id, CodeKind(row.kind), row.valid_until, row.used_at)


def spend_code(connection: sa.engine.Connection, code_id: int, at: int) -> bool:
    """Use up a code, once: False if it was used before, or its time is over."""
    return bool(_SPEND.change(connection, {"code": code_id, "at": at}))


def count_left(connection: sa.engine.Connection, holder_id: int, at: int) -> int:
    """How many codes of a holder may still be used, those sent by mail not counted."""
    return int(connection.execute(_LEFT, {"whose": holder_id, "at": at}).scalar() or 0)


def has_usable_code(connection: sa.engine.Connection, name: str, at: int) -> bool:
    """Whether a name has a code that the desk gave out and that may still be used."""
    found = sa.select(holder.c.id).where(holder.c.name == name, is_holder())
    whose = connection.execute(found).scalar()
    return whose is not None and count_left(connection, whose, at) > 0


def count_mailed(connection: sa.engine.Connection, holder_id: int, since: int) -> int:
    """How many codes were mailed to a holder after `since`."""
    return int(connection.execute(_MAILED, {"whose": holder_id, "since": since}).scalar() or 0)


def add_codes(
    connection: sa.engine.Connection, holder_id: int, kind: CodeKind, digests: list[bytes], at: int, valid_until: int | None
) -> None:
    """Add codes to a holder."""
    same = {"holder_id": holder_id, "kind": kind.value, "created_at": at, "valid_until": valid_until, "used_at": None}
    connection.execute(sa.insert(recovery), [{"digest": digest, **same} for digest in digests])


def drop_codes(connection: sa.engine.Connection, holder_id: int, kind: CodeKind) -> int:
    """Take the codes of a kind from a holder, used ones too; returns how many could still have been used."""
    usable = sa.select(sa.func.count()).select_from(recovery)
    mine = sa.and_(recovery.c.holder_id == holder_id, recovery.c.kind == kind.value)
    left = connection.execute(usable.where(mine, recovery.c.used_at.is_(None))).scalar()
    connection.execute(sa.delete(recovery).where(mine))
    return int(left or 0)


def replace_codes(
    connection: sa.engine.Connection,
    holder_id: int,
    kind: CodeKind,
    count: int,
    digest: Callable[[str], bytes],
    at: int,
    valid_until: int | None,
) -> tuple[list[str], int]:
    """Make new codes of a kind in the place of the older ones: the codes, and how many could still have been used."""
    made: list[str] = []
    while len(made) < count:  # a code drawn twice would be one code less
        if (code := codes.make()) not in made:
            made.append(code)
    replaced = drop_codes(connection, holder_id, kind)
    add_codes(connection, holder_id, kind, [digest(code) for code in made], at, valid_until)
    return made, replaced


_FORGET = sa.delete(recovery).where(
    recovery.c.holder_id.in_([sa.bindparam("whose"), NOBODY]),
    recovery.c.kind == CodeKind.MAIL.value,
    recovery.c.created_at <= sa.bindparam("before"),
)


def forget_mailed(connection: sa.engine.Connection, holder_id: int, before: int) -> None:
    """Forget the codes that were mailed to a holder up to `before`, and those made for nobody."""
    connection.execute(_FORGET, {"whose": holder_id, "before": before})
