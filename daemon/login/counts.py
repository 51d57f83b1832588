"""What the login daemon counts since its start, and how it hands that on: a small file that the desk's service reads.

The login daemon serves no HTTP. It leaves its counts in a file of its runtime folder, which systemd takes away when the
daemon ends; an old file means that it hangs.
"""

import json
import os
from bisect import bisect_left
from collections import Counter
from pathlib import Path

from ..config import COUNTS

BUCKETS = (0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds from an attempt to its verdict
_SERVICES = 64  # that are told apart: any user may name any service to the socket
OTHER = "other"


class Counts:
    """Ends of conversations by outcome and service, and how long verdicts took."""

    def __init__(self) -> None:
        self.logins: Counter[tuple[str, str]] = Counter()
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.changes = 0  # since the start
        self._services: set[str] = set()

    def count(self, outcome: str, service: str) -> None:
        """One more: granted, denied, unavailable or not-asked."""
        if service not in self._services:
            if len(self._services) >= _SERVICES:
                service = OTHER
            self._services.add(service)
        self.logins[outcome, service] += 1
        self.changes += 1

    def took(self, seconds: float) -> None:
        """A verdict was reached so long after its attempt; the delay of denials is none of it."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.changes += 1

    def total(self, outcome: str) -> int:
        """Over all services."""
        return sum(number for (kind, _), number in self.logins.items() if kind == outcome)

    def write(self, folder: Path, **gauges: float) -> None:
        """Leave everything in a folder, as a file that is there as a whole or not at all. Raises OSError."""
        document = {
            **gauges,
            "logins": [[outcome, service, number] for (outcome, service), number in sorted(self.logins.items())],
            "buckets": dict(zip([*map(str, BUCKETS), "+Inf"], self.buckets, strict=True)),
            "seconds": self.seconds,
        }
        fresh = folder / f".{COUNTS}"
        fresh.write_text(json.dumps(document))
        os.replace(fresh, folder / COUNTS)
