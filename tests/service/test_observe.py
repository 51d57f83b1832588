"""Observe mode: asks, verifies and records, and lets PAM go on whatever came of it. And codes that are typed slowly."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad.store.schema import State, audit, failure, origin, stranger
from arenad.store.schema import token as token_table
from dialogues import AGAIN, ASK_CODE, ASK_PIN, CHOOSE, CURRENT, NEW, PIN, Holder, change, converse, grant, last, split

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Operation

HOTP = Mechanism(kind=Kind.HOTP)
PAM_PERM_DENIED, PAM_AUTHTOK_ERR, PAM_IGNORE = 6, 20, 25


@pytest.fixture
def observing(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, '[login]\ndeny_after = "0"\n[service.sshd]\nmode = "observe"\n')
    service.start()
    yield service
    service.close()


def test_whatever_comes_of_it_pam_goes_on_and_nobody_reads_a_denial(observing: Service) -> None:
    alice = Holder(observing, mechanism=HOTP)
    for typed in (split(PIN, alice.code(0)), split(PIN, "000000"), split("2847", alice.code(1)), split("", "")):
        assert converse(observing, "alice", typed).code == PAM_IGNORE
    assert [(row["event"], row["reason"]) for row in observing.rows(audit)] == [
        ("observe", "right"),
        ("observe", "wrong-code"),
        ("observe", "wrong-pin"),
        ("observe", "malformed"),
    ]
    assert converse(observing, "no-such-name", split("", "000000")).code == PAM_IGNORE
    assert last(observing, stranger)["event"] == "observe"


def test_no_account_is_refused(observing: Service) -> None:
    Holder(observing, mechanism=HOTP)
    change(observing, token_table, state=State.DISABLED.value)
    assert converse(observing, "alice", [], operation=Operation.ACCOUNT).code == PAM_IGNORE
    assert converse(observing, "alice", [], operation=Operation.ACCOUNT, service="login").code == PAM_PERM_DENIED


def test_nothing_counts_towards_waits(observing: Service) -> None:
    Holder(observing, mechanism=HOTP)
    for _ in range(7):
        assert converse(observing, "alice", split("1111", "000000")).code == PAM_IGNORE
    assert last(observing)["reason"] == "wrong-pin-and-code"
    assert all(row["failures"] == row["wait_until"] == 0 for row in observing.rows(origin))
    assert sum(row["count"] for row in observing.rows(failure)) == 0


def test_people_create_their_pin_while_nothing_is_enforced(observing: Service) -> None:
    alice = Holder(observing, mechanism=HOTP, pin=None)
    script = [*split("", alice.code(0)), (CHOOSE, PIN), (AGAIN, PIN), (NEW, PIN + alice.code(1))]
    assert converse(observing, "alice", script).code == PAM_IGNORE
    grant(observing, "alice", split(PIN, alice.code(2)), service="login")


def test_a_change_of_pin_is_no_login_and_is_not_only_observed(observing: Service) -> None:
    alice = Holder(observing, mechanism=HOTP)
    denied = [(CURRENT, "2847" + alice.code(0)), ("Access denied.", None)]
    assert converse(observing, "alice", denied, operation=Operation.CHANGE_PIN).code == PAM_AUTHTOK_ERR
    assert last(observing)["event"] == "login"
    assert sum(row["count"] for row in observing.rows(failure)) == 1


def test_a_code_seen_in_observe_mode_is_used(observing: Service) -> None:
    alice = Holder(observing, mechanism=HOTP)
    for _ in range(2):
        assert converse(observing, "alice", split(PIN, alice.code(0))).code == PAM_IGNORE
    assert last(observing)["reason"] == "used-code-again"


def test_the_journal_says_at_every_start_that_nothing_is_enforced(observing: Service) -> None:
    line = "nothing is enforced where mode is observe: [service.sshd]"
    assert observing.journal.read_text().count(line) == 1
    observing.stop()
    observing.start()
    assert observing.journal.read_text().count(line) == 2


# --- valid when prompted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slow", "granted"), [("12s", True), ("0", False)])
def test_the_code_that_was_shown_when_the_prompt_appeared_may_be_typed_slowly(tmp_path: Path, slow: str, granted: bool) -> None:
    lines = f'[login]\ndeny_after = "0"\n[code]\nslow_typing = "{slow}"\nnext_code_reach = 1\n'
    service = Service(tmp_path, lines)
    service.start()
    try:
        alice = Holder(service, mechanism=Mechanism(period=3))

        def slowly() -> str:
            code = alice.code()
            time.sleep(8)  # two or three displays later, which is beyond the window
            return code

        script = [(ASK_PIN, PIN), (ASK_CODE, slowly)]
        done = converse(service, "alice", script if granted else [*script, ("Access denied.", None)])
        assert (done.code == 0) is granted
        assert {row["drift"] for row in service.rows(token_table)} == {0}
    finally:
        service.close()
