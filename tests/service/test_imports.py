"""arenactl token import, against a real desk and a real arenad: all of a file takes effect, or nothing of it does."""

import base64
import io
import json
import os
import pwd
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.schema import State, audit, batch, holder, recovery
from arenad.store.schema import token as token_table
from command import arenactl
from desk_service import DeskService
from dialogues import PIN, deny, grant, split
from disks import tmpfs
from pskc import PSKC

from pam_arena.otp import Kind, Mechanism, tokencode
from pam_arena.secret import Secret

SEED = "3132333435363738393031323334353637383930"


def in_store(service: Service) -> list[dict[str, object]]:
    """The real tokens."""
    return [dict(row) for row in service.rows(token_table) if row["state"] != State.DECOY.value]


def people(service: Service) -> list[dict[str, Any]]:
    """The real holders."""
    return [dict(row) for row in service.rows(holder) if row["id"]]


def wait_until(settled: Callable[[], bool]) -> None:
    """Wait for bookkeeping that goes on after the answer."""
    end = time.monotonic() + 20
    while not settled():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)


def tidy(service: Service) -> Callable[[], bool]:
    return lambda: not service.rows(batch)


def file(service: Service, text: str | bytes, name: str = "keys.csv") -> Path:
    path = service.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(service: Service, desk: DeskService, *words: object) -> str:
    """Have an import refused: exit 1, one sentence, and the store as it was."""
    before = in_store(service), people(service), service.rows(audit)
    done = arenactl(desk, "token", "import", *words)
    assert (done.returncode, done.stdout) == (1, b""), done
    wait_until(tidy(service))
    assert (in_store(service), people(service), service.rows(audit)) == before
    told = done.stderr.decode()
    assert "nothing was changed" in told
    assert SEED not in told
    return told


def rows(number: int, *, first: int = 0) -> str:
    return "".join(f"F{n:06d},{secrets.token_hex(20)},totp,6,60\n" for n in range(first, first + number))


