"""Parsers of files of keys: URIs, their export and PSKC; and of every format, that no bytes bring out anything else."""

import base64
import datetime
import io
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pskc import PSKC
from sample_key import BASE32, HEX, SEED

from pam_arena.errors import BadImport
from pam_arena.importers.otpauth import read_otpauth
from pam_arena.importers.pskc import read_pskc
from pam_arena.importers.recognise import Format, Surroundings, read, recognise
from pam_arena.importers.record import Given, Lock, Record
from pam_arena.otp import Algorithm, Kind, Mechanism
from pam_arena.secret import Secret

NOW = 1_780_000_000.0
TOTP = "urn:ietf:params:xml:ns:keyprov:pskc:totp"
HOTP = "urn:ietf:params:xml:ns:keyprov:pskc:hotp"
KEY = bytes(range(16))


def nobody(_lock: Lock) -> Secret:
    raise AssertionError("it asked for a key")


def of_pskc(data: bytes, ask: Callable[[Lock], Secret] = nobody) -> list[Record]:
    return list(read_pskc(io.BytesIO(data), ask, NOW))


def written(container: PSKC) -> bytes:
    out = io.BytesIO()
    container.write(out)
    return out.getvalue()


# otpauth and its export


def test_uris_name_their_account() -> None:
    uris = f"otpauth://totp/Arena:alice?secret={BASE32}&period=60\notpauth://hotp/bob?secret={BASE32}&counter=3\n"
    alice, bob = read_otpauth(io.BytesIO(uris.encode()), Given())
    assert (alice.serial, alice.user, alice.mechanism) == ("otpauth-alice", "alice", Mechanism())
    assert (bob.serial, bob.user, bob.mechanism.kind, bob.last_step) == ("otpauth-bob", "bob", Kind.HOTP, 2)


