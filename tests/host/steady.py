"""Logins at a steady pace on a host, whatever happens to it: each through libpam and the module, in a program of its own.

Each program is started anew with the libraries and the module that the disk has then, as sshd starts itself anew for each
connection; the shell around it has all that it needs in memory.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired

from attrs import frozen
from holders import PIN, Holder
from hosts import SUCCESS, TESTHOST, Host

DRIVER_SOURCE = Path(__file__).parents[1] / "bench/pamtime.c"
SCRIPT = "while read -r line; do /usr/local/bin/pamtime arena-steady 1 <<<$line & done; wait"


def prepare(host: Host, folder: Path) -> None:
    """Put the program and its service of PAM on the host; folder: where to compile it."""
    driver = folder / "pamtime"
    subprocess.run(["cc", "-O2", "-o", driver, DRIVER_SOURCE, "-lpam"], check=True)
    host.copy(driver, to="/usr/local/bin/")
    (host.root / "etc/pam.d/arena-steady").write_text("auth required pam_arena.so\n")


@frozen
class Report:
    """What became of the logins: how many began, PAM's codes, the slowest one's seconds, what programs complained of."""

    come: int
    codes: Counter[int]
    slowest: float
    complaints: str
    said: str  # by what happened meanwhile

    @property
    def granted(self) -> int:
        return self.codes[SUCCESS]

    @property
    def refused(self) -> int:
        """With a verdict or without one."""
        return self.codes.total() - self.granted

    @property
    def unborn(self) -> int:
        """Programs that did not start at all."""
        return self.come - self.codes.total()

    def __str__(self) -> str:
        """For people."""
        return f"{self.come} logins, {self.granted} successes, {self.refused} refused, the slowest after {self.slowest:.1f} s"


def log_in_during(host: Host, crowd: Sequence[Holder], every: float, command: Sequence[str | Path]) -> Report:
    """A login each `every` seconds until the command is over, which must succeed. The crowd's fobs are by counter."""
    steady = Popen([TESTHOST, "exec", host.name, "bash", "-c", SCRIPT], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    assert steady.stdin
    come = 0
    with Popen(command, stdout=PIPE, stderr=subprocess.STDOUT, text=True) as meanwhile:
        for holder in cycle(crowd):
            steady.stdin.write(f"{holder.name} {PIN} {holder.fob.ahead()}\n")
            steady.stdin.flush()
            come += 1
            try:
                said, _ = meanwhile.communicate(timeout=every)
                break
            except TimeoutExpired:
                continue
    told, complaints = steady.communicate(timeout=60)
    assert meanwhile.returncode == 0, said[-3000:]
    verdicts = [(int(code), float(ms) / 1000) for code, ms in re.findall(r"^(\d+) ([0-9.]+)$", told, re.MULTILINE)]
    return Report(come, Counter(code for code, _ in verdicts), max(s for _, s in verdicts), complaints, said)


def check(host: Host, report: Report) -> None:
    """That every login began, and was let in."""
    told = f"{report}\n{report.complaints}{report.said}{host.journal('arenad')[-3000:]}"
    assert not report.refused and not report.unborn, told
