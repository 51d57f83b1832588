"""report observe: who would get in if it were enforced, who would not, and what to do about each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad.store.schema import audit, holder
from desk_service import DeskService
from dialogues import PIN, Holder, change, converse, deny, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
PAM_IGNORE = 25


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An arenad that observes sshd and enforces the rest."""
    one = Service(tmp_path, '[login]\ndeny_after = "0"\n[service.sshd]\nmode = "observe"\n')
    one.start()
    yield one
    one.close()


def observe(service: Service, name: str, pin: str, code: str) -> None:
    assert converse(service, name, split(pin, code)).code == PAM_IGNORE


def report(desk: DeskService) -> dict[str, dict[str, object]]:
    found = {row["name"]: row for row in desk.get("/reports/observe")}
    assert list(found) == sorted(found)
    return found


def test_a_right_passcode_makes_ready_and_failures_stay_counted(service: Service, desk: DeskService) -> None:
    alice = Holder(service, mechanism=HOTP)
    observe(service, "alice", PIN, "000000")
    row = report(desk)["alice"]
    assert (row["ready"], row["missing"], row["failures"]) == (False, "a login that succeeds", 1)
    assert (row["outcome"], row["reason"]) == ("denied", "right PIN, wrong code")
    assert str(row["remedy"]).endswith("arenactl token resync K-alice")
    observe(service, "alice", PIN, alice.code(0))
    row = report(desk)["alice"]
    assert (row["ready"], row["missing"], row["remedy"], row["failures"]) == (True, "", "", 1)
    assert (row["keys"], row["pin"], row["outcome"]) == (["K-alice"], True, "granted")
    observe(service, "alice", "2847", alice.code(1))
    row = report(desk)["alice"]
    assert (row["ready"], row["remedy"], row["failures"]) == (False, "a forgotten PIN: arenactl pin reset alice", 2)


def test_where_it_is_enforced_a_success_counts_and_a_failure_tells_nothing(service: Service, desk: DeskService) -> None:
    alice = Holder(service, mechanism=HOTP)
    assert report(desk)["alice"]["missing"] == "a login"
    assert converse(service, "alice", split(PIN, alice.code(0)), service="login").code == 0
    deny(service, "alice", split(PIN, "000000"), service="login")
    row = report(desk)["alice"]
    assert (row["ready"], row["outcome"], row["failures"]) == (True, "granted", 0)


def test_a_pin_that_is_missing_or_lapsed_is_named_with_its_remedy(service: Service, desk: DeskService) -> None:
    bob = Holder(service, "bob", HOTP, pin=None)
    row = report(desk)["bob"]
    assert (row["ready"], row["pin"], row["missing"]) == (False, False, "a PIN")
    assert "leave the PIN empty" in str(row["remedy"])
    change(service, holder, new_pin_until=1)
    observe(service, "bob", "", bob.code(0))
    row = report(desk)["bob"]
    assert (row["missing"], row["remedy"]) == ("a PIN, and the time to create one is over", "arenactl pin reset bob")
    assert row["reason"] == "the time to create a PIN is over"


def test_a_disabled_key_is_named_with_its_remedy(service: Service, desk: DeskService) -> None:
    Holder(service, mechanism=HOTP)
    desk.do("/tokens/K-alice/disable")
    row = report(desk)["alice"]
    assert (row["keys"], row["missing"]) == (["K-alice (disabled)"], "a key that is not disabled")
    assert row["remedy"] == "arenactl token enable K-alice"


def test_people_without_a_key_are_listed_if_the_system_knows_them(service: Service, desk: DeskService) -> None:
    for name in ("daemon", "daemon", "no-such-name"):
        observe(service, name, "", "000000")
    found = report(desk)
    assert list(found) == ["daemon"]
    row = found["daemon"]
    assert (row["ready"], row["keys"], row["pin"], row["failures"]) == (False, [], False, 2)
    assert (row["missing"], row["remedy"]) == ("a key", "arenactl token assign SERIAL daemon")


def test_who_was_a_stranger_once_is_listed_once(service: Service, desk: DeskService) -> None:
    observe(service, "daemon", "", "000000")
    Holder(service, "daemon", HOTP)
    assert report(desk)["daemon"]["keys"] == ["K-daemon"]


def test_a_holder_whose_keys_went_back_is_listed_if_they_were_seen(service: Service, desk: DeskService) -> None:
    alice = Holder(service, mechanism=HOTP)
    Holder(service, "bob", HOTP)
    observe(service, "alice", PIN, alice.code(0))
    for serial in ("K-alice", "K-bob"):
        desk.do(f"/tokens/{serial}/unassign")
    found = report(desk)
    assert list(found) == ["alice"]
    assert (found["alice"]["missing"], found["alice"]["keys"]) == ("a key", [])


def test_reading_leaves_no_row(service: Service, desk: DeskService) -> None:
    report(desk)
    assert service.rows(audit) == []
