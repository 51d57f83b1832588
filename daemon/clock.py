"""Where the daemons take the time from: passed in, so that tests and models bring their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for codes and records, monotonic time for waits; both in seconds."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
