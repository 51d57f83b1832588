"""Which login session a command belongs to: who changes PAM must confirm it from another one, or nobody proved that the
door still opens."""

import re
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

_UNSET = "4294967295"  # no audit session (proc(5))
_SCOPE = re.compile(r"/session-([^/]+)\.scope")


@frozen
class Session:
    """What tells a session: logind's, the kernel's audit session, the controlling terminal, the process session; '' unknown."""

    logind: str = ""
    audit: str = ""
    terminal: str = ""
    process: str = ""

    def as_values(self) -> dict[str, Any]:
        """The same for a file."""
        return asdict(self)


def read_session(proc: Path = Path("/proc/self")) -> Session:
    """The session of this process, from what the kernel keeps; never from the environment."""
    scope = _SCOPE.search(_read(proc / "cgroup"))
    audit = _read(proc / "sessionid")
    fields = _read(proc / "stat").rpartition(")")[2].split()  # the name in brackets may hold spaces
    terminal, process = (fields[4], fields[3]) if len(fields) > 4 else ("0", "")
    return Session(scope[1] if scope else "", "" if audit == _UNSET else audit, "" if terminal == "0" else terminal, process)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def what_is_shared(one: Session, other: Session) -> str:
    """What two sessions have in common that makes them one; '' if nothing."""
    names = {"logind": "logind's session", "audit": "the audit session", "terminal": "the terminal", "process": "the shell"}
    for name, words in names.items():
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine and mine == theirs:
            return words
    return ""
