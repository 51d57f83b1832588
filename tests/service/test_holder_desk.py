"""The desk and its people: who they are, what to do next for each, files of addresses, and one who leaves."""

import json
import re
import time
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.desk.advice import Facts, Key, Step, next_steps
from arenad.store.engine import make_engine
from arenad.store.schema import RequestState, State, audit, failure, holder, origin, recovery, request, session_grant
from arenad.store.schema import token as token_table
from attrs import evolve
from desk_service import DeskService
from dialogues import PIN, Holder, deny, grant, last, split
from golden import check_golden
from keys import DAY, empty, put

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
NOW = 1_800_000_000


@pytest.fixture
def desk(house: DeskService) -> DeskService:
    """The module's desk, emptied."""
    empty(house.service)
    return house


@pytest.fixture
def service(desk: DeskService) -> Service:
    return desk.service


@pytest.fixture
def staff(service: Service, desk: DeskService) -> Service:
    """daemon logged in once; bin waits and has no PIN yet; alice left the system; sys has codes alone; games nothing."""
    one = Holder(service, "daemon", HOTP)
    grant(service, "daemon", split(PIN, one.code(0)))
    put(service, "K-bin", State.ACTIVE, "bin")
    for _ in range(6):
        deny(service, "bin", split("", "000000"), rhost="203.0.113.9")
    put(service, "A-1", State.LOST, "alice", why="reported by uid:0")
    put(service, "A-2", State.DISABLED, "alice", why="10 right codes with a wrong PIN")
    for name in ("sys", "games"):
        put(service, f"G-{name}", State.ACTIVE, name)
    desk.do("/holders/sys/codes/emergency")
    for name in ("sys", "games"):
        desk.do(f"/tokens/G-{name}/unassign")
    return service


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["alice", "bin", "daemon", "sys"]),
        ("without_pin=yes", ["alice", "bin", "sys"]),
        ("orphans=yes", ["alice"]),
        ("locked=yes", ["bin"]),
        ("after=bin", ["daemon", "sys"]),
        ("without_pin=yes&orphans=no&locked=yes", ["bin"]),
    ],
)
def test_holders_are_listed(staff: Service, desk: DeskService, query: str, names: list[str]) -> None:
    assert [row["name"] for row in desk.get(f"/holders?{query}")] == names


def test_a_listed_holder_has_what_the_desk_looks_for(staff: Service, desk: DeskService) -> None:
    rows = {row["name"]: row for row in desk.get("/holders")}
    assert abs(rows["daemon"]["last_login_at"] - time.time()) < 60
    assert (rows["bin"]["last_login_at"], rows["bin"]["waiting"], rows["bin"]["closed"]) == (None, 1, 0)
    assert rows["alice"]["keys"] == ["A-1 (lost)", "A-2 (disabled)"]
    assert (rows["daemon"]["pin"], rows["sys"]["pin"], rows["sys"]["keys"]) == (True, False, [])
    check_golden("holder-list", desk.arenactl("holder", "list"))
    assert desk.arenactl("holder", "list", "--locked", "-o", "csv").splitlines()[1] == "bin,no,K-bin,,1,0"


def test_a_filter_that_is_none_is_named(desk: DeskService) -> None:
    for query, told in (("locked=1", "locked: allowed: yes, no"), ("pin=no", "filter 'pin': there are: without_pin")):
        answer = desk.ask("GET", f"/holders?{query}")
        assert (answer.status_code, told in answer.json()["error"]) == (409, True)


# One screen, and what to do next


def test_a_person_is_one_screen_of_24_lines(staff: Service, desk: DeskService) -> None:
    for name in ("daemon", "bin", "alice"):
        printed = desk.arenactl("holder", "show", name)
        assert len(printed.splitlines()) <= 24
        check_golden(f"holder-show-{name}", printed)
    shown = json.loads(desk.arenactl("holder", "show", "K-bin", "-o", "json"))
    assert shown["next"][-1]["do"].endswith("arenactl unlock bin")
    assert desk.arenactl("holder", "show", "daemon", "-o", "csv").splitlines()[0].startswith("name,tokens,pin_set_at")


ACTIVE = Key("K-1", State.ACTIVE)
READY = Facts("alice", NOW, True, (ACTIVE,), True, 0, 0, 0)
facts = partial(evolve, READY)  # a holder who is ready but for this


