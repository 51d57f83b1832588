"""Whose attempt is verified next: one at a time for a name, as many at once as there are cores, the holder's own first.

Attempts from the console or from an address that opened the door lately are *favoured*: they go before all others, and
have places in the queue that no flood can take. Attempts for one name, existing or not, run one after another, so that
parallel guesses gain nothing and a burst tells nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pam_arena.errors import ArenaError

# Favoured attempts that may wait, and as many others: more than come at 20 a second while arenad is restarted (12 s at the
# very most), since all of them arrive at once when it is back.
WAITING = 256
WAITS = 7.5  # seconds that one of them may; with what a denial takes, the module waits for no more than 10 s
FOR_ONE_NAME = 16  # attempts of others that may wait for one name


class Busy(ArenaError):
    """More attempts wait than will be verified in good time."""


class _Place:
    """One attempt's place in the queue, and then its turn."""

    __slots__ = ("called", "favoured", "holds_core", "name")

    def __init__(self, name: str, favoured: bool) -> None:
        self.name, self.favoured = name, favoured
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.holds_core = False


class Turns:
    """Gives out turns; `cores` of them hold a core at once."""

    def __init__(self, cores: int) -> None:
        self._free = cores
        self._waiting: list[_Place] = []  # 512 at most: looked through from the front
        self._busy: set[str] = set()

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, name: str, favoured: bool) -> AsyncIterator[_Place]:
        """Wait for the turn of this name and for a core. Raises Busy instead of waiting too long."""
        place = _Place(name, favoured)
        self._queue(place)
        patience = asyncio.get_running_loop().call_later(WAITS, self._send_away, place)
        try:
            self._call_next()
            await place.called
            yield place
        finally:
            patience.cancel()
            if place in self._waiting:
                self._waiting.remove(place)
            else:
                self.give_core_back(place)
                self._busy.discard(name)
                self._call_next()

    def give_core_back(self, place: _Place) -> None:
        """The hashing is done: another name may go on, while this one's verdict is written."""
        if place.holds_core:
            place.holds_core = False
            self._free += 1
            self._call_next()

    def _send_away(self, place: _Place) -> None:
        """Nobody would hear its verdict any more; those behind it are to be heard."""
        if not place.called.done():
            place.called.set_exception(Busy(f"waited for {WAITS} s, {len(self._waiting)} attempts are waiting"))

    def _queue(self, place: _Place) -> None:
        ahead = sum(other.favoured for other in self._waiting)
        beside = ahead if place.favoured else len(self._waiting) - ahead
        for_name = sum(other.name == place.name and not other.favoured for other in self._waiting)
        if beside >= WAITING or (not place.favoured and for_name >= FOR_ONE_NAME):
            raise Busy(f"{len(self._waiting)} attempts are waiting, {for_name} of them for one name")
        # Favoured ones stand before all others, in order of arrival.
        self._waiting.insert(ahead if place.favoured else len(self._waiting), place)

    def _call_next(self) -> None:
        for place in list(self._waiting):
            if not self._free:
                return
            if place.name not in self._busy and not place.called.done():
                self._waiting.remove(place)
                self._busy.add(place.name)
                self._free -= 1
                place.holds_core = True
                place.called.set_result(None)
