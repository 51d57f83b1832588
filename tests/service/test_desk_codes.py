"""Recovery codes from the desk: shown once, stored as digests, good for logins until they are used, replaced or over."""

import re
import time

import pytest
from arena import Service
from arenad.store.schema import audit, recovery
from desk_service import DeskService
from dialogues import PIN, Holder, change, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
SHAPE = re.compile(r"[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}")
DAY = 86400


@pytest.fixture
def alice(service: Service) -> Holder:
    return Holder(service, mechanism=HOTP)


def test_ten_emergency_codes_open_ten_logins_with_the_pin(service: Service, desk: DeskService, alice: Holder) -> None:
    given = desk.do("/holders/alice/codes/emergency")
    codes = given["codes"]
    assert len(set(codes)) == 10
    assert all(SHAPE.fullmatch(code) for code in codes)
    assert (given["holder"], given["valid_until"], given["has_pin"], given["language"]) == ("alice", None, True, "en")
    assert last(service)["event"] == "code-emergency"
    for left, code in zip(range(9, -1, -1), codes, strict=True):
        grant(service, "alice", [*split(PIN, code), (f"Emergency codes left: {left}", None)])
    deny(service, "alice", split(PIN, codes[0]))


def test_the_store_and_the_audit_hold_no_code(service: Service, desk: DeskService, alice: Holder) -> None:
    codes = [*desk.do("/holders/alice/codes/emergency")["codes"], *desk.do("/holders/alice/codes/temporary", {})["codes"]]
    kept = (service.folder / "arena.db").read_bytes() + (service.folder / "arena.db-wal").read_bytes()
    assert len(codes) == len(service.rows(recovery)) == 15
    assert not any(code.encode() in kept or code.replace("-", "").encode() in kept for code in codes)


def test_a_new_page_ends_the_older_one_and_touches_no_temporary_code(
    service: Service, desk: DeskService, alice: Holder
) -> None:
    older = desk.do("/holders/alice/codes/emergency")["codes"]
    temporary = desk.do("/holders/K-alice/codes/temporary", {})["codes"]
    newer = desk.do("/holders/K-alice/codes/emergency")
    assert newer["replaced"] == 10
    deny(service, "alice", split(PIN, older[0]))
    assert last(service)["reason"] == "recovery-code-wrong"
    grant(service, "alice", [*split(PIN, newer["codes"][0]), ("Emergency codes left: 14", None)])
    grant(service, "alice", [*split(PIN, temporary[0]), ("Emergency codes left: 13", None)])


@pytest.mark.parametrize(("wanted", "days", "count"), [({}, 3, 5), ({"days": 30, "count": 1}, 30, 1)])
def test_temporary_codes_are_dated(
    service: Service, desk: DeskService, alice: Holder, wanted: dict[str, int], days: int, count: int
) -> None:
    before = int(time.time())
    given = desk.do("/holders/alice/codes/temporary", wanted)
    assert len(given["codes"]) == count
    assert before <= given["valid_until"] - days * DAY <= time.time()
    change(service, recovery, valid_until=int(time.time()) - 1)
    deny(service, "alice", split(PIN, given["codes"][0]))
    assert last(service)["reason"] == "recovery-code-over"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"days": 31}, "days: allowed: 1 to 30"),
        ({"days": 0}, "days: allowed: 1 to 30"),
        ({"days": "3"}, "days: a whole number is expected"),
        ({"days": True}, "days: a whole number is expected"),
        ({"count": 21}, "count: allowed: 1 to 20"),
    ],
)
def test_what_is_out_of_bounds_is_refused_and_ends_no_code(
    service: Service, desk: DeskService, alice: Holder, wanted: dict[str, object], told: str
) -> None:
    code = desk.do("/holders/alice/codes/temporary", {})["codes"][0]
    assert told in desk.refuse("/holders/alice/codes/temporary", wanted)
    grant(service, "alice", [*split(PIN, code), ("Emergency codes left: 4", None)])


@pytest.mark.parametrize("kind", ["emergency", "temporary"])
def test_nobody_gets_no_codes(service: Service, desk: DeskService, kind: str) -> None:
    assert "neither a holder nor the serial" in desk.refuse(f"/holders/no-such-name/codes/{kind}", {})
    assert service.rows(recovery) == []
    assert service.rows(audit) == []
