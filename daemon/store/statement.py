"""The statements of a login, compiled once and run on the driver's own cursor.

Running such a statement takes SQLAlchemy many times as long as it takes SQLite, and a login has a dozen of them: on this
way they cost a sixth (tests/bench/statements). They are written as Core all the same. A transaction must stand already, or
none be wanted: nothing begins one here.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

Values = Mapping[str, Any]


class Statement:
    """A Core statement. Its values, in and out, are SQLite's: a Boolean column gives 0 or 1. Errors are SQLAlchemy's own."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._sql = ""
        self._fixed: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()
        self._row: Any = None

    def all(self, connection: sa.engine.Connection, values: Values) -> list[Any]:
        """The rows, by the names of their columns."""
        cursor = self._run(connection, values)
        return [self._row._make(row) for row in cursor.fetchall()]

    def first(self, connection: sa.engine.Connection, values: Values) -> Any | None:
        """The first row, if there is one."""
        row = self._run(connection, values).fetchone()
        return None if row is None else self._row._make(row)

    def scalar(self, connection: sa.engine.Connection, values: Values) -> Any | None:
        """The first column of the first row, if there is one."""
        row = self._run(connection, values).fetchone()
        return None if row is None else row[0]

    def change(self, connection: sa.engine.Connection, values: Values) -> int:
        """How many rows it changed."""
        return int(self._run(connection, values).rowcount)

    def insert(self, connection: sa.engine.Connection, values: Values) -> int:
        """The id of the row that it added."""
        return int(self._run(connection, values).lastrowid or 0)

    def _run(self, connection: sa.engine.Connection, values: Values) -> sqlite3.Cursor:
        if not self._sql:
            self._compile(connection)
        fixed = self._fixed
        try:
            cursor: sqlite3.Cursor = connection.connection.cursor()  # type: ignore[assignment]  # the driver is sqlite3
            cursor.execute(self._sql, [values[name] if name in values else fixed[name] for name in self._names])
            return cursor
        except sqlite3.Error as error:
            raise DBAPIError.instance(self._sql, None, error, sqlite3.Error) from None

    def _compile(self, connection: sa.engine.Connection) -> None:
        compiled = self._core.compile(dialect=connection.dialect)
        self._fixed, self._names = dict(compiled.params), tuple(compiled.positiontup or ())
        if self._core.is_select:
            self._row = namedtuple("Row", self._core.selected_columns.keys(), rename=True)  # type: ignore[misc]  # names known at run time
        self._sql = str(compiled)  # last: another thread may come while this one compiles
