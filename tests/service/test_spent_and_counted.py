"""What is spent and counted beside the plain cases: each of these once was not, or was without need."""

import time
from pathlib import Path

from arena import Service
from arenad.store.accounts import mark, read_account
from arenad.store.engine import make_engine
from arenad.store.schema import State, audit, failure, origin, token
from dialogues import ASK_CODE, ASK_PIN, MAILED, NEXT, PIN, Holder, change, converse, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)


def test_a_later_code_typed_as_the_next_one_is_spent(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    for guess in range(3):
        deny(service, "alice", split(PIN, f"00000{guess}"))
    deny(service, "alice", [*split(PIN, alice.code(0)), (NEXT, alice.code(2))])
    assert last(service)["reason"] == "next-code-wrong"
    deny(service, "alice", split(PIN, alice.code(2)))
    assert last(service)["reason"] == "used-code"


def test_a_code_typed_while_its_token_is_disabled_is_spent(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    change(service, token, state=State.DISABLED.value)
    deny(service, "alice", split(PIN, alice.code(0)))
    assert last(service)["reason"] == "disabled"
    change(service, token, state=State.ACTIVE.value)
    deny(service, "alice", split(PIN, alice.code(0)))
    assert last(service)["reason"] == "used-code"
    grant(service, "alice", split(PIN, alice.code(1)))


def test_a_token_whose_time_is_over_opens_nothing(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    change(service, token, valid_until=int(time.time()) - 1)
    deny(service, "alice", split(PIN, alice.code(0)))
    assert last(service)["reason"] == "expired"
    change(service, token, valid_until=int(time.time()) + 600)
    grant(service, "alice", split(PIN, alice.code(1)))


def test_a_login_that_is_only_observed_ends_no_wait_of_an_address(tmp_path: Path) -> None:
    extra = '[login]\ndeny_after = "0"\n[service.imap]\nmode = "observe"\n[lock]\nafter = 1\nclose_after = 2\n'
    service = Service(tmp_path, extra)
    service.start()
    try:
        alice = Holder(service, mechanism=HOTP)
        grant(service, "alice", split(PIN, alice.code(0)))
        deny(service, "alice", split(PIN, "000000"))
        before = [row for row in service.rows(origin) if row["key"] == "192.0.2.7"]
        assert converse(service, "alice", split(PIN, alice.code(1)), service="imap").code == 25
        assert last(service)["reason"] == "right"
        after = [row for row in service.rows(origin) if row["key"] == "192.0.2.7"]
        assert [(row["failures"], row["wait_until"]) for row in after] == [
            (row["failures"], row["wait_until"]) for row in before
        ]
        assert before[0]["failures"] == 1
        deny(service, "alice", split(PIN, alice.code(2)))
        assert last(service)["reason"] == "waiting"
    finally:
        service.close()


def test_a_right_pin_counts_as_no_failure_when_no_mail_may_go(tmp_path: Path) -> None:
    extra = '[login]\ndeny_after = "0"\n[mail]\nfrom = "arena@school.example"\n[service.default]\nmail_codes = true\n'
    service = Service(tmp_path, extra)
    service.start()
    try:
        Holder(service)
        deny(service, "alice", [(ASK_PIN, PIN), (ASK_CODE, ""), (MAILED, "")])
        assert [row["reason"] for row in service.rows(audit)] == ["mail-no-address", "malformed"]
        assert sum(row["count"] for row in service.rows(failure)) == 0
    finally:
        service.close()


def test_what_others_wrote_of_a_token_meanwhile_is_not_taken_back(service: Service) -> None:
    """A desk that resynchronises or enables a key, or an arenad that is being replaced, writes while a login is under way."""
    Holder(service, mechanism=HOTP)
    engine = make_engine(service.url)
    with engine.begin() as connection:
        slot = read_account(connection, "alice", time.time(), "console", "").slots[0]
    change(service, token, drift=3, wrong_pins=4, granted_step=7)
    with engine.begin() as connection:
        mark(connection, slot, granted_step=-1, learnt=0, wrong_pin=True, limit=10, at=int(time.time()))
    row = next(row for row in service.rows(token) if row["serial"] == slot.serial)
    assert (row["drift"], row["wrong_pins"], row["granted_step"], row["state"]) == (3, 5, 7, "active")
    with engine.begin() as connection:
        mark(connection, slot, granted_step=-1, learnt=0, wrong_pin=True, limit=6, at=int(time.time()))
    row = next(row for row in service.rows(token) if row["serial"] == slot.serial)
    assert (row["wrong_pins"], row["state"], row["why"]) == (6, "disabled", "6 right codes with a wrong PIN")
