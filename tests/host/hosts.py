"""Throw-away Debian hosts with pam_arena on them, and what is done there: dialogues, PAM stacks, keys."""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seeds import make_seed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TESTHOST = HERE / "testhost"
PACKAGES = "openssh-server,openssh-client,sudo,python3"
PASSWORD = "correct horse"
SERVICES = ("sshd", "login", "sudo", "su")
DRIVER = "/usr/local/lib/arena-test"
OLDER = "0.0.9"
SUCCESS, AUTH_ERR, AUTHINFO_UNAVAIL = 0, 7, 9  # security/_pam_types.h
IN_STORE = """
import json, sqlite3, sys
with sqlite3.connect("/var/lib/arena/arena.db") as store:
    print(json.dumps(store.execute(sys.argv[1]).fetchall()))
"""

Answer = str | Callable[[], str]


def build_packages() -> list[Path]:
    """The .debs in dist/, built first if their sources are newer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "--silent", "deb"], cwd=ROOT, env=environment, check=True)
    return sorted((ROOT / "dist").glob("*.deb"))


def build_older(folder: Path) -> list[Path]:
    """The .debs of the release before this one, as version OLDER; without git's history, of these sources under that name.

    That is the last state before the changelog's first line became what it is. They are built once for all who ask.
    """
    commit = _previous_release()
    if commit is None:
        _build(ROOT, folder)
        return sorted(folder.glob("*.deb"))
    made = ROOT / "build" / f"older-{commit[:12]}"
    made.parent.mkdir(exist_ok=True)
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            tree = folder / "tree"
            tree.mkdir()
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
            subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
            for words in (["init", "--quiet"], ["add", "--all"]):  # build-debs asks git what belongs to it
                subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)
            _build(tree, folder / "debs")
            shutil.move(folder / "debs", made)
    return sorted(made.glob("*.deb"))


def _build(tree: Path, folder: Path) -> None:
    command = [tree / "packaging/build-debs", folder]
    subprocess.run(command, env=os.environ | {"VERSION": OLDER}, check=True, capture_output=True)


def _previous_release() -> str | None:
    """The last commit before the one that began the version of the changelog; None where git does not know it."""
    changelog = "packaging/debian/changelog"
    began = (ROOT / changelog).read_text().split(")")[0] + ")"
    log = subprocess.run(["git", "log", "--format=%P", f"-S{began}", "--", changelog], cwd=ROOT, capture_output=True, text=True)
    commits = log.stdout.split("\n")[:-1]
    return commits[-1].split()[0] if log.returncode == 0 and commits and commits[-1] else None


class Fob:
    """What the holder has in hand: a display that shows a code a period (RFC 6238), and no memory of what was typed."""

    def __init__(self, serial: str, seed: bytes | None = None, period: int = 5, digits: int = 6) -> None:
        self.serial, self.period, self.digits = serial, period, digits
        self.seed = seed or make_seed(period)
        self.off = 0  # periods that its clock is ahead
        self._last = -1

    @property
    def step(self) -> int:
        """The period that runs now."""
        return int(time.time()) // self.period + self.off

    def left(self) -> float:
        """Seconds until the display changes."""
        return self.period - time.time() % self.period

    def at(self, step: int) -> str:
        """The code of a step (RFC 4226 section 5.3, SHA-1)."""
        digest = hmac.digest(self.seed, struct.pack(">Q", step), hashlib.sha1)
        number = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
        return str(number % 10**self.digits).zfill(self.digits)

    def wait(self) -> None:
        """Wait until the display shows a code that was not given out here before."""
        while self.step <= self._last:
            time.sleep(self.left() + 0.01)

    def fresh(self) -> str:
        """A code that was not given out here before: waits for the display to change."""
        self.wait()
        self._last = self.step
        return self.at(self._last)

    def next(self) -> str:
        """The code that comes after the last one, once the display shows it."""
        self.wait()
        return self.ahead()

    def ahead(self, steps: int = 1) -> str:
        """A code `steps` after the last one, at once: by time it is early, but within the window; by counter, due."""
        self._last += steps
        return self.at(self._last)

    def used(self) -> str:
        """The code that was given out last, once more."""
        return self.at(self._last)


class ButtonFob(Fob):
    """One that shows its next code at the press of a button, and knows no time (RFC 4226)."""

    @property
    def step(self) -> int:
        """The code that a press would show."""
        return self._last + 1


class Dialogue:
    """A program on a terminal inside the host, and the transcript of what it showed; answers stand in ⟦⟧."""

    def __init__(self, host: "Host", argv: list[str] | None, user: str | None) -> None:
        self.transcript = ""
        self.status: int | None = None
        self._process = subprocess.Popen(
            [TESTHOST, "exec", host.name, "python3", f"{DRIVER}/dialogue.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say({"argv": argv, "user": user})

    def __enter__(self) -> "Dialogue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, order: dict[str, object]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def expect(self, *patterns: str, timeout: float = 15) -> int:
        """Index of the first pattern seen. AssertionError with the transcript if none comes."""
        assert self._process.stdout
        self._say({"expect": patterns, "timeout": timeout})
        seen = json.loads(self._process.stdout.readline())
        self.transcript += seen["text"]
        self.status = seen.get("status", self.status)
        assert isinstance(seen["seen"], int), f"none of {patterns} came ({seen['seen']}) after:\n{self.transcript}"
        return seen["seen"]

    def send(self, answer: Answer, label: str = "") -> None:
        """Type an answer; a callable is asked for it now. In the transcript it stands as `label`, if there is one."""
        line = answer if isinstance(answer, str) else answer()
        self.transcript += f"⟦{label or line}⟧"
        self._say({"send": line})

    def end(self, timeout: float = 15) -> int | None:
        """Wait until the program ends; return its exit status."""
        assert self._process.stdout
        self._say({"expect": [], "timeout": timeout})
        seen = json.loads(self._process.stdout.readline())
        self.transcript += seen["text"]
        assert seen["seen"] == "end", f"it goes on after:\n{self.transcript}"
        self.status = seen["status"]
        return self.status

    def close(self) -> None:
        """Hang up."""
        if self._process.poll() is None:
            self._process.communicate(timeout=30)


class Host:
    """One booted host. It is stopped by stop(), or when this process is gone."""

    def __init__(self, name: str, suite: str) -> None:
        self.name, self.suite = name, suite
        self._drop_ins = 0
        subprocess.run([TESTHOST, "boot", "-s", suite, "-p", PACKAGES, "-o", str(os.getpid()), name], check=True)
        self.root = Path(subprocess.run([TESTHOST, "root", name], check=True, capture_output=True, text=True).stdout.strip())
        self.run("mkdir", "-p", DRIVER)
        self.copy(HERE / "terminal.py", HERE / "dialogue.py", HERE / "authenticate.py", to=DRIVER)
        phases = ("auth", "account", "password")
        self.pam_service("arena-only", "".join(f"{phase} required pam_arena.so\n" for phase in phases))
        (self.root / DRIVER[1:] / "other").write_text("auth required pam_deny.so\n")
        self._keep_last_words()

    def _keep_last_words(self) -> None:
        """Nobody hangs up a console as its program ends: what the kernel has not passed on to its reader would be dropped."""
        drop_in = self.root / "etc/systemd/system/container-getty@.service.d/last-words.conf"
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nTTYVHangup=no\nTTYReset=no\nRestartSec=1\n")  # agetty too drops what is on its way
        self.run("systemctl", "daemon-reload")

    def stop(self) -> None:
        """Power it off and remove it."""
        subprocess.run([TESTHOST, "stop", self.name], check=True)

    def run(self, *argv: str, input: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root; with `check`, AssertionError with its output unless it succeeds."""
        done = subprocess.run([TESTHOST, "exec", self.name, *argv], input=input, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def shell(self, script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root."""
        return self.run("bash", "-euo", "pipefail", "-c", script, check=check)

    def copy(self, *files: Path, to: str) -> None:
        """Copy files in."""
        subprocess.run([TESTHOST, "cp", self.name, *files, to], check=True)

    def install(self, *packages: Path | str) -> None:
        """Install .debs or packages by name, with what they depend on."""
        done = subprocess.run([TESTHOST, "apt", self.name, *packages], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def add_user(self, name: str, groups: str = "") -> None:
        """A user with a password and a shell."""
        self.run("useradd", "--create-home", "--shell", "/bin/bash", "--groups", groups, name)
        self.run("chpasswd", input=f"{name}:{PASSWORD}\n")

    # PAM stacks

    def pam_service(self, name: str, lines: str) -> None:
        """A service that call_pam() alone knows."""
        (self.root / DRIVER[1:] / name).write_text(lines)

    def keep_pam(self) -> None:
        """Remember /etc/pam.d and /etc/ssh as they are, with the host's own key known, for without_arena()."""
        self.shell('sed "s/^/127.0.0.1 /" /etc/ssh/ssh_host_*_key.pub >/etc/ssh/ssh_known_hosts')
        self.shell("mkdir -p /root/kept && cp -a /etc/pam.d /etc/ssh /root/kept/")

    def without_arena(self) -> None:
        """PAM and sshd as keep_pam() found them."""
        self.run("pam-auth-update", "--package", "--disable", "arena", check=False)
        self.shell("cp -a /root/kept/* /etc/; rm -f /etc/ssh/sshd_config.d/arena.conf")
        self._restart_sshd()

    def password_first(self) -> None:
        """The profile of the package, and sshd's settings from its example."""
        self.without_arena()
        self.run("pam-auth-update", "--enable", "arena")
        self._configure_sshd()

    def arena_first(self, services: Iterable[str] = SERVICES) -> None:
        """PIN and code before the password, by hand as README.Debian says."""
        self.without_arena()
        for service in services:
            path = self.root / "etc/pam.d" / service
            text = path.read_text()
            assert "@include common-auth" in text, f"{service} does not include common-auth"
            path.write_text(text.replace("@include common-auth", "auth requisite pam_arena.so\n@include common-auth", 1))
        self._configure_sshd()

    def _configure_sshd(self) -> None:
        self.shell("cp /usr/share/doc/libpam-arena/examples/sshd_config.d/arena.conf /etc/ssh/sshd_config.d/")
        if self.suite != "bookworm":  # these tests fail often, and from few addresses
            self.shell("sed -i 's,^#\\(PerSourcePenaltyExemptList\\) .*,\\1 127.0.0.0/8,' /etc/ssh/sshd_config.d/arena.conf")
        self.run("sshd", "-t")
        self._restart_sshd()

    def _restart_sshd(self) -> None:
        self.shell("systemctl reset-failed ssh; systemctl restart ssh")  # the first: tests restart it more often than it likes

    # Configuration

    @contextmanager
    def configured(self, text: str) -> Iterator[None]:
        """arenad under further lines of arena.toml; AssertionError with the journal if it does not take them."""
        self._drop_ins += 1  # one within another wins
        drop_in = self.root / f"etc/arena/arena.toml.d/configured-{self._drop_ins}.toml"
        drop_in.write_text(text)
        try:
            self._reload()
            yield
        finally:
            drop_in.unlink()
            self._drop_ins -= 1
            self._reload()

    def _reload(self) -> None:
        """systemctl reload, which only sends the signal; then wait until arenad says what came of it."""
        begun = time.time()
        self.run("systemctl", "reload", "arenad.service")
        while True:
            said = self.run("journalctl", "-u", "arenad", "--since", f"@{begun:.6f}", "-o", "cat", "--no-pager").stdout
            if "configuration reloaded" in said:
                return
            assert time.time() < begun + 10 and "configuration not reloaded" not in said, said
            time.sleep(0.05)

    # Keys

    def arenactl(self, *arguments: str, input: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run arenactl as root."""
        return self.run("arenactl", *arguments, input=input, check=check)

    def give_fob(self, user: str, serial: str, period: int = 5, kind: str = "totp", digits: int = 6) -> Fob:
        """A new fob (hotp: a ButtonFob), added and assigned; the user is in new-PIN mode unless they have a PIN."""
        fob = (ButtonFob if kind == "hotp" else Fob)(serial, period=period, digits=digits)
        seed = base64.b32encode(fob.seed).decode() + "\n"
        words = ["--serial", serial, "--period", str(period), "--type", kind, "--digits", str(digits), "--seed-file", "-"]
        added = self.arenactl("token", "add", *words, "-o", "json", input=seed)
        assert json.loads(added.stdout)["serial"] == serial
        self.arenactl("token", "assign", serial, user)
        return fob

    def in_store(self, statement: str) -> list[list[Any]]:
        """The rows of an SQL statement, run beside arenad as its user: for what only time would change."""
        done = self.run("runuser", "-u", "_arena", "--", "python3", "-c", IN_STORE, statement)
        rows: list[list[Any]] = json.loads(done.stdout)
        return rows

    # Dialogues

    def dialogue(self, argv: list[str] | None, user: str | None = None) -> Dialogue:
        """Run a program on a terminal as `user`; argv None: a console with getty and login."""
        return Dialogue(self, argv, user)

    def ssh(self, user: str, *command: str, source: str = "127.0.0.1") -> Dialogue:
        """ssh to this host itself, keyboard-interactive, one attempt."""
        # Nothing about the log level: what ERROR hides is what sshd says last, the reference of a denial.
        options = ["NumberOfPasswordPrompts=1", "PreferredAuthentications=keyboard-interactive"]
        words = [word for one in options for word in ("-o", one)]
        return self.dialogue(["ssh", "-t", "-b", source, *words, f"{user}@127.0.0.1", *command])

    def login(self, user: str) -> Dialogue:
        """A console, with the name already typed."""
        console = self.dialogue(None)
        console.expect("login: ", timeout=30)
        console.send(user)
        return console

    def sudo(self, user: str, *command: str) -> Dialogue:
        """sudo by `user`, asked afresh."""
        return self.dialogue(["sudo", "-k", *(command or ("id", "-un"))], user)

    def su(self, user: str, target: str = "root") -> Dialogue:
        """su by `user`."""
        return self.dialogue(["su", target, "-c", "id -un"], user)

    def authenticate(self, user: str, *answers: str) -> tuple[int, float, str]:
        """The module alone, without any other: (PAM's code, seconds, what was said)."""
        called = self.call_pam("authenticate", user, *answers)
        return called["code"], called["seconds"], "|".join(called["said"])

    def call_pam(self, function: str, user: str, *answers: str, service: str = "arena-only") -> dict[str, Any]:
        """A function of PAM called by root: its "code", "seconds", what was "said", "asked", and "heard": all, with styles."""
        called: dict[str, Any] = json.loads(
            self.run("python3", f"{DRIVER}/authenticate.py", service, function, user, *answers).stdout
        )
        return called

    def overhear(self, user: str, *answers: str) -> tuple[int, float, str]:
        """As `authenticate`, with the questions too: each message as its style and text, with `|` between."""
        called = self.call_pam("authenticate", user, *answers)
        return called["code"], called["seconds"], "|".join(f"{style} {text}" for style, text in called["heard"])

    def journal(self, unit: str) -> str:
        """What a unit has logged."""
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").stdout


def talk(dialogue: Dialogue, steps: Iterable[tuple[str, Answer]], end: str, timeout: float = 15) -> str:
    """Play (prompt, answer) pairs, wait for `end`; return the transcript with codes, times and line ends made even."""
    with dialogue:
        for prompt, answer in steps:
            dialogue.expect(prompt, timeout=timeout)
            dialogue.send(answer)
        dialogue.expect(end, timeout=timeout)
    return re.sub(r"about \d+ s", "about N s", dialogue.transcript.replace("\r\n", "\n"))
