"""Soft keys: their seed counts only after one right code, typed right after the QR code, or later."""

import os
import subprocess
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from arena import Service
from arenad.store.schema import State, audit
from arenad.store.schema import token as token_table
from desk_service import DeskService
from dialogues import ASK_CODE, ASK_PIN, Holder, change, deny, last
from keys import empty, put

from pam_arena.otp import Kind, Mechanism

PERIOD = 600  # seconds: a test's codes stay in their step


@pytest.fixture
def desk(house: DeskService) -> DeskService:
    """The module's desk, emptied."""
    empty(house.service)
    return house


@pytest.fixture
def service(desk: DeskService) -> Service:
    return desk.service


def app(uri: str) -> pyotp.TOTP:
    """The phone that scanned it."""
    query = parse_qs(urlsplit(uri).query)
    return pyotp.TOTP(query["secret"][0], interval=int(query["period"][0]))


def shows(phone: pyotp.TOTP, ahead: int = 0) -> str:
    return phone.at(int(time.time()), ahead)


@pytest.fixture
def phone(desk: DeskService) -> pyotp.TOTP:
    """A phone that scanned S-1, which will be daemon's."""
    if PERIOD - time.time() % PERIOD < 20:
        time.sleep(PERIOD - time.time() % PERIOD)
    added = desk.do("/tokens", {"serial": "S-1", "prove": True, "holder": "daemon", "until": "30d", "period": PERIOD})
    assert (added["state"], added["holder"]) == ("unproven", "daemon")
    return app(added["uri"])


def token(service: Service) -> dict[str, object]:
    return next(dict(row) for row in service.rows(token_table) if row["serial"] == "S-1")


def test_until_it_is_proven_it_is_nobodys_to_a_login(service: Service, desk: DeskService, phone: pyotp.TOTP) -> None:
    deny(service, "daemon", [(ASK_PIN, ""), (ASK_CODE, shows(phone))])
    assert last(service)["reason"] == "no-token"
    assert desk.get("/holders/daemon")["next"][0]["do"] == "arenactl token prove S-1"


def test_one_right_code_makes_it_its_holders_in_new_pin_mode_and_is_spent(
    service: Service, desk: DeskService, phone: pyotp.TOTP
) -> None:
    done = desk.do("/tokens/S-1/prove", {"code": f"{shows(phone)[:3]} {shows(phone)[3:]}"})
    assert (done["state"], done["holder"]) == ("active", "daemon")
    assert 29 * 86400 < done["valid_until"] - time.time() < 32 * 86400
    assert (last(service)["event"], last(service)["holder"]) == ("token-prove", "daemon")
    shown = desk.get("/holders/daemon")
    assert shown["new_pin_until"] > time.time() + 13 * 86400
    deny(service, "daemon", [(ASK_PIN, ""), (ASK_CODE, shows(phone))])
    assert last(service)["reason"] == "used-code"
    assert "is daemon's and active" in desk.refuse("/tokens/S-1/prove", {"code": shows(phone, 1)})


def test_a_holder_with_a_pin_keeps_it(service: Service, desk: DeskService, phone: pyotp.TOTP) -> None:
    Holder(service, "bin", Mechanism(kind=Kind.HOTP))
    added = desk.do("/tokens", {"serial": "S-2", "prove": True, "holder": "bin", "period": PERIOD})
    desk.do("/tokens/S-2/prove", {"code": shows(app(added["uri"]))})
    assert (desk.get("/holders/bin")["new_pin_until"], desk.get("/holders/bin")["pin_set_at"] is None) == (None, False)


def test_without_a_holder_it_goes_to_the_stock(desk: DeskService) -> None:
    added = desk.do("/tokens", {"serial": "S-3", "prove": True, "period": PERIOD})
    done = desk.do("/tokens/S-3/prove", {"code": shows(app(added["uri"]))})
    assert (done["state"], done["holder"]) == ("stock", None)


def test_wrong_codes_are_counted_and_after_five_an_hour_must_pass(
    service: Service, desk: DeskService, phone: pyotp.TOTP
) -> None:
    wrong = "000000" if shows(phone) != "000000" else "000001"
    for left in range(4, -1, -1):
        assert desk.refuse("/tokens/S-1/prove", {"code": wrong}) == f"token S-1: wrong code; {left} tries left"
    assert [row["event"] for row in service.rows(audit)] == ["token-add", *["token-prove-failed"] * 5]
    before = service.rows(audit)
    assert "5 times with a wrong code: wait an hour" in desk.refuse("/tokens/S-1/prove", {"code": shows(phone)})
    assert (service.rows(audit), token(service)["state"]) == (before, "unproven")
    change(service, token_table, used_at=int(time.time()) - 3600)
    assert "4 tries left" in desk.refuse("/tokens/S-1/prove", {"code": wrong})
    assert desk.do("/tokens/S-1/prove", {"code": shows(phone)})["state"] == "active"


