"""arenad is restarted again and again under load: nobody is refused but who stood at one prompt for longer than 3 s."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.store.engine import open_store, read_only
from arenad.store.schema import audit
from crowd import HOTP, LONG, broken_rows, cheap_service, enrol, make_people
from restarts import CUT_OFF, GRANTED, MOMENTS, Crowd, Moment, Restarts, crowd_at, judge

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

QUICK = 950 if LONG else 10  # restarts while everybody types at once
SLOW = 50 if LONG else 2  # restarts while some think, each of which takes seconds; more, until somebody was cut off
PEOPLE = 400 if LONG else 150
REPLAYED = 100
HASTY = str(Path(__file__).with_name("hasty_arenad.py"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An arenad, not started yet."""
    one = cheap_service(tmp_path / "one")
    yield one
    one.close()


@contextmanager
def under_load(service: Service, chance: random.Random) -> Iterator[Restarts]:
    """Start it; a crowd comes as long as the block lasts."""
    people = make_people("alice", PEOPLE, HOTP)
    service.start()
    enrol(service, people)
    with crowd_at(service, people, chance) as crowd:
        yield Restarts(service, crowd, chance)


def look(service: Service, logins: Crowd) -> int:
    """Hold the store against what the crowd was told; returns how many codes were typed once more."""
    granted = [one for one in logins.logins if one.outcome == GRANTED]
    with read_only(open_store(service.url)) as connection:
        assert list(broken_rows(connection)) == []
        rows = connection.execute(sa.select(sa.func.count()).where(audit.c.outcome == "granted")).scalar()
    assert rows == len(granted)
    last = {one.person.name: one.code for one in granted}
    for name, code in list(last.items())[:REPLAYED]:

        def ask(style: Style, text: str, code: str = code) -> Secret | None:
            typed = "2846" if text.startswith("PIN") else code
            return Secret(typed.encode()) if style in (Style.HIDDEN, Style.SHOWN) else None

        assert service.client().converse(Start(Operation.AUTHENTICATE, "login", name), ask).code != GRANTED
    return min(len(last), REPLAYED)


def test_nobody_is_refused_by_a_restart(service: Service, seeded: random.Random, count: Callable[[str], None]) -> None:
    began = time.monotonic()
    with under_load(service, seeded) as restarts:
        crowd = restarts.crowd
        for number in range(QUICK):
            restarts.one(MOMENTS[number % len(MOMENTS)])
        crowd.thoughtful = True
        time.sleep(3)  # until some stand at a prompt for long
        slow = 0
        while slow < SLOW or not judge(crowd.logins)[0][CUT_OFF]:
            assert slow < 10 * SLOW, "nobody was cut off"
            restarts.one(Moment.ANY)
            slow += 1
    tally, wrong = judge(crowd.logins)
    assert not wrong, "\n".join(wrong[:20])
    again = look(service, crowd)
    # Or else nothing was met.
    assert restarts.came_while_down() and restarts.verdicts_met
    kinds = ", ".join(f"{restarts.done[one]} {one.value}" for one in MOMENTS)
    longest = max(end - begin for begin, end in restarts.down)
    count(
        f"{restarts.done.total()} restarts ({kinds}), 20 logins a second: {len(crowd.logins)} logins,"
        f" {tally['successes']} successes, {tally['refused']} refused, {tally[CUT_OFF]} {CUT_OFF};"
        f" {restarts.came_while_down()} came while it was down (at most {longest:.1f} s),"
        f" {restarts.verdicts_met} verdicts were under way at SIGTERM; {again} codes typed again, none worked;"
        f" {time.monotonic() - began:.0f} s"
    )


def test_an_arenad_that_leaves_nobody_time_is_found(service: Service, seeded: random.Random) -> None:
    service.program = (HASTY,)
    with under_load(service, seeded) as restarts:
        restarts.crowd.thoughtful = True
        while not judge(restarts.crowd.logins)[1]:
            restarts.one(Moment.ANY)
            assert len(restarts.down) < 10, "not found"
