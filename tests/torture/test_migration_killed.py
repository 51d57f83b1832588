"""A migration is killed at any point: run again, it completes, and the store is as if nothing had happened.

Stores of the earlier schemas are filled with what a real arenad left; `migrate` is killed at its n-th write, sync,
truncation or unlinking on the store's files, for many n from the first to the last.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from arenad.store import migrate as migration
from arenad.store.engine import SCHEMA_VERSION, make_engine, open_store, opens_from, peek
from arenad.store.migrate import migrate
from crowd import HOTP, LONG, PIN, cheap_service, enrol, make_people
from diskfault import KILL, SYNC, TRUNCATE, UNLINK, WRITE, Faults
from race import Runner, race

from pam_arena.errors import StoreError

POINTS = 100 if LONG else 8  # of each earlier schema
HOLDERS = 400  # so that the store has some pages
CHANGES = WRITE | SYNC | TRUNCATE | UNLINK
SUCCESS, DENIED = 0, 7
# Alembic is imported once; each migration is a process of its own, that a kill ends.
MIGRATE = """
import os, sys
from arenad.store.migrate import migrate
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        migrate(line.rstrip())
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Migrator:
    """Runs migrations under faults."""

    def __init__(self, faults: Faults) -> None:
        env = {**os.environ, **faults.environment}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", MIGRATE], stdin=pipe, stdout=pipe, env=env, text=True)

    def run(self, store: Path) -> int:
        """The wait status of one."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(f"sqlite:///{store}", file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(10) == 0


def make_earlier(version: str, today: Path, path: Path) -> None:
    """A store of an earlier schema, with everything of today's that it has a place for."""
    config = Config()
    config.set_main_option("script_location", str(Path(migration.__file__).with_name("migrations")))
    with make_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    with closing(sqlite3.connect(path)) as store:
        store.execute("ATTACH ? AS today", (str(today),))
        with store:
            for table in tables(store):
                names = ", ".join(row[1] for row in store.execute(f"PRAGMA table_info({table})"))
                if table != "alembic_version":
                    only = " WHERE name <> 'opens-from'" if table == "meta" else ""
                    store.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM today.{table}{only}")


def tables(store: sqlite3.Connection) -> list[str]:
    return [row[0] for row in store.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' ORDER BY name")]


def content(path: Path) -> list[str]:
    """All that a store says, after SQLite found it whole."""
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []
        return sorted(store.iterdump())  # indexes are made in any order


def copy(path: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return Path(shutil.copy(path, folder / "arena.db"))


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_a_migration_that_is_killed_anywhere_completes_when_it_is_run_again(
    fast_folder: Path, version: str, count: Callable[[str], None]
) -> None:
    service = cheap_service(fast_folder / "today")
    people = make_people("h", HOLDERS, HOTP, 2)
    enrol(service, people)
    alice = people[0]
    try:
        service.start()
        runner = [Runner(service.socket_path, alice.name, "", PIN, alice.code(0))]
        assert race(runner) == [SUCCESS]
        assert service.stop() == 0
        today = service.folder / "arena.db"
        earlier, tried = fast_folder / "earlier.db", fast_folder / "tried"
        make_earlier(version, today, earlier)
        before = content(earlier)

        faults = Faults(fast_folder, tried)
        migrator = Migrator(faults)
        path = copy(earlier, tried)
        faults.watch(CHANGES)
        assert migrator.run(path) == 0
        calls, wanted = faults.seen(), content(path)
        assert calls >= 20

        left: Counter[str] = Counter()
        for point in sorted({1 + (calls - 1) * n // (POINTS - 1) for n in range(POINTS)}):
            path = copy(earlier, tried)
            faults.arm(point, KILL, kinds=CHANGES)
            assert migrator.run(path) == signal.SIGKILL, f"point {point} of {calls}"
            faults.disarm()
            found = peek(path)
            left[str(found)] += 1
            assert content(path) == (wanted if found == SCHEMA_VERSION else before), f"point {point} of {calls}"
            if found != SCHEMA_VERSION:
                with pytest.raises(StoreError, match=f"has schema {version}: run `arenactl migrate`"):
                    open_store(f"sqlite:///{path}")
            assert migrate(f"sqlite:///{path}").endswith(("up to date", f"schema {version} → {SCHEMA_VERSION}"))
            assert content(path) == wanted
            # A release of an earlier schema would lack what it needs: it refuses what is not for it.
            assert (peek(path), opens_from(path)) == (SCHEMA_VERSION, SCHEMA_VERSION)
        migrator.close()

        shutil.copy(path, today)
        service.start()
        assert race(runner) == [DENIED]
        assert race([Runner(service.socket_path, alice.name, "", PIN, alice.code(1))]) == [SUCCESS]
    finally:
        service.close()
    count(
        f"{left.total()} kills of a migration from {version}, at points of its {calls} writes and syncs: {left[version]} left"
        f" the store as it was, {left[SCHEMA_VERSION]} migrated; run again, all are as without a kill"
    )
