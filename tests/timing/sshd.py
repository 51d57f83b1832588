"""The stopwatch through sshd: a throw-away host that asks for PIN and code first, and a client of ssh inside it."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))

from hosts import DRIVER, Host, build_packages  # found through the line above
from inside_sshd import SSHD_CASES, STRANGER

HERE = Path(__file__).parent
# The one that is timed is denied at once; nothing is waited for that a case does not bring itself.
SETTINGS = '[login]\ndeny_after = "0"\n'
CLIENT = ("setpriv", "--reuid=_arena", "--regid=_arena", "--clear-groups", "python3", "-I", f"{DRIVER}/inside_sshd.py")


def time_through_sshd(count: int, seed: int) -> dict[str, list[float]]:
    """Milliseconds of so many denials of each case."""
    host = Host(f"timing-{os.getpid()}", "bookworm")
    try:
        people = _prepare(host)
        _make_urgent(host)
        timed = host.run(*_urgent_client(host), "time", str(count), str(seed), input=people)
        samples: dict[str, list[float]] = json.loads(timed.stdout)
        return samples
    finally:
        host.stop()


def _prepare(host: Host) -> str:
    """A stack that asks for the code first, a user for each case, and their keys; returns the people."""
    host.install(*build_packages(), "python3-paramiko")
    host.keep_pam()
    host.arena_first(("sshd",))
    for case in SSHD_CASES:
        if case.what != STRANGER:
            host.run("useradd", "--create-home", "--shell", "/bin/bash", case.name)
    (host.root / "etc/arena/arena.toml.d/timing.toml").write_text(SETTINGS)
    host.copy(HERE / "cases.py", HERE / "inside_sshd.py", to=DRIVER)
    key = "-p User=_arena -p LoadCredentialEncrypted=arena.key -p LimitCORE=0"
    enrolled = host.shell(
        "systemctl start arenad; systemctl stop arenad.socket arenad arena-desk.socket arena-desk;"
        f"systemd-run --quiet --wait --pipe {key} python3 -I {DRIVER}/inside_sshd.py enrol;"
        "systemctl start arenad.socket arenad"
    )
    return enrolled.stdout


def _make_urgent(host: Host) -> None:
    """arenad and sshd go before whatever else this machine does; what sshd starts takes after it."""
    pids = host.shell("systemctl show -P MainPID arenad ssh", check=False).stdout.split()
    for pid in pids:
        host.shell(f"chrt --all-tasks --rr --pid 5 {pid}", check=False)


def _urgent_client(host: Host) -> tuple[str, ...]:
    allowed = host.run("chrt", "--rr", "5", "true", check=False).returncode == 0
    return ("chrt", "--rr", "5", *CLIENT) if allowed else CLIENT
