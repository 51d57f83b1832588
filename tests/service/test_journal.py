"""The audit in the journal: an entry for each row, after it is durable, and never at the expense of a login."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.audit import Event, Noted, append
from arenad.journal import Journal, encode, sentence
from arenad.store.audits import Link
from arenad.store.engine import open_store
from arenad.store.migrate import migrate
from arenad.store.schema import audit
from arenad.store.writer import Writer
from desk_service import DeskService
from dialogues import PIN, Holder, deny, grant, last, split
from journald import Journald, parse

from pam_arena.errors import StoreError

KEY = "00112233445566aa"


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    one = Journald(tmp_path / "journald")
    yield one
    one.close()


def journal(path: Path) -> Journal:
    return Journal(path, "arenad", KEY, sentence)


def test_a_value_with_line_ends_travels_whole() -> None:
    fields = [("A", "one"), ("B", "two\nlines=\n"), ("C", "é"), ("D", ""), ("E", "raw \udcff byte")]
    assert parse(encode(fields)) == {"A": "one", "B": "two\nlines=\n", "C": "é", "E": "raw \\udcff byte"}


def test_a_name_cannot_forge_a_field_or_a_line(journald: Journald, tmp_path: Path) -> None:
    name = "x\nARENA_USER=root\nPRIORITY=0"
    journal(tmp_path / "journald").tell([Noted(1, Event("login", name, outcome="denied"))])
    entry = journald.receive()
    assert (entry["ARENA_USER"], entry["PRIORITY"]) == (name, "5")
    assert entry["MESSAGE"] == r"login denied: x\nARENA_USER=root\nPRIORITY=0"


def test_a_login_is_told_with_its_fields_and_its_link(journald: Journald, service: Service, desk: DeskService) -> None:
    alice = Holder(service)
    deny(service, "alice", split("9999", "000000"))
    entry, row = journald.receive_row("login"), last(service)
    assert entry["MESSAGE"] == f"login denied: alice at sshd from 192.0.2.7: wrong pin and code (ref {row['ref']})"
    assert (entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"], entry["SYSLOG_FACILITY"]) == ("arenad", "5", "10")
    fields = {name.removeprefix("ARENA_").lower(): value for name, value in entry.items() if name.startswith("ARENA_")}
    assert fields == {
        "event": "login",
        "user": "alice",
        "outcome": "denied",
        "reason": "wrong-pin-and-code",
        "ref": row["ref"],
        "service": "sshd",
        "address": "192.0.2.7",
        "actor": row["actor"],
        "audit_row": str(row["id"]),
        "audit_hash": row["hash"].hex(),
        "key": desk.get("/key")["key"],
    }
    code = alice.code()
    grant(service, "alice", split(PIN, code))
    entry = journald.receive_row("login")
    assert (entry["ARENA_OUTCOME"], entry["ARENA_SERIAL"], entry["PRIORITY"]) == ("granted", "K-alice", "6")
    told = str([value for name, value in entry.items() if name != "ARENA_AUDIT_HASH"])  # any digits may be in a hash
    assert PIN not in told and code not in told


def test_what_the_desk_does_is_told_in_its_words(journald: Journald, service: Service, desk: DeskService) -> None:
    Holder(service)
    desk.do("/tokens/K-alice/disable")
    entry = journald.receive_row("token-disable")
    assert entry["MESSAGE"] == f"alice: key K-alice disabled (by uid:{os.getuid()})"
    assert (entry["ARENA_SERIAL"], entry["SYSLOG_IDENTIFIER"]) == ("K-alice", "arena-desk")


def test_a_name_that_nss_does_not_know_is_told_as_a_keyed_hash(journald: Journald, service: Service) -> None:
    deny(service, "my-secret-password", split(PIN, "000000"))
    entry = journald.receive_row("login")
    assert entry["ARENA_USER"].startswith("~")
    assert "my-secret-password" not in str(entry)
    assert "ARENA_AUDIT_ROW" not in entry


def test_the_head_is_told_at_the_start_and_at_the_end_when_it_changed(journald: Journald, service: Service) -> None:
    Holder(service)
    deny(service, "alice", split("9999", "000000"))
    assert service.stop() == 0
    head, row = journald.receive_row("audit-head"), last(service)
    assert (head["ARENA_AUDIT_ROW"], head["ARENA_AUDIT_HASH"]) == (str(row["id"]), row["hash"].hex())
    service.start()
    assert journald.receive_row("audit-head")["ARENA_AUDIT_ROW"] == str(row["id"])
    deny(service, "alice", split("9999", "000000"))
    assert journald.receive_row("login")["ARENA_AUDIT_ROW"] == "2"


def test_a_row_that_was_rolled_back_is_not_told(journald: Journald, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/arena.db"
    migrate(url)
    writer = Writer(open_store(url), journal(tmp_path / "journald").tell)

    def fail(connection: sa.engine.Connection) -> None:
        append(connection, 1, Event("undone"))
        raise StoreError("no")

    jobs = [writer.submit(fail), writer.submit(lambda connection: append(connection, 1, Event("kept")))]
    with pytest.raises(StoreError):
        jobs[0].result(10)
    jobs[1].result(10)
    writer.close()
    entry = journald.receive()
    assert (entry["ARENA_EVENT"], entry["ARENA_AUDIT_ROW"]) == ("kept", "1")
    with pytest.raises(TimeoutError):
        journald._socket.settimeout(0)
        try:
            journald.receive()
        except BlockingIOError:
            raise TimeoutError from None


def test_a_full_journal_and_one_that_is_gone_delay_nothing_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "journald"
    teller, noted = journal(path), Noted(1, Event("login", "alice", detail="x" * 1000), 1, bytes(32))
    teller.tell([noted] * 3)
    assert teller.lost == 3
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    full.bind(str(path))
    begun = time.monotonic()
    teller.tell([noted] * 2000)  # nobody reads
    assert time.monotonic() - begun < 5
    assert teller.lost > 3
    assert not teller.tell_head(Link(1, bytes(32)))
    full.close()


def test_a_login_does_without_a_journal(service: Service) -> None:
    alice = Holder(service)
    grant(service, "alice", split(PIN, alice.code()))
    assert [row["outcome"] for row in service.rows(audit)] == ["granted"]
