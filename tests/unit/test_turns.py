"""Whose turn it is: lanes that no flood in another shuts, one attempt at a time for a name, and room for who asks least."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from arenad.login.turns import FOR_ONE_NAME, WAITING, Busy, Lane, Turns

NAMES = WAITING // FOR_ONE_NAME  # that fill a lane


class Crowd:
    """Attempts that hold their core until they are told; `order` is in which order they had it."""

    def __init__(self, cores: int = 1) -> None:
        self.turns, self.order = Turns(cores), list[str]()
        self._done: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, who: str, name: str = "", lane: Lane = Lane.REMOTE) -> None:
        """Take a place, and go on until it is the turn of others."""
        self._done[who] = asyncio.Event()
        self._tasks[who] = asyncio.create_task(self._one(who, name or who, lane))
        await asyncio.sleep(0)

    async def _one(self, who: str, name: str, lane: Lane) -> None:
        async with self.turns.turn(name, lane):
            self.order.append(who)
            await self._done[who].wait()

    async def finish(self, who: str) -> None:
        """Have one's turn end; raises what became of it."""
        self._done[who].set()
        await self._tasks[who]
        await settle()

    async def finish_all(self) -> None:
        """One after another, as they were called."""
        for number in range(len(self._tasks)):
            if number < len(self.order):
                await self.finish(self.order[number])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_ordinary_users_have_one_core_at_most() -> None:
    async def go() -> None:
        crowd = Crowd(cores=4)
        for number in range(5):
            await crowd.come(f"own{number}", lane=Lane.OWN)
        await crowd.come("root's")
        assert crowd.order == ["own0", "root's"]
        await crowd.finish("own0")
        assert crowd.order[2:] == ["own1"]

    run(go())


def test_a_flood_in_one_lane_shuts_no_other() -> None:
    async def go(flood: Lane, others: list[Lane]) -> None:
        crowd = Crowd()
        for number in range(WAITING + 1):
            await crowd.come(f"flood{number}", lane=flood)
        for lane in others:
            await crowd.come(lane.value, lane=lane)
        await crowd.finish_all()
        assert crowd.turns.waiting == 0
        assert max(crowd.order.index(lane.value) for lane in others) <= 7

    for flood in Lane:
        run(go(flood, [lane for lane in Lane if lane is not flood]))


def test_most_turns_are_those_of_the_favoured() -> None:
    async def go() -> None:
        crowd = Crowd()
        for number in range(30):
            for lane in Lane:
                await crowd.come(f"{lane.value}{number}", lane=lane)
        await crowd.finish_all()
        first = [who.rstrip("0123456789") for who in crowd.order[:30]]
        assert first.count("favoured") >= 19
        assert min(first.count("remote"), first.count("own")) >= 4

    run(go())


@pytest.mark.parametrize("lane", list(Lane))
def test_a_name_runs_one_at_a_time_and_has_so_many_places(lane: Lane) -> None:
    async def go() -> None:
        crowd = Crowd(cores=4)
        for number in range(FOR_ONE_NAME + 1):
            await crowd.come(f"try{number}", "alice", lane)
        assert crowd.order == ["try0"]
        await crowd.come("one more", "alice", lane)
        with pytest.raises(Busy):
            await crowd.finish("one more")

    run(go())


@pytest.mark.parametrize("lane", list(Lane))
def test_who_has_the_most_places_gives_one_to_a_newcomer(lane: Lane) -> None:
    async def go() -> None:
        crowd = Crowd()
        await crowd.come("under way", lane=lane)
        for number in range(WAITING):
            await crowd.come(f"greedy{number}", f"greedy{number % NAMES}", lane)
        await crowd.come("newcomer", lane=lane)
        with pytest.raises(Busy):
            await crowd.finish(f"greedy{WAITING - NAMES}")  # the last of the first that has the most
        assert crowd.turns.waiting == WAITING
        await crowd.finish("under way")
        for who in list(crowd.order[1:]):
            await crowd.finish(who)
        while "newcomer" not in crowd.order:
            await crowd.finish(crowd.order[-1])

    run(go())


def test_where_all_have_one_place_a_newcomer_is_told_that_there_is_none() -> None:
    async def go() -> None:
        crowd = Crowd()
        for number in range(WAITING + 1):
            await crowd.come(f"someone{number}")
        await crowd.come("newcomer")
        with pytest.raises(Busy):
            await crowd.finish("newcomer")

    run(go())


@pytest.mark.parametrize("lane", list(Lane))
def test_who_waited_too_long_is_sent_away_and_the_next_has_the_turn(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        crowd = Crowd()
        await crowd.come("under way", lane=lane)
        monkeypatch.setattr("arenad.login.turns.WAITS", 0.01)
        await crowd.come("late", lane=lane)
        with pytest.raises(Busy):
            await crowd.finish("late")
        monkeypatch.undo()
        await crowd.come("in time", lane=lane)
        await crowd.finish("under way")
        assert crowd.order == ["under way", "in time"]
        await crowd.finish("in time")

    run(go())
