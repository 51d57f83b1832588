"""Where guesses come from: each origin waits for itself, and the holder's own places are kept open."""

import threading
import time
from pathlib import Path

import pytest
from arena import Service
from arenad.store.schema import failure, origin, stranger
from dialogues import PIN, Holder, change, converse, deny, grant, last, split

from pam_arena.errors import ServiceDown
from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
HOME, STRANGER = "192.0.2.7", "203.0.113.9"


@pytest.fixture
def alice(service: Service) -> Holder:
    return Holder(service, mechanism=HOTP)


def guess(service: Service, times: int, **start: object) -> None:
    for number in range(times):
        deny(service, "alice", split("1111", f"00000{number % 10}"), **start)


def test_strangers_wait_while_a_known_address_and_the_console_do_not(service: Service, alice: Holder) -> None:
    grant(service, "alice", split(PIN, alice.code(0)), rhost=HOME)
    guess(service, 6, rhost=STRANGER)
    deny(service, "alice", split(PIN, alice.code(1)), rhost="198.51.100.3")
    assert last(service)["reason"] == "waiting"
    grant(service, "alice", split(PIN, alice.code(2)), rhost=HOME)
    grant(service, "alice", split(PIN, alice.code(3)), rhost="")


def test_an_address_is_known_for_thirty_days(service: Service, alice: Holder) -> None:
    grant(service, "alice", split(PIN, alice.code(0)), rhost=HOME)
    guess(service, 5, rhost=STRANGER)
    change(service, origin, granted_at=int(time.time()) - 31 * 86400)
    deny(service, "alice", split(PIN, alice.code(1)), rhost=HOME)
    assert last(service)["reason"] == "waiting"


def test_su_by_another_user_hurts_nobody_but_that_user(service: Service, alice: Holder) -> None:
    guess(service, 6, rhost="", ruser="bob", uid=1001)
    deny(service, "alice", split(PIN, alice.code(0)), rhost="", ruser="bob", uid=1001)
    assert last(service)["reason"] == "waiting"
    grant(service, "alice", split(PIN, alice.code(1)), rhost="", ruser="carol", uid=1002)
    grant(service, "alice", split(PIN, alice.code(2)), rhost="", ruser="alice", uid=1003)


def test_waits_double_and_end_closed(tmp_path: Path) -> None:
    extra = '[login]\ndeny_after = "0"\n[lock]\nafter = 2\nwait = "60s"\nwait_max = "200s"\nclose_after = 5\n'
    service = Service(tmp_path, extra)
    service.start()
    try:
        alice = Holder(service, mechanism=HOTP)
        waits = []
        for _ in range(5):
            guess(service, 1)
            row = next(one for one in service.rows(origin) if one["kind"] == "remote")
            waits.append(max(0, row["wait_until"] - int(time.time())))
            change(service, origin, wait_until=0)
        assert [round(wait, -1) for wait in waits] == [0, 60, 120, 200, 200]
        deny(service, "alice", split(PIN, alice.code(0)))
        assert last(service)["reason"] == "closed"
        service.kill()
        service.start()
        deny(service, "alice", split(PIN, alice.code(1)))
        assert last(service)["reason"] == "closed"
        grant(service, "alice", split(PIN, alice.code(2)), rhost="")
    finally:
        service.close()


def test_while_an_origin_waits_nothing_is_counted_and_what_was_typed_is_spent(service: Service, alice: Holder) -> None:
    guess(service, 5)
    before = service.rows(origin), service.rows(failure)
    guess(service, 2)
    deny(service, "alice", split(PIN, alice.code(0)))
    assert (service.rows(origin), service.rows(failure)) == before
    change(service, origin, wait_until=0, failures=0)
    deny(service, "alice", split(PIN, alice.code(0)))
    assert last(service)["reason"] == "used-code"


@pytest.mark.parametrize("typed", [("", ""), ("\b\n\r\x7fINCO", "\b\n\r\x7fIN"), ("28", "461"), ("é", "x" * 400)])
def test_what_is_no_passcode_never_counts(service: Service, alice: Holder, typed: tuple[str, str]) -> None:
    for _ in range(6):
        deny(service, "alice", split(*typed))
    assert last(service)["reason"] == "malformed"
    assert sum(row["count"] for row in service.rows(failure)) == 0
    grant(service, "alice", split(PIN, alice.code(0)))


def test_names_that_do_not_exist_fill_no_table(service: Service, alice: Holder) -> None:
    for number in range(12):
        deny(service, f"made-up-{number}", split("1111", "000000"), rhost=f"203.0.113.{number}")
    assert len([row for row in service.rows(origin) if row["holder_id"] == 0]) == 1
    assert len([row for row in service.rows(failure) if row["holder_id"] == 0]) == 1
    assert len(service.rows(stranger)) == 12


def test_a_flood_for_one_name_leaves_the_console_its_turn(tmp_path: Path) -> None:
    """A hundred strangers guess for alice at once, some are told that there is no room; alice at the console gets in."""
    service = Service(
        tmp_path, '[login]\ndeny_after = "0"\n[lock]\nafter = 100\nclose_after = 10000\n[code]\nnext_code_after = 1000\n'
    )
    service.start()
    try:
        alice = Holder(service, mechanism=HOTP)
        ended: list[int | str] = []
        stop = threading.Event()

        def flood(number: int) -> None:
            while not stop.is_set():
                try:
                    done = service.client().authenticate(
                        "alice", "sshd", lambda style, text: "111111", rhost=f"198.51.100.{number}"
                    )
                    ended.append(int(done))
                except ServiceDown as error:
                    ended.append(str(error))

        strangers = [threading.Thread(target=flood, args=(number,)) for number in range(100)]
        for one in strangers:
            one.start()
        took = []
        try:
            time.sleep(0.5)
            for counter in range(10):
                begun = time.monotonic()
                grant(service, "alice", split(PIN, alice.code(counter)), rhost="")
                took.append(time.monotonic() - begun)
        finally:
            stop.set()
            for one in strangers:
                one.join()
        assert 1 not in ended
        assert len(ended) > 20
        assert converse(service, "alice", split(PIN, alice.code(10)), rhost="").code == 0
    finally:
        service.close()
    print(f"{len(ended)} guesses by {len(strangers)} strangers; a login at the console took {max(took):.2f} s at most")


def test_an_address_that_is_not_utf8_is_one_like_any_other(service: Service, alice: Holder) -> None:
    odd = "192.0\udcc3.7"
    grant(service, "alice", split(PIN, alice.code(0)), rhost=odd)
    assert last(service)["address"] == "192.0\\xc3.7"
    guess(service, 6, rhost=STRANGER)
    grant(service, "alice", split(PIN, alice.code(1)), rhost=odd)


@pytest.mark.parametrize("name", ["alic\udce9", "\udcff", "alice\n", "alice\x1b[2J", "", "a" * 300])
def test_a_name_that_no_system_would_give_is_a_stranger_like_any_other(service: Service, alice: Holder, name: str) -> None:
    deny(service, "nobody-here", split(PIN, alice.code(0)))
    usual = last(service, stranger)
    deny(service, name, split(PIN, alice.code(0)))
    told = last(service, stranger)
    assert told["id"] == usual["id"] + 1 and told["holder"] != usual["holder"]
    assert {**told, **{key: usual[key] for key in ("id", "at", "holder", "ref")}} == usual
    assert "error" not in service.journal.read_text() and "no verdict" not in service.journal.read_text()