@pytest.mark.parametrize(
    ("ahead", "told"), [(2, "clock is off by +2 steps"), (-7, "clock is off by -7 steps"), (11, "wrong code")]
)
def test_a_phone_whose_clock_is_wrong_is_told_so(desk: DeskService, phone: pyotp.TOTP, ahead: int, told: str) -> None:
    assert told in desk.refuse("/tokens/S-1/prove", {"code": shows(phone, ahead)})


def test_what_is_no_code_is_not_counted(service: Service, desk: DeskService, phone: pyotp.TOTP) -> None:
    for typed in ("", "12345", "1234567", "12345x", "١٢٣٤٥٦"):
        assert "a code of 6 digits is needed" in desk.refuse("/tokens/S-1/prove", {"code": typed})
    assert token(service)["wrong_pins"] == 0


def test_one_that_was_never_proven_is_retired(service: Service, desk: DeskService, phone: pyotp.TOTP) -> None:
    assert desk.do("/tokens/S-1/retire")["state"] == "retired"
    assert "is retired" in desk.refuse("/tokens/S-1/prove", {"code": shows(phone)})
    assert desk.get("/tokens?holder=daemon") == []


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"prove": True, "holder": "no-such-user"}, "no user 'no-such-user' on this system"),
        ({"prove": True, "holder": "daemon", "until": "2020-01-01"}, "that day is over"),
        ({"prove": True, "until": "9d"}, "whose is the token to be?"),
        ({"prove": True, "seed": "31" * 20}, "leave the seed out"),
        ({"holder": "daemon"}, "arenactl token add --qr"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_key(
    service: Service, desk: DeskService, wanted: dict[str, object], told: str
) -> None:
    before = service.rows(token_table)
    assert told in desk.refuse("/tokens", {"serial": "S-9", **wanted})
    assert (service.rows(token_table), service.rows(audit)) == (before, [])


def test_a_fourth_key_is_refused_before_the_code_is_scanned(service: Service, desk: DeskService) -> None:
    for number in range(3):
        put(service, f"K-{number}", State.ACTIVE, "daemon")
    assert "has 3 tokens already" in desk.refuse("/tokens", {"prove": True, "holder": "daemon"})


@pytest.fixture
def scanning(desk: DeskService) -> Iterator["subprocess.Popen[str]"]:
    """arenactl, that waits for a code on its standard input."""
    command = desk.arenactl_command("token", "add", "--qr", "--serial", "S-1", "--holder", "daemon", "--period", str(PERIOD))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env={**os.environ, "COLUMNS": "80"}) as process:
        yield process
        process.kill()


def read_uri(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("uri "):
            return line.split(maxsplit=1)[1].strip()
    raise AssertionError("no uri")


def test_the_code_is_asked_right_after_the_picture(desk: DeskService, scanning: "subprocess.Popen[str]") -> None:
    code = shows(app(read_uri(scanning)))
    wrong = "000000" if code != "000000" else "000001"
    told, complaint = scanning.communicate(f"{wrong}\n{code}\n", timeout=20)
    assert scanning.returncode == 0, complaint
    assert "█" in told and "Shown this once" in told
    assert complaint == "token S-1: wrong code; 4 tries left\n"
    assert told.rindex("state          active\n") > told.index("█")


def test_who_types_none_is_told_how_to_do_it_later(desk: DeskService, scanning: "subprocess.Popen[str]") -> None:
    phone = app(read_uri(scanning))
    _, complaint = scanning.communicate("", timeout=20)
    assert (scanning.returncode, complaint) == (1, "Error: not proven yet, so no code of it works: arenactl token prove S-1\n")
    assert "state          active\n" in desk.arenactl("token", "prove", "daemon", given=shows(phone) + "\n")
    assert "there is nothing to prove" in desk.arenactl("token", "prove", "S-1", given="123456\n", status=1)


def test_options_that_do_not_go_together_are_a_usage_error(desk: DeskService) -> None:
    assert "--holder and --until go with --qr" in desk.arenactl("token", "add", "--holder", "daemon", status=2)
    assert "leave --seed-file out" in desk.arenactl("token", "add", "--qr", "--seed-file", "-", given="ab", status=2)
