"""The writer: one thread that outlives whatever becomes of the jobs and of those who wait for them."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from arenad.store.engine import open_store
from arenad.store.migrate import migrate
from arenad.store.schema import OPENS_FROM, meta
from arenad.store.writer import Writer

from pam_arena.errors import StoreError


def test_a_cancelled_or_failed_job_spoils_no_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/arena.db"
    migrate(url)
    writer = Writer(open_store(url))
    begun, go_on = threading.Event(), threading.Event()

    def put(name: str, connection: sa.engine.Connection) -> str:
        connection.execute(sa.insert(meta).values(name=name, value=b""))
        return name

    def hold(connection: sa.engine.Connection) -> str:
        begun.set()
        assert go_on.wait(10)
        return put("held", connection)

    try:
        held = writer.submit(hold)
        assert begun.wait(10)
        cancelled = writer.submit(lambda connection: put("cancelled", connection))
        twice = writer.submit(lambda connection: put("held", connection))
        after = writer.submit(lambda connection: put("after", connection))
        assert cancelled.cancel()
        assert not held.cancel()
        go_on.set()
        assert (held.result(10), after.result(10)) == ("held", "after")
        with pytest.raises(StoreError):
            twice.result(10)
        names = writer.submit(lambda connection: connection.execute(sa.select(meta.c.name)).scalars().all()).result(10)
        assert set(names) - {OPENS_FROM} == {"after", "held"}
    finally:
        writer.close()
