"""arenad that notes the SQL statements of attempts, without their values, a line each in the file $ARENA_STATEMENTS."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from arenad.__main__ import main
from arenad.login import verifier
from arenad.login.settle import Settlement
from arenad.store.statement import Statement

_noted = open(os.environ["ARENA_STATEMENTS"], "a", buffering=1)  # noqa: SIM115  # open to the end
_here = threading.local()


def note(statement: str) -> None:
    """Write a statement down, if it is part of an attempt: what else arenad does has its own times."""
    if getattr(_here, "attempt", False):
        _noted.write(" ".join(statement.split()) + "\n")


def noted(run: Callable[..., Any]) -> Callable[..., Any]:
    """The way of those that go past SQLAlchemy."""

    def run_and_note(statement: Statement, *arguments: Any) -> Any:
        done = run(statement, *arguments)
        note(statement._sql)
        return done

    return run_and_note


def followed(work: Callable[..., Any]) -> Callable[..., Any]:
    """Work of an attempt."""

    def work_on(*arguments: Any) -> Any:
        _here.attempt = True
        try:
            return work(*arguments)
        finally:
            _here.attempt = False

    return work_on


verifier.examine = followed(verifier.examine)
Settlement.of_passcode = followed(Settlement.of_passcode)  # type: ignore[method-assign]  # wrapped
Statement._run = noted(Statement._run)  # type: ignore[method-assign]  # wrapped
sa.event.listen(sa.engine.Engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: note(statement))
sys.exit(main())
