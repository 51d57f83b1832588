"""Files of keys that are lines of text: CSV, users.oath and google-authenticator's; what each says, what is refused."""

import io
import time

import pytest
from sample_key import BASE32, HEX, SEED

from pam_arena.errors import BadImport
from pam_arena.importers.google import read_google
from pam_arena.importers.oath_csv import read_csv
from pam_arena.importers.once import Once
from pam_arena.importers.record import Given, Record
from pam_arena.importers.users_oath import read_users_oath
from pam_arena.otp import Algorithm, Kind, Mechanism, tokencode
from pam_arena.secret import Secret


def of_csv(text: str, kind: Kind | None = None, digits: int | None = None, period: int | None = None) -> list[Record]:
    return list(read_csv(io.BytesIO(text.encode()), Given(kind, digits, period)))


# CSV


def test_the_positional_layout_of_makers() -> None:
    text = f"# serials and seeds\nA-1,{HEX},totp,6,60\n\nA-2, {BASE32} ,HOTP,8,17\nA-3,{HEX},totp,8,30,sha256\n"
    one, two, three = of_csv(text)
    assert (one.at, one.serial, one.seed, one.mechanism) == ("line 2", "A-1", Secret(SEED), Mechanism())
    assert (two.at, two.seed, two.mechanism.kind, two.mechanism.digits, two.last_step) == (
        "line 4",
        Secret(SEED),
        Kind.HOTP,
        8,
        16,
    )
    assert three.mechanism == Mechanism(Kind.TOTP, Algorithm.SHA256, 8, 30)


def test_the_layout_of_privacyidea_that_begins_with_the_user() -> None:
    record = of_csv(f"# version: 2\nalice,ldap,home,A-1,{HEX},totp,6,30\n")[0]
    assert (record.user, record.serial, record.mechanism.period) == ("alice", "A-1", 30)


def test_columns_are_found_by_their_names() -> None:
    entra = f"upn,serial number,secret key,time interval,manufacturer,model\nalice,A-1,{BASE32},30,Maker,Key\n"
    record = of_csv(entra)[0]
    assert (record.user, record.serial, record.seed, record.mechanism) == ("alice", "A-1", Secret(SEED), Mechanism(period=30))
    semicolons = f"\ufeffSerial;Seed (hex);Counter;PIN;User\r\nA-1;{HEX};5;2846;bob\r\n"
    record = of_csv(semicolons)[0]
    assert (record.mechanism.kind, record.last_step, record.user, record.pin) == (Kind.HOTP, 4, "bob", Secret(b"2846"))


def test_what_a_file_does_not_say_is_said_by_a_person_or_refused() -> None:
    text = f"A-1,{HEX}\n"
    with pytest.raises(BadImport, match="line 1, serial A-1: the file does not say what moves its keys: give --type"):
        of_csv(text)
    with pytest.raises(BadImport, match="give --period"):
        of_csv(text, kind=Kind.TOTP)
    assert of_csv(text, kind=Kind.TOTP, period=60)[0].mechanism == Mechanism()
    assert of_csv(text, kind=Kind.HOTP, digits=8)[0].mechanism == Mechanism(Kind.HOTP, digits=8)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f",{HEX},totp,6,60\n", "line 1: serial: allowed"),
        (f"A 1,{HEX},totp,6,60\n", "line 1: serial: allowed"),
        (f"A-1,{HEX},totp,6,x\n", "line 1, serial A-1: period: a whole number"),
        (f"A-1,{HEX},totp,6,0\n", "line 1, serial A-1: its period is outside"),
        (f"A-1,{HEX},hotp,6,-1\n", "line 1, serial A-1: counter: a whole number"),
        (f"A-1,{HEX},totp,6,60,md5\n", "line 1, serial A-1: its algorithm is none of"),
        ("A-1\n", "line 1, serial A-1: the seed is empty"),
        ("serial,type\nA-1,totp\n", "line 1: the heading names no column"),
        (f"serial,sn,seed\nA-1,A-1,{HEX}\n", "line 1: the heading has two columns of one meaning"),
        ('A-1,"' + "a" * 140_000 + '"\n', "line 1: is longer than"),
    ],
)
def test_a_bad_row_is_named(text: str, told: str) -> None:
    with pytest.raises(BadImport) as refused:
        of_csv(text)
    assert told in str(refused.value)
    assert HEX not in str(refused.value)


