"""The one thread that writes: it commits in groups, so that a hundred logins share one sync of the disk.

A job is a function of a connection inside a BEGIN IMMEDIATE. Its future resolves only after the commit. When a job of
a group fails, the group is rolled back and each job runs again alone, so that one cannot spoil another's. When it failed
for want of room, all of it runs again as long as `relieve` made some (store/ballast.py).

What the audit noted is told (to the journal) once it is durable and the queue rests: the answer goes first.
"""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pam_arena.errors import ArenaError, StoreError

from ..audit import Noted, take_noted
from .engine import explain

log = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[sa.engine.Connection], T]

Tell = Callable[[list[Noted]], None]

GROUP = 256  # jobs a commit
_REST_SECONDS = 0.002  # without a job; then what was committed is told
_UNTOLD = 1024  # rows that may wait for a rest


class Writer:
    """Runs jobs in order of arrival. `close` finishes those that were accepted.

    tell: gets every row of the audit that was committed, in order; it must not wait. relieve: sees the error of a failed
    commit, and says whether it made room for another try.
    """

    def __init__(
        self, engine: sa.engine.Engine, tell: Tell | None = None, relieve: Callable[[Exception], bool] = lambda _: False
    ) -> None:
        self._engine, self._tell, self._relieve = engine, tell, relieve
        self._untold: list[Noted] = []
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
        while (first := self._next()) is not None:
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
        self._tell_all()

    def _next(self) -> tuple[Job[Any], Future[Any]] | None:
        """The next job; when none comes for a moment, what was committed is told."""
        if self._untold:
            try:
                if len(self._untold) < _UNTOLD:
                    return self._queue.get(timeout=_REST_SECONDS)
            except queue.Empty:
                pass
            self._tell_all()
        return self._queue.get()

    def _tell_all(self) -> None:
        untold, self._untold = self._untold, []
        if untold and self._tell is not None:
            try:
                self._tell(untold)
            except Exception as error:  # this thread must outlive whatever becomes of the telling
                log.error("the journal was not told of %d rows of the audit: %s", len(untold), type(error).__name__)

    def _commit(self, group: list[tuple[Job[Any], Future[Any]]]) -> None:
        if not group:
            return
        try:
            results, noted = self._run_group(group)
        except Exception as error:  # whatever a job raises is its future's: this thread must outlive it
            if len(group) > 1:
                for item in group:
                    self._commit([item])
            else:
                group[0][1].set_exception(_as_arena_error(error))
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
        self._untold += noted

    def _run_group(self, group: list[tuple[Job[Any], Future[Any]]]) -> tuple[list[Any], list[Noted]]:
        """What each job returned, and what they noted, once that is durable. Raises whatever a job or the store raises."""
        while True:
            try:
                if self._connection is None:
                    self._connection = self._engine.connect()
                with self._connection.begin():
                    results = [job(self._connection) for job, _ in group]
                return results, take_noted(self._connection)
            except Exception as error:
                self._drop_connection()
                if not self._relieve(error):
                    raise

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
