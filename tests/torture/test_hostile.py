"""Ordinary users who want to keep root's logins out, to fill arenad, or to get at somebody else's account."""

import os
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad.login.complaints import OF_ALL
from arenad.login.listener import BURST, PACE, PER_USER
from arenad.login.settle import AN_HOUR
from arenad.store.schema import audit, stranger
from crowd import LONG, PIN, cheap_service, enrol, make_people
from hostile import FIRST_UID, WAYS, WRONG, Logins, Looked, OneHash, Way, attacker, hostile_service, look
from single import as_uid, connect, hear, start

from pam_arena.protocol import Operation
from pam_arena.secret import Secret
from pam_arena.wire import Prompt, Start, decode

SIZE = 1000 if LONG else 250  # connections
SECONDS = 10.0 if LONG else 1.0  # of each way
A_SECOND = 10.0  # root's logins
UIDS = 200
LIMIT = 1.5  # seconds, at p99
IDLE = 0.1  # seconds that a login takes at most on a machine that does nothing else: 0.03 on two cores
MEMORY = 96 * 1024  # KiB that arenad may grow by: argon2's memory of two cores, and as much again
SUCCESS, DENIED = 0, 7
USERS = [(f"u{n}", FIRST_UID + n) for n in range(UIDS)]


@pytest.fixture
def besieged(open_folder: Path) -> Iterator[tuple[Service, Logins]]:
    """An arenad as shipped with holders for root to log in, and two hundred ordinary users who have keys too."""
    service = hostile_service(open_folder, USERS)
    roots, hashed = make_people("r", 60), OneHash()
    enrol(service, [*roots, *make_people("u", UIDS)], hashed)
    service.start()
    yield service, Logins(service, roots, A_SECOND)
    service.close()


