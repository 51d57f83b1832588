"""What callers did wrong, in the journal: so many lines a minute of each uid, and then how many were left out.

journald keeps so many lines of a service and drops the others: who may write any number of them could hide the rest.
"""

import logging
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

PERIOD = 60.0  # seconds
OF_ONE = 10  # lines of a uid in that time
OF_ALL = 100  # lines of all uids but root's in that time


class Complaints:
    """Says them. monotonic: the clock, in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self._said: Counter[int] = Counter()
        self._left_out = 0

    def say(self, uid: int, level: int, line: str) -> None:
        """Say a line about a caller, if there is room. root's are all said: its callers have limits of their own."""
        now = self._monotonic()
        if now - self._since >= PERIOD:
            self._begin(now)
        if uid != 0 and (self._said[uid] >= OF_ONE or self._said.total() >= OF_ALL):
            self._left_out += 1
            return
        if uid != 0:
            self._said[uid] += 1
        log.log(level, "%s", line)

    def _begin(self, now: float) -> None:
        if self._left_out:
            log.warning("%d more lines about local users were left out within %.0f s", self._left_out, now - self._since)
        self._said.clear()
        self._left_out, self._since = 0, now
