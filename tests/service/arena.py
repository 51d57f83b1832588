"""A real arenad for tests: its own folder, store, key and socket, started as systemd would start it."""

import base64
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyotp
import sqlalchemy as sa
from arenad import config
from arenad.store.engine import make_engine, open_store, read_only
from arenad.store.inventory import NewToken, add_holder, add_token
from arenad.store.migrate import migrate
from arenad.store.schema import State
from arenad.vault import Vault
from seeds import make_seed

from pam_arena.client import Client
from pam_arena.otp import Mechanism
from pam_arena.secret import Secret

SLOW = Mechanism(period=600)  # so that a test's codes stay in their step while it runs
LAUNCH = (
    "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class Service:
    """Folders first (`__init__`), then `start`; `stop` is SIGTERM, `kill` is SIGKILL. extra: lines of arena.toml.

    ballast: in logins; none, unless a test is about it: some 20 MB for each of hundreds of folders.
    """

    def __init__(self, folder: Path, extra: str = "", ballast: int = 0) -> None:
        self.folder = folder
        self.socket_path = str(folder / "auth.sock")
        self.spool = folder / "out"
        self.spool.mkdir()
        self.url = f"sqlite:///{folder}/arena.db"
        self.config = folder / "arena.toml"
        # SLOW tokens show their next code later than any caller waits.
        default = "" if "[service.default]" in extra else '[service.default]\ndeadline = "0"\n'
        self.config.write_text(f'{extra}\n{default}[store]\nurl = "{self.url}"\nballast = {ballast}\n')
        self.environment: dict[str, str] = {}  # more of arenad's
        self.program: tuple[str, ...] = ("-m", "arenad")  # what Python runs
        self.key = os.urandom(32)
        (folder / "arena.key").write_bytes(self.key)
        self.process: subprocess.Popen[bytes] | None = None
        self.journal = folder / "journal"
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(self.socket_path)
        os.chmod(self.socket_path, 0o666)
        self._listening.listen(4096)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self.journald = folder / "journald"
        self._words = ["--config", str(self.config), "--spool", str(self.spool)]
        self._words += ["--run", str(folder), "--journal", str(self.journald)]
        migrate(config.load(self.config).store.url)

    @property
    def arenad(self) -> list[str]:
        """What Python runs, but for the part of arenad."""
        return [*self.program, *self._words]

    def start(self) -> None:
        """Start it, and wait until it says READY."""
        env = {"PATH": os.environ["PATH"], "LISTEN_FDS": "1", "CREDENTIALS_DIRECTORY": str(self.folder)}
        env |= {
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            **self.environment,
        }
        command = [sys.executable, "-c", LAUNCH, *self.arenad]
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen(
                command, env=env, stderr=journal, preexec_fn=lambda: os.dup2(self._listening.fileno(), 3), pass_fds=(3,)
            )
        self.wait_for_state("READY=1")

    def wait_for_state(self, wanted: str, timeout: float = 10) -> None:
        """Wait for a message of sd_notify(3) that holds `wanted`."""
        assert self.process is not None
        end = time.monotonic() + timeout
        self._notify.settimeout(0.1)
        while time.monotonic() < end:
            try:
                if wanted in self._notify.recv(4096).decode():
                    return
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        raise AssertionError(f"no {wanted}: {self.journal.read_text()}")

    def hear(self) -> None:
        """Take what it told systemd so far: some hundred seconds unread, and it would wait to be heard."""
        self._notify.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                self._notify.recv(4096)

    def stop(self) -> int:
        """SIGTERM, and wait for the end."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)

    def kill(self) -> None:
        """SIGKILL: as a crash would end it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(15)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._listening.close()
        self._notify.close()

    def client(self) -> Client:
        """A client of this service."""
        return Client(self.socket_path)

    def enrol(
        self, name: str, serial: str, mechanism: Mechanism = SLOW, state: State = State.ACTIVE, seed: bytes | None = None
    ) -> "Token":
        """Give a holder a token in new-PIN mode, through the store, as the desk does it."""
        seed = Secret(seed or make_seed(mechanism.period, mechanism.algorithm))
        if (left := mechanism.seconds_left(time.time())) <= min(20, mechanism.period // 2):
            time.sleep(left)
        now = int(time.time())
        engine = make_engine(self.url)
        with engine.begin() as connection:
            holder = add_holder(connection, name, now, new_pin_until=now + 86400)
            sealed = Vault(Secret(self.key)).seal_seed(seed, serial, 1)
            add_token(connection, NewToken(serial, mechanism, sealed), now, state, holder)
        return Token(seed, mechanism)

    def rows(self, table: sa.Table) -> list[Mapping[str, Any]]:
        """All rows of a table, as mappings."""
        with read_only(open_store(self.url)) as connection:
            return [dict(row._mapping) for row in connection.execute(table.select())]


class Token:
    """The key in the holder's hand; codes by pyotp's own generator, not by ours."""

    def __init__(self, seed: Secret, mechanism: Mechanism) -> None:
        self.seed = seed
        secret = base64.b32encode(seed.reveal()).decode()
        self.period = mechanism.period
        self._totp = pyotp.TOTP(
            secret, digits=mechanism.digits, digest=getattr(hashlib, mechanism.algorithm), interval=mechanism.period
        )

    def code(self, ahead: int = 0) -> str:
        """What the display shows now, or so many steps later."""
        return self._totp.at(int(time.time()), ahead)
