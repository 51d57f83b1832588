"""Keys that are lost, replaced, retired, dated: what becomes of them, of their holder's login, and of the audit."""

import datetime
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from arena import Service
from arenad.desk.dates import end_of, start_of_past
from arenad.store.engine import make_engine
from arenad.store.schema import RequestState, State, audit, holder, request, session_grant
from arenad.store.schema import token as token_table
from desk_service import DeskService
from dialogues import PIN, Holder, converse, deny, grant, last, split
from keys import DAY, code_of, empty, put

from pam_arena.errors import Refusal
from pam_arena.otp import Kind, Mechanism

PAM_IGNORE = 25
HOTP = Mechanism(kind=Kind.HOTP)
SLOW = Mechanism(period=600)


@pytest.fixture
def desk(house: DeskService) -> DeskService:
    """The module's desk, emptied."""
    empty(house.service)
    return house


@pytest.fixture
def service(desk: DeskService) -> Service:
    return desk.service


def token(service: Service, serial: str) -> dict[str, object]:
    return next(dict(row) for row in service.rows(token_table) if row["serial"] == serial)


def named(user: str, service: Service) -> Holder:
    """A holder whom this system knows, with a PIN and a key that counts."""
    return Holder(service, user, HOTP)


def test_a_lost_key_opens_nothing_and_temporary_codes_do(service: Service, desk: DeskService) -> None:
    alice = named("daemon", service)
    done = desk.do("/tokens/daemon/lost")
    assert (done["state"], done["holder"], done["serial"]) == ("lost", "daemon", "K-daemon")
    assert done["next"] == ["arenactl code temporary daemon", "arenactl token replace K-daemon NEW --lost"]
    assert (last(service)["event"], last(service)["holder"], last(service)["serial"]) == ("token-lost", "daemon", "K-daemon")
    deny(service, "daemon", split(PIN, alice.code(0)))
    assert desk.get(f"/why/{last(service)['ref']}")["what"] == "the key is lost"
    code = desk.do("/holders/daemon/codes/temporary", {})["codes"][0]
    grant(service, "daemon", [*split(PIN, code), ("Emergency codes left: 4", None)])


def test_keys_lost_in_the_past_push_out_no_key_that_works(service: Service, desk: DeskService) -> None:
    for number in range(4):
        put(service, f"A-{number}", State.LOST, "daemon")
    alice = named_with_pin(service)
    for number in range(2):
        put(service, f"D-{number}", State.DISABLED, "daemon", mechanism=SLOW)
    grant(service, "daemon", split(PIN, alice.code(0)))
    put(service, "N-1", State.STOCK)
    assert "has 3 tokens already" in desk.refuse("/tokens/N-1/assign", {"holder": "daemon"})
    assert "has 3 tokens already" in desk.refuse("/tokens/A-0/enable")
    desk.do("/tokens/D-0/unassign")
    assert desk.do("/tokens/A-0/enable")["state"] == "active"


def named_with_pin(service: Service) -> Holder:
    """As `named`, for a holder who is in the store already."""
    with make_engine(service.url).begin() as connection:
        connection.execute(sa.update(holder).where(holder.c.name == "daemon").values(name="before"))
        known = connection.execute(sa.select(holder.c.id).where(holder.c.name == "before")).scalar()
    one = named("daemon", service)
    with make_engine(service.url).begin() as connection:
        mine = connection.execute(sa.select(holder.c.id).where(holder.c.name == "daemon")).scalar()
        connection.execute(sa.update(token_table).where(token_table.c.holder_id == known).values(holder_id=mine))
    return one


def test_who_has_lost_their_only_key_is_still_asked(tmp_path: Path) -> None:
    service = Service(tmp_path, '[service.default]\nwithout_token = "ignore"\ndeadline = "0"\n[login]\ndeny_after = "0"\n')
    service.start()
    try:
        put(service, "L-1", State.LOST, "daemon")
        deny(service, "daemon", split("", "000000"))
        put(service, "U-1", State.UNPROVEN, "bin")
        put(service, "R-1", State.REQUESTED, "sys")
        for name in ("bin", "sys"):  # what is not theirs yet shuts nobody out
            assert converse(service, name, []).code == PAM_IGNORE
    finally:
        service.close()


