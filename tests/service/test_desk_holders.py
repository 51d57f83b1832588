"""What the desk sees and notes of a holder, and the session grants that it ends."""

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad.store.schema import audit, holder, session_grant
from desk_service import DeskService
from dialogues import PIN, Holder, converse, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
LAPTOP = b"key of alice's laptop"
KEY = "publickey ssh-ed25519 " + base64.b64encode(LAPTOP).decode()
FINGERPRINT = "SHA256:" + base64.b64encode(hashlib.sha256(LAPTOP).digest()).decode().rstrip("=")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An arenad that gives session grants."""
    extra = '[login]\ndeny_after = "0"\n[service.sshd]\ngrant = "8h"\n[mail]\ndomain = "school.example"\n'
    one = Service(tmp_path, extra)
    one.start()
    yield one
    one.close()


@pytest.fixture
def alice(service: Service) -> Holder:
    """A holder who logged in once with a key."""
    one = Holder(service, mechanism=HOTP)
    grant(service, "alice", split(PIN, one.code(0)), auth_info=KEY)
    return one


def test_everything_about_a_holder_is_shown(service: Service, desk: DeskService, alice: Holder) -> None:
    for guess in range(6):
        deny(service, "alice", split(PIN, f"00000{guess}"), rhost="203.0.113.9")
    desk.do("/holders/alice/codes/emergency")
    shown = desk.get("/holders/K-alice")
    assert (shown["name"], shown["mail"], shown["language"]) == ("alice", "alice@school.example", "en")
    assert shown["tokens"] == [{"serial": "K-alice", "state": "active", "why": "", "valid_until": None}]
    assert abs(shown["pin_set_at"] - time.time()) < 60
    assert shown["new_pin_until"] is None
    (wait,) = shown["waits"]
    assert (wait["origin"], wait["failures"], wait["closed"]) == ("other addresses", 5, False)
    assert wait["wait_until"] > time.time()
    assert (shown["failures_in_a_year"], shown["recovery_codes_left"]) == (5, 10)
    assert [one["key"] for one in shown["grants"]] == [FINGERPRINT]
    told = [one["what"] for one in shown["events"]]
    assert told[0] == "emergency codes printed: 10"
    assert told[1].startswith("denied: too many failures from there: waiting until 20")
    assert told[2:7] == ["denied: right PIN, wrong code (sshd from 203.0.113.9)"] * 5
    assert told[7] == "granted: PIN and code were right (sshd from 192.0.2.7)"
    assert desk.get(f"/why/{shown['events'][2]['ref']}")["what"] == "right PIN, wrong code"


def test_a_holder_without_a_pin_shows_until_when_one_may_be_created(service: Service, desk: DeskService) -> None:
    Holder(service, "bob", HOTP, pin=None)
    shown = desk.get("/holders/bob")
    assert shown["pin_set_at"] is None
    assert shown["new_pin_until"] > time.time()


def test_the_last_ten_events_are_shown_the_latest_first(service: Service, desk: DeskService, alice: Holder) -> None:
    for _ in range(12):
        desk.do("/holders/alice/unlock")
    assert [one["what"] for one in desk.get("/holders/alice")["events"]] == ["waits ended by the desk: 0"] * 10


def test_mail_and_language_are_noted_and_taken_back(service: Service, desk: DeskService, alice: Holder) -> None:
    noted = desk.do("/holders/K-alice", {"mail": "a.martin@lycee.example", "language": "fr"})
    assert noted == {"name": "alice", "mail": "a.martin@lycee.example", "language": "fr"}
    assert last(service)["detail"] == "mail a.martin@lycee.example, language fr"
    assert desk.do("/holders/alice/codes/emergency")["language"] == "fr"
    assert desk.do("/holders/alice", {"mail": ""})["mail"] == "alice@school.example"
    assert desk.get("/holders/alice")["language"] == "fr"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"mail": "nobody"}, "'nobody' is no mail address"),
        ({"mail": "a@b.example\nBcc: c@d.example"}, "is no mail address"),
        ({"language": "de"}, "language: allowed: en, fr"),
        ({"pin": "1234"}, "unknown: 'pin'; there are: mail, language"),
        ({}, "nothing to note; there are: language, mail"),
    ],
)
def test_what_cannot_be_noted_is_refused(
    service: Service, desk: DeskService, alice: Holder, wanted: dict[str, str], told: str
) -> None:
    before = len(service.rows(audit))
    assert told in desk.refuse("/holders/alice", wanted)
    assert len(service.rows(audit)) == before
    assert {row["mail"] for row in service.rows(holder)} == {None}


def test_grants_are_listed_of_all_and_of_one(service: Service, desk: DeskService, alice: Holder) -> None:
    bob = Holder(service, "bob", HOTP)
    grant(service, "bob", split(PIN, bob.code(0)), auth_info=KEY)
    assert [one["holder"] for one in desk.get("/grants")] == ["alice", "bob"]
    (mine,) = desk.get("/grants?who=K-alice")
    assert (mine["holder"], mine["service"], mine["address"], mine["key"]) == ("alice", "sshd", "192.0.2.7", FINGERPRINT)
    assert mine["valid_until"] - mine["granted_at"] == 8 * 3600
    assert desk.ask("GET", "/grants?who=nobody-here").status_code == 404


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/holders/alice/grants/revoke", "1"),
        ("/holders/alice/pin/reset", "session grants ended: 1"),
        ("/tokens/K-alice/disable", "session grants ended: 1"),
        ("/tokens/K-alice/unassign", "session grants ended: 1"),
    ],
)
def test_a_revoked_grant_lets_nobody_in(service: Service, desk: DeskService, alice: Holder, path: str, detail: str) -> None:
    bob = Holder(service, "bob", HOTP)
    grant(service, "bob", split(PIN, bob.code(0)), auth_info=KEY)
    assert converse(service, "alice", [], auth_info=KEY).code == 0
    desk.do(path)
    assert last(service)["detail"] == detail
    assert len(service.rows(session_grant)) == 1
    deny(service, "alice", split(PIN, "000000"), auth_info=KEY)
    assert converse(service, "bob", [], auth_info=KEY).code == 0