def field(number: int, value: int | bytes) -> bytes:
    """One field of a Protocol Buffers message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def export(*messages: bytes) -> str:
    """As the app shows it in QR codes."""
    payload = b"".join(field(1, one) for one in messages) + field(2, 1) + field(3, 1) + field(4, 0) + field(5, 2**31)
    return "otpauth-migration://offline?data=" + quote(base64.b64encode(payload), safe="")


ALICE = field(1, SEED) + field(2, b"Arena:alice") + field(3, b"Arena") + field(4, 1) + field(5, 1) + field(6, 2)
BOB = field(1, SEED) + field(2, b"bob") + field(4, 2) + field(5, 2) + field(6, 1) + field(7, 300)


def test_an_export_of_the_app_has_all_keys() -> None:
    alice, bob = read_otpauth(io.BytesIO(export(ALICE, BOB).encode()), Given())
    assert (alice.at, alice.user, alice.seed, alice.mechanism) == ("line 1, key 1", "alice", Secret(SEED), Mechanism(period=30))
    assert (bob.user, bob.mechanism, bob.last_step) == ("bob", Mechanism(Kind.HOTP, Algorithm.SHA256, 8, 30), 299)


@pytest.mark.parametrize("cut", [5, 40, 60])
def test_an_export_that_is_cut_short_is_refused(cut: int) -> None:
    data = base64.b64encode(base64.b64decode(export(ALICE).partition("=")[2].replace("%3D", "=").replace("%2B", "+"))[:cut])
    with pytest.raises(BadImport, match="line 1"):
        list(read_otpauth(io.BytesIO(b"otpauth-migration://offline?data=" + data), Given()))


def test_an_export_with_md5_is_refused() -> None:
    with pytest.raises(BadImport, match="one that arenad does not know"):
        list(read_otpauth(io.BytesIO(export(field(1, SEED) + field(4, 4) + field(6, 2)).encode()), Given()))


# PSKC


def container(**more: object) -> PSKC:
    made = PSKC()
    about = {"serial": "F-1", "secret": SEED, "algorithm": TOTP, "response_length": 6, "response_encoding": "DECIMAL"}
    made.add_key(**{**about, "time_interval": 60, **more})
    return made


def test_a_plain_file_says_all_of_a_key() -> None:
    about = {"key_userid": "UID=alice,DC=example", "time_drift": -3, "algorithm_suite": "HMAC-SHA256", "response_length": 8}
    expires = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
    made = container(**about)
    made.keys[0].policy.expiry_date = expires
    record = of_pskc(written(made))[0]
    assert (record.at, record.serial, record.seed, record.user) == ("key 1", "F-1", Secret(SEED), "alice")
    assert record.mechanism == Mechanism(Kind.TOTP, Algorithm.SHA256, 8, 60)
    assert (record.drift, record.valid_until) == (-3, int(expires.timestamp()))
    counted = of_pskc(written(container(algorithm=HOTP, counter=9)))[0]
    assert (counted.mechanism.kind, counted.last_step) == (Kind.HOTP, 8)


@pytest.mark.parametrize("spelled", [KEY, KEY.hex().encode() + b"\n", base64.b64encode(KEY)])
def test_a_pre_shared_key_opens_a_file(spelled: bytes) -> None:
    made = container()
    made.encryption.setup_preshared_key(key=KEY, algorithm="aes128-cbc")
    asked = []

    def ask(lock: Lock) -> Secret:
        asked.append(lock)
        return Secret(spelled)

    assert of_pskc(written(made), ask)[0].seed == Secret(SEED)
    assert asked == [Lock.KEY]


def test_a_passphrase_opens_a_file() -> None:
    made = container()
    made.encryption.setup_pbkdf2("the passphrase", iterations=1000, algorithm="aes128-cbc")
    data = written(made)

    def ask(passphrase: bytes) -> Callable[[Lock], Secret]:
        return lambda lock: Secret(passphrase if lock is Lock.PASSPHRASE else b"")

    assert of_pskc(data, ask(b"the passphrase"))[0].seed == Secret(SEED)
    with pytest.raises(BadImport, match="key 1, serial F-1: it does not open: a wrong key or passphrase"):
        of_pskc(data, ask(b"another"))


def encrypted() -> str:
    made = container()
    made.encryption.setup_preshared_key(key=KEY, algorithm="aes128-cbc")
    return written(made).decode()


def between(text: str, name: str) -> str:
    """The text of the last element of a name."""
    return text.rpartition(f"</{name}>")[0].rpartition(f"<{name}>")[2]


def test_a_value_that_was_changed_or_has_no_mac_is_refused() -> None:
    text = encrypted()
    mac = between(text, "pskc:ValueMAC")
    changed = base64.b64encode(bytes(len(base64.b64decode(mac)))).decode()
    with pytest.raises(BadImport, match="a MAC that does not match"):
        of_pskc(text.replace(mac, changed).encode(), lambda _: Secret(KEY))
    without = text.replace(f"<pskc:ValueMAC>{mac}</pskc:ValueMAC>", "")
    with pytest.raises(BadImport, match="key 1, serial F-1: it is encrypted by CBC without a MAC"):
        of_pskc(without.encode(), lambda _: Secret(KEY))


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><KeyContainer>&j;</KeyContainer>"
)
OUTSIDE = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><KeyContainer>&b;</KeyContainer>'


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, BOMB.decode().replace('<?xml version="1.0"?>', "").encode("utf-16")])
def test_a_document_type_is_refused_before_anything_is_expanded(data: bytes) -> None:
    with pytest.raises(BadImport, match="has a document type"):
        of_pskc(data)


def test_work_without_bound_is_refused() -> None:
    made = container()
    made.encryption.setup_pbkdf2("the passphrase", iterations=1000, algorithm="aes128-cbc")
    data = written(made).replace(b">1000<", b">99999999999<")
    assert b"99999999999" in data
    with pytest.raises(BadImport, match="more than 10000000 iterations"):
        of_pskc(data, nobody)
    with pytest.raises(BadImport, match="more than 64 deep"):
        of_pskc(b"<a>" * 100_000)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"serial": "F 1"}, "key 1: serial: allowed"),
        ({"secret": b"short"}, "key 1, serial F-1: its seed is missing, or not of 128 to 1024 bits"),
        ({"algorithm": "urn:ietf:params:xml:ns:keyprov:pskc:pin"}, "it is neither a TOTP nor a HOTP key"),
        ({"response_length": 7}, "its codes have a length"),
        ({"response_encoding": "ALPHANUMERIC"}, "its codes are not plain digits"),
        ({"algorithm_suite": "HMAC-MD5"}, "its algorithm is none of"),
    ],
)
def test_a_key_of_another_kind_is_named(more: dict[str, object], told: str) -> None:
    with pytest.raises(BadImport) as refused:
        of_pskc(written(container(**more)))
    assert told in str(refused.value)


def test_a_key_whose_time_is_over_is_refused() -> None:
    made = container()
    made.keys[0].policy.expiry_date = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with pytest.raises(BadImport, match="its policy does not allow it"):
        of_pskc(written(made))


# all of them


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (encrypted(), Format.PSKC),
        (f"A-1,{HEX},totp\n", Format.CSV),
        (f"# comment\nHOTP/T30/6\talice\t-\t{HEX}\n", Format.OATH),
        (f'{BASE32}\n" TOTP_AUTH\n', Format.GOOGLE),
        (f"otpauth://totp/a?secret={BASE32}\n", Format.OTPAUTH),
        (export(ALICE), Format.OTPAUTH),
    ],
    ids=["pskc", "csv", "users.oath", "google-authenticator", "otpauth", "export"],
)
def test_a_file_is_recognised(head: str, form: Format) -> None:
    assert recognise(head.encode()) is form


def mutated() -> Iterator[bytes]:
    """Good files, for hypothesis to spoil."""
    derived = container()
    derived.encryption.setup_pbkdf2("the passphrase", iterations=10, algorithm="aes128-cbc")
    yield from (written(derived), encrypted().encode(), written(container(counter=1)), export(ALICE, BOB).encode())
    yield f"serial,seed,type,period,counter,user,pin\nA-1,{HEX},totp,60,1,a,1\n".encode()
    yield f"HOTP/T30/6 a 1 {HEX} 0 123456 2026-03-02T10:00:00L\nHOTP b - {HEX} 5\n".encode()
    yield f'{BASE32}\n" TIME_SKEW 2\n" STEP_SIZE 30\n" DISALLOW_REUSE 5\n12345678\n'.encode()
    yield f"otpauth://hotp/a?secret={BASE32}&counter=1\n".encode()


SPOILT = st.builds(
    lambda good, at, gone, new: good[: at % (len(good) + 1)] + new + good[at % (len(good) + 1) + gone :],
    st.sampled_from(list(mutated())),
    st.integers(0, 10_000),
    st.integers(0, 40),
    st.binary(max_size=12) | st.sampled_from([b"", b"\0", b"-", b"9" * 30, b"&", b"<", b"\xd9\xa1", b"\xff" * 8]),
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300) | SPOILT)
def test_no_bytes_bring_out_anything_but_records_and_refusals(data: bytes) -> None:
    about = Surroundings(lambda _: Secret(KEY), NOW, Given(), "alice")
    forms = list(Format)
    try:
        forms.append(recognise(data))
    except BadImport as refused:
        assert str(refused)
    for form in forms:
        try:
            records = list(read(form, io.BytesIO(data), about))
        except BadImport as refused:
            assert str(refused)
        else:
            assert all(isinstance(record, Record) and record.serial for record in records)
