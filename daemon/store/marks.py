"""Single values of the store by name: the rows of its table meta."""

import sqlalchemy as sa

from .schema import meta

CLOCK_STEPPED = "clock-stepped"  # the time by the clock right after it was stepped last
KEY_EXPORTED = "key-exported"  # when the master key was last exported, in seconds since 1970 UTC


def read_time(connection: sa.engine.Connection, name: str) -> int | None:
    """A time that was noted, in seconds since 1970 UTC or in steps; None: never."""
    noted = connection.execute(sa.select(meta.c.value).where(meta.c.name == name)).scalar()
    return None if noted is None else int(bytes(noted))


def note_time(connection: sa.engine.Connection, name: str, at: int) -> None:
    """Note a time, in the place of an earlier one of that name."""
    value = str(at).encode()
    if not connection.execute(sa.update(meta).where(meta.c.name == name).values(value=value)).rowcount:
        connection.execute(sa.insert(meta).values(name=name, value=value))
