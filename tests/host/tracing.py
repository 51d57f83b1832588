"""What a service does to files and sockets, from its start on, with all of its sandbox around it: strace from outside."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import field, mutable
from hosts import Host
from mailserver import wait_until

CALLS = "%file,socket,connect,bind,sendto,sendmsg,mmap,fcntl,flock,fchmod,fchown,ftruncate"
GATE = "/run/arena-gate-"
SEARCHED = ("access", "faccessat", "faccessat2", "chdir", "readlink", "readlinkat", "execve")  # AppArmor looks at none of these
SHELL = ("/bin/sh", "/usr/bin/dash")
REAL = """
import json, os, sys
real = [os.path.realpath(path) for path in json.load(sys.stdin)]
print(json.dumps([path.rstrip("/") + "/" if os.path.isdir(path) else path for path in real]))
"""
LINE = re.compile(r"\s*(\w+)\((.*)\) += (?!-1|\?)(\S+)")
PATH, FD = re.compile(r'(?:\w+<([^>]*)>, )?"([^"]*)"'), re.compile(r"^\d+<(/[^>]*)>")
UNIX, FAMILY = re.compile(r'sun_path="(/[^"]*)"'), re.compile(r"(AF_\w+), (SOCK_\w+)")


@mutable
class Trace:
    """uses: (path, what of rwklm); sockets: (family, kind), by their names. Filled when the trace is over."""

    uses: set[tuple[str, str]] = field(factory=set)
    sockets: set[tuple[str, str]] = field(factory=set)

    def read(self, line: str) -> None:
        """One line of strace -y; calls that failed touched nothing, or were refused before AppArmor looked."""
        if not (found := LINE.match(line)):
            return
        call, words, result = found.groups()
        if call == "socket" and (made := FAMILY.match(words)):
            self.sockets.add((made[1], made[2]))
        elif call in ("connect", "bind", "sendto", "sendmsg"):
            self.uses |= {(path, "rw" if call == "connect" else "w") for path in UNIX.findall(words)}
        elif call == "mmap":
            self._descriptor(words.split(", ", 4)[-1], "mr" if "PROT_EXEC" in words else "")
        elif call in ("fcntl", "flock"):
            self._descriptor(words, "k" if "LK" in words or "LOCK_" in words else "")
        elif call in ("fchmod", "fchown", "ftruncate"):
            self._descriptor(words, "w")
        elif call in ("open", "openat"):
            flags = words.split('"')[2]
            opened = FD.match(result)
            if opened:
                self.uses.add((opened[1], "rw" if "O_RDWR" in flags else "w" if "O_WRONLY" in flags else "r"))
        elif call not in SEARCHED:
            looks = "stat" in call or call == "statx"
            for folder, path in PATH.findall(words) if not looks else PATH.findall(words)[:1]:
                if path:
                    self.uses.add((os.path.join(folder or "/", path), "r" if looks else "rw"))

    def _descriptor(self, words: str, need: str) -> None:
        if need and (found := FD.match(words)):
            self.uses.add((found[1], need))


@contextmanager
def traced(host: Host, unit: str, arguments: str) -> Iterator[Trace]:
    """A service from before its first instruction to the end of the block; it starts anew, and does so again afterwards."""
    trace, output, gate = Trace(), f"/root/{unit}.trace", f"{GATE}{unit}"
    drop_in = host.root / f"run/systemd/system/{unit}.service.d/traced.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"read -r _ <{gate}; exec /usr/sbin/arenad {arguments}"
    drop_in.write_text(f'[Service]\nExecStart=\nExecStart=/bin/sh -c "{waiting}"\nTimeoutStartSec=60\n')
    host.shell(f"rm -f {gate}; mkfifo -m 644 {gate}; systemctl daemon-reload; systemctl stop {unit}.service")
    host.shell(f"systemctl start --no-block {unit}.service")
    try:
        wait_until(host, f'[ "$(systemctl show -P MainPID {unit})" != 0 ]')
        pid = host.run("systemctl", "show", "-P", "MainPID", unit).stdout.strip()
        strace = f"strace -f -y -qq -s 0 -e trace={CALLS} -o {output} -p {pid}"
        host.shell(f"systemd-run --quiet --unit=trace-{unit} {strace}")
        wait_until(host, f"grep -q 'TracerPid:.[1-9]' /proc/{pid}/status")
        host.shell(f"echo >{gate}")
        wait_until(host, f"[ $(systemctl is-active {unit}) != activating ]")
        yield trace
        host.run("systemctl", "stop", f"{unit}.service")
        wait_until(host, f"! systemctl is-active trace-{unit}")
    finally:
        drop_in.unlink()
        host.shell(f"rm {gate}; systemctl daemon-reload; systemctl restart {unit}.service")
    started: dict[str, str] = {}
    for line in (host.root / output[1:]).read_text().splitlines():
        thread, _, words = line.partition(" ")
        if line.endswith("<unfinished ...>"):
            started[thread] = words.removesuffix("<unfinished ...>").rstrip()
        else:
            trace.read(re.sub(r"^\s*<\.\.\. \w+ resumed>", lambda _: started.pop(thread), words))  # noqa: B023  # called at once
    trace.uses = _real(host, {use for use in trace.uses if use[0] not in (gate, *SHELL)})


def _real(host: Host, uses: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Paths as AppArmor sees them: no links, and a slash behind a folder's."""
    paths = sorted({path for path, _ in uses})
    names = dict(zip(paths, json.loads(host.run("python3", "-c", REAL, input=json.dumps(paths)).stdout), strict=True))
    return {(names[path], need) for path, need in uses}