@pytest.mark.parametrize(
    ("known", "do"),
    [
        (facts(), []),
        (facts(exists=False), ["arenactl holder leave alice"]),
        (facts(keys=()), ["arenactl token assign SERIAL alice", "arenactl code temporary alice"]),
        (facts(keys=(), has_pin=False), ["arenactl token assign SERIAL alice"]),
        (facts(keys=(), codes_left=3), ["arenactl token assign SERIAL alice"]),
        (facts(keys=(), asked="R-1"), ["arenactl request list"]),
        (
            facts(keys=(Key("K-1", State.LOST),)),
            ["arenactl token replace K-1 NEW --lost", "arenactl code temporary alice"],
        ),
        (facts(keys=(ACTIVE, Key("K-0", State.LOST))), []),
        (facts(keys=(Key("K-1", State.DISABLED),), codes_left=1), ["arenactl token enable K-1"]),
        (facts(keys=(Key("K-1", State.EXPIRED),), codes_left=1), ["arenactl token enable K-1 --until DATE"]),
        (facts(keys=(ACTIVE, Key("S-1", State.UNPROVEN))), ["arenactl token prove S-1"]),
        (facts(has_pin=False, new_pin_until=NOW), ["arenactl pin reset alice"]),
        (facts(waits=1), ["find out who tries, then arenactl unlock alice"]),
        (facts(keys=(Key("K-1", State.ACTIVE, "", NOW + 13 * DAY),)), ["arenactl token enable K-1 --until DATE"]),
        (facts(keys=(Key("K-1", State.ACTIVE, "", NOW + 15 * DAY),)), []),
        (facts(keys=(Key("K-1", State.ACTIVE, resync_at=NOW),)), ["arenactl token resync K-1"]),
        (facts(last_outcome="denied", last_reason="wrong-pin"), ["a forgotten PIN: arenactl pin reset alice"]),
        (facts(last_outcome="denied", last_reason="waiting", last_detail="1"), []),
        (facts(last_outcome="granted", last_reason="right"), []),
    ],
)
def test_what_to_do_next(known: Facts, do: list[str]) -> None:
    assert [step.do for step in next_steps(known)] == do


def test_a_newcomer_is_told_how_and_until_when() -> None:
    (step,) = next_steps(facts(has_pin=False, new_pin_until=NOW + DAY))
    assert step == Step(
        "no PIN yet", "have them log in before 2027-01-16 08:00:00 UTC: PIN empty, the code alone, then choose a PIN"
    )


def test_a_key_that_ran_off_names_its_own_resync() -> None:
    (step,) = next_steps(facts(last_outcome="denied", last_reason="drifted", last_detail="+12"))
    assert step.why == "last attempt: right code of another time: a drift of +12 steps"
    assert "arenactl token resync K-1" in step.do


# WHO is a user or a serial


def test_pin_waits_and_codes_by_serial(staff: Service, desk: DeskService) -> None:
    assert desk.do("/holders/K-bin/unlock") == {"holder": "bin", "origins": 1}
    assert desk.do("/holders/K-daemon/pin/reset")["holder"] == "daemon"
    assert desk.do("/holders/A-1/codes/temporary")["holder"] == "alice"
    assert desk.do("/holders/A-2/codes/emergency")["holder"] == "alice"
    assert "PIN taken away" in desk.arenactl("holder", "show", "K-daemon")


def test_a_lost_key_is_reported_by_its_user_and_brings_codes_at_once(staff: Service, desk: DeskService) -> None:
    page = desk.arenactl("token", "lost", "daemon", "--codes")
    assert "state          lost" in page and "TEMPORARY CODES" in page
    assert max(map(len, page.splitlines())) <= 80
    told = desk.arenactl("token", "lost", "bin")
    assert re.search(r"^next +arenactl code temporary bin\n +arenactl token replace K-bin NEW --lost$", told, re.MULTILINE)
    found = json.loads(desk.arenactl("token", "enable", "bin", "-o", "json"))
    assert (found["serial"], found["state"]) == ("K-bin", "active")


# Files of addresses


def write(folder: Path, text: str) -> str:
    path = folder / "people.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def noted(service: Service) -> dict[str, tuple[str | None, str | None]]:
    return {row["name"]: (row["mail"], row["language"]) for row in service.rows(holder) if row["name"]}


@pytest.mark.parametrize(
    "text",
    [
        "user,mail,language\ndaemon,d@school.example,fr\nK-bin,,en\n",
        "language;user;mail\nfr;daemon;d@school.example\nen;bin;\n",
        "\ufeffdaemon, d@school.example ,fr\r\n\r\nbin,,en\r\n",
    ],
)
def test_a_file_of_addresses_is_noted(staff: Service, desk: DeskService, tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    before, rows = noted(staff), len(staff.rows(audit))
    told = desk.arenactl("holder", "set", "--from", path, "--dry-run")
    assert "2 would change, 0 are so already" in told
    assert (noted(staff), len(staff.rows(audit))) == (before, rows)
    assert "2 changed, 0 are so already" in desk.arenactl("holder", "set", "--from", path)
    assert (noted(staff)["daemon"], noted(staff)["bin"]) == (("d@school.example", "fr"), (None, "en"))
    assert [row["detail"] for row in staff.rows(audit)[rows:]].count("mail d@school.example, language fr") == 1
    assert "0 changed, 2 are so already" in desk.arenactl("holder", "set", "--from", path)
    assert len(staff.rows(audit)) == rows + 2


def test_a_file_with_a_bad_line_changes_nothing_and_each_is_named(staff: Service, desk: DeskService, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "daemon,d@school.example\nnobody-here,x@y.example\nbin,no address\nsys,,de\nK-daemon,e@f.example\n,a@b.example\n",
    )
    before, rows = noted(staff), len(staff.rows(audit))
    told = desk.arenactl("holder", "set", "--from", path, status=1)
    for sentence in (
        "nothing was changed:",
        "line 2: 'nobody-here' is no holder",
        "line 3: mail: 'no address' is no mail address",
        "line 4: language: allowed: en, fr",
        "line 5: daemon was on line 1 already",
        "line 6: no user",
    ):
        assert sentence in told
    assert (noted(staff), len(staff.rows(audit))) == (before, rows)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no line"),
        ("user,mail,phone\nbin,,1\n", "column 'phone': there are: user, mail, language"),
        ("bin,a@b.example,en,extra\n", "line 1 has 4 columns; 3 are expected"),
        ('bin,"a@b.example\n', "is no CSV file"),
    ],
)
def test_what_is_no_such_file_is_a_usage_error(desk: DeskService, tmp_path: Path, text: str, told: str) -> None:
    assert told in desk.arenactl("holder", "set", "--from", write(tmp_path, text), status=2)


