"""What the login daemon does beside logins: it hands its counts on, tells the journal the audit's head, and ends old rows."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from pam_arena.errors import StoreError

from ..config import Audit
from ..journal import Journal
from ..retention import drop_due
from ..store.audits import Link, read_head
from ..store.ballast import Ballast
from ..store.engine import Reader
from ..store.writer import Writer
from .counts import Counts
from .session import under_way
from .timekeeper import Timekeeper

log = logging.getLogger(__name__)

HEAD_SECONDS = 3600.0  # between two heads
KEEP_SECONDS = 86400.0  # between two looks for old rows
_REPORT_SECONDS = 10  # between two reports when nothing happens
_ROOM_SECONDS = 10  # between two looks for room on the disk
_IDLE_SECONDS = 0.2  # without an attempt; then a chunk of old rows may go


class HeadTeller:
    """Tells the journal the chain's head, when it is another than the last."""

    def __init__(self, reader: Reader, journal: Journal) -> None:
        self._reader, self._journal = reader, journal
        self._told = Link()

    async def run(self) -> None:
        """At once, and every hour."""
        while True:
            await self.tell()
            await asyncio.sleep(HEAD_SECONDS)

    async def tell(self) -> None:
        """Now."""
        try:
            head = await asyncio.to_thread(self._reader.read, read_head)
        except StoreError as error:
            log.error("%s", error)
            return
        if head not in (Link(), self._told) and self._journal.tell_head(head):
            self._told = head


class Keeper:
    """Ends rows of the audit whose time is over: at the start, daily, and when the configuration is read again.

    While the clock is in doubt none ends by its age: one that was a year ahead would take all of them.
    """

    def __init__(self, writer: Writer, policy: Callable[[], Audit], pending: Callable[[], int], timekeeper: Timekeeper) -> None:
        self._writer, self._policy, self._pending, self._timekeeper = writer, policy, pending, timekeeper
        self._again = asyncio.Event()

    def look_again(self) -> None:
        """The policy may be another."""
        self._again.set()

    async def run(self) -> None:
        """Until it is cancelled. A chunk goes only while nobody logs in."""
        while True:
            self._again.clear()
            try:
                due = True
                while due:
                    await asyncio.sleep(_IDLE_SECONDS)
                    due = await self._drop_chunk()
            except StoreError as error:
                log.error("old rows of the audit stay: %s", error)
            try:
                await asyncio.wait_for(self._again.wait(), KEEP_SECONDS)
            except TimeoutError:
                continue

    async def _drop_chunk(self) -> bool:
        """Whether there may be more to drop."""
        if self._pending() or under_way():
            return True
        policy = self._policy()
        if self._timekeeper.in_doubt:
            policy = evolve(policy, keep=0)
        return await asyncio.wrap_future(self._writer.submit(lambda connection: drop_due(connection, policy, time.time())))


async def keep_ballast(ballast: Ballast) -> None:
    """Have the ballast made, at the start and as soon as there is room for it again. Until it is cancelled."""
    while True:
        if not ballast.is_whole:
            await asyncio.to_thread(ballast.fill)
        await asyncio.sleep(_ROOM_SECONDS)


class Reporter:
    """Leaves the counts where the desk's service finds them."""

    def __init__(self, folder: Path, counts: Counts, journal: Journal) -> None:
        self._folder, self._counts, self._journal = folder, counts, journal
        self._started, self._offset = time.time(), _wall_ahead()
        self._complained = False

    async def run(self, here: Callable[[], tuple[int, int]]) -> None:
        """Every second in which something was counted, and every ten. here: conversations, and attempts that wait."""
        counted, quiet = -1, 0
        while True:
            if self._counts.changes != counted or quiet >= _REPORT_SECONDS:
                counted, quiet = self._counts.changes, 0
                self.hand_on(*here())
            await asyncio.sleep(1)
            quiet += 1

    def hand_on(self, conversations: int, pending: int) -> None:
        """Now. A folder that cannot be written to is no reason to stop: it is said once."""
        try:
            self._counts.write(
                self._folder,
                at=time.time(),
                started=self._started,
                clock_offset=_wall_ahead() - self._offset,
                conversations=conversations,
                pending=pending,
                journal_lost=self._journal.lost,
            )
        except OSError as error:
            if not self._complained:
                log.warning("%s: counts for `arenactl metrics` cannot be left there: %s", self._folder, error.strerror)
            self._complained = True


def _wall_ahead() -> float:
    """Seconds from the boot clock to the wall clock: it changes when somebody sets the latter."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
