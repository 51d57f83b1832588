"""The desk's service over its real socket: verbs, roles, and errors that name the thing."""

import json
import time

import pytest
from arenad.store.schema import audit
from desk_service import DeskService

SEED = "3132333435363738393031323334353637383930"


def test_a_key_goes_from_the_stock_to_a_holder_and_back(desk: DeskService) -> None:
    added = desk.ask("POST", "/tokens", {"serial": "K-1", "seed": SEED}).json()
    assert (added["state"], added["period"], "uri" in added) == ("stock", 60, False)
    assigned = desk.ask("POST", "/tokens/K-1/assign", {"holder": "root"}).json()
    assert (assigned["state"], assigned["holder"]) == ("active", "root")
    assert desk.ask("POST", "/tokens/K-1/disable").json()["state"] == "disabled"
    assert desk.ask("POST", "/tokens/K-1/enable").json()["state"] == "active"
    assert desk.ask("POST", "/holders/K-1/pin/reset").json()["holder"] == "root"
    assert desk.ask("POST", "/holders/root/unlock").json()["origins"] == 0
    assert [row["serial"] for row in desk.ask("GET", "/tokens?holder=root").json()] == ["K-1"]
    assert desk.ask("POST", "/tokens/K-1/unassign").json()["state"] == "stock"
    events = [row["event"] for row in desk.service.rows(audit)]
    assert events == ["token-add", "token-assign", "token-disable", "token-enable", "pin-reset", "unlock", "token-unassign"]


def test_a_generated_seed_is_shown_once(desk: DeskService) -> None:
    added = desk.ask("POST", "/tokens", {"serial": "K-2"}).json()
    assert added["uri"].startswith("otpauth://totp/Arena:K-2?secret=")
    assert added["period"] == 30
    assert "uri" not in desk.ask("GET", "/tokens/K-2").json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "exit_code", "told"),
    [
        ("POST", "/tokens", {"serial": "K", "seed": "abcd"}, 409, 1, "the seed has 16 bits; 128 to 1024 are allowed"),
        ("POST", "/tokens", {"serial": "K", "seed": "no seed!"}, 409, 1, "neither hex nor base32 nor an otpauth URI"),
        ("POST", "/tokens", {"serial": "bad serial"}, 409, 1, "letters, digits"),
        ("POST", "/tokens", {"serial": "K", "digits": 7}, 409, 1, "digits: 6 or 8"),
        ("POST", "/tokens", {"serial": "K", "type": "yubi"}, 409, 1, "yubi"),
        ("POST", "/tokens", [1], 400, 1, "a JSON object"),
        ("GET", "/tokens/none", None, 404, 4, "no token has the serial 'none'"),
        ("POST", "/tokens/none/assign", {"holder": "root"}, 404, 4, "no token has the serial 'none'"),
        ("POST", "/holders/nobody-here/unlock", None, 404, 4, "neither a holder nor the serial"),
        ("GET", "/why/AAAAAAAA", None, 404, 4, "no failure has the reference AAAAAAAA"),
        ("GET", "/tokens?state=broken", None, 409, 1, "allowed: stock, unproven, requested, active"),
        ("GET", "/nowhere", None, 404, 4, "Not Found"),
        ("GET", "/requests?state=", None, 409, 1, "state '': allowed: open"),
        ("GET", "/pam/granted?service=sshd&since=%C2%B2", None, 409, 1, "seconds since 1970"),
        ("GET", f"/pam/granted?service=sshd&since={10**20}", None, 409, 1, "seconds since 1970"),
        ("GET", f"/audit?after={'0' * 20}{10**30}", None, 409, 1, "a whole number"),
        ("POST", "/imports", {"dryrun": True}, 400, 1, "unknown: 'dryrun'"),
        ("POST", "/imports", {"source": "\0"}, 409, 1, "source: has a character that cannot be stored"),
        ("POST", "/assignments", {"rows": [], "dryrun": True}, 409, 1, "no more than dry_run beside it"),
    ],
)
def test_a_wrong_request_is_refused_by_name(  # a table of six columns
    desk: DeskService, method: str, path: str, body: object, status: int, exit_code: int, told: str
) -> None:
    answer = desk.ask(method, path, body)
    assert (answer.status_code, answer.json()["exit"]) == (status, exit_code)
    assert told in answer.json()["error"]
    assert desk.service.rows(audit) == []


def test_a_key_is_assigned_only_to_a_user_that_exists_and_once(desk: DeskService) -> None:
    desk.ask("POST", "/tokens", {"serial": "K-3", "seed": SEED})
    unknown = desk.ask("POST", "/tokens/K-3/assign", {"holder": "no-such-user"})
    assert (unknown.status_code, unknown.json()["exit"]) == (404, 4)
    desk.ask("POST", "/tokens/K-3/assign", {"holder": "root"})
    assert "is root's" in desk.ask("POST", "/tokens/K-3/assign", {"holder": "daemon"}).json()["error"]
    assert "exists already" in desk.ask("POST", "/tokens", {"serial": "K-3"}).json()["error"]


def test_the_key_is_exported_under_a_passphrase_and_never_in_clear(desk: DeskService) -> None:
    assert "too short" in desk.ask("POST", "/key/export", {"passphrase": "short"}).json()["error"]
    assert desk.get("/key")["exported_at"] is None
    document = json.loads(desk.ask("POST", "/key/export", {"passphrase": "a long enough phrase"}).json()["export"])
    assert document["key"] == desk.ask("GET", "/key").json()["store"]
    assert desk.service.key.hex() not in json.dumps(document)
    first = desk.get("/key")["exported_at"]
    assert abs(first - time.time()) < 60
    desk.do("/key/export", {"passphrase": "a long enough phrase"})
    assert desk.get("/key")["exported_at"] >= first
