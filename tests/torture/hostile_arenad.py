"""arenad as systemd would run it on a host with more users: an NSS of its own, and the unit's limits and environment.

ARENA_PASSWD is laid over /etc/passwd in a mount namespace of this process alone. What runs is arenad itself, but for the
attack that must succeed: ARENA_WITHOUT takes away what it has against ordinary users.
"""

import ctypes
import os
import re
import resource
import sys
from pathlib import Path

_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
_UNIT = Path(__file__).parents[2] / "packaging/debian/arenad.service"

# No limit for a uid or a name, no lane and no threads of their own, and a place is given back at once.
WITHOUT_LIMITS = """
import sys
from types import SimpleNamespace
from arenad.__main__ import main
from arenad.login import admission, listener, turns
from arenad.login.turns import Busy, Lane, Turns
def queue(self, place):
    if len(self._waiting[place.lane]) >= turns.WAITING:
        raise Busy("no room")
    self._waiting[place.lane].append(place)
Turns._queue, admission.Door.pool = queue, lambda self, uid: None
listener.PER_USER = listener.BURST = 10**6
admission.Lane = SimpleNamespace(FAVOURED=Lane.FAVOURED, REMOTE=Lane.REMOTE, OWN=Lane.FAVOURED)
sys.exit(main())
"""


def lay_over(path: str, over: str) -> None:
    """Show `path` in the place of `over` to this process and those that it becomes. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str | None, target: str, flags: int) -> None:
        if libc.mount(source and source.encode(), target.encode(), None, ctypes.c_ulong(flags), None) != 0:
            raise OSError(ctypes.get_errno(), f"mount {target}")

    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount(None, "/", _MS_REC | _MS_PRIVATE)
    mount(path, over, _MS_BIND)


unit = _UNIT.read_text()
if passwd := os.environ.get("ARENA_PASSWD"):
    lay_over(passwd, "/etc/passwd")
[descriptors] = re.findall(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)
most = min(int(os.environ.get("ARENA_NOFILE", descriptors)), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for line in re.findall(r"^Environment=(.*)$", unit, re.MULTILINE):
    os.environ.update(word.split("=", 1) for word in line.split())
os.nice(int(os.environ["ARENA_NICE"]))
program = ["-c", WITHOUT_LIMITS] if "ARENA_WITHOUT" in os.environ else ["-m", "arenad"]
os.execv(sys.executable, [sys.executable, *program, *sys.argv[1:]])
