"""What the model is held against: the real Session, Door, Verifier and Writer over a real SQLite file.

`restart` closes all of them and opens them again over the same file. Only the wire and the clock are the model's own.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from arenad.audit import STRANGERS
from arenad.config import Config
from arenad.login.admission import Door
from arenad.login.complaints import Complaints
from arenad.login.decoys import prepare
from arenad.login.policy import Manners
from arenad.login.selfservice import SelfService
from arenad.login.session import Counts, Desk, Session, under_way
from arenad.login.settle import MailOrder
from arenad.login.verifier import Verifier
from arenad.store.engine import Reader, open_store
from arenad.store.migrate import migrate
from arenad.store.schema import stranger
from arenad.store.writer import Job, Writer
from arenad.vault import Vault
from attrs import define, field

from pam_arena.pin import Hasher
from pam_arena.protocol import Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start

T = TypeVar("T")
CHEAP = Hasher(time_cost=1, memory_kib=8)
MASTER = bytes(range(32))
BEGINNING = 1_800_000_000.0
ROOM = 3  # rows that the ring of strangers still takes before the oldest give way


@define
class ModelClock:
    """A clock that goes when the model says so; `now` may also be set back."""

    wall: float = BEGINNING
    boot: float = 0.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.boot

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.wall += seconds
        self.boot += seconds

    def set_back(self, seconds: float) -> None:
        """What an NTP server or a person may do to a clock."""
        self.wall -= seconds


@define
class Talk:
    """What came of a conversation: PAM's code, None after hanging up; what was said without a question; PAM_AUTHTOK."""

    code: int | None = None
    said: list[str] = field(factory=list)
    authtok: bytes | None = None


class FakeLine:
    """The other end of a session: keeps what is sent."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Prompt | Done] = asyncio.Queue()

    def send(self, message: Prompt | Done) -> None:
        self.messages.put_nowait(message)

    def expect_answer(self, seconds: float) -> None:
        assert seconds > 0

    def close(self) -> None:
        """What was sent before still arrives."""


def make_template(path: Path) -> None:
    """A store with its decoys, and with a ring of strangers that is all but full."""
    url = f"sqlite:///{path}"
    migrate(url)
    engine = open_store(url)
    writer = Writer(engine)
    prepare(writer, Vault(Secret(MASTER)), ModelClock(), CHEAP)
    same = dict.fromkeys(("actor", "service", "address", "event", "holder", "serial", "outcome", "reason", "detail"), "")
    rows = [{"at": 0, **same} for _ in range(STRANGERS - ROOM)]
    writer.submit(lambda connection: connection.execute(sa.insert(stranger), rows)).result()
    writer.close()
    engine.dispose()


class House:
    """One store, and what serves it."""

    def __init__(self, folder: Path, template: Path, config: Config) -> None:
        self.path, self.config = folder / "arena.db", config
        shutil.copy(template, self.path)
        self.clock = ModelClock()
        self.vault = Vault(Secret(MASTER))
        self.mails: list[MailOrder] = []
        self.loop = asyncio.new_event_loop()
        self._open()

    def _open(self) -> None:
        self._engine = open_store(f"sqlite:///{self.path}")
        self._writer = Writer(self._engine)
        verifier = Verifier(self._engine, self._writer, self.vault, self.clock, self.config, CHEAP, 2)
        door = Door(Reader(self._engine), self.clock, lambda: self.config)
        own = SelfService(verifier, lambda: self.config, lambda: None)
        self._desk = Desk(
            verifier,
            door,
            self.clock,
            lambda: self.config,
            self._post,
            Counts(),
            Manners(),
            own,
            Complaints(self.clock.monotonic),
        )
        self._looking = sqlite3.connect(self.path, isolation_level=None)

    def _post(self, order: MailOrder, name: str) -> None:
        self.mails.append(order)

    def _shut(self) -> None:
        self._looking.close()
        self._desk.verifier.close()
        self._writer.close()
        self._engine.dispose()

    def restart(self) -> None:
        """Stop the service and start it again."""
        self._shut()
        self._open()

    def close(self) -> None:
        """End it for good."""
        self._shut()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def do(self, job: Job[T]) -> T:
        """What the desk does: one durable transaction."""
        return self._writer.submit(job).result()

    def look(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the store, read beside the service."""
        return self._looking.execute(query, values).fetchall()

    def run(self, *conversations: Coroutine[Any, Any, Talk]) -> list[Talk]:
        """Hold conversations at the same time."""

        async def all_of_them() -> list[Talk]:
            talks = list(await asyncio.gather(*conversations))
            while tasks := under_way():
                await asyncio.wait(tasks)
            return talks

        return self.loop.run_until_complete(asyncio.wait_for(all_of_them(), 60))

    async def converse(self, start: Start, answer: Callable[[str], str | Awaitable[str] | None]) -> Talk:
        """One conversation; `answer` gets each question, and hangs up with None."""
        line, talk = FakeLine(), Talk()
        session = Session(self._desk, line, (os.getpid(), 0), start)
        session.begin()
        while not isinstance(message := await line.messages.get(), Done):
            if message.style in (Style.INFO, Style.ERROR):
                talk.said.append(message.text)
                continue
            typed = answer(message.text)
            if isinstance(typed, Awaitable):
                typed = await typed
            if typed is None:
                return talk
            assert session.answered(Answer(Secret(typed.encode("utf-8", "surrogateescape"))))
        talk.code = message.code
        talk.authtok = message.authtok.reveal() if message.authtok is not None else None
        return talk
