"""A backup brought back: everything that was in it, and no code that can have been used; or nothing at all is changed."""

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arena import Service
from arenad import restore, sealedfile
from arenad.backup import alone
from arenad.config import COUNTS, load
from arenad.desk.assignment import assign_token
from arenad.desk.caller import Caller
from arenad.desk.codes import give_emergency_codes, give_temporary_codes
from arenad.desk.life import enable_token
from arenad.desk.pins import unlock
from arenad.desk.resync import resync_token
from arenad.desk.tokens import show_token
from arenad.outbox import Outbox
from arenad.restore import Wish
from arenad.store.engine import make_engine
from arenad.store.restored import copy_store
from arenad.store.schema import State, audit, holder, origin, session_grant, token
from arenad.vault import Vault
from backups import PASSPHRASE, Place, bring_back, save
from dialogues import PIN, Holder, change, deny, grant, last, split

from pam_arena.errors import Refusal, StoreError, VaultError
from pam_arena.otp import Kind, Mechanism
from pam_arena.secret import Secret

HOTP = Mechanism(kind=Kind.HOTP)
LEFT = ("Emergency codes left: ", None)
pytestmark = pytest.mark.usefixtures("cheap_backups")


def at_the_desk(service: Service, verb: Callable[..., Any], *words: object) -> Any:
    config = load(service.config)
    outbox = Outbox(config, service.spool, service.folder / "mail")
    caller = Caller("uid:0", Vault(Secret(service.key)), config, int(time.time()), outbox)
    with make_engine(service.url).begin() as connection:
        return verb(connection, caller, *words)


def listing(folder: Path) -> set[str]:
    """The names in the folder, without SQLite's own and what the login service leaves beside the store in these tests."""
    passing = {"journal", "arena.db-wal", "arena.db-shm", COUNTS, f".{COUNTS}"}
    return {path.name for path in folder.iterdir()} - passing


def test_no_code_of_before_the_backup_or_since_works_after_it(service: Service, tmp_path: Path) -> None:
    timed, early, counted = Holder(service, "alice"), Holder(service, "erin"), Holder(service, "bob", HOTP)
    grant(service, "alice", split(PIN, timed.code(-1)))
    grant(service, "bob", split(PIN, counted.code(0)))
    emergency = at_the_desk(service, give_emergency_codes, "alice")["codes"]
    temporary = at_the_desk(service, give_temporary_codes, "erin", {})["codes"]
    grant(service, "alice", [*split(PIN, emergency[0]), LEFT])
    save(service, tmp_path / "saved")

    for step in (0, 1, 2):  # a drift is learnt, of which the backup knows nothing
        grant(service, "alice", split(PIN, timed.code(step)))
    grant(service, "erin", split(PIN, early.code(1)))  # the latest that the window takes
    grant(service, "bob", split(PIN, counted.code(1)))
    grant(service, "bob", split(PIN, counted.code(2)))
    grant(service, "alice", [*split(PIN, emergency[1]), LEFT])
    grant(service, "erin", [*split(PIN, temporary[0]), LEFT])
    told = bring_back(service, tmp_path / "saved")
    assert (told["wait_for_resync"], told["codes_ended"]) == (1, 9 + 5)
    assert (last(service)["event"], last(service)["actor"]) == ("restore", "uid:0")

    for step in (-1, 0, 1):
        deny(service, "alice", split(PIN, timed.code(step)))
        deny(service, "alice", split(PIN, timed.code(step + 1)))
        deny(service, "erin", split(PIN, early.code(step)))
        at_the_desk(service, unlock, "alice")
        at_the_desk(service, unlock, "erin")
    for step in (0, 1, 2, 3):
        deny(service, "bob", split(PIN, counted.code(step)))
        assert last(service)["reason"] == "disabled"
    for code in emergency[:3]:
        deny(service, "alice", split(PIN, code))
    deny(service, "erin", split(PIN, temporary[0]))
    deny(service, "erin", split(PIN, temporary[1]))


def test_a_token_by_time_works_again_with_its_first_code_after_the_window(service: Service, tmp_path: Path) -> None:
    alice = Holder(service, mechanism=Mechanism(period=1))
    save(service, tmp_path / "saved")
    change(service, token, drift=3)
    bring_back(service, tmp_path / "saved", now=int(time.time()))
    floor = service.rows(token)[-1]["last_step"]
    assert abs(floor - 1 - int(time.time())) <= 20
    while int(time.time()) <= floor:
        time.sleep(floor + 1 - time.time())
    grant(service, "alice", split(PIN, alice.code(0)))


