"""arenad with an argon2id that costs next to nothing, for attacks that need ten thousand logins: no option of the service.

A hash names its own cost, so this changes what is hashed anew, and nothing in how it is verified. ARENA_CHECKPOINT_PAGES
has SQLite move its log into the store sooner, so that a short run has many such moments; ARENA_SYNCHRONOUS takes the
syncs away, for the attack that must succeed.
"""

import functools
import os
import sqlite3
import sys
from typing import Any

from arenad.__main__ import main
from arenad.store import engine

from pam_arena import pin

pin.Hasher = functools.partial(pin.Hasher, time_cost=1, memory_kib=8)  # type: ignore[misc,assignment]
opened = engine._on_connect


def open_with_less(connection: sqlite3.Connection, record: Any) -> None:
    """What arenad does with a new connection, then what the test wants otherwise."""
    opened(connection, record)
    if pages := os.environ.get("ARENA_CHECKPOINT_PAGES"):
        connection.execute(f"PRAGMA wal_autocheckpoint = {int(pages)}")
    if level := os.environ.get("ARENA_SYNCHRONOUS"):
        connection.execute(f"PRAGMA synchronous = {int(level)}")


engine._on_connect = open_with_less
sys.exit(main())
