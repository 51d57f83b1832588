"""Opening the store: SQLite in WAL mode, every commit on the disk before it counts, every write BEGIN IMMEDIATE.

`open_store` refuses a store that is missing, foreign, older or newer, with the remedy; it creates nothing.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pam_arena.errors import StoreError

from .schema import KEY_ID, OPENS_FROM

T = TypeVar("T")

SCHEMA_VERSION = "0003"
_BUSY_TIMEOUT_MS = 5000  # how long a write waits for the other daemon's
_WANTED = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2: FULL


def make_engine(url: str) -> sa.engine.Engine:
    """An engine whose connections are durable, and whose transactions are IMMEDIATE. Connects to nothing yet."""
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"check_same_thread": False})
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late and is DEFERRED
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    for name, wanted in _WANTED.items():
        cursor.execute(f"PRAGMA {name} = {wanted}")
        got = cursor.execute(f"PRAGMA {name}").fetchone()[0]
        if got != wanted:
            raise StoreError(f"the store's {name} is {got!r}, not {wanted!r}: it would not be durable")
    cursor.close()


def _on_begin(connection: sa.engine.Connection) -> None:
    # SQLAlchemy 2 announces a begin for AUTOCOMMIT connections too, which are to hold no transaction.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def store_path(url: str) -> Path:
    """The file behind an sqlite URL. Raises StoreError for any other kind of store."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise StoreError("[store] url: only sqlite:////absolute/path is supported")
    return Path(parsed.database)


def open_store(url: str) -> sa.engine.Engine:
    """An engine over a store of exactly this release's schema. Raises StoreError with the remedy."""
    path = store_path(url)
    if not path.exists():
        raise StoreError(f"there is no store at {path}: run `arenactl migrate`")
    found = peek(path)
    if found is None:
        raise StoreError(
            f"the store {path} is empty: make a new one by `arenactl migrate`, or bring a lost one back by"
            " `arenactl restore FILE`"
        )
    if found > SCHEMA_VERSION and opens_from(path) > SCHEMA_VERSION:
        raise StoreError(f"the store {path} has schema {found}, newer than this release's {SCHEMA_VERSION}: upgrade arenad")
    if found < SCHEMA_VERSION:
        raise StoreError(f"the store {path} has schema {found}: run `arenactl migrate`")
    return make_engine(url)


def unwritable(path: Path) -> str:
    """Why a store cannot be written to, '' if it can: SQLite opens one on a read-only disk without a word."""
    if os.access(path, os.W_OK):
        return ""
    with suppress(OSError):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"the store {path} cannot be written to: its disk is mounted read-only"
    return f"the store {path} cannot be written to: it belongs to somebody else, or its mode forbids it"


def peek(path: Path) -> str | None:
    """The schema's version of a store that exists, read without changing a byte of what may be somebody else's."""
    return _look(path, schema_version)


def opens_from(path: Path) -> str:
    """The earliest schema whose release may open this store: migrations expand first, and contract a release later."""

    def read(run: Callable[[str], Any]) -> str:
        row = run(f"SELECT value FROM meta WHERE name = '{OPENS_FROM}'").fetchone()
        return bytes(row[0]).decode()

    return _look(path, read)


def read_key_id(path: Path) -> str | None:
    """The id of the master key that a store was made under, None for none yet; read without changing a byte.

    An ordinary connection would move a log that lies beside the store into it when it is closed, be it another store's.
    """

    def read(run: Callable[[str], Any]) -> str | None:
        row = run(f"SELECT value FROM meta WHERE name = '{KEY_ID}'").fetchone()
        return None if row is None else bytes(row[0]).decode("utf-8", "replace")

    return _look(path, read)


def _look(path: Path, work: Callable[[Callable[[str], Any]], T]) -> T:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return work(connection.execute)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"the store {path} cannot be opened: {error}") from None


def schema_version(run: Callable[[str], Any]) -> str | None:
    """The schema's version as Alembic left it; None in an empty database. `run` executes one statement."""
    if not run("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        if run("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise StoreError("this database belongs to another program: it has tables, and none of them is arenad's")
        return None
    row = run("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def read_only(engine: sa.engine.Engine) -> sa.engine.Connection:
    """A connection for reading, that never holds a transaction open."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


class Reader:
    """Reads with a connection for each thread that comes: opening one takes longer than reading."""

    def __init__(self, engine: sa.engine.Engine) -> None:
        self._engine = engine
        self._mine = threading.local()

    def read(self, work: Callable[[sa.engine.Connection], T]) -> T:
        """Do some reading. Raises StoreError if the store cannot be read."""
        try:
            if not hasattr(self._mine, "connection"):
                self._mine.connection = read_only(self._engine)
            return work(self._mine.connection)
        except SQLAlchemyError as error:
            # One that saw an I/O error may hold a broken page: the next to come opens its own.
            self._mine.__dict__.pop("connection", None)
            raise StoreError(f"the store cannot be read: {explain(error)}") from None


def explain(error: SQLAlchemyError) -> str:
    """What the database said, without the statement and its values."""
    return str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
