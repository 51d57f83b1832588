"""64 clients race for one code: exactly one gets in, whatever kind of code, from wherever, and through two arenads at once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.store.engine import open_store, read_only
from arenad.store.schema import audit
from crowd import HOTP, LONG, PIN, TOTP, Person, broken_rows, cheap_service, enrol, make_people
from race import Runner, race

from pam_arena.pin import Hasher

CLIENTS = 64
CODES = 10_000 if LONG else 96  # with a cheap argon2
DEAR = 500 if LONG else 4  # with the real one
FOR_ONE_HOLDER = 3  # codes of a token that are raced for
SUCCESS, DENIED, UNAVAILABLE = 0, 7, 9

Codes = Iterator[tuple[str, str]]  # name, code


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    """Two arenads over one store, as while one is being replaced: what each remembers in its own process does not help."""
    first, second = cheap_service(tmp_path / "first"), cheap_service(tmp_path / "second")
    second.config.write_text(second.config.read_text().replace(second.url, first.url))
    (second.folder / "arena.key").write_bytes(first.key)
    first.start()
    second.start()
    yield first, second
    first.close()
    second.close()


def codes_of(people: list[Person]) -> Codes:
    """Every code that is to be raced for: of tokens of both kinds, and out of drawers."""
    for one in people:
        yield from ((one.name, one.code(step)) for step in one.steps(FOR_ONE_HOLDER))
        yield from ((one.name, code) for code in one.emergency)


def many_holders(codes: int) -> list[Person]:
    """As many holders as there are to be codes: of each, three codes of a token, and one of a drawer."""
    half = -(-codes // (FOR_ONE_HOLDER + 1) // 2)
    return make_people("hotp", half, HOTP, 1) + make_people("totp", half, TOTP, 1)


def line_up(services: tuple[Service, ...], name: str, code: str, number: int) -> list[Runner]:
    """64 clients in turn from the console, and from addresses; every other race through all the services there are."""
    used = services if number % 2 else services[:1]
    console = number // 2 % 2
    return [
        Runner(used[n % len(used)].socket_path, name, "" if n % 4 < 3 * console else f"192.0.2.{n}", PIN, code)
        for n in range(CLIENTS)
    ]


def run_races(services: tuple[Service, ...], codes: Codes, count: Callable[[str], None], what: str) -> None:
    """Race for each code. Each must open once, and once more it must not."""
    tally: Counter[int] = Counter()
    raced = 0
    began = time.monotonic()
    for number, (name, code) in enumerate(codes):
        results = Counter(race(line_up(services, name, code, number)))
        assert results[SUCCESS] == 1, f"race {number} for a code of {name}: {dict(results)}"
        assert set(results) <= {SUCCESS, DENIED, UNAVAILABLE}
        tally += results
        for service in services:
            service.hear()
        raced += 1
    with read_only(open_store(services[0].url)) as connection:
        assert list(broken_rows(connection)) == []
        granted = connection.execute(sa.select(sa.func.count()).where(audit.c.outcome == "granted")).scalar()
    assert granted == raced
    count(
        f"{raced} codes ({what}), {CLIENTS} clients each: {tally[SUCCESS]} successes, {tally[DENIED]} denials,"
        f" {tally[UNAVAILABLE]} sent away because too many waited, in {time.monotonic() - began:.0f} s"
    )


def test_one_of_64_gets_in(pair: tuple[Service, Service], count: Callable[[str], None]) -> None:
    people = many_holders(CODES)
    enrol(pair[0], people)
    run_races(pair, codes_of(people), count, "cheap argon2id, one arenad and two in turn")


def test_one_of_64_gets_in_at_the_full_price(service: Service, count: Callable[[str], None]) -> None:
    people = make_people("alice", -(-DEAR // FOR_ONE_HOLDER), HOTP)
    enrol(service, people, Hasher())
    run_races((service,), codes_of(people), count, "argon2id as shipped")
