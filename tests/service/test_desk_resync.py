"""A token whose clock or counter ran away comes back by two codes in a row, and both are used up."""

import time

import pytest
from arena import Service
from arenad.store.schema import State, audit
from arenad.store.schema import token as token_table
from desk_service import DeskService
from dialogues import PIN, Holder, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
RESYNC = "/tokens/K-alice/resync"
NO_PAIR = "no two codes in a row of token K-alice"


def two(holder: Holder, ahead: int) -> dict[str, list[str]]:
    """What the display shows, and then shows next, on a token that is `ahead`."""
    return {"codes": [holder.code(ahead), holder.code(ahead + 1)]}


def row(service: Service) -> dict[str, int]:
    return next(dict(one) for one in service.rows(token_table) if one["state"] != State.DECOY.value)


@pytest.fixture
def alice(service: Service) -> Holder:
    return Holder(service)


@pytest.mark.parametrize("off", [-1440, -30, 40, 1439])
def test_a_clock_that_ran_away_is_found_and_the_next_code_opens(
    service: Service, desk: DeskService, alice: Holder, off: int
) -> None:
    done = desk.do(RESYNC, two(alice, off))
    assert (done["serial"], done["holder"], done["drift"]) == ("K-alice", "alice", off + 1)
    assert row(service)["last_step"] == int(time.time()) // alice.mechanism.period + off + 1
    audited = last(service)
    assert (audited["event"], audited["holder"], audited["serial"]) == ("token-resync", "alice", "K-alice")
    assert audited["detail"] == f"drift of {off + 1:+d} steps"
    for spent in (off, off + 1):
        deny(service, "alice", split(PIN, alice.code(spent)))
        assert last(service)["reason"] == "used-code"
    grant(service, "alice", split(PIN, alice.code(off + 2)))


@pytest.mark.parametrize("off", [-1441, 1441])
def test_beyond_a_day_of_steps_nothing_is_looked_for(service: Service, desk: DeskService, alice: Holder, off: int) -> None:
    assert NO_PAIR in desk.refuse(RESYNC, two(alice, off))


def test_two_codes_that_are_not_in_a_row_change_nothing(service: Service, desk: DeskService, alice: Holder) -> None:
    before = row(service)
    for codes in ([alice.code(1), alice.code(0)], [alice.code(0), alice.code(2)], [alice.code(0)] * 2):
        assert NO_PAIR in desk.refuse(RESYNC, {"codes": codes})
    assert row(service) == before
    assert service.rows(audit) == []


def test_codes_that_were_used_say_so(service: Service, desk: DeskService, alice: Holder) -> None:
    grant(service, "alice", split(PIN, alice.code(1)))
    for ahead in (0, 1):
        assert "were used before" in desk.refuse(RESYNC, two(alice, ahead))
    desk.do(RESYNC, two(alice, 2))
    assert "were used before" in desk.refuse(RESYNC, two(alice, 2))


@pytest.mark.parametrize("codes", [[], ["123456"], ["123456"] * 3, ["12345", "123456"], ["12345x", "123456"]])
def test_what_is_no_pair_of_codes_is_refused(service: Service, desk: DeskService, alice: Holder, codes: object) -> None:
    assert "two codes of 6 digits are needed" in desk.refuse(RESYNC, {"codes": codes})


@pytest.mark.parametrize("codes", [None, "123456"])
def test_what_is_no_list_of_codes_is_refused(service: Service, desk: DeskService, alice: Holder, codes: object) -> None:
    assert desk.refuse(RESYNC, {"codes": codes}) == "codes: a list is expected"


def test_codes_may_be_read_out_in_groups(service: Service, desk: DeskService, alice: Holder) -> None:
    first, second = two(alice, 7)["codes"]
    assert desk.do(RESYNC, {"codes": [f"{first[:3]} {first[3:]}", f" {second}\t"]})["drift"] == 8


def test_a_counter_is_looked_for_100_steps_ahead(service: Service, desk: DeskService) -> None:
    alice = Holder(service, mechanism=HOTP)
    assert "within the 100 steps" in desk.refuse(RESYNC, two(alice, 100))
    done = desk.do(RESYNC, two(alice, 99))
    assert (done["drift"], row(service)["last_step"]) == (0, 100)
    deny(service, "alice", split(PIN, alice.code(100)))
    grant(service, "alice", split(PIN, alice.code(101)))


def test_a_token_that_does_not_exist_is_named(desk: DeskService) -> None:
    assert "no token has the serial 'none'" in desk.refuse("/tokens/none/resync", {"codes": ["123456", "123456"]})