def test_a_token_by_counter_waits_for_two_codes_in_a_row_whatever_the_desk_does(service: Service, tmp_path: Path) -> None:
    bob = Holder(service, "bob", HOTP)
    grant(service, "bob", split(PIN, bob.code(0)))
    save(service, tmp_path / "saved")
    grant(service, "bob", split(PIN, bob.code(1)))
    bring_back(service, tmp_path / "saved")
    shown = at_the_desk(service, show_token, "K-bob")
    waits = ("disabled", "restored from a backup: arenactl token resync K-bob")
    assert (shown["state"], shown["why"]) == waits
    shown = at_the_desk(service, enable_token, "K-bob")
    assert (shown["state"], shown["why"]) == waits
    deny(service, "bob", split(PIN, bob.code(2)))
    at_the_desk(service, resync_token, "K-bob", {"codes": [bob.code(3), bob.code(4)]})
    assert at_the_desk(service, show_token, "K-bob")["state"] == "active"
    deny(service, "bob", split(PIN, bob.code(4)))
    grant(service, "bob", split(PIN, bob.code(5)))


def test_one_that_the_backup_has_in_the_stock_may_have_been_somebodys_since(service: Service, tmp_path: Path) -> None:
    Holder(service, "carol", HOTP)
    change(service, token, holder_id=None, state=State.STOCK)
    save(service, tmp_path / "saved")
    bring_back(service, tmp_path / "saved")
    assert at_the_desk(service, show_token, "K-carol")["state"] == "stock"
    assert at_the_desk(service, assign_token, "K-carol", "daemon")["state"] == "disabled"


def test_a_token_that_was_disabled_before_the_backup_is_no_more_enabled_by_a_resync(service: Service, tmp_path: Path) -> None:
    bob = Holder(service, "bob", HOTP)
    change(service, token, state=State.DISABLED, why="lent out")
    save(service, tmp_path / "saved")
    bring_back(service, tmp_path / "saved")
    at_the_desk(service, resync_token, "K-bob", {"codes": [bob.code(0), bob.code(1)]})
    shown = at_the_desk(service, show_token, "K-bob")
    assert (shown["state"], shown["why"]) == ("disabled", "lent out")


def test_waits_are_kept_and_session_grants_end(service: Service, tmp_path: Path) -> None:
    Holder(service, "alice")
    now = int(time.time())
    for _ in range(5):
        deny(service, "alice", split("9999", "000000"))
    values = {"holder_id": 1, "service": "sshd", "address": "192.0.2.7", "key_hash": b"k", "granted_at": now}
    with make_engine(service.url).begin() as connection:
        connection.execute(session_grant.insert().values(**values, valid_until=now + 9999))
    save(service, tmp_path / "saved")
    change(service, origin, failures=0, wait_until=0)
    before = [row["id"] for row in service.rows(audit)]
    assert bring_back(service, tmp_path / "saved")["grants_ended"] == 1
    assert service.rows(session_grant) == []
    assert [row["failures"] for row in service.rows(origin)] == [5]
    assert service.rows(origin)[0]["wait_until"] > now
    assert [row["event"] for row in service.rows(audit)][len(before) :] == ["restore"]


def test_a_backup_moves_to_a_host_with_a_key_and_a_configuration_of_its_own(service: Service, tmp_path: Path) -> None:
    alice = Holder(service, "alice", HOTP)
    drop_ins = service.folder / "arena.toml.d"
    drop_ins.mkdir()
    (drop_ins / "school.toml").write_text('help = "4242"\n')
    (service.folder / "mail").mkdir()
    (service.folder / "mail" / "activated.en.txt").write_text("Subject: hello\n")
    save(service, tmp_path / "saved")
    # Another host: a new store under another key, other drop-ins.
    service.stop()
    for name in ("arena.db", "arena.db-wal", "arena.db-shm", "arena.key", "arena.toml.d/school.toml", "mail/activated.en.txt"):
        (service.folder / name).unlink(missing_ok=True)
    (drop_ins / "other.toml").write_text('help = "5555"\n')
    restore.migrate(service.url)
    (service.folder / "arena.key").write_bytes(os.urandom(32))
    service.start()
    told = bring_back(service, tmp_path / "saved", replace=False)
    assert {Path(name).name.split(".before-")[0] for name in told["kept_aside"]} == {"arena.key", "other.toml"}
    assert load(service.config).help == "4242"
    assert (service.folder / "mail" / "activated.en.txt").read_text() == "Subject: hello\n"
    assert (service.folder / "arena.key").read_bytes() == service.key
    at_the_desk(service, resync_token, "K-alice", {"codes": [alice.code(0), alice.code(1)]})
    grant(service, "alice", split(PIN, alice.code(2)))


