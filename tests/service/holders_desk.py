"""Arenad and its desk with mail on: keys in the stock, arena-key run as a user of this machine, and what lies in the spool."""

import os
import pwd
import subprocess
import sys
import tempfile
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from arena import SLOW, Service, Token
from arenad.store.engine import make_engine
from arenad.store.schema import token
from desk_service import DeskService
from seeds import make_seed

from pam_arena.otp import Mechanism
from pam_arena.secret import Secret

SENDER, DOMAIN = "arena@school.example", "school.example"
HELP = "7890"
# A wide window: the codes of one test come out of a display that changes every ten minutes.
CONFIG = f'help = "{HELP}"\n[login]\ndeny_after = "0"\n[code]\nwindow = 5\n[mail]\nfrom = "{SENDER}"\ndomain = "{DOMAIN}"\n'
RUN = """
import os, pwd, sys
from pam_arena.cli.arena_key import settle
from pam_arena.client import Client
from pam_arena.protocol import Operation
path, runs_as, operation, serial, user, yes = sys.argv[1:]
person = pwd.getpwnam(runs_as)
if person.pw_uid:
    os.setgroups([]); os.setgid(person.pw_gid); os.setuid(person.pw_uid)
sys.exit(settle(Client(path), Operation[operation], serial, user or None, confirmed=yes == "yes"))
"""


class Counter:
    """A service window: arenad, the desk, and holders who come to it. Each test is somebody else."""

    def __init__(self, extra: str = CONFIG) -> None:
        # Not pytest's folder, which it closes to others whenever it starts: a holder's process is to reach the socket.
        self._folder = tempfile.TemporaryDirectory(prefix="arena-counter-")
        os.chmod(self._folder.name, 0o711)
        self.service = Service(Path(self._folder.name), extra)
        self.service.start()
        self.desk = DeskService(self.service)

    def close(self) -> None:
        self.desk.close()
        self.service.close()
        self._folder.cleanup()

    def stock(self, serial: str, mechanism: Mechanism = SLOW) -> Token:
        """A key in the stock, and in somebody's hand."""
        seed = make_seed(mechanism.period)
        words = {"serial": serial, "seed": seed.hex(), "period": mechanism.period, "type": mechanism.kind.value}
        self.desk.do("/tokens", {**words, "digits": mechanism.digits})
        return Token(Secret(seed), mechanism)

    def key(
        self, runs_as: str, operation: str, *lines: str, serial: str = "", user: str = "", yes: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """arena-key, run by a user of this machine, with lines on stdin."""
        words = [self.service.socket_path, runs_as, operation.upper(), serial, user, "yes" if yes else ""]
        typed = "".join(f"{line}\n" for line in lines)
        return subprocess.run([sys.executable, "-c", RUN, *words], input=typed, capture_output=True, text=True)

    def request(self, runs_as: str, serial: str, *codes: str) -> "subprocess.CompletedProcess[str]":
        return self.key(runs_as, "request", *codes, serial=serial)

    def activate(self, name: str, serial: str) -> Token:
        """A key that was requested by its holder and approved by the desk."""
        fob = self.stock(serial)
        assert self.request(name, serial, fob.code(), fob.code(1)).returncode == 0
        self.desk.do(f"/requests/{serial}/approve")
        return fob

    def state(self, serial: str) -> str:
        return str(self.desk.get(f"/tokens/{serial}")["state"])

    def last_step(self, serial: str) -> int:
        with make_engine(self.service.url).connect() as connection:
            return int(connection.execute(sa.select(token.c.last_step).where(token.c.serial == serial)).scalar_one())

    def mails(self, to: str) -> list[EmailMessage]:
        """What lies in the spool for a user at the configured domain, the latest last."""
        return mails_in(self.service.spool, f"{to}@{DOMAIN}")


def mails_in(spool: Path, to: str) -> list[EmailMessage]:
    """The mails of a spool for an address, the latest last."""
    files = sorted(spool.glob("*.mail"), key=lambda file: file.stat().st_mtime_ns)
    found = [cast(EmailMessage, message_from_bytes(file.read_bytes(), policy=modern)) for file in files]
    return [one for one in found if one["To"] == to]


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content()).replace("\r\n", "\n")


def uid_of(name: str) -> int:
    return pwd.getpwnam(name).pw_uid