def test_a_replaced_key_leaves_the_pin_and_its_last_day(service: Service, desk: DeskService) -> None:
    alice = named("daemon", service)
    desk.do("/tokens/K-daemon/enable", {"until": "30d"})
    until = token(service, "K-daemon")["valid_until"]
    seed = put(service, "N-1", State.STOCK, mechanism=SLOW)
    done = desk.do("/tokens/daemon/replace", {"new": "N-1"})
    assert (done["serial"], done["state"], done["replaces"], done["old_is"]) == ("N-1", "active", "K-daemon", "retired")
    assert (token(service, "N-1")["valid_until"], token(service, "K-daemon")["holder_id"]) == (until, None)
    assert [row["event"] for row in service.rows(audit)[-2:]] == ["token-replace", "token-assign"]
    assert service.rows(audit)[-2]["detail"] == "by N-1, and is retired"
    deny(service, "daemon", split(PIN, alice.code(0)))
    grant(service, "daemon", split(PIN, code_of(seed, SLOW)))
    assert "is retired" in desk.refuse("/tokens/K-daemon/assign", {"holder": "bin"})


def test_a_lost_key_that_is_replaced_keeps_its_holders_name(service: Service, desk: DeskService) -> None:
    named("daemon", service)
    put(service, "N-1", State.STOCK)
    desk.do("/tokens/K-daemon/lost")
    done = desk.do("/tokens/K-daemon/replace", {"new": "N-1", "lost": True})
    assert done["old_is"] == "lost"
    shown = {one["serial"]: one for one in desk.get("/holders/daemon")["tokens"]}
    assert (shown["K-daemon"]["state"], shown["N-1"]["state"]) == ("lost", "active")
    assert shown["K-daemon"]["why"] == "reported by uid:0; replaced by N-1"


def test_a_replacement_that_cannot_be_changes_nothing(service: Service, desk: DeskService) -> None:
    named("daemon", service)
    put(service, "N-1", State.ACTIVE, "bin")
    put(service, "E-1", State.EXPIRED, "sys")
    put(service, "S-1", State.STOCK)
    before = (service.rows(token_table), service.rows(audit))
    for path, new, told in (
        ("/tokens/K-daemon/replace", "N-1", "is bin's: arenactl token unassign N-1 first"),
        ("/tokens/K-daemon/replace", "none", "no token has the serial 'none'"),
        ("/tokens/K-daemon/replace", "K-daemon", "cannot replace itself"),
        ("/tokens/E-1/replace", "S-1", "--until DATE"),
        ("/tokens/S-1/replace", "N-1", "is nobody's"),
    ):
        assert told in desk.refuse(path, {"new": new})
    assert (service.rows(token_table), service.rows(audit)) == before


def test_a_retired_key_is_nobodys_and_ends_grants(service: Service, desk: DeskService) -> None:
    alice = named("daemon", service)
    with make_engine(service.url).begin() as connection:
        whose = connection.execute(sa.select(holder.c.id).where(holder.c.name == "daemon")).scalar()
        values = {"holder_id": whose, "service": "sshd", "address": "192.0.2.7", "key_hash": b"k"}
        connection.execute(sa.insert(session_grant).values(**values, granted_at=1, valid_until=2**40))
    done = desk.do("/tokens/K-daemon/retire")
    assert (done["state"], done["holder"], done["why"]) == ("retired", None, "retired by uid:0")
    assert last(service)["detail"] == "was daemon's; session grants ended: 1"
    deny(service, "daemon", split(PIN, alice.code(0)))
    assert last(service)["reason"] == "no-token"


def test_a_key_works_through_its_last_day(service: Service, desk: DeskService) -> None:
    put(service, "K-1", State.STOCK)
    done = desk.do("/tokens/K-1/assign", {"holder": "daemon", "until": "2099-12-31"})
    assert datetime.datetime.fromtimestamp(done["valid_until"]) == datetime.datetime(2100, 1, 1)
    assert last(service)["detail"] == "through 2099-12-31"
    assert desk.do("/tokens/K-1/enable", {"until": "never"})["valid_until"] is None
    put(service, "E-1", State.EXPIRED, "bin")
    assert "arenactl token enable E-1 --until DATE" in desk.refuse("/tokens/E-1/enable")
    assert desk.do("/tokens/E-1/enable", {"until": "1d"})["state"] == "active"
    for wrong, told in (("2020-01-01", "that day is over"), ("tomorrow", "allowed: a day such as"), ("2026-02-30", "allowed")):
        assert told in desk.refuse("/tokens/K-1/enable", {"until": wrong})


