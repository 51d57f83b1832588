"""arenactl audit, as it prints: filters, formats, what is followed, and a verdict with an exit status."""

import csv
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.schema import audit
from backups import bring_back, save
from desk_service import DeskService
from dialogues import PIN, Holder, deny, grant, last, split
from journald import Journald

JOURNALCTL = """#!/bin/sh
case "$*" in *_UID=0*) cat "$0.root.json" ;; *) cat "$0.json" ;; esac 2>/dev/null
exit 0
"""
Told = tuple[int, str, int]  # an id, a hash, and when the journal took it


class Arenactl:
    """The command against a desk of this test, with a journalctl that says what the test has put down."""

    def __init__(self, desk: DeskService, folder: Path) -> None:
        self.desk, self.folder = desk, folder
        (folder / "bin").mkdir()
        (folder / "bin/journalctl").write_text(JOURNALCTL)
        (folder / "bin/journalctl").chmod(0o755)
        self.environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "COLUMNS": "80", "LC_ALL": "C.UTF-8", "TERM": "dumb"}

    def command(self, *words: str) -> list[str]:
        return self.desk.arenactl_command(*words)

    def run(self, *words: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        env = self.environment | environment
        done = subprocess.run(self.command(*words), env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    @contextmanager
    def follow(self, *words: str) -> Iterator[IO[str]]:
        """What `audit list --follow` prints, until it is interrupted: then it ends well."""
        with subprocess.Popen(
            self.command("audit", "list", "--follow", *words, "-o", "json"),
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            # As in a terminal: who runs the tests in the background has them ignore an interrupt.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as following:
            try:
                assert following.stdout is not None
                yield following.stdout
                following.send_signal(signal.SIGINT)
                assert following.wait(10) == 0
            finally:
                following.kill()

    def rows(self, *words: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.run("audit", "list", "-o", "json", *words).stdout)
        return found

    def journal(self, *heads: tuple[int, str] | Told, key: str | None = None, restores: tuple[Told, ...] = ()) -> None:
        """What journalctl is to say: of arenad's, and of root's entries of restores."""
        known = key or self.desk.get("/key")["key"]
        for name, told in (("journalctl.json", heads), ("journalctl.root.json", restores)):
            lines = [
                {
                    "ARENA_AUDIT_ROW": str(row),
                    "ARENA_AUDIT_HASH": digest,
                    "ARENA_KEY": known,
                    "__REALTIME_TIMESTAMP": str(*at or (1,)),
                }
                for row, digest, *at in told
            ]
            (self.folder / "bin" / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def arenactl(desk: DeskService, tmp_path: Path) -> Iterator[Arenactl]:
    yield Arenactl(desk, tmp_path)


def test_the_audit_is_listed_by_filters_in_every_format(service: Service, desk: DeskService, arenactl: Arenactl) -> None:
    alice = Holder(service)
    service.enrol("bob", "K-bob")
    desk.do("/tokens/K-bob/disable")
    deny(service, "alice", split("9999", "000000"))
    ref = str(last(service)["ref"])
    grant(service, "alice", split(PIN, alice.code()))
    everything = arenactl.rows()
    assert [row["event"] for row in everything] == ["token-disable", "login", "login"]
    assert [row["id"] for row in everything] == [1, 2, 3]
    assert everything[0]["what"] == "key K-bob disabled"
    for words, found in (
        (["--holder", "alice"], [2, 3]),
        (["--holder", "K-alice"], [2, 3]),
        (["--serial", "K-bob"], [1]),
        (["--event", "login", "--outcome", "granted"], [3]),
        (["--ref", ref.lower()], [2]),
        (["--since", "1h"], [1, 2, 3]),
        (["--until", "1h"], []),
        (["--since", "2020-01-01", "--until", "2099-12-31 23:59"], [1, 2, 3]),
        (["--limit", "2"], [2, 3]),
    ):
        assert [row["id"] for row in arenactl.rows(*words)] == found, words
    table = arenactl.run("audit", "list", NO_COLOR="1").stdout
    assert max(map(len, table.splitlines())) <= 80 and table.isprintable() is False and "\x1b" not in table
    assert ref in table and "3 in all" in table
    rows = list(csv.DictReader(io.StringIO(arenactl.run("audit", "list", "-o", "csv").stdout)))
    assert [(row["id"], row["holder"]) for row in rows] == [("1", "bob"), ("2", "alice"), ("3", "alice")]
    for wrong in (["--since", "never"], ["--since", "99999999999d"], ["--since", "7" * 99 + "ref"]):
        assert "allowed" in arenactl.run("audit", "list", *wrong, status=1).stderr


def test_what_comes_is_followed_until_it_is_interrupted(service: Service, desk: DeskService, arenactl: Arenactl) -> None:
    Holder(service)
    deny(service, "alice", split("9999", "000000"))
    with arenactl.follow("--outcome", "denied") as following:
        assert json.loads(following.readline())["id"] == 1
        desk.do("/tokens/K-alice/disable")
        deny(service, "alice", split("9999", "000000"))
        assert json.loads(following.readline())["id"] == 3


def test_a_whole_audit_is_verified_with_the_journals_heads(service: Service, desk: DeskService, arenactl: Arenactl) -> None:
    Holder(service)
    deny(service, "alice", split("9999", "000000"))
    row = last(service)
    arenactl.journal((1, row["hash"].hex()), (1, row["hash"].hex()))
    found = json.loads(arenactl.run("audit", "verify", "-o", "json").stdout)
    assert (found["verdict"], found["rows"], found["heads_checked"], found["journal"]) == ("good", 1, 1, "1 heads")
    arenactl.journal((7, "0" * 64), key="aa" * 8)  # of another store
    assert "good" in arenactl.run("audit", "verify").stdout


def test_a_broken_audit_is_refused_with_its_row(service: Service, desk: DeskService, arenactl: Arenactl) -> None:
    Holder(service)
    for _ in range(3):
        deny(service, "alice", split("9999", "000000"))
    head = f"{last(service)['id']}:{last(service)['hash'].hex()}"
    forge(service, "DELETE FROM audit WHERE id = 3")
    assert arenactl.run("audit", "verify").returncode == 0
    cut = arenactl.run("audit", "verify", "--head", head, status=1)
    assert "row 3 is missing: the audit ends at row 2" in cut.stderr
    arenactl.journal((3, head.partition(":")[2]))
    assert "broken" in arenactl.run("audit", "verify", status=1).stdout
    forge(service, "UPDATE audit SET outcome = 'granted' WHERE id = 1")
    found = arenactl.run("audit", "verify", "-o", "json", status=1)
    assert (json.loads(found.stdout)["row"], json.loads(found.stdout)["kind"]) == (1, "changed")
    assert "row 1 was changed" in found.stderr and "(1 more)" in found.stderr
    assert "no head" not in arenactl.run("audit", "verify", "--head", "nonsense", status=1).stdout


def test_what_a_restore_lost_is_told_and_what_was_cut_off_since_is_found(
    service: Service, desk: DeskService, arenactl: Arenactl, tmp_path: Path, cheap_backups: None
) -> None:
    Holder(service)
    for _ in range(2):
        deny(service, "alice", split("9999", "000000"))
    save(service, tmp_path / "saved")
    for _ in range(3):
        deny(service, "alice", split("9999", "000000"))
    before: list[Told] = [(row["id"], row["hash"].hex(), 100 + row["id"]) for row in service.rows(audit)]
    desk.process.terminate()
    desk.process.wait(15)
    journald = Journald(service.journald)
    bring_back(service, tmp_path / "saved")
    entry = journald.receive_row("restore")
    journald.close()
    desk.start()
    restored: Told = (int(entry["ARENA_AUDIT_ROW"]), entry["ARENA_AUDIT_HASH"], 200)
    assert (entry["ARENA_KEY"], restored[0], before[-1][0]) == (desk.get("/key")["key"], 3, 5)

    arenactl.journal(*before, restores=(restored,))
    found = json.loads(arenactl.run("audit", "verify", "-o", "json").stdout)
    assert (found["verdict"], found["problems"]) == ("good", [])
    (told,) = found["restored"]
    assert "from a backup: rows 3 to 5 of the time after it are in the journal, and not in this store" in told
    assert "rows 3 to 5" in arenactl.run("audit", "verify").stdout

    deny(service, "alice", split("9999", "000000"))
    (row,) = [row for row in service.rows(audit) if row["id"] == 4]
    since: Told = (4, row["hash"].hex(), 300)
    arenactl.journal(*before, since, restores=(restored,))
    arenactl.run("audit", "verify")
    for heads, restores, what in (
        (before, (), "that no restore is known of"),
        (before, ((3, "00" * 32, 200),), "of a restore that is not in the chain"),
        ([(2, "00" * 32, 100)], (restored,), "from before the backup"),
        ([(4, "00" * 32, 201)], (restored,), "from after the restore"),
    ):
        arenactl.journal(*heads, restores=restores)
        assert "broken" in arenactl.run("audit", "verify", status=1).stdout, what
    forge(service, "DELETE FROM audit WHERE id = 4")
    arenactl.journal(*before, since, restores=(restored,))
    assert "row 4 is missing: the audit ends at row 3" in arenactl.run("audit", "verify", status=1).stderr


def forge(service: Service, statement: str) -> None:
    with make_engine(service.url).begin() as connection:
        connection.exec_driver_sql(statement)


def test_the_login_daemon_drops_what_is_old_when_it_is_told_to(service: Service, desk: DeskService, arenactl: Arenactl) -> None:
    Holder(service)
    for _ in range(3):
        deny(service, "alice", split("9999", "000000"))
    forge(service, "UPDATE audit SET at = at - 864000 WHERE id < 3")
    service.config.write_text(service.config.read_text() + '[audit]\nkeep = "7d"\n')
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    with arenactl.follow("--event", "audit-drop") as following:
        assert json.loads(following.readline())["detail"].startswith("rows 1 to 2, ")
    assert [row["id"] for row in arenactl.rows()] == [3, 4]


def test_the_numbers_are_printed_for_a_textfile_collector(arenactl: Arenactl) -> None:
    printed = arenactl.run("metrics").stdout
    assert "# TYPE arena_up gauge" in printed and "# EOF" not in printed
    assert "arena_mails,state=waiting,0.0" in arenactl.run("metrics", "-o", "csv").stdout.splitlines()
    (known,) = (one for one in json.loads(arenactl.run("metrics", "-o", "json").stdout) if one["name"] == "arena_audit_rows")
    assert (known["labels"], known["value"] >= 0) == ("", True)
