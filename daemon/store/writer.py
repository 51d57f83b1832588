"""The one thread that writes: it commits in groups, so that a hundred logins share one sync of the disk.

A job is a function of a connection inside a BEGIN IMMEDIATE. Its future resolves only after the commit. When a job of
a group fails, the group is rolled back and each job runs again alone, so that one cannot spoil another's.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pam_arena.errors import ArenaError, StoreError

from .engine import explain

T = TypeVar("T")
Job = Callable[[sa.engine.Connection], T]

GROUP = 256  # jobs a commit


class Writer:
    """Runs jobs in order of arrival. `close` finishes those that were accepted."""

    def __init__(self, engine: sa.engine.Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._connection: sa.engine.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="arena-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job[T]) -> "Future[T]":
        """Have a job done; the future has its result once that is durable, or a StoreError."""
        future: Future[T] = Future()
        self._queue.put((job, future))
        return future

    def close(self) -> None:
        """Finish what was accepted, then end the thread."""
        self._queue.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < GROUP and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    last = True
                    break
                group.append(item)
            # From here on a job cannot be cancelled: a result for a cancelled future would end this thread.
            self._commit([item for item in group if item[1].set_running_or_notify_cancel()])
            if last:
                break

    def _commit(self, group: list[tuple[Job[Any], Future[Any]]]) -> None:
        if not group:
            return
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                results = [job(self._connection) for job, _ in group]
        except Exception as error:  # whatever a job raises is its future's: this thread must outlive it
            self._drop_connection()
            if len(group) > 1:
                for item in group:
                    self._commit([item])
            else:
                group[0][1].set_exception(_as_arena_error(error))
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _drop_connection(self) -> None:
        """Start afresh after a failure: a connection that saw an I/O error may hold a broken page in its cache."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _as_arena_error(error: Exception) -> Exception:
    if isinstance(error, SQLAlchemyError):
        return StoreError(f"the store cannot be written: {explain(error)}")
    if isinstance(error, ArenaError):
        return error
    return StoreError(f"the store cannot be written: {type(error).__name__}")
