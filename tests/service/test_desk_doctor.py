"""The store's part of arenactl doctor, and what arenactl pam asks of the desk: each fault with its remedy."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.marks import KEY_EXPORTED
from arenad.store.schema import audit, holder, meta
from desk_service import DeskService
from dialogues import PIN, Holder, converse, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An arenad whose configuration names a group that nobody made, observes one service and is off in another."""
    extra = '[login]\ndeny_after = "0"\n[service.su]\nmode = "off"\n[service.cron]\nmode = "observe"\n'
    one = Service(tmp_path, extra + '[service.sudo]\nexempt_groups = ["no-such-group"]\n')
    one.start()
    yield one
    one.close()


def findings(desk: DeskService) -> dict[tuple[str, str], tuple[str, str]]:
    """(thing, found) -> (severity, remedy)"""
    return {(one["thing"], one["found"]): (one["severity"], one["remedy"]) for one in desk.get("/doctor")["findings"]}


def change(service: Service, statement: sa.sql.Executable) -> None:
    with make_engine(service.url).begin() as connection:
        connection.execute(statement)


def test_what_is_wrong_is_found_with_its_remedy(service: Service, desk: DeskService) -> None:
    found = findings(desk)
    assert found["key", "the master key was never exported"] == ("warning", "arenactl key export FILE")
    assert found["groups", "service.sudo.exempt_groups: there is no group no-such-group"][0] == "problem"
    assert found["service su", "mode is off: nobody is asked"][0] == "warning"
    assert found["service cron", "mode is observe: nothing is enforced"][0] == "warning"
    assert found["holders", "all have a PIN"] == ("good", "")
    assert found["store", f"{service.folder}/arena.db: whole"] == ("good", "")
    assert found["store", "schema 0003"] == ("good", "")
    assert all(remedy for severity, remedy in found.values() if severity in ("warning", "problem"))


def test_an_exported_key_is_no_longer_named(service: Service, desk: DeskService) -> None:
    change(service, sa.insert(meta).values(name=KEY_EXPORTED, value=b"1"))
    found = findings(desk)
    assert ("key", "was exported") in found
    assert ("key", "the master key was never exported") not in found


def test_holders_without_a_pin_are_named_and_those_whose_time_is_over_apart(service: Service, desk: DeskService) -> None:
    for name in ("alice", "bob"):
        service.enrol(name, f"K-{name}")
    change(service, sa.update(holder).where(holder.c.name == "bob").values(new_pin_until=int(time.time()) - 1))
    found = findings(desk)
    assert found["holders", "time to create a PIN is over: 1: bob"] == ("warning", "arenactl pin reset bob")
    assert found["holders", "no PIN yet: 1: alice"][0] == "note"


def test_a_damaged_store_is_named(service: Service, desk: DeskService) -> None:
    findings(desk)  # it reads, and the service runs
    path = service.folder / "arena.db"
    with contextlib.closing(sqlite3.connect(path)) as store:
        (page,) = store.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit'").fetchone()
        (size,) = store.execute("PRAGMA page_size").fetchone()
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 1)
        file.write(b"\xff" * 16)
    service.kill()
    (wrong,) = (one for one in findings(desk).items() if one[0][0] == "store" and one[1][0] == "problem")
    assert "is damaged" in wrong[0][1]
    assert wrong[1][1] == "arenactl restore FILE"


def test_who_finished_a_first_login_has_a_pin_and_came_in(service: Service, desk: DeskService) -> None:
    service.enrol("bob", "K-bob")
    alice = Holder(service, mechanism=HOTP)
    assert desk.get("/pam/entered") == []
    begun = int(time.time())
    assert converse(service, "alice", split(PIN, alice.code(0)), service="sshd").code == 0
    (entered,) = desk.get("/pam/entered")
    assert (entered["name"], entered["codes_left"]) == ("alice", 0)
    desk.do("/holders/alice/codes/emergency")
    assert desk.get("/pam/entered")[0]["codes_left"] == 10
    assert [row["name"] for row in desk.get(f"/pam/granted?service=sshd&since={begun}")] == ["alice"]
    assert desk.get(f"/pam/granted?service=sudo&since={begun}") == []
    assert desk.get(f"/pam/granted?service=sshd&since={int(time.time()) + 60}") == []
    desk.do("/holders/alice/pin/reset")
    assert desk.get("/pam/entered") == []


def test_a_change_of_pam_is_in_the_audit(service: Service, desk: DeskService) -> None:
    desk.do("/pam/sshd/changes", {"event": "pam-enable", "detail": "password-first, shown by alice"})
    row = service.rows(audit)[-1]
    assert (row["event"], row["detail"], row["actor"]) == ("pam-enable", "sshd password-first, shown by alice", "uid:0")


@pytest.mark.parametrize(
    ("path", "event", "told"),
    [
        ("/pam/sshd/changes", "token-add", "event: allowed: pam-begin"),
        ("/pam/..%2Fx/changes", "pam-enable", "the name of a file"),
    ],
)
def test_nothing_else_is_noted(service: Service, desk: DeskService, path: str, event: str, told: str) -> None:
    before = len(service.rows(audit))
    assert told in desk.refuse(path, {"event": event})
    assert len(service.rows(audit)) == before


def test_a_time_that_is_none_is_refused(desk: DeskService) -> None:
    assert desk.ask("GET", "/pam/granted?service=sshd&since=now").status_code == 409
