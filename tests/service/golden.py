"""Screens and tables of arenactl held against tests/service/golden/; ARENA_GOLDEN=write rewrites it, to be read in review."""

import os
import re
from pathlib import Path

GOLDEN = Path(__file__).with_name("golden")
_WIDTH = 80


def check_golden(name: str, printed: str) -> None:
    """Hold what was printed against the file, days, times and references aside; nothing is wider than 80 columns."""
    assert max(map(len, printed.splitlines())) <= _WIDTH, printed
    shown = re.sub(r"\d{4}-\d\d-\d\d", "YYYY-MM-DD", printed)
    shown = re.sub(r"\d\d:\d\d(:\d\d)?", lambda time: "HH:MM:SS"[: len(time[0])], shown)
    shown = re.sub(r"\(ref [0-9A-Z]{8}\)", "(ref REFERENC)", shown)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ARENA_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown)
    assert shown == path.read_text()
