"""arenactl as a program, asking a desk of tests."""

import os
import subprocess
import sys

from desk_service import DeskService

RUN = (
    "import sys; from pam_arena.cli import arenactl, desk_client;"
    "desk_client.DESK_SOCKET = sys.argv.pop(1); arenactl.main(prog_name='arenactl')"
)


def arenactl(desk: DeskService, *words: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What a command printed, and its exit status; `given` is its standard input."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LC_ALL": "C.UTF-8", "COLUMNS": "80"}
    command = [sys.executable, "-c", RUN, desk.path, *map(str, words)]
    return subprocess.run(command, input=given, capture_output=True, env=env, timeout=120, check=False)