def test_a_csv_goes_into_the_stock_and_once_more_changes_nothing(service: Service, desk: DeskService) -> None:
    keys = file(service, rows(2500))
    done = arenactl(desk, "token", "import", keys, "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["keys"], told["stock"], told["assigned"], told["same"]) == (2500, 2500, 0, 0)
    assert told["kinds"] == ["2500 totp sha1, 6 digits every 60 s"]
    assert desk.get("/status")["tokens"] == {"stock": 2500}
    wait_until(tidy(service))
    assert {row["state"] for row in in_store(service)} == {"stock"}
    assert {row["batch"] for row in in_store(service)} == {None}
    assert [row["event"] for row in service.rows(audit)] == ["token-import"]
    assert service.rows(audit)[0]["detail"] == "keys.csv: 2500 keys, 0 of them to 0 people"
    again = json.loads(arenactl(desk, "token", "import", keys, "-o", "json").stdout)
    assert (again["keys"], again["same"]) == (0, 2500)
    assert len(service.rows(audit)) == 1


def test_a_table_fits_eighty_columns_and_a_pipe(service: Service, desk: DeskService) -> None:
    done = arenactl(desk, "token", "import", file(service, rows(3)))
    assert done.stderr == b""
    assert all(len(line) <= 80 for line in done.stdout.decode().splitlines())
    assert "3 totp sha1, 6 digits every 60 s" in done.stdout.decode()


def test_a_dry_run_says_what_would_happen_and_changes_nothing(service: Service, desk: DeskService) -> None:
    arenactl(desk, "token", "import", file(service, f"F000001,{SEED},totp,6,60\n", "first.csv"))
    wait_until(tidy(service))
    before = in_store(service), service.rows(audit)
    keys = file(service, rows(1200, first=10))
    done = arenactl(desk, "token", "import", keys, "--dry-run", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["keys"]) == (0, 1200)
    done = arenactl(desk, "token", "import", file(service, rows(1200)), "--dry-run", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["keys"]) == (1, 1199)
    assert "line 2, serial F000001: exists already, with another seed" in done.stderr.decode()
    assert (in_store(service), service.rows(audit)) == before


def oath_file(service: Service, totp: str, hotp: str) -> Path:
    """As pam_oath leaves it after some logins."""
    counted = tokencode(Secret(bytes.fromhex(hotp)), Mechanism(Kind.HOTP), 41)
    lines = [
        f"HOTP/T60\tdaemon\t{PIN}\t{totp}\n",
        f"HOTP\tgames\t3971\t{hotp}\t41\t{counted}\t2026-03-02T10:00:00L\n",
        f"HOTP/E/8 man - {SEED} 7\n",
    ]
    return file(service, "# users\n" + "".join(lines), "users.oath")


def test_those_of_a_users_oath_log_in_with_the_codes_and_the_pins_they_have(service: Service, desk: DeskService) -> None:
    totp, hotp = secrets.token_hex(20), secrets.token_hex(20)
    done = arenactl(desk, "token", "import", oath_file(service, totp, hotp), "--assign", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["keys"], told["assigned"], told["people"], told["pins"]) == (3, 3, 3, 2)
    by_time, by_press = Secret(bytes.fromhex(totp)), Secret(bytes.fromhex(hotp))
    grant(service, "daemon", split(PIN, tokencode(by_time, Mechanism(), Mechanism().step_at(time.time()))))
    deny(service, "games", split("3971", tokencode(by_press, Mechanism(Kind.HOTP), 41)))
    grant(service, "games", split("3971", tokencode(by_press, Mechanism(Kind.HOTP), 42)))
    eight = Mechanism(Kind.HOTP, digits=8)
    seed = Secret(bytes.fromhex(SEED))
    new = [("Choose", "2846"), ("Same PIN", "2846"), ("PIN + new code", "2846" + tokencode(seed, eight, 8))]
    grant(service, "man", [*split("", tokencode(seed, eight, 7)), *new])
    wait_until(tidy(service))
    assert {row["state"] for row in in_store(service)} == {"active"}
    assigned = [(row["holder"], row["serial"]) for row in service.rows(audit) if row["event"] == "token-assign"]
    assert sorted(assigned) == [("daemon", "oath-daemon"), ("games", "oath-games"), ("man", "oath-man")]
    # The time and the hash of a row may have any digits in them.
    assert PIN not in str([{**row, "at": 0, "hash": b""} for row in service.rows(audit)])


def test_without_assign_the_users_of_a_file_are_not_looked_at(service: Service, desk: DeskService) -> None:
    done = arenactl(desk, "token", "import", oath_file(service, SEED, SEED), "-o", "json")
    told = json.loads(done.stdout)
    assert (told["stock"], told["assigned"], people(service)) == (3, 0, [])
    assert told["notes"] == ["users of 3 keys, their PINs and scratch codes were not looked at: see --assign"]


def test_the_pin_that_a_holder_has_goes_before_the_files(service: Service, desk: DeskService) -> None:
    desk.do("/tokens", {"serial": "K-1", "seed": SEED})
    desk.do("/tokens/K-1/assign", {"holder": "daemon"})
    mine = people(service)[0]
    done = arenactl(desk, "token", "import", oath_file(service, SEED[2:] + "99", SEED), "--assign", "-o", "json")
    assert (json.loads(done.stdout)["pins"], json.loads(done.stdout)["kept"]) == (1, 1)
    wait_until(tidy(service))
    assert next(one for one in people(service) if one["name"] == "daemon")["pin"] == mine["pin"]


def test_a_google_authenticator_file_goes_to_its_owner(service: Service, desk: DeskService) -> None:
    seed = secrets.token_bytes(20)
    step = int(time.time()) // 30
    lines = [base64.b32encode(seed).decode(), '" RATE_LIMIT 3 30', '" WINDOW_SIZE 17', f'" DISALLOW_REUSE {step - 3}']
    lines += ['" TOTP_AUTH', "12345678", "23456789"]
    path = file(service, "\n".join(lines) + "\n", "google")
    os.chown(path, 1, 1)
    told = json.loads(arenactl(desk, "token", "import", path, "--assign", "-o", "json").stdout)
    assert (told["assigned"], told["people"]) == (1, 1)
    assert told["scratch_codes"] == 2
    assert any("WINDOW_SIZE 17 does not go over" in note for note in told["notes"])
    assert (in_store(service)[0]["last_step"], in_store(service)[0]["period"]) == (step - 3, 30)
    # There is no PIN yet: a first login with one scratch code, and the other for PIN + new code.
    deny(service, "daemon", split("", "34567890"))
    new = [("Choose", PIN), ("Same PIN", PIN), ("PIN + new code", PIN + "23456789"), ("Emergency codes left: 0", None)]
    grant(service, "daemon", [*split("", "12345678"), *new])
    for used in ("12345678", "23456789"):
        deny(service, "daemon", split(PIN, used))
        assert service.rows(audit)[-1]["reason"] == "recovery-code-used"


BAD: list[tuple[str | bytes, str]] = [
    (f"K-1,{SEED},totp,6,60\nK-2,{SEED},totp,6,60\nK-1,{SEED},totp,6,60\n", "line 3, serial K-1: the serial stands in line 1"),
    (f"K-1,{SEED},totp,6,60\nK-2,abcd,totp,6,60\n", "line 2, serial K-2: the seed has 16 bits"),
    (f"K-1,{SEED},totp,6,60\nK\xff,".encode("latin-1"), "line 2: is not UTF-8 text"),
    (b"<!DOCTYPE a [<!ENTITY a 'a'>]><a>&a;</a>", "has a document type (DOCTYPE)"),
    (b"<KeyContainer><KeyPackage>", "the file is no PSKC, or it is cut short"),
    (b"\x7fELF and so on", "none of the formats that are known"),
]


def test_a_bad_file_is_refused_by_line_and_serial(service: Service, desk: DeskService) -> None:
    for text, told in BAD:
        assert told in refused(service, desk, file(service, text))


def test_a_bad_row_after_thousands_leaves_nothing(service: Service, desk: DeskService) -> None:
    told = refused(service, desk, file(service, rows(3000) + "F-last,abcd,totp,6,60\n"))
    assert "keys.csv: line 3001, serial F-last" in told


def test_what_the_desk_refuses_leaves_nothing(service: Service, desk: DeskService) -> None:
    desk.do("/tokens", {"serial": "F001500", "seed": SEED})
    assert "line 1501, serial F001500: exists already, with another seed" in refused(service, desk, file(service, rows(2500)))
    given = f"serial,seed,type,period,user\nK-1,{SEED},totp,60,daemon\nK-2,{SEED},totp,60,no-such-user\n"
    told = refused(service, desk, file(service, given), "--assign")
    assert "line 3, serial K-2: no user 'no-such-user' on this system (getent passwd no-such-user)" in told
    many = "serial,seed,type,period,user\n" + "".join(f"K-{n},{secrets.token_hex(20)},totp,60,daemon\n" for n in range(4))
    assert "line 5, serial K-3: daemon would have more than 3 tokens" in refused(service, desk, file(service, many), "--assign")


def test_a_pin_that_cannot_be_typed_is_refused(service: Service, desk: DeskService) -> None:
    path = file(service, f"HOTP daemon abcd {SEED}\n", "users.oath")
    told = refused(service, desk, path, "--assign")
    assert "line 1, serial oath-daemon: its PIN is none that can be typed here ([pin] allows digits)" in told
    assert "abcd" not in told


def test_an_import_whose_client_dies_is_invisible_and_undone(service: Service, desk: DeskService) -> None:
    desk.do("/tokens", {"serial": "K-0", "seed": SEED})
    row = {**PLAIN, "serial": "K-1", "seed": SEED, "user": "daemon", "pin": PIN, "scratch": ["12345678"]}
    begun = desk.do("/imports", {"source": "a file", "assign": True})["id"]
    assert desk.do(f"/imports/{begun}/rows", {"rows": [row]})["keys"] == 1
    assert desk.get("/status")["tokens"] == {"stock": 1}
    assert desk.get("/status")["holders"] == {"with a PIN": 0, "without a PIN": 0}
    assert desk.ask("GET", "/tokens/K-1").status_code == 404
    assert desk.ask("GET", "/holders/daemon").status_code == 404
    assert "an import under way brings daemon" in desk.refuse("/tokens/K-0/assign", {"holder": "daemon"})
    assert "another import under way" in desk.refuse("/imports/" + desk.do("/imports", {})["id"] + "/rows", {"rows": [row]})
    deny(service, "daemon", split("", tokencode(Secret(bytes.fromhex(SEED)), Mechanism(), int(time.time()) // 60)))
    later = another_desk(desk)
    try:
        later.get("/status")
        wait_until(tidy(service))
        assert [one["serial"] for one in in_store(service)] == ["K-0"]
        assert people(service) == []
        assert service.rows(recovery) == []
        assert later.ask("POST", f"/imports/{begun}/finish").status_code == 404
    finally:
        later.close()


def another_desk(desk: DeskService) -> DeskService:
    """The desk that systemd would start after this one ended."""
    desk.close()
    Path(desk.path).unlink()
    return DeskService(desk.service)


def test_an_import_in_effect_is_settled_by_the_next_desk(service: Service, desk: DeskService) -> None:
    given = [{**PLAIN, "serial": "K-1", "seed": SEED}, {**PLAIN, "serial": "K-2", "seed": "00" + SEED, "user": "daemon"}]
    begun = desk.do("/imports", {"source": "a file", "assign": True})["id"]
    desk.do(f"/imports/{begun}/rows", {"rows": given})
    desk.close()
    with make_engine(service.url).begin() as connection:  # as a desk that was killed right after the flip leaves it
        connection.execute(batch.update().values(done=True))
    Path(desk.path).unlink()
    later = DeskService(service)
    try:
        assert later.get("/status")["tokens"] == {"active": 1, "stock": 1}
        assert later.get("/holders/daemon")["tokens"][0]["serial"] == "K-2"
        wait_until(tidy(service))
        assert [one["state"] for one in in_store(service)] == ["stock", "active"]
        assert [(row["event"], row["serial"]) for row in service.rows(audit)] == [("token-assign", "K-2")]
        assert (people(service)[0]["batch"], people(service)[0]["new_pin_until"] > time.time()) == (None, True)
    finally:
        later.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "small", "4m") as disk:
        yield disk


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing_in_effect(small_disk: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text(rows(20_000))
    service = Service(small_disk)
    desk = None
    try:
        service.start()
        desk = DeskService(service, tmp_path / "desk-journal")
        done = arenactl(desk, "token", "import", keys)
        assert (done.returncode, done.stdout) == (3, b"")
        assert b"disk is full" in done.stderr
        assert b"nothing was changed" in done.stderr
        assert desk.get("/status")["tokens"] == {}
    finally:
        if desk is not None:
            desk.close()
        service.close()


PLAIN = {"type": "totp", "algorithm": "sha1", "digits": 6, "period": 60}
BAD_ROWS: list[tuple[object, str]] = [
    (None, "a list of 1 to 1000"),
    ([], "a list of 1 to 1000"),
    ([1], "a row is an object"),
    ([{"serial": "K-1", "unknown": 1}], "a row is an object"),
    ([{**PLAIN, "serial": "K-1", "seed": "zz"}], "seed, type,"),
    ([{**PLAIN, "serial": "K-1", "seed": SEED, "type": []}], "seed, type,"),
    ([{**PLAIN, "serial": "K-1", "seed": "00"}], "a seed has"),
    ([{**PLAIN, "serial": "K\n1", "seed": SEED}], "without control characters"),
    ([{**PLAIN, "serial": "K-1", "seed": SEED, "drift": True}], "drift"),
]


def test_rows_that_are_none_end_an_import(service: Service, desk: DeskService) -> None:
    for rows_, told in BAD_ROWS:
        begun = desk.do("/imports", {})["id"]
        assert told in desk.refuse(f"/imports/{begun}/rows", {"rows": rows_})
        assert "is not under way" in desk.refuse(f"/imports/{begun}/finish")
    wait_until(tidy(service))


def test_the_key_of_a_file_comes_from_a_file_or_stdin(service: Service, desk: DeskService) -> None:
    path = file(service, encrypted(), "fobs.xml")
    assert "fobs.xml: is encrypted: give its key by --key-file FILE" in refused(service, desk, path)
    wrong = file(service, b"ff" * 16, "wrong")
    told = refused(service, desk, path, "--key-file", wrong)
    assert "key 1, serial F-1: it does not open: a wrong key or passphrase, or a MAC that does not match" in told
    done = arenactl(desk, "token", "import", path, "--key-file", "-", given=KEY.hex().encode() + b"\n")
    assert done.returncode == 0, done.stderr
    assert [row["serial"] for row in in_store(service)] == ["F-1"]


KEY = bytes(range(16))


def encrypted() -> bytes:
    """A PSKC file as python-pskc writes it."""
    container = PSKC()
    container.encryption.setup_preshared_key(key=KEY, algorithm="aes128-cbc")
    algorithm = "urn:ietf:params:xml:ns:keyprov:pskc:totp"
    container.add_key(serial="F-1", secret=bytes.fromhex(SEED), algorithm=algorithm, response_length=6)
    written = io.BytesIO()
    container.write(written)
    return written.getvalue()


def test_several_files_are_one_import(service: Service, desk: DeskService) -> None:
    first, second = file(service, f"K-1,{SEED},totp,6,60\n", "a.csv"), file(service, f"K-1,{SEED},totp,6,60\n", "b.csv")
    assert "b.csv line 1, serial K-1: the serial stands in a.csv line 1 before" in refused(service, desk, first, second)


def box(service: Service, desk: DeskService, number: int) -> None:
    keys = file(service, "".join(f"B-{n:04d},{secrets.token_hex(20)},totp,6,60\n" for n in range(number)))
    assert arenactl(desk, "token", "import", keys).returncode == 0
    wait_until(tidy(service))


USERS = [one.pw_name for one in pwd.getpwall()][:15]


def test_a_box_is_handed_out_in_one_go(service: Service, desk: DeskService) -> None:
    box(service, desk, 30)
    wanted = file(service, "serial,user\n" + "".join(f"B-{n:04d},{USERS[n % 15]}\n" for n in range(30)), "people.csv")
    dry = arenactl(desk, "token", "assign", "--from", wanted, "--dry-run", "-o", "json")
    assert (dry.returncode, json.loads(dry.stdout)) == (0, {"assigned": 30, "people": 15, "dry_run": True})
    assert {row["state"] for row in in_store(service)} == {"stock"}
    done = arenactl(desk, "token", "assign", "--from", wanted, "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["assigned"]) == (0, 30)
    assert {row["state"] for row in in_store(service)} == {"active"}
    assert [row["event"] for row in service.rows(audit)] == ["token-import"] + ["token-assign"] * 30


def test_one_wrong_row_hands_out_nothing(service: Service, desk: DeskService) -> None:
    box(service, desk, 5)
    text = "B-0000,daemon\nB-0001,no-such-user\nB-0002;daemon\nX-1,daemon\nB-0003,games\nB-0003,man\n"
    wanted = file(service, text.replace(";", ","), "people.csv")
    for words in ([], ["--dry-run"]):
        done = arenactl(desk, "token", "assign", "--from", wanted, *words)
        told = done.stderr.decode()
        assert done.returncode == 1
        assert "line 2, serial B-0001: no user 'no-such-user'" in told
        assert "line 4, serial X-1: no token has the serial 'X-1'" in told
        assert "line 6, serial B-0003: token B-0003 is games's" in told
        assert "nothing was changed" in told
    assert {row["state"] for row in in_store(service)} == {"stock"}
    assert people(service) == []
    bad = file(service, "B-0000\n", "short.csv")
    assert b"line 1: serial,user is expected" in arenactl(desk, "token", "assign", "--from", bad).stderr
    assert arenactl(desk, "token", "assign", "--dry-run", "B-0000", "daemon").returncode == 2
