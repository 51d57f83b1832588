"""A backup through the desk: the file that arenactl writes, the answer over HTTP, and what either leaves behind."""

import os
import stat
import subprocess
import time
from pathlib import Path

import httpx
from arena import Service
from arenad.audit import Event, append
from arenad.backup import alone
from arenad.store.engine import make_engine
from arenad.store.schema import audit, meta
from backups import PASSPHRASE, bring_back
from desk_service import DeskService
from dialogues import PIN, Holder, grant, last, split

PHRASE = PASSPHRASE.reveal().decode()


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or path.name.endswith((".backup", ".restore"))]


def test_the_file_is_its_writers_alone_and_never_written_over(service: Service, desk: DeskService, tmp_path: Path) -> None:
    alice, file = Holder(service), tmp_path / "saved"
    grant(service, "alice", split(PIN, alice.code()))
    told = desk.arenactl("backup", str(file), "-o", "json", given=PHRASE + "\n")
    assert f'"bytes": {file.stat().st_size}' in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    row = last(service)
    assert (row["event"], row["actor"], row["detail"]) == ("backup", "uid:0", "1 holders, 1 tokens")
    noted = {one["name"]: one["value"] for one in service.rows(meta)}
    assert abs(int(noted["key-exported"]) - time.time()) < 60
    content = file.read_bytes()
    assert service.key not in content and b"SQLite format" not in content
    assert "exists already" in desk.arenactl("backup", str(file), given=PHRASE + "\n", status=1)
    assert "too short" in desk.arenactl("backup", str(tmp_path / "other"), given="short\n", status=1)
    assert "Not a directory" in desk.arenactl("backup", str(file / "below"), given=PHRASE + "\n", status=1)
    assert (file.read_bytes(), (tmp_path / "other").exists(), hidden(tmp_path)) == (content, False, [])
    assert [one["event"] for one in service.rows(audit)].count("backup") == 1


def test_what_came_over_http_is_a_backup(service: Service, desk: DeskService, tmp_path: Path) -> None:
    bob = Holder(service, "bob")
    fill(service, 3 * 2**20)
    answer = desk.ask("POST", "/backup", {"passphrase": PHRASE})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    assert len(answer.content) > 3 * 2**20
    (tmp_path / "saved").write_bytes(answer.content)
    desk.process.terminate()
    assert desk.process.wait(15) == 0
    Holder(service, "carol")
    bring_back(service, tmp_path / "saved")
    assert {row["holder"] for row in service.rows(audit)} == {"", "filler"}
    desk.start()
    assert [one["name"] for one in desk.get("/holders")] == [bob.name]


def fill(service: Service, size: int) -> None:
    """Rows of the audit, so that the backup does not fit into any buffer."""
    with make_engine(service.url).begin() as connection:
        for _ in range(size // 2**14):
            append(connection, time.time(), Event("login", "filler", detail=os.urandom(2**13).hex()))


def test_a_client_that_goes_away_leaves_no_row_and_nobody_is_kept_from_the_next(service: Service, desk: DeskService) -> None:
    fill(service, 8 * 2**20)
    with (
        httpx.Client(transport=httpx.HTTPTransport(uds=desk.path), timeout=20) as client,
        client.stream("POST", "http://desk/backup", json={"passphrase": PHRASE}) as response,
    ):
        assert next(response.iter_raw())
    end = time.monotonic() + 10
    while hidden(service.folder):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not [row for row in service.rows(audit) if row["event"] == "backup"]
    assert desk.ask("POST", "/backup", {"passphrase": PHRASE}).status_code == 200


def test_one_that_cannot_be_noted_is_no_backup(service: Service, desk: DeskService, tmp_path: Path) -> None:
    fill(service, 2**20)
    with make_engine(service.url).begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.event = 'backup' BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
    told = desk.arenactl("backup", str(tmp_path / "saved"), given=PHRASE + "\n", status=3)
    assert "gave no answer" in told
    assert (list(tmp_path.glob("*saved*")), hidden(service.folder)) == ([], [])


def test_only_one_at_a_time_and_it_is_named(service: Service, desk: DeskService) -> None:
    with alone(service.folder):
        assert "another backup or restore is under way" in desk.refuse("/backup", {"passphrase": PHRASE})


def test_arenactl_says_when_the_service_is_not_there(desk: DeskService, tmp_path: Path) -> None:
    desk.get("/status")
    command = desk.arenactl_command("backup", str(tmp_path / "saved"))
    command[3] = str(tmp_path / "no.sock")
    done = subprocess.run(command, input=PHRASE + "\n", capture_output=True, text=True)
    assert (done.returncode, "is not running" in done.stderr, list(tmp_path.glob("*saved*"))) == (3, True, [])
