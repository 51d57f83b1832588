"""What only a whole file can tell: that a serial stands in it once, and that a person has one PIN.

The serials seen go into a private database that SQLite keeps in a temporary file of its own: a million of them would be
more memory than all the rest of an import takes.
"""

import sqlite3
from collections.abc import Iterator

from .record import Record, refuse


class Once:
    """Checks records one after the other, be they of one file or of several."""

    def __init__(self) -> None:
        self._seen = sqlite3.connect("", isolation_level=None)
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("CREATE TABLE seen (serial TEXT PRIMARY KEY, at TEXT) WITHOUT ROWID")
        self._seen.execute("BEGIN")
        self._pins: dict[str, Record] = {}

    def check(self, records: Iterator[Record]) -> Iterator[Record]:
        """The same records. Raises BadImport at the first that contradicts an earlier one."""
        for record in records:
            try:
                self._seen.execute("INSERT INTO seen VALUES (?, ?)", (record.serial, record.at))
            except sqlite3.IntegrityError:
                found = self._seen.execute("SELECT at FROM seen WHERE serial = ?", (record.serial,)).fetchone()
                refuse(record.at, record.serial, f"the serial stands in {found[0]} before")
            if record.user and record.pin is not None:
                first = self._pins.setdefault(record.user, record)
                if first.pin != record.pin:
                    refuse(record.at, record.serial, f"{record.user} has another PIN in {first.at}: a person has one")
            yield record
