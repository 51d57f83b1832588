"""Whose attempt is verified next: one at a time for a name, as many at once as there are cores, the holder's own first.

Three lanes, each with places that no other can take. *Favoured* are root's callers at the console or from an address that
opened the door lately: most turns are theirs. *Remote* are root's other callers. *Own* are ordinary users, who may only
ask for themselves: they have one core at most, whatever they do. Where two lanes wait, each comes up, so that a flood in
one shuts no other.

Attempts for one name, existing or not, run one after another, so that parallel guesses gain nothing and a burst tells
nothing. When a lane is full, who has the most places in it gives one up to a newcomer with fewer.
"""

import asyncio
import enum
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pam_arena.errors import ArenaError

# Attempts that may wait in a lane: more than come at 20 a second while arenad is restarted (12 s at the very most), since all
# of them arrive at once when it is back.
WAITING = 256
WAITS = 7.5  # seconds that one of them may; with what a denial takes, the module waits for no more than 10 s
FOR_ONE_NAME = 16  # of these, for one name


class Busy(ArenaError):
    """More attempts wait than will be verified in good time."""


class Lane(enum.Enum):
    """Who asks."""

    FAVOURED = "favoured"
    REMOTE = "remote"
    OWN = "own"


# Whose turn it is, round and round; where nobody waits in that lane, the first that has somebody.
_ROTA = (Lane.FAVOURED, Lane.FAVOURED, Lane.REMOTE, Lane.FAVOURED, Lane.FAVOURED, Lane.OWN)


class _Place:
    """One attempt's place in the queue, and then its turn."""

    __slots__ = ("called", "has_turn", "holds_core", "lane", "name")

    def __init__(self, name: str, lane: Lane) -> None:
        self.name, self.lane = name, lane
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_turn = self.holds_core = False


class Turns:
    """Gives out turns; `cores` of them hold a core at once."""

    def __init__(self, cores: int) -> None:
        self._free = cores
        self._waiting: dict[Lane, list[_Place]] = {lane: [] for lane in Lane}
        self._busy: set[str] = set()
        self._owns_core = False  # the lane of ordinary users does
        self._called = 0

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, name: str, lane: Lane) -> AsyncIterator[_Place]:
        """Wait for the turn of this name and for a core. Raises Busy instead of waiting too long."""
        place = _Place(name, lane)
        self._queue(place)
        patience = asyncio.get_running_loop().call_later(WAITS, self._send_away, place)
        try:
            self._call_next()
            await place.called
            yield place
        finally:
            patience.cancel()
            if place.has_turn:
                self.give_core_back(place)
                self._busy.discard(name)
                self._call_next()
            elif place in self._waiting[lane]:
                self._waiting[lane].remove(place)

    def give_core_back(self, place: _Place) -> None:
        """The hashing is done: another name may go on, while this one's verdict is written."""
        if place.holds_core:
            place.holds_core = False
            self._free += 1
            self._owns_core &= place.lane is not Lane.OWN
            self._call_next()

    def _send_away(self, place: _Place) -> None:
        """Nobody would hear its verdict any more; those behind it are to be heard."""
        if not place.called.done():
            place.called.set_exception(Busy(f"waited for {WAITS} s, {self.waiting} attempts are waiting"))

    def _queue(self, place: _Place) -> None:
        lane = self._waiting[place.lane]
        places = Counter(other.name for other in lane)
        mine = places[place.name]
        crowd = f"{len(lane)} attempts are waiting ({place.lane.value}), {mine} of them for one name"
        if mine >= FOR_ONE_NAME:
            raise Busy(crowd)
        if len(lane) >= WAITING:
            [(greedy, most)] = places.most_common(1)
            if most <= mine + 1:
                raise Busy(crowd)
            last = next((other for other in reversed(lane) if other.name == greedy and not other.called.done()), None)
            if last is None:
                raise Busy(crowd)
            lane.remove(last)
            last.called.set_exception(Busy(crowd))
        lane.append(place)

    def _call_next(self) -> None:
        while self._free and (place := self._next()) is not None:
            self._waiting[place.lane].remove(place)
            self._called += 1
            self._busy.add(place.name)
            self._free -= 1
            self._owns_core |= place.lane is Lane.OWN
            place.has_turn = place.holds_core = True
            place.called.set_result(None)

    def _next(self) -> _Place | None:
        due = _ROTA[self._called % len(_ROTA)]
        for lane in (due, *(other for other in Lane if other is not due)):
            if lane is Lane.OWN and self._owns_core:
                continue
            for place in self._waiting[lane]:
                if place.name not in self._busy and not place.called.done():
                    return place
        return None
