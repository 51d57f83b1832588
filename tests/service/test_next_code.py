"""Next-tokencode mode: after failures, and for a key whose clock is off, only the very next step opens the door."""

import time
from pathlib import Path

import pytest
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.schema import failure
from arenad.store.schema import token as token_table
from dialogues import ASK_CODE, ASK_PIN, NEXT, PIN, Holder, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)


def fail(holder: Holder, times: int) -> None:
    for guess in range(times):
        deny(holder.service, holder.name, split(PIN, f"00000{guess}"))


def drift(service: Service) -> object:
    return next(row["drift"] for row in service.rows(token_table) if row["state"] == "active")


@pytest.fixture
def alice(service: Service) -> Holder:
    return Holder(service)


def test_after_three_failures_the_next_code_is_asked_for(service: Service, alice: Holder) -> None:
    fail(alice, 3)
    grant(service, "alice", [*split(PIN, alice.code()), (NEXT, alice.code(1))])
    assert last(service)["reason"] == "right"


def test_after_a_success_one_code_is_enough_again(service: Service) -> None:
    bob = Holder(service, "bob", HOTP)
    fail(bob, 3)
    grant(service, "bob", [*split(PIN, bob.code(0)), (NEXT, bob.code(1))])
    grant(service, "bob", split(PIN, bob.code(2)))


@pytest.mark.parametrize("ahead", [0, 2, -1])
def test_no_other_code_than_the_very_next_opens(service: Service, alice: Holder, ahead: int) -> None:
    fail(alice, 3)
    deny(service, "alice", [*split(PIN, alice.code()), (NEXT, alice.code(ahead))])
    assert last(service)["reason"] == "next-code-wrong"


def test_a_wrong_next_code_counts_as_a_failure_and_an_empty_one_does_not(service: Service, alice: Holder) -> None:
    fail(alice, 3)
    deny(service, "alice", [*split(PIN, alice.code(-1)), (NEXT, "")])
    assert sum(row["count"] for row in service.rows(failure)) == 3
    deny(service, "alice", [*split(PIN, alice.code()), (NEXT, "000000")])
    assert sum(row["count"] for row in service.rows(failure)) == 4


@pytest.mark.parametrize("off", [-10, -5, 2, 5, 9])
def test_a_clock_that_is_off_is_learnt_from_two_codes_in_a_row(service: Service, alice: Holder, off: int) -> None:
    grant(service, "alice", [*split(PIN, alice.code(off)), (NEXT, alice.code(off + 1))])
    assert drift(service) == off


@pytest.mark.parametrize("off", [-11, 11])
def test_a_clock_that_is_off_by_more_is_not_reached(service: Service, alice: Holder, off: int) -> None:
    deny(service, "alice", split(PIN, alice.code(off)))
    assert last(service)["reason"] == "wrong-code"


def test_a_far_code_with_a_wrong_pin_is_spent(service: Service, alice: Holder) -> None:
    deny(service, "alice", split("2847", alice.code(5)))
    assert last(service)["reason"] == "wrong-pin"
    deny(service, "alice", split(PIN, alice.code(5)))
    assert last(service)["reason"] == "used-code"


def test_the_drift_within_the_window_is_learnt_one_step_a_login(service: Service, alice: Holder) -> None:
    grant(service, "alice", split(PIN, alice.code(1)))
    assert drift(service) == 1


def test_hotp_looks_ten_codes_ahead_and_no_further(service: Service) -> None:
    bob = Holder(service, "bob", HOTP)
    deny(service, "bob", split(PIN, bob.code(10)))
    assert last(service)["reason"] == "drifted"
    grant(service, "bob", split(PIN, bob.code(9)))
    grant(service, "bob", split(PIN, bob.code(19)))
    deny(service, "bob", split(PIN, bob.code(12)))


def test_a_first_login_after_failures_asks_for_the_next_code_then_for_the_pin(service: Service) -> None:
    bob = Holder(service, "bob", HOTP, pin=None)
    fail(bob, 3)
    script = [*split("", bob.code(0)), (NEXT, bob.code(1)), ("Choose a PIN", PIN), ("Same PIN again: ", PIN)]
    # Failures are forgotten by a success alone, so the new PIN's first passcode wants the next code too.
    grant(service, "bob", [*script, ("PIN + new code: ", PIN + bob.code(2)), (NEXT, bob.code(3))])


def test_two_hundred_failures_in_a_year_want_the_next_code_at_every_login(service: Service) -> None:
    bob = Holder(service, "bob", HOTP)
    grant(service, "bob", split(PIN, bob.code(0)))
    today = int(time.time()) // 86400
    with make_engine(service.url).begin() as connection:
        whose = next(row["holder_id"] for row in service.rows(failure))
        connection.execute(failure.insert(), [{"holder_id": whose, "day": today - 365, "count": 900}])
        connection.execute(failure.insert(), [{"holder_id": whose, "day": today - 364, "count": 200}])
    grant(service, "bob", split(PIN, bob.code(1)))
    deny(service, "bob", split("1111", bob.code(2)))
    for counter in (3, 5):
        grant(service, "bob", [*split(PIN, bob.code(counter)), (NEXT, bob.code(counter + 1))])


def test_who_typed_slowly_goes_on_with_the_code_on_the_display(tmp_path: Path) -> None:
    service = Service(tmp_path, '[login]\ndeny_after = "0"\n[code]\nslow_typing = "15s"\nnext_code_after = 1\n')
    service.start()
    try:
        period = 4
        alice = Holder(service, mechanism=Mechanism(period=period))

        def slowly() -> str:
            code = alice.code()
            time.sleep(2 * period + period - time.time() % period)
            return code

        deny(service, "alice", split(PIN, "000000"))
        grant(service, "alice", [(ASK_PIN, PIN), (ASK_CODE, slowly), (NEXT, alice.code)])
    finally:
        service.close()


# Of either seed, the code that is typed comes again within reach.
TWICE_BY_COUNTER = bytes.fromhex("a39e777a1e2d2fcb9bcd172ac2945460391ceb5f")  # the codes 0 and 5
TWICE_BY_TIME = bytes.fromhex("ad44552a80309a0b97c97502cc26ed02e11b05a2")  # the codes 1 and 5


def test_of_two_steps_with_one_code_the_nearer_counts(service: Service) -> None:
    bob = Holder(service, "bob", HOTP, seed=TWICE_BY_COUNTER)
    assert bob.code(0) == bob.code(5)
    grant(service, "bob", split(PIN, bob.code(0)))
    grant(service, "bob", split(PIN, bob.code(1)))
    alice = Holder(service, "alice", Mechanism(period=int(time.time()) * 2 // 3), seed=TWICE_BY_TIME)  # it is step 1
    assert alice.code() == alice.code(4)
    grant(service, "alice", split(PIN, alice.code()))