def test_a_key_lost_before_it_was_anybodys_goes_back_to_the_stock_or_is_retired(service: Service, desk: DeskService) -> None:
    for serial in ("R-1", "R-2"):
        put(service, serial, State.LOST, "daemon", holder_id=None)
    put(service, "N-1", State.STOCK)
    for path, body in (("enable", {}), ("replace", {"new": "N-1"})):
        assert "is lost, and was nobody's: arenactl token unassign R-1" in desk.refuse(f"/tokens/R-1/{path}", body)
    assert desk.do("/tokens/R-1/unassign")["state"] == "stock"
    assert desk.do("/tokens/R-2/retire")["state"] == "retired"


def test_a_day_ends_at_the_next_midnight_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        for zone, hours in (("UTC", 0), ("Europe/Paris", 1)):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            midnight = int(datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC).timestamp()) - hours * 3600
            assert end_of("2026-12-31", midnight - 1) == midnight
            assert end_of("0d", midnight - 1) == midnight
            assert end_of("14d", midnight - 1) == midnight + 14 * DAY
            assert start_of_past("2026-12-31", midnight) == midnight - DAY
            assert start_of_past("90d", midnight) == midnight - 90 * DAY
            with pytest.raises(Refusal, match="that day is over"):
                end_of("2026-12-31", midnight)
            with pytest.raises(Refusal, match="allowed"):
                start_of_past("0001-01-01", midnight)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_user_stands_for_their_only_key_that_the_verb_allows(service: Service, desk: DeskService) -> None:
    put(service, "L-1", State.LOST, "alice")
    put(service, "A-1", State.ACTIVE, "alice")
    assert desk.do("/tokens/alice/disable")["serial"] == "A-1"
    put(service, "A-2", State.ACTIVE, "alice")
    assert desk.refuse("/tokens/alice/lost") == "alice has 2 tokens: say which one: A-1 (disabled), A-2 (active)"
    assert "no holder that name" in desk.refuse("/tokens/nobody-here/lost")
    assert desk.ask("GET", "/tokens/nobody-here").status_code == 404
    assert "alice's, and disabled already" in desk.refuse("/tokens/A-1/disable")


def test_assigning_a_requested_key_approves_its_holders_request_alone(service: Service, desk: DeskService) -> None:
    for serial, name in (("R-1", "daemon"), ("R-2", "bin")):
        put(service, serial, State.REQUESTED)
        with make_engine(service.url).begin() as connection:
            whose = connection.execute(sa.select(token_table.c.id).where(token_table.c.serial == serial)).scalar()
            row = {"token_id": whose, "holder": name, "at": 1, "actor": "uid:1", "proven": True, "ticket": "", "why": ""}
            connection.execute(sa.insert(request).values(**row, state=RequestState.OPEN.value, decided_by=""))
    assert desk.get("/tokens/R-1")["state"] == "requested"
    assert "is requested by bin: arenactl request reject" in desk.refuse("/tokens/R-2/assign", {"holder": "daemon"})
    desk.do("/tokens/R-1/assign", {"holder": "daemon"})
    states = {row["holder"]: (row["state"], row["decided_by"]) for row in service.rows(request)}
    assert states == {"daemon": ("approved", "uid:0"), "bin": ("open", "")}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/tokens/K-1/replace", '{"new": "N-1", "lost": "yes"}', "lost: true or false is expected"),
        ("/tokens/K-1/replace", '{"new": "\\ud800"}', "new: has a character that cannot be stored"),
        ("/tokens/K-1/replace", "{}", "no token has the serial ''"),
        ("/tokens/K-1/enable", '{"until": ["2099-01-01"]}', "until: text is expected"),
        ("/holders/daemon/leave", '{"retire": 1}', "retire: true or false is expected"),
        ("/holders", '{"rows": [["daemon"]]}', "each is to be a JSON object"),
        ("/holders", '{"rows": [], "dry_run": true}', "1 to 5000 are expected"),
        ("/tokens", '{"prove": "no"}', "prove: true or false is expected"),
    ],
)
def test_a_body_that_makes_no_sense_changes_nothing(desk: DeskService, path: str, body: str, told: str) -> None:
    put(desk.service, "K-1", State.ACTIVE, "daemon")
    before = (desk.service.rows(token_table), desk.service.rows(audit))
    with httpx.Client(transport=httpx.HTTPTransport(uds=desk.path), timeout=20) as client:
        answer = client.post("http://desk" + path, content=body.encode())
    assert (answer.status_code in (400, 404, 409), told in answer.json()["error"]) == (True, True), answer.text
    assert (desk.service.rows(token_table), desk.service.rows(audit)) == before
