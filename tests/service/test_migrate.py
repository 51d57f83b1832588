"""A store of an earlier release: brought to this one's schema in one step, with everything that was in it."""

import os
import sqlite3
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from arena import Service
from arenad.store import migrate as migration
from arenad.store.engine import SCHEMA_VERSION, make_engine
from arenad.store.migrate import migrate
from dialogues import FORWARD, JOINED, PIN, Holder, converse, deny, grant, last, split

from pam_arena.errors import StoreError
from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
ADDED = ("failure", "recovery", "session_grant", "stranger", "request")


def step_back(service: Service) -> None:
    """Leave the store as release 0.1.0 had it: its tables, columns and rows."""
    with sqlite3.connect(service.folder / "arena.db") as connection:
        for table in ADDED:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP INDEX ix_token_batch")
        for column in ("pin_length", "pin_history", "mail", "language", "batch"):
            connection.execute(f"ALTER TABLE holder DROP COLUMN {column}")
        for column in ("valid_until", "batch"):
            connection.execute(f"ALTER TABLE token DROP COLUMN {column}")
        connection.execute("DROP TABLE batch")
        connection.execute("DELETE FROM meta WHERE name = 'opens-from'")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")


def schema(path: Path) -> list[tuple[str, str]]:
    """Every table and its columns."""
    with sqlite3.connect(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return [(name, str(connection.execute(f"PRAGMA table_info({name})").fetchall())) for name in names]


def test_stepping_back_is_what_the_first_migration_made(service: Service, tmp_path: Path) -> None:
    """The other tests here stand on it."""
    service.stop()
    step_back(service)
    first = tmp_path / "first.db"
    config = Config()
    config.set_main_option("script_location", str(Path(migration.__file__).with_name("migrations")))
    with make_engine(f"sqlite:///{first}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    assert schema(service.folder / "arena.db") == schema(first)


def test_an_earlier_store_is_refused_until_it_is_migrated_and_loses_nothing(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    grant(service, "alice", split(PIN, alice.code(0)))
    service.stop()
    step_back(service)
    with pytest.raises(AssertionError, match="has schema 0001: run `arenactl migrate`"):
        service.start()
    assert migrate(service.url).endswith(f"schema 0001 → {SCHEMA_VERSION}")
    service.start()
    deny(service, "alice", split(PIN, alice.code(0)))
    assert last(service)["reason"] == "used-code-again"
    grant(service, "alice", split(PIN, alice.code(1)))
    # The PIN's length was not noted then; it is taken for the shortest.
    assert converse(service, "alice", [(JOINED, "secret" + PIN + alice.code(2))], options=FORWARD).code == 0


def test_a_migration_that_fails_leaves_the_store_as_it_was(service: Service) -> None:
    service.stop()
    step_back(service)
    path = service.folder / "arena.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE stranger (id INTEGER)")  # the last of those that the migration makes
    before = schema(path)
    with pytest.raises(StoreError, match="cannot be migrated: table stranger already exists"):
        migrate(service.url)
    assert schema(path) == before


@pytest.mark.parametrize(("floor", "opens"), [(SCHEMA_VERSION, True), ("9999", False)])
def test_a_newer_store_opens_where_its_migration_took_nothing_away(service: Service, floor: str, opens: bool) -> None:
    alice = Holder(service, mechanism=HOTP)
    service.stop()
    with sqlite3.connect(service.folder / "arena.db") as connection:
        connection.execute("ALTER TABLE token ADD COLUMN of_tomorrow TEXT")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'opens-from'", (floor.encode(),))
    if opens:
        assert migrate(service.url).endswith("schema 9999 is of a later release, and this one may use it")
        service.start()
        grant(service, "alice", split(PIN, alice.code(0)))
    else:
        with pytest.raises(StoreError, match="schema 9999 is newer than this release's"):
            migrate(service.url)
        with pytest.raises(AssertionError, match="has schema 9999, newer than this release's"):
            service.start()


def test_a_store_of_today_is_left_alone(service: Service) -> None:
    path = service.folder / "arena.db"
    service.stop()
    before = path.read_bytes(), os.stat(path).st_mtime_ns
    time.sleep(0.02)
    assert migrate(service.url).endswith("is up to date")
    assert (path.read_bytes(), os.stat(path).st_mtime_ns) == before
