"""A real sshd login before anybody depends on it: an sshd of its own on a private port of 127.0.0.1, with the PAM stack and
the settings that are in force now, and ssh at this terminal."""

import enum
import fcntl
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pam_arena.errors import Refusal

from .findings import run
from .sshd_report import connection_of, read_settings

_SSHD = "/usr/sbin/sshd"
_READY_SECONDS, _PROMPT_SECONDS = 10.0, 30.0
_PROMPT = re.compile(rb"[^\r\n]*: $")
# What of the settings in force decides how a person is asked, and whether they may come at all.
_TAKEN = (
    *("usepam", "kbdinteractiveauthentication", "passwordauthentication", "pubkeyauthentication", "authenticationmethods"),
    *("permitrootlogin", "permitemptypasswords", "maxauthtries", "logingracetime", "maxstartups", "strictmodes"),
    *("allowusers", "denyusers", "allowgroups", "denygroups", "pamservicename", "usedns"),
)


class Outcome(enum.Enum):
    """How far the login came."""

    OPENED = "opened"
    REFUSED = "refused"
    PROMPTED = "prompted"  # nobody could answer


def rehearse(user: str, at_terminal: bool) -> tuple[Outcome, str]:
    """Log in as `user` by ssh; returns how far it came, and what there is to say. Raises Refusal if it cannot be held."""
    if shutil.which("ssh") is None:
        raise Refusal("there is no ssh here to try the login with: apt install openssh-client")
    with _private_sshd(user) as (port, known):
        words = _ssh(user, port, known)
        if not at_terminal:
            return _reach_prompt(words)
        status = subprocess.run(words, check=False).returncode
    return (Outcome.OPENED, "") if status == 0 else (Outcome.REFUSED, f"ssh ended with exit status {status}")


def _ssh(user: str, port: int, known: Path) -> list[str]:
    options = {
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "PubkeyAuthentication": "no",
        "KbdInteractiveAuthentication": "yes",
        "PreferredAuthentications": "keyboard-interactive",
        "NumberOfPasswordPrompts": "1",
        "ConnectTimeout": "10",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-T", "-p", str(port), *words, f"{user}@127.0.0.1", "true"]


@contextmanager
def _private_sshd(user: str) -> Iterator[tuple[int, Path]]:
    """An sshd as systemd would start it: outside this session, with a host key of its own. Yields port and known_hosts."""
    folder = Path(tempfile.mkdtemp(prefix="arena-pam-", dir="/run"))
    unit = f"{folder.name}.service"
    try:
        port = _free_port()
        key = folder / "host_key"
        _must(*("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)))
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {key.with_suffix('.pub').read_text()}")
        config = folder / "sshd_config"
        config.write_text(_configuration(user, port, key))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd is started by its socket, it is not there yet
        _must(_SSHD, "-t", "-f", str(config))
        start = ("--quiet", "--collect", f"--unit={unit}", "--property=RuntimeMaxSec=600", "--property=KillMode=process")
        _must("systemd-run", *start, _SSHD, "-D", "-e", "-f", str(config))
        _wait(port, unit)
        yield port, known
    finally:
        run("systemctl", "stop", unit)
        shutil.rmtree(folder, ignore_errors=True)


def _must(*argv: str) -> None:
    status, _, complaint = run(*argv)
    if status != 0:
        raise Refusal(f"the login cannot be tried: {argv[0]}: {complaint.strip()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(user: str, port: int, key: Path) -> str:
    settings, complaint = read_settings(*connection_of(user))
    if not settings:
        raise Refusal(f"sshd does not take its settings: {complaint}")
    lines = [f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {key}", "PidFile none", "PrintMotd no"]
    lines += [f"{name} {value}" for name in _TAKEN for value in settings.get(name, ())]
    return "\n".join(lines) + "\n"


def _wait(port: int, unit: str) -> None:
    """Until it listens."""
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Refusal(f"the private sshd does not listen: journalctl -u {unit} -n 20")


def _reach_prompt(words: list[str]) -> tuple[Outcome, str]:
    """Without a terminal nobody can answer: see that the first question comes."""
    master, slave = pty.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    ssh = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=own_terminal)
    os.close(slave)
    try:
        said = _read_prompt(master)
    finally:
        ssh.kill()
        ssh.wait()
        os.close(master)
    if _PROMPT.search(said):
        shown = said.decode("utf-8", "replace").strip().splitlines()[-1]
        return Outcome.PROMPTED, f"sshd asked {shown!r}; without a terminal nobody could answer"
    return Outcome.REFUSED, said.decode("utf-8", "replace").strip() or "sshd asked nothing"


def _read_prompt(master: int) -> bytes:
    said = b""
    end = time.monotonic() + _PROMPT_SECONDS
    while not _PROMPT.search(said) and (left := end - time.monotonic()) > 0:
        if not select.select([master], [], [], left)[0]:
            break
        try:
            said += os.read(master, 4096)
        except OSError:  # ssh has gone
            break
    return said
