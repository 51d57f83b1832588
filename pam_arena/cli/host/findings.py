"""What doctor finds: how grave it is, the thing, and the remedy."""

import enum
import subprocess
from typing import Any

from attrs import frozen


class Severity(enum.StrEnum):
    """How grave a finding is, from nothing to do up to somebody locked out, or let in."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """One thing that was looked at. remedy: a command, or a sentence with one; empty where nothing is to be done."""

    severity: Severity
    thing: str
    found: str
    remedy: str = ""

    def as_row(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"severity": self.severity.value, "thing": self.thing, "found": self.found, "remedy": self.remedy}


def good(thing: str, found: str) -> Finding:
    """Something that is as it should be."""
    return Finding(Severity.GOOD, thing, found)


def note(thing: str, found: str, remedy: str = "") -> Finding:
    """Something to know."""
    return Finding(Severity.NOTE, thing, found, remedy)


def warning(thing: str, found: str, remedy: str) -> Finding:
    """Something that will bite."""
    return Finding(Severity.WARNING, thing, found, remedy)


def problem(thing: str, found: str, remedy: str) -> Finding:
    """Something that lets in who must not, or nobody."""
    return Finding(Severity.PROBLEM, thing, found, remedy)


def run(*argv: str, seconds: float = 20) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command of the host; 127 for one that is not installed, 124 for one that hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=seconds)
    except FileNotFoundError:
        return 127, "", f"{argv[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, "", f"{argv[0]} gave no answer within {seconds:.0f} s"
    except OSError as error:
        return 126, "", f"{argv[0]}: {error.strerror}"
    return done.returncode, done.stdout, done.stderr
