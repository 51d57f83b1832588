"""Watches this host's clock: a step is said aloud, noted in the audit, and changes no wait, grant or mailed code.

What has a date of its own (a temporary code, the end of a key) keeps it: it is of the calendar, be the clock right or not.
"""

import asyncio
import logging
from collections.abc import Callable

import sqlalchemy as sa

from ..audit import Event, append
from ..clock import STEP_SECONDS, Clock, StepWatch
from ..config import Config
from ..store.ahead import tokens_ahead
from ..store.marks import CLOCK_STEPPED, note_time, read_time
from ..store.stepped import newest_row, settle_step
from ..store.writer import Writer

log = logging.getLogger(__name__)

EVENT = "clock-step"
DOUBT_SECONDS = 86400.0  # after a step: so long there is to set the clock right before anything ends by its age


class Timekeeper:
    """Looks at the clock whenever it is told to. `config` gives what is in force; `boot` goes on while the machine sleeps."""

    def __init__(self, writer: Writer, clock: Clock, boot: Callable[[], float], config: Callable[[], Config]) -> None:
        self._writer, self._clock, self._config = writer, clock, config
        self._watch = StepWatch(clock.now, boot)
        self._boot = boot
        self._due: list[int | None] = []  # steps that the store does not know of yet
        self._doubted_at: float | None = None  # by the boot clock

    @property
    def in_doubt(self) -> bool:
        """Whether the clock was stepped, or found to be wrong, within a day."""
        return self._doubted_at is not None and self._boot() - self._doubted_at < DOUBT_SECONDS

    async def begin(self) -> None:
        """At the start: whether the clock is behind what the store knows, or far ahead of it. Raises StoreError."""
        now, newest, stepped = await asyncio.wrap_future(self._writer.submit(self._read))
        if newest is not None and newest - now > STEP_SECONDS:
            log.critical(
                "the clock was stepped, or this host started with a wrong one: it is %.0f s behind the newest row of the audit;"
                " see timedatectl",
                newest - now,
            )
            self._noticed(None)
            await self._settle()
        elif newest is not None and 0 < self._config().audit.keep < now - newest:
            log.warning(
                "the newest row of the audit is %.0f days old: is the clock right (timedatectl)?", (now - newest) / 86400
            )
            self._doubted_at = self._boot()
        elif stepped is not None and 0 <= now - stepped < DOUBT_SECONDS:
            self._doubted_at = self._boot()

    async def look(self) -> None:
        """Now. Raises StoreError where the step was said, and what it changed could not be put right yet."""
        if step := self._watch.seconds():
            log.critical("the clock was stepped by %+.0f s: codes of all keys are judged by it; see timedatectl", step)
            self._noticed(round(step))
        await self._settle()

    def _noticed(self, step: int | None) -> None:
        self._due.append(step)
        self._doubted_at = self._boot()

    def _read(self, connection: sa.engine.Connection) -> tuple[float, int | None, int | None]:
        return self._clock.now(), newest_row(connection), read_time(connection, CLOCK_STEPPED)

    async def _settle(self) -> None:
        while self._due:
            number = await asyncio.wrap_future(self._writer.submit(self._put_right))
            self._due.pop(0)
            if number:
                log.critical(
                    "%d keys: no code works before a time to come, because the clock was ahead: arenactl doctor", number
                )

    def _put_right(self, connection: sa.engine.Connection) -> int:
        now, step, config = int(self._clock.now()), self._due[0], self._config()
        done = settle_step(connection, now, step, int(config.lock.wait_max), int(config.pin.new_pin_lapses))
        told = "it was behind the audit at the start" if step is None else f"by {step:+d} s"
        detail = f"{told}; {done.waits} waits moved, {done.grants} grants and {done.codes} mailed codes ended"
        append(connection, now, Event(EVENT, detail=detail, actor="arenad", service="arenad"))
        note_time(connection, CLOCK_STEPPED, now)
        return tokens_ahead(connection, now, 0)[0]
