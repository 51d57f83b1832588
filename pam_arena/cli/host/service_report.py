"""The service on this host: its units, its socket, the clock under its codes."""

import ctypes
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from .findings import Finding, good, note, problem, run, warning

SOCKET = Path("/run/arena/auth.sock")
_UNITS = {
    "arenad.socket": "no login can reach arenad",
    "arenad.service": "every login is refused: OTP unavailable",
    "arena-desk.socket": "arenactl cannot ask",
    "arena-mail.path": "no mail is sent",
}
_SHOWN = "Id,LoadState,ActiveState,UnitFileState,NRestarts,Result"
_STEPPED = "the clock was stepped"  # arenad's own words
_STA_UNSYNC = 0x40  # adjtimex(2)
_SOURCES = ("systemd-timesyncd", "chrony", "ntpsec", "ntp", "openntpd")


def report_units() -> list[Finding]:
    """Whether the units run, are started at boot, and have stayed up; the last error of those that have not."""
    status, said, complaint = run("systemctl", "show", "-p", _SHOWN, *_UNITS)
    if status != 0:
        return [warning("units", f"systemctl: {complaint.strip()}", "systemctl status")]
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in said.strip().split("\n\n")]
    return [finding for block in blocks for finding in _of_unit(block)]


def _of_unit(unit: Mapping[str, str]) -> Iterator[Finding]:
    name, state = unit["Id"], unit["ActiveState"]
    if unit["LoadState"] == "not-found":
        yield problem(name, f"is not installed: {_UNITS[name]}", "apt install --reinstall arenad")
        return
    if unit["LoadState"] == "masked":
        yield problem(name, f"is masked: {_UNITS[name]}", f"systemctl unmask {name}; systemctl start {name}")
        return
    enabled = unit["UnitFileState"] == "enabled"
    if state != "active":
        said = last_error(name)
        yield problem(name, f"is {state}: {_UNITS[name]}" + (f"; it said: {said}" if said else ""), f"systemctl start {name}")
    if not enabled:
        yield problem(
            name, f"is {unit['UnitFileState'] or 'not enabled'}: gone after the next boot", f"systemctl enable {name}"
        )
    restarts = int(unit.get("NRestarts") or 0)
    if restarts:
        said = last_error(name)
        yield warning(
            name, f"was started again {restarts} times" + (f"; it said: {said}" if said else ""), f"journalctl -u {name} -n 20"
        )
    if state == "active" and enabled and not restarts:
        yield good(name, "active, enabled, never started again")


def last_error(unit: str) -> str:
    """The last line of priority err or worse that a unit left in the journal of this boot."""
    _, said, _ = run("journalctl", "-b", "-u", unit, "-p", "err", "-n", "1", "-o", "cat", "--no-pager")
    return said.strip().splitlines()[-1] if said.strip() else ""


def report_socket(path: Path = SOCKET) -> list[Finding]:
    """Whether what the module connects to is root's, a socket, and open to everybody."""
    remedy = "systemctl restart arenad.socket"
    try:
        found = path.lstat()
    except OSError as error:
        return [problem(str(path), f"{error.strerror}: every login is refused", "systemctl start arenad.socket")]
    if not stat.S_ISSOCK(found.st_mode):
        return [problem(str(path), "is no socket", f"rm {path}; {remedy}")]
    findings = []
    if found.st_uid != 0:
        findings.append(problem(str(path), f"belongs to uid {found.st_uid}: the module refuses it", remedy))
    if (mode := stat.S_IMODE(found.st_mode)) != 0o666:
        findings.append(problem(str(path), f"has mode {mode:04o}: sudo and screen lockers cannot ask (0666)", remedy))
    return findings or [good(str(path), "root's, mode 0666")]


def report_clock() -> list[Finding]:
    """Whether the clock is held by something, what that is, and whether it was stepped while arenad ran."""
    source = next((name for name in _SOURCES if run("systemctl", "is-active", "--quiet", f"{name}.service")[0] == 0), "")
    findings = [judge_clock(_is_synchronised(), source, run("systemd-detect-virt", "--container")[0] == 0)]
    _, said, _ = run("journalctl", "-b", "-u", "arenad.service", "-g", _STEPPED, "-n", "1", "-o", "cat", "--no-pager")
    steps = re.findall(rf"{_STEPPED}.*", said)
    if steps:
        findings.append(warning("clock", steps[-1], "find out who sets it: journalctl -b -u arenad -g stepped; timedatectl"))
    return findings


def judge_clock(synchronised: bool, source: str, container: bool) -> Finding:
    """What a clock in this state means for codes that last a minute."""
    by = f" by {source}" if source else ""
    if synchronised:
        return good("clock", f"synchronised{by}")
    if container and not source:
        return note(
            "clock", "a container: the clock is its host's, which says that it is not synchronised", "timedatectl (there)"
        )
    if source:
        return warning("clock", f"{source} runs, and the clock is not synchronised: codes go wrong by and by", "timedatectl")
    return warning("clock", "nothing holds it right: codes go wrong by and by", "apt install systemd-timesyncd; timedatectl")


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)), with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def _is_synchronised() -> bool:
    """What the kernel knows; nothing is set."""
    timex = _Timex(modes=0)
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    return state >= 0 and not timex.status & _STA_UNSYNC


def is_root() -> bool:
    """Whether everything can be seen."""
    return os.geteuid() == 0
