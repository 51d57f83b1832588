"""arenad with an argon2id that costs next to nothing, for attacks that need ten thousand logins: no option of the service.

A hash names its own cost, so this changes what is hashed anew, and nothing in how it is verified. ARENA_CHECKPOINT_PAGES
has SQLite move its log into the store sooner, so that a short run has many such moments. For the attacks that must
succeed, ARENA_SYNCHRONOUS takes the syncs away, and ARENA_HASTY has verdicts told whatever becomes of their commit.
"""

import functools
import os
import sqlite3
import sys
from concurrent.futures import Future
from typing import Any

import sqlalchemy as sa
from arenad.__main__ import main
from arenad.audit import Noted
from arenad.login import service
from arenad.store import engine, writer

from pam_arena import pin

pin.Hasher = functools.partial(pin.Hasher, time_cost=1, memory_kib=8)  # type: ignore[misc,assignment]  # what is planted
opened = engine._on_connect


def open_with_less(connection: sqlite3.Connection, record: Any) -> None:
    """What arenad does with a new connection, then what the test wants otherwise."""
    opened(connection, record)
    if pages := os.environ.get("ARENA_CHECKPOINT_PAGES"):
        connection.execute(f"PRAGMA wal_autocheckpoint = {int(pages)}")
    if level := os.environ.get("ARENA_SYNCHRONOUS"):
        connection.execute(f"PRAGMA synchronous = {int(level)}")


class Hasty(writer.Writer):
    """Answers what its jobs found, durable or not."""

    def _run_group(self, group: list[tuple[writer.Job[Any], "Future[Any]"]]) -> tuple[list[Any], list[Noted]]:
        found: list[Any] = []

        def keep(job: writer.Job[Any]) -> writer.Job[Any]:
            def run(connection: sa.engine.Connection) -> Any:
                found.append(job(connection))
                return found[-1]

            return run

        try:
            return super()._run_group([(keep(job), future) for job, future in group])
        except Exception:
            if len(found) != len(group):
                raise
            return found, []


engine._on_connect = open_with_less
if os.environ.get("ARENA_HASTY"):
    service.Writer = Hasty  # type: ignore[misc]  # planted
sys.exit(main())