def test_a_store_that_is_not_empty_is_kept_aside_whole(service: Service, tmp_path: Path) -> None:
    Holder(service, "alice")
    save(service, tmp_path / "saved")
    Holder(service, "bob")
    with pytest.raises(Refusal, match="has holders or tokens: with --replace"):
        bring_back(service, tmp_path / "saved", replace=False)
    kept = [Path(one) for one in bring_back(service, tmp_path / "saved")["kept_aside"]]
    assert [one.parent for one in kept] == [service.folder]
    with sqlite3.connect(kept[0]) as old:
        assert {row[0] for row in old.execute("SELECT name FROM holder")} == {"", "alice", "bob"}
    assert {row["name"] for row in service.rows(holder)} == {"", "alice"}


def test_keep_config_leaves_the_configuration_alone(service: Service, tmp_path: Path) -> None:
    save(service, tmp_path / "saved")
    service.config.write_text(service.config.read_text() + "[code]\nwindow = 2\n")
    bring_back(service, tmp_path / "saved", keep_config=True)
    assert load(service.config).code.window == 2


def test_one_at_a_time(service: Service, tmp_path: Path) -> None:
    with alone(service.folder), pytest.raises(Refusal, match="another backup or restore is under way"):
        save(service, tmp_path / "saved")


def cut(content: bytes) -> bytes:
    return content[: len(content) - sealedfile.CHUNK - 16 - 100]


def cut_at_a_chunk(content: bytes) -> bytes:
    start = content.index(b"}\n") + 2
    return content[: start + sealedfile.CHUNK + 16]


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def swap_chunks(content: bytes) -> bytes:
    start, size = content.index(b"}\n") + 2, sealedfile.CHUNK + 16
    one, two = content[start : start + size], content[start + size : start + 2 * size]
    return content[:start] + two + one + content[start + 2 * size :]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda _: b"", "no backup that arenactl made"),
        (lambda _: b"SQLite format 3\0" + bytes(5000), "no backup that arenactl made"),
        (lambda content: content.replace(b"backup 1", b"backup 2", 1), "of a later release"),
        (lambda content: content[:40], "header is cut short"),
        (lambda content: content.replace(b'"time_cost": 1', b'"time_cost": 99', 1), "it was changed"),
        (lambda content: content.replace(b'"time_cost": 1', b'"time_cost": 2', 1), "wrong passphrase, or the file was changed"),
        (flip(500), "wrong passphrase, or the file was changed"),
        (flip(-1), "was changed, damaged or cut short after"),
        (cut, "changed, damaged or cut short"),
        (cut_at_a_chunk, "is cut short"),
        (swap_chunks, "wrong passphrase, or the file was changed"),
        (lambda content: content + b"more", "changed, damaged or cut short"),
    ],
)
def test_a_file_that_is_no_whole_backup_is_named_and_changes_nothing(
    service: Service, tmp_path: Path, damage: Callable[[bytes], bytes], told: str
) -> None:
    file = tmp_path / "saved"
    save(service, file)
    file.write_bytes(damage(file.read_bytes()))
    before = listing(service.folder), service.rows(audit), service.rows(token)
    process = service.process
    with pytest.raises(VaultError, match=told):
        bring_back(service, file)
    assert (listing(service.folder), service.rows(audit), service.rows(token)) == before
    assert service.process is process  # it was not even stopped


