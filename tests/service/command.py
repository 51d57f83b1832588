"""arenactl as a program, asking a desk of tests."""

import os
import subprocess

from desk_service import DeskService


def arenactl(desk: DeskService, *words: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What a command printed, and its exit status; `given` is its standard input."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LC_ALL": "C.UTF-8", "COLUMNS": "80"}
    return subprocess.run(
        desk.arenactl_command(*map(str, words)), input=given, capture_output=True, env=env, timeout=120, check=False
    )