def besiege(service: Service, logins: Logins, ways: list[tuple[Way, int]], size: int, seconds: float = SECONDS) -> Counter[str]:
    """Attack in these ways at once, each by so many uids; returns what came of all. The logins are those of this time."""
    logins.begin()
    attackers, first = [], 0
    for way, uids in ways:
        users = USERS[first : first + uids]
        attackers.append(attacker(service.socket_path, users, way, size // len(ways)))
        first += uids
    until = time.monotonic() + seconds
    for one in attackers:
        one.begin(until)
    logins.run(until)
    total: Counter[str] = Counter()
    for one in attackers:
        total.update(one.end())
    service.hear()
    return total


def told(name: str, logins: Logins, came: Counter[str], before: Looked, after: Looked) -> str:
    """A line of counts."""
    grown = {table: after.rows[table] - before.rows[table] for table in after.rows}
    return (
        f"{name}: {came['connections']} connections; root's {len(logins.took)} logins p50 {logins.percentile(0.5):.2f}"
        f" p99 {logins.percentile(0.99):.2f} max {max(logins.took):.2f} s, {len(logins.failed)} failed; descriptors"
        f" {logins.descriptors}, threads {after.threads}, memory {(after.memory - before.memory) // 1024:+d} MiB, rows"
        f" {' '.join(f'{table} {number:+d}' for table, number in grown.items())}, lines {after.lines - before.lines:+d}"
    )


def test_root_logs_in_whatever_ordinary_users_do(besieged: tuple[Service, Logins], count: Callable[[str], None]) -> None:
    service, logins = besieged
    besiege(service, logins, [], 0)
    quiet, at_first = sorted(logins.took), look(service)
    attacks: dict[str, list[tuple[Way, int]]] = {name: [(way, 1)] for name, way in WAYS.items()}
    attacks |= {f"guesses of {uids} uids": [(WAYS["guesses"], uids)] for uids in (16, UIDS)}
    attacks[f"gone after a guess, {UIDS} uids"] = [(WAYS["gone after a guess"], UIDS)]
    attacks["all ways at once"] = [(way, 4) for way in WAYS.values()]
    took, failed, journal = [], [], look(service).lines
    allowed = 0.0
    for name, ways in attacks.items():
        before = look(service)
        came = besiege(service, logins, ways, SIZE)
        after = look(service)
        count(told(name, logins, came, before, after))
        assert came["connections"] >= SIZE // 2, name
        assert came["turned away"] or "gone" in name or name == "storm", f"{name}: {came}"
        uids = sum(number for _, number in ways)
        # Those of root's logins that came late and stand in line together, and of threads: three each.
        assert logins.descriptors <= at_first.descriptors + PER_USER * uids + 200, name
        assert after.descriptors <= at_first.descriptors + PER_USER * uids + 40, name
        assert after.threads <= 24, name
        allowed += uids * BURST * (SECONDS / PACE + 1) + len(logins.took)
        took += logins.took
        failed += logins.failed
    at_last = look(service)
    minutes = (len(attacks) * SECONDS) // 60 + 2
    assert failed == []
    assert at_last.memory - at_first.memory <= MEMORY
    assert at_last.lines - journal <= OF_ALL * minutes + minutes
    assert sum(at_last.rows[table] - at_first.rows[table] for table in ("audit", "stranger")) <= allowed
    assert at_last.rows["failure"] - at_first.rows["failure"] <= UIDS + len(logins.people)
    besiege(service, logins, [], 0)
    quiet = sorted([*quiet, *logins.took])
    # A machine that is busy with other things than this test is slow with all of it.
    slow = max(1.0, statistics.median(quiet) / IDLE)
    ranked = sorted(took)
    p99 = ranked[int(0.99 * len(ranked))]
    count(
        f"{len(attacks)} attacks of {SIZE} connections, {SECONDS:.0f} s each: root's {len(took)} logins p50"
        f" {statistics.median(ranked):.2f} p99 {p99:.2f} max {ranked[-1]:.2f} s, none failed (without an attack: p50"
        f" {statistics.median(quiet):.2f} max {quiet[-1]:.2f} s); memory {(at_last.memory - at_first.memory) // 1024:+d} MiB"
    )
    assert p99 < LIMIT * slow


def test_it_is_found_where_the_limits_are_taken_away(open_folder: Path, count: Callable[[str], None]) -> None:
    """The same attack against an arenad without what keeps ordinary users from root's logins: these fail, or come too late."""
    service = hostile_service(open_folder, USERS)
    service.environment["ARENA_WITHOUT"] = "limits"
    roots, hashed = make_people("r", 20), OneHash()
    enrol(service, [*roots, *make_people("u", 1)], hashed)
    service.start()
    try:
        logins = Logins(service, roots, A_SECOND)
        besiege(service, logins, [(WAYS["gone after a guess"], 1)], SIZE, 2.0)
        late = sum(took > LIMIT for took in logins.took)
        count(f"without limits: {len(logins.failed)} of root's logins failed and {late} came too late, of {logins.begun}")
        assert len(logins.failed) + late > logins.begun // 10
    finally:
        service.close()


def hurried(path: str, number: int, keep: list[socket.socket]) -> list[str]:
    """What becomes of so many STARTs in a row for u0; the lines are kept."""
    said = []
    for _ in range(number):
        line = connect(path)
        keep.append(line)
        try:
            line.send(start("u0"))
            said.append("asked" if hear(line) else "turned away")
        except BrokenPipeError:
            said.append("turned away")
    return said


def test_who_hangs_up_keeps_the_place_until_the_verdict_and_begins_no_more_than_so_many(open_folder: Path) -> None:
    service = hostile_service(open_folder, USERS[:1], '[login]\ndeny_after = "3s"\n')
    service.start()
    enrol(service, make_people("u", 1), OneHash())

    def work() -> object:
        lines: list[socket.socket] = []
        first = hurried(service.socket_path, PER_USER, lines)
        for line in lines:
            line.send(WRONG)
            hear(line)
            line.send(WRONG)
            line.close()
        time.sleep(1.5)  # half of what a denial takes
        held = hurried(service.socket_path, 1, lines)
        end = time.monotonic() + 10
        while (after := hurried(service.socket_path, 1, lines)) != ["asked"] and time.monotonic() < end:
            time.sleep(0.1)
        for line in lines:
            line.close()
        time.sleep(PACE + 0.2)
        quick: list[socket.socket] = []
        for _ in range(BURST):
            quick += [connect(service.socket_path)]
            quick[-1].close()
        soon = hurried(service.socket_path, 1, quick)
        return first, held, after, soon

    try:
        assert as_uid(service, FIRST_UID, work) == repr((["asked"] * PER_USER, ["turned away"], ["asked"], ["turned away"]))
        deadline = time.monotonic() + 10
        while len(rows := [row["actor"] for row in service.rows(audit)]) < PER_USER and time.monotonic() < deadline:
            time.sleep(0.1)
        assert rows == [f"uid:{FIRST_UID}"] * PER_USER  # every guess was judged, and noted
    finally:
        service.close()


def test_silent_connections_of_any_number_of_uids_give_way_to_who_speaks(open_folder: Path) -> None:
    """One person may have 65,536 uids (subuid(5)): their silence must not keep other users out of their own screens."""
    service = hostile_service(open_folder, USERS[:1])
    slots = 40
    service.environment["ARENA_NOFILE"] = str(64 + slots)
    service.start()
    held: list[socket.socket] = []
    try:
        for uid in range(100_000, 100_020):
            for _ in range(PER_USER):
                os.seteuid(uid)
                try:
                    held.append(connect(service.socket_path))
                finally:
                    os.seteuid(0)
        assert as_uid(service, FIRST_UID, lambda: hurried(service.socket_path, PER_USER, [])) == repr(["asked"] * PER_USER)
        mine = [connect(service.socket_path) for _ in range(slots // 4)]
        for line in mine:
            line.send(start("u0", service="login"))
            assert isinstance(decode(hear(line)), Prompt)
            line.close()
    finally:
        for line in held:
            line.close()
        service.close()


def test_descriptors_that_come_with_messages_are_dropped(open_folder: Path) -> None:
    service = hostile_service(open_folder, USERS[:1])
    service.start()
    try:
        reader, writer = os.pipe()
        before = look(service).descriptors
        with connect(service.socket_path) as line:
            socket.send_fds(line, [start("u0")], [writer] * 200)
            assert isinstance(decode(hear(line)), Prompt)
            os.close(writer)
            assert os.read(reader, 1) == b""  # the only one who held it was here
            assert look(service).descriptors <= before + 12  # the connection, and the store's of a thread
        os.close(reader)
    finally:
        service.close()


def test_what_is_no_guess_fills_no_audit(open_folder: Path) -> None:
    """Malformed answers and those of one who waits are never counted, so that they could go on for ever."""
    service = cheap_service(open_folder / "one", '[login]\ndeny_after = "0"\n')
    alice, next_to_her = make_people("alice", 2)
    enrol(service, [alice, next_to_her])
    service.start()
    try:
        for _ in range(AN_HOUR + 20):
            assert log_in(service, alice.name, PIN, "x") == DENIED
        assert (len(service.rows(audit)), len(service.rows(stranger))) == (AN_HOUR, 20)
        assert service.rows(stranger)[-1]["reason"] == "malformed"
        assert alice.name < next_to_her.name
        assert log_in(service, next_to_her.name, PIN, "x") == DENIED
        assert service.rows(audit)[-1]["holder"] == next_to_her.name  # who has no rows yet is not crowded by hers
        for _ in range(5):
            assert log_in(service, alice.name, PIN, alice.wrong_code()) == DENIED
        assert len(service.rows(audit)) == AN_HOUR + 6  # guesses stay, however many rows there are
        for _ in range(5):
            assert log_in(service, alice.name, PIN, alice.wrong_code()) == DENIED
        assert (len(service.rows(audit)), service.rows(stranger)[-1]["reason"]) == (AN_HOUR + 6, "waiting")
        assert log_in(service, alice.name, PIN, alice.code(0), rhost="192.0.2.7") == SUCCESS
        assert (len(service.rows(audit)), service.rows(audit)[-1]["outcome"]) == (AN_HOUR + 7, "granted")
    finally:
        service.close()


def log_in(service: Service, name: str, pin: str, code: str, **more: str) -> int:
    """Log in through root's client; PAM's code."""
    answers = [Secret(pin.encode()), Secret(code.encode())]
    begun = Start(Operation.AUTHENTICATE, "login", name, **more)  # type: ignore[arg-type]  # of any kind
    return service.client().converse(begun, lambda style, text: answers.pop(0) if answers else None).code