def test_a_wrong_passphrase_a_clock_behind_and_a_bad_configuration_change_nothing(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    service.config.write_text(service.config.read_text() + "[code]\nwindow = 1\n")
    save(service, file)
    before = listing(service.folder), service.rows(audit)
    with pytest.raises(VaultError, match="wrong passphrase"):
        bring_back(service, file, Secret(b"another long phrase"))
    with pytest.raises(Refusal, match="clock is behind that"):
        bring_back(service, file, now=int(time.time()) - 3600)
    with pytest.raises(Refusal, match="No such file"):
        bring_back(service, tmp_path / "none")
    assert (listing(service.folder), service.rows(audit)) == before


def newer(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.execute("UPDATE meta SET value = CAST('9999' AS BLOB) WHERE name = 'opens-from'")


def older(connection: sqlite3.Connection) -> None:
    for statement in ("DROP TABLE request", "DROP INDEX ix_token_batch", "ALTER TABLE holder DROP COLUMN batch"):
        connection.execute(statement)
    for statement in ("ALTER TABLE token DROP COLUMN valid_until", "ALTER TABLE token DROP COLUMN batch", "DROP TABLE batch"):
        connection.execute(statement)
    connection.execute("DELETE FROM meta WHERE name = 'opens-from'")
    connection.execute("UPDATE alembic_version SET version_num = '0002'")


def foreign(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = CAST('0011223344556677' AS BLOB) WHERE name = 'key-id'")


def save_of_another_release(
    service: Service, file: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[sqlite3.Connection], object]
) -> None:
    """A backup whose store is made another one while it is copied."""

    def copy(path: Path, to: Path) -> None:
        copy_store(path, to)
        with sqlite3.connect(to) as connection:
            damage(connection)
        connection.close()

    with monkeypatch.context() as patched:
        patched.setattr("arenad.backup.copy_store", copy)
        patched.setattr("arenad.backup._describe", lambda _copy: {"schema": "9999", "holders": 1, "tokens": 1})
        save(service, file)


def test_a_backup_of_an_earlier_release_is_migrated(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = Holder(service, "bob", HOTP)
    save_of_another_release(service, tmp_path / "saved", monkeypatch, older)
    bring_back(service, tmp_path / "saved")
    at_the_desk(service, resync_token, "K-bob", {"codes": [bob.code(0), bob.code(1)]})
    grant(service, "bob", split(PIN, bob.code(2)))


@pytest.mark.parametrize(
    ("damage", "kind", "told"),
    [
        (newer, StoreError, "schema 9999 is newer than this release's"),
        (foreign, VaultError, "made under master key 0011223344556677"),
    ],
)
def test_a_store_that_this_release_cannot_use_changes_nothing(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[sqlite3.Connection], object],
    kind: type[Exception],
    told: str,
) -> None:
    save_of_another_release(service, tmp_path / "saved", monkeypatch, damage)
    before = listing(service.folder), service.rows(audit)
    with pytest.raises(kind, match=told):
        bring_back(service, tmp_path / "saved")
    assert (listing(service.folder), service.rows(audit)) == before


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Run something in a child that dies at its n-th change of a name in the file system; whether it died."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, _words: object) -> None:
            nonlocal seen
            if event in ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "sqlite3.connect"):
                seen += 1
                if seen > point:
                    os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def test_killed_at_any_point_the_store_is_the_old_one_or_the_new_one_whole(tmp_path: Path) -> None:
    service = Service(tmp_path, '[login]\ndeny_after = "0"\n')
    service.start()
    Holder(service, "alice")
    save(service, tmp_path / "saved")
    Holder(service, "bob")
    service.stop()

    class Stopped(Place):
        def start(self) -> None:
            """It is not running: a child could not tell its parent."""

    def work() -> None:
        wish = Wish(service.config, tmp_path / "saved", True, False, "uid:0", int(time.time()), service.journald)
        restore.restore(wish, PASSPHRASE, Stopped(service))

    seen = set()
    for point in range(200):
        died = killed_at(point, work)
        with sqlite3.connect(tmp_path / "arena.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            names = frozenset(row[0] for row in connection.execute("SELECT name FROM holder"))
            restored = connection.execute("SELECT count(*) FROM audit WHERE event = 'restore'").fetchone()[0]
        connection.close()
        assert names == ({"", "alice"} if restored else {"", "alice", "bob"})
        seen.add(bool(restored))
        if not died:
            break
    service.close()
    assert not died
    assert seen == {True, False}
