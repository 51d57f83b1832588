"""From an attempt to a verdict that is durable: its turn, the equal work, one transaction, and only then the answer.

The work is in attempt.py, the judgement in judge.py, and what the transaction leaves behind in settle.py.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa
from attrs import evolve, frozen

from pam_arena import pin
from pam_arena.conversation import Outcome, Verdict
from pam_arena.secret import Secret

from ..audit import Event, Reason, append
from ..clock import Clock
from ..config import Config
from ..store.engine import Reader
from ..store.writer import Job, Writer
from ..vault import Vault
from .attempt import Attempt, Finding, examine, examine_next
from .newpin import make_record, store_record
from .news import News
from .settle import MailOrder, Settlement, Subject
from .turns import Lane, Turns

T = TypeVar("T")
F = TypeVar("F")
Entropy = Callable[[int], bytes]


@frozen
class Verified:
    """A verdict, whom the code belonged to, and the password that came before the passcode, if one did."""

    verdict: Verdict
    subject: Subject
    password: Secret | None = None


class Verifier:
    """Verifies attempts against the store; `cores` argon2id run at once.

    entropy gives so many random bytes; news has a holder told that a PIN was created, None where no mail is sent.
    """

    def __init__(
        self,
        engine: sa.engine.Engine,
        writer: Writer,
        vault: Vault,
        clock: Clock,
        config: Config,
        hasher: pin.Hasher,
        cores: int,
        entropy: Entropy = os.urandom,
        news: Callable[[], News | None] = lambda: None,
    ) -> None:
        self._writer, self.vault, self.clock = writer, vault, clock
        self.config, self._news = config, news
        self._hasher, self._entropy = hasher, entropy
        self._hashing = ThreadPoolExecutor(cores, "arena-hash")
        self.reader = Reader(engine)
        self._turns = Turns(cores)
        self.done = 0  # pieces of work that were hashed, since the start

    @property
    def pending(self) -> int:
        """How many attempts wait for their turn."""
        return self._turns.waiting

    async def verify(self, attempt: Attempt) -> Verified:
        """The verdict on an attempt, durable before it is known. Raises Busy or StoreError: then nothing was decided."""
        code = self.config.code
        finding, verdict = await self._in_turn(
            attempt, lambda reader: examine(reader, self.vault, code, attempt), Settlement.of_passcode
        )
        subject = Subject(verdict.outcome, attempt.name, finding.account, finding.match)
        return Verified(verdict, subject, finding.password)

    async def verify_next(self, attempt: Attempt, subject: Subject) -> Verified:
        """The verdict on the next code, alone, of a holder whose passcode was right. Raises as `verify` does."""
        subject.require(Outcome.NEXT_CODE)
        finding, verdict = await self._in_turn(
            attempt,
            lambda reader: examine_next(reader, self.vault, attempt, subject.match),
            lambda settlement, finding: settlement.of_next_code(finding, subject),
        )
        return Verified(verdict, evolve(subject, outcome=verdict.outcome, match=finding.match))

    async def order_mail(self, attempt: Attempt) -> MailOrder | None:
        """Make a code to be mailed, if the PIN is right and the holder may have one. Raises as `verify` does."""
        code = self.config.code
        _, order = await self._in_turn(attempt, lambda reader: examine(reader, self.vault, code, attempt), Settlement.of_mail)
        return order

    async def _in_turn(
        self,
        attempt: Attempt,
        work: Callable[[sa.engine.Connection], Finding],
        settle: Callable[[Settlement, Finding], T],
    ) -> tuple[Finding, T]:
        """Do the work of an attempt in its turn, and settle what it found in one durable transaction."""
        return await self.in_turn(
            attempt.name,
            attempt.lane,
            work,
            lambda connection, finding: settle(self._settlement(connection, attempt), finding),
        )

    async def in_turn(
        self,
        name: str,
        lane: Lane,
        work: Callable[[sa.engine.Connection], F],
        settle: Callable[[sa.engine.Connection, F], T],
    ) -> tuple[F, T]:
        """Do some work when it is the turn of a name, and settle what it found in one durable transaction."""

        def examined(reader: sa.engine.Connection) -> "tuple[F, Future[T]]":
            finding = work(reader)
            # Handed on from here: one change of threads less.
            return finding, self._writer.submit(lambda connection: settle(connection, finding))

        async with self._turns.turn(name, lane) as place:
            finding, settled = await self._hash(examined)
            self._turns.give_core_back(place)
            return finding, await asyncio.wrap_future(settled)

    async def create_pin(self, attempt: Attempt, subject: Subject, chosen: Secret) -> int | None:
        """Store the PIN that a holder confirmed; returns the seconds until their display changes, None for an earlier PIN."""
        subject.require(Outcome.GRANTED, Outcome.NEW_PIN)
        text, keep = chosen.reveal().decode("utf-8", "surrogateescape"), self.config.pin.history
        record = await self._hash(
            lambda reader: make_record(reader, self.vault, self._hasher, self._entropy, subject, text, keep)
        )
        if record is None:
            return None
        now, news = self.clock.now(), self._news()
        await self.write(lambda connection: store_record(connection, record, subject, attempt, now, news), news)
        return subject.seconds_left(self.clock.now())

    async def give_up(self, attempt: Attempt, subject: Subject) -> Verdict:
        """Record a denial to a holder who did not manage to choose a PIN, or could not be asked for more."""
        return await self.write(lambda connection: self._settlement(connection, attempt).of_giving_up(subject))

    async def note_grant(self, name: str, service: str, address: str, uid: int) -> None:
        """Add the audit row of a login that a session grant covers. Raises StoreError: then it does not cover it."""
        now = self.clock.now()
        event = Event("login", name, "", "granted", Reason.SESSION_GRANT, actor=f"uid:{uid}", service=service, address=address)
        await self.write(lambda connection: append(connection, now, event))

    def close(self) -> None:
        """End the threads; attempts under way are finished."""
        self._hashing.shutdown()

    def _settlement(self, connection: sa.engine.Connection, attempt: Attempt) -> Settlement:
        return Settlement(connection, self.vault, self.config, attempt, self.clock.now())

    async def _hash(self, work: Callable[[sa.engine.Connection], T]) -> T:
        self.done += 1
        return await asyncio.get_running_loop().run_in_executor(self._hashing, self.reader.read, work)

    async def write(self, job: Job[T], news: News | None = None) -> T:
        """Run a job in a durable transaction; its news goes out when it is. Raises StoreError: then it is undone."""
        future = self._writer.submit(job)
        if news is not None:
            future.add_done_callback(news.settle)
        return await asyncio.wrap_future(future)
