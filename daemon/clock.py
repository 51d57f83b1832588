"""Where the daemons take the time from: passed in, so that tests and models bring their own."""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Wall time for codes and records, monotonic time for waits; both in seconds."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


STEP_SECONDS = 60.0


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class StepWatch:
    """Notices when the wall clock was stepped: set by hand, or by an NTP client that found it far off.

    Codes depend on it, and it must not be taken for a drift of the keys. Both clocks are in seconds; `boot` is to go on
    while the machine sleeps.
    """

    def __init__(self, now: Callable[[], float], boot: Callable[[], float]) -> None:
        self._now, self._boot = now, boot
        self._offset = now() - boot()

    def seconds(self) -> float:
        """How far the clock was stepped since it was last noticed: forwards, or (below 0) back; 0 up to STEP_SECONDS."""
        offset = self._now() - self._boot()
        step = offset - self._offset
        if abs(step) <= STEP_SECONDS:
            return 0.0
        self._offset = offset
        return step


def boot_seconds() -> float:
    """The seconds since this machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
