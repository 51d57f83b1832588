"""Where the daemons take the time from: passed in, so that tests and models bring their own."""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Wall time for codes and records, monotonic time for waits; both in seconds."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


STEP_SECONDS = 60.0
SLEW = 500e-6  # seconds a second: the fastest that the kernel slews a clock (adjtimex(2)), and more than a quartz is off


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class StepWatch:
    """Notices when the wall clock was stepped: set by hand, or by an NTP client that found it far off.

    Codes depend on it, and it must not be taken for a drift of the keys. Both clocks are in seconds; `boot` is to go on
    while the machine sleeps. What a clock that is slewed may have run off between two looks is followed, or the months
    would add up to a step; several small steps in a row still do.
    """

    def __init__(self, now: Callable[[], float], boot: Callable[[], float]) -> None:
        self._now, self._boot = now, boot
        self._looked = boot()
        self._offset = now() - self._looked

    def seconds(self) -> float:
        """How far the clock was stepped since it was last noticed: forwards, or (below 0) back; 0 up to STEP_SECONDS."""
        boot = self._boot()
        offset = self._now() - boot
        slewed = min(max(boot - self._looked, 0.0), STEP_SECONDS) * SLEW  # none of it while the machine slept
        self._looked = boot
        step = offset - self._offset
        if abs(step) > STEP_SECONDS:
            self._offset = offset
            return step
        self._offset += max(-slewed, min(slewed, step))
        return 0.0


def boot_seconds() -> float:
    """The seconds since this machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