def test_a_seed_in_the_place_of_the_serial_is_not_shown() -> None:
    with pytest.raises(BadImport) as refused:
        of_csv(f"{HEX},12345678,totp,6,60\n")
    assert HEX not in str(refused.value)


def test_a_serial_stands_in_a_file_once_and_a_person_has_one_pin() -> None:
    def checked(text: str) -> list[Record]:
        return list(Once().check(read_csv(io.BytesIO(text.encode()), Given())))

    with pytest.raises(BadImport, match="line 2, serial A-1: the serial stands in line 1 before"):
        checked(f"A-1,{HEX},totp,6,60\nA-1,{HEX},totp,6,60\n")
    head = "serial,seed,type,period,user,pin\n"
    with pytest.raises(BadImport, match="line 3, serial A-2: alice has another PIN in line 2"):
        checked(f"{head}A-1,{HEX},totp,60,alice,2846\nA-2,{HEX},totp,60,alice,2847\n")


# users.oath


def of_oath(text: str) -> list[Record]:
    return list(read_users_oath(io.BytesIO(text.encode())))


def test_a_counter_is_that_of_the_last_code_once_there_is_one() -> None:
    text = f"HOTP alice - {HEX} 5\nHOTP/E/8 alice 2846 {HEX} 5 12345678 2026-03-02T10:00:00L\nHOTP/T30 bob + {HEX}\n"
    one, two, three = of_oath(text)
    assert (one.serial, one.last_step, one.pin) == ("oath-alice", 4, Secret(b"2846"))
    assert (two.serial, two.last_step, two.mechanism.digits, two.pin) == ("oath-alice-2", 5, 8, Secret(b"2846"))
    assert (three.user, three.pin, three.last_step, three.mechanism) == ("bob", None, -1, Mechanism(period=30))


def test_the_last_code_by_time_is_found_and_tells_the_drift() -> None:
    mechanism, at = Mechanism(period=30), time.mktime((2026, 3, 2, 10, 0, 0, 0, 0, -1))
    step = mechanism.step_at(at) - 4
    code = tokencode(Secret(SEED), mechanism, step)
    record = of_oath(f"HOTP/T30/6 alice - {HEX} 0 {code} 2026-03-02T10:00:00L\n")[0]
    assert (record.last_step, record.drift) == (step, -4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"HOTP/T30/7 alice - {HEX}\n", "line 1, serial oath-alice: its codes have a length"),
        (f"MOTP alice - {HEX}\n", "line 1, serial oath-alice: its type is none of"),
        ("HOTP alice -\n", "line 1: type, user, PIN and seed are expected"),
        (f"HOTP alice 1111 {HEX}\nHOTP alice 2222 {HEX}\n", "line 2: alice has another PIN on an earlier line"),
        (f"HOTP/T30 alice - {HEX} 0 123456 yesterday\n", "line 1, serial oath-alice: the time of the last code is none"),
    ],
)
def test_a_bad_line_of_users_oath_is_named(text: str, told: str) -> None:
    with pytest.raises(BadImport) as refused:
        of_oath(text)
    assert told in str(refused.value)


# google-authenticator


def test_a_google_authenticator_file_brings_skew_and_used_steps() -> None:
    text = f'{BASE32}\n" RATE_LIMIT 3 30\n" TIME_SKEW -2\n" DISALLOW_REUSE 59000001 59000003 59000002\n" TOTP_AUTH\n12345678\n'
    record = read_google(io.BytesIO(text.encode()), "alice")
    assert (record.serial, record.user, record.mechanism) == ("google-alice", "alice", Mechanism(period=30))
    assert (record.last_step, record.drift) == (59000003, -2)
    assert record.scratch == (Secret(b"12345678"),)


def test_a_seed_of_an_early_google_authenticator_is_refused_with_what_to_do() -> None:
    seed = "JBSWY3DPEHPK3PXP"
    with pytest.raises(BadImport) as refused:
        read_google(io.BytesIO(f'{seed}\n" TOTP_AUTH\n'.encode()), "alice")
    said = str(refused.value)
    assert said.startswith("line 1, serial google-alice: the seed has 80 bits; 128 to 1024 are allowed (RFC 4226 section 4)")
    assert said.endswith("make a new key, arenactl token add --qr")
    assert seed not in said


def test_a_google_authenticator_file_that_counts() -> None:
    record = read_google(io.BytesIO(f'{BASE32}\n" HOTP_COUNTER 8\n'.encode()), "alice")
    assert (record.mechanism.kind, record.last_step) == (Kind.HOTP, 7)
