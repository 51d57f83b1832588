"""Runs probe.py inside the units as they are installed, and beside them as the same user and as root."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from hosts import DRIVER, Host
from mailserver import wait_until

PROFILES = "/etc/apparmor.d/arenad"
PORT = 2626
ABSTRACT = "arena-probed"
OTHER, SAME = "arena-probe-other", "arena-probe-same"  # processes of alice, and of the service's own user
OWN = {"_arena": "/var/lib/arena", "_arena-mail": "/var/spool/arena/failed"}
WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/var/spool/arena/out")
LISTEN = f"""
import socket, signal
open_ones = [socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True), socket.socket(socket.AF_UNIX)]
open_ones[1].bind("\\0{ABSTRACT}")
open_ones[1].listen()
signal.pause()
"""
READS = {
    "/etc/shadow": "/etc/shadow",
    "a file in somebody's home": "/home/arena-open/file",
    "a file in /tmp": "/tmp/arena-open",
    "shared memory": "/dev/shm/arena-open",
    "the sealed master key": "/etc/credstore.encrypted/arena.key",
    "the host's key": "/var/lib/systemd/credential.secret",
    "root's environment": "/proc/1/environ",
    "root's memory map": "/proc/1/maps",
    "the store": "/var/lib/arena/arena.db",
    "arenad's credential": "/run/credentials/arenad.service/arena.key",
}
WRITES = {"a file that anyone may write to": "/etc/arena-open"}
MAKES = ("/etc", "/usr/bin", "/usr/share/arenad", "/etc/arena/arena.toml.d", "/etc/apparmor.d", "/var/log")
MAKES += ("/run/arena", "/root")
DEVICE = "/var/lib/arena-device"
SETUID = "/usr/bin/arena-id"
YARD = f"""
mkdir -m 755 /home/arena-open
for file in /home/arena-open/file /tmp/arena-open /dev/shm/arena-open /etc/arena-open; do echo x >$file; chmod 644 $file; done
chmod 666 /etc/arena-open
install -m 4755 /usr/bin/id {SETUID}
mknod -m 666 {DEVICE} c 1 11  # the kernel's log: anyone may open it to write, where the file lets them
"""
LEFT = f"rm -r /home/arena-open; rm /tmp/arena-open /dev/shm/arena-open /etc/arena-open {SETUID} {DEVICE}"


@frozen
class Outcome:
    """What came of each try ("done", an error's name, a signal's), and what the kernel says of the process."""

    tries: dict[str, str]
    facts: dict[str, str]


def has_apparmor() -> bool:
    """Whether this machine's kernel does."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    return enabled.exists() and enabled.read_text() == "Y\n"


@contextmanager
def yard(host: Host) -> Iterator[None]:
    """The things that are tried: files, a device, a setuid program, sockets and processes."""
    (host.root / DRIVER[1:] / "listen.py").write_text(LISTEN)
    host.shell(YARD)
    if has_apparmor():  # the host's parser reaches the kernel, which is the machine's, once this is mounted
        host.shell("mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security")
        host.run("apparmor_parser", "--replace", "--skip-cache", PROFILES)
    host.shell(f"systemd-run --quiet --unit={OTHER} --uid=alice python3 {DRIVER}/listen.py")
    for user in OWN:
        host.shell(f"systemd-run --quiet --unit={SAME}{user} --uid={user} sleep infinity")
    wait_until(host, f": </dev/tcp/127.0.0.1/{PORT}")
    yield
    host.run("systemctl", "stop", OTHER, *(f"{SAME}{user}" for user in OWN))
    host.shell(LEFT)
    if has_apparmor():
        host.run("apparmor_parser", "--remove", PROFILES)


def beside(host: Host, user: str, as_root: bool = False) -> Outcome:
    """Without any sandbox, as the service's user or as root."""
    before = [] if as_root else ["runuser", "-u", user, "--"]
    return _heard(host.run(*before, "python3", "-I", "-", input=_program(host, user)).stdout)


def inside(host: Host, unit: str, user: str) -> Outcome:
    """In the unit itself, under every setting of it: before its program starts."""
    drop_in = host.root / f"run/systemd/system/{unit}.service.d/probe.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    program = base64.b64encode(_program(host, user).encode()).decode()
    drop_in.write_text(f"[Service]\nStandardInputData={program}\nExecStartPre=-/usr/bin/python3 -I -\n")
    try:
        host.shell(f"systemctl daemon-reload; systemctl restart {unit}.service")
        wait_until(host, f"journalctl -u {unit} -o cat | grep -q '^PROBE '")
        return _heard(host.journal(unit))
    finally:
        drop_in.unlink()
        host.shell(f"systemctl daemon-reload; systemctl restart {unit}.service")


def _program(host: Host, user: str) -> str:
    pids = {name: int(host.run("systemctl", "show", "-P", "MainPID", name).stdout) for name in (OTHER, f"{SAME}{user}")}
    given: dict[str, Any] = {"own": OWN[user], "port": PORT, "abstract": ABSTRACT, "device": DEVICE, "setuid": SETUID}
    given["writable"] = {"its own folder": OWN[user]} | {folder: folder for folder in WRITABLE}
    given |= {"reads": READS, "writes": WRITES, "makes": MAKES, "other": pids[OTHER], "same": pids[f"{SAME}{user}"]}
    return f"GIVEN = {given!r}\n{Path(__file__).with_name('probe.py').read_text()}"


def _heard(said: str) -> Outcome:
    lines = [line.removeprefix("PROBE ") for line in said.splitlines() if line.startswith("PROBE ")]
    assert lines, said
    return Outcome(**json.loads(lines[-1]))