def test_a_file_of_thousands_is_taken_and_a_longer_one_refused(service: Service, desk: DeskService) -> None:
    with make_engine(service.url).begin() as connection:
        connection.execute(sa.insert(holder), [{"name": f"user{n:05}", "created_at": 1} for n in range(5001)])
    rows = [{"line": n, "user": f"user{n:05}", "mail": f"firstname.lastname{n}@school.example"} for n in range(5001)]
    assert "1 to 5000 are expected" in desk.refuse("/holders", {"rows": rows})
    assert desk.do("/holders", {"rows": rows[:5000]})["changed"] == 5000


# One who leaves


def test_who_leaves_has_nothing_left_and_the_audit_stays(staff: Service, desk: DeskService) -> None:
    put(staff, "D-2", State.LOST, "daemon")
    put(staff, "D-3", State.REQUESTED)
    desk.do("/holders/daemon/codes/emergency")
    desk.do("/holders/daemon", {"mail": "d@school.example", "language": "fr"})
    with make_engine(staff.url).begin() as connection:
        whose = connection.execute(sa.select(holder.c.id).where(holder.c.name == "daemon")).scalar()
        asked = connection.execute(sa.select(token_table.c.id).where(token_table.c.serial == "D-3")).scalar()
        values = {"holder_id": whose, "service": "sshd", "address": "192.0.2.7", "key_hash": b"k"}
        connection.execute(sa.insert(session_grant).values(**values, granted_at=1, valid_until=2**40))
        row = {"token_id": asked, "holder": "daemon", "at": 1, "actor": "uid:1", "proven": True, "ticket": "", "why": ""}
        connection.execute(sa.insert(request).values(**row, state=RequestState.OPEN.value, decided_by=""))
    rows = len(staff.rows(audit))
    done = desk.do("/holders/K-daemon/leave")
    assert done == {
        "holder": "daemon",
        "stocked": ["K-daemon"],
        "retired": ["D-2"],
        "pin": True,
        "codes": 10,
        "grants": 1,
        "waits": 0,
    }
    assert len(staff.rows(audit)) == rows + 1
    assert last(staff)["detail"] == "to the stock: K-daemon; retired: D-2; codes: 10; grants: 1"
    (left,) = (row for row in staff.rows(holder) if row["name"] == "daemon")
    kept = {name for name, value in left.items() if value is not None}
    assert kept == {"id", "name", "created_at"}
    for table in (recovery, session_grant, origin, failure):
        assert not [row for row in staff.rows(table) if row["holder_id"] == left["id"]]
    assert {row["serial"]: row["state"] for row in staff.rows(token_table) if row["serial"] in ("K-daemon", "D-2", "D-3")} == {
        "K-daemon": "stock",
        "D-2": "retired",
        "D-3": "stock",
    }
    assert [row["state"] for row in staff.rows(request)] == ["rejected"]
    assert "daemon" not in [row["name"] for row in desk.get("/holders")]


def test_keys_of_who_leaves_can_be_retired(staff: Service, desk: DeskService) -> None:
    told = desk.arenactl("holder", "leave", "alice", "--retire", "--yes")
    assert "retired  A-1" in told
    states = {row["serial"]: row["state"] for row in staff.rows(token_table)}
    assert (states["A-1"], states["A-2"]) == ("retired", "retired")
    assert desk.get("/holders?orphans=yes") == []


def test_a_key_that_came_back_serves_the_next_with_a_pin_of_their_own(staff: Service, desk: DeskService) -> None:
    desk.do("/holders/daemon/leave")
    given = desk.do("/tokens/K-daemon/assign", {"holder": "games"})
    assert (given["holder"], given["used_at"]) == ("games", None)
    assert desk.get("/holders/games")["pin_set_at"] is None
