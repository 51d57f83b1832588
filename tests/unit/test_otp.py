"""Codes against the vectors of their RFCs, seeds in every spelling, and a search that never stops early."""

import base64
import contextlib
import sys
import traceback
from types import FrameType

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_arena.errors import SeedError
from pam_arena.otp import Algorithm, Enrolment, Kind, Mechanism, find_step, read_seed, tokencode, write_uri
from pam_arena.secret import Secret

DIGITS = b"1234567890" * 7
SEED = Secret(DIGITS[:20])
HOTP = Mechanism(Kind.HOTP)

RFC_4226_D = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
RFC_6238_TIMES = [59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000]
RFC_6238_B = {
    Algorithm.SHA1: (20, ["94287082", "07081804", "14050471", "89005924", "69279037", "65353130"]),
    Algorithm.SHA256: (32, ["46119246", "68084774", "67062674", "91819424", "90698825", "77737706"]),
    Algorithm.SHA512: (64, ["90693936", "25091201", "99943326", "93441116", "38618901", "47863826"]),
}


@pytest.mark.parametrize(("counter", "code"), enumerate(RFC_4226_D))
def test_hotp_codes_are_those_of_rfc_4226_appendix_d(counter: int, code: str) -> None:
    assert tokencode(SEED, HOTP, counter) == code


@pytest.mark.parametrize("algorithm", Algorithm)
def test_totp_codes_are_those_of_rfc_6238_appendix_b(algorithm: Algorithm) -> None:
    size, codes = RFC_6238_B[algorithm]
    mechanism = Mechanism(Kind.TOTP, algorithm, digits=8, period=30)
    seed = Secret(DIGITS[:size])
    assert [tokencode(seed, mechanism, mechanism.step_at(time)) for time in RFC_6238_TIMES] == codes


def test_the_display_changes_at_the_end_of_a_period() -> None:
    minute = Mechanism(period=60)
    assert [minute.step_at(time) for time in (0, 59.9, 60, 119)] == [0, 0, 1, 1]
    assert [minute.seconds_left(time) for time in (0, 1, 59, 60)] == [60, 59, 1, 60]
    assert HOTP.seconds_left(17) == 0


def test_a_code_is_found_at_its_step_alone() -> None:
    assert [find_step(SEED, HOTP, code, range(10)) for code in RFC_4226_D] == list(range(10))
    assert find_step(SEED, HOTP, RFC_4226_D[4], range(4)) is None
    assert find_step(SEED, HOTP, RFC_4226_D[4], range(5, 10)) is None


@pytest.mark.parametrize("typed", ["", "75522", "7552240", "０" * 6, "\udcff" * 6, "é" * 6])
def test_what_is_no_code_is_found_nowhere(typed: str) -> None:
    assert find_step(SEED, HOTP, typed, range(10)) is None


def test_steps_before_1970_never_match() -> None:
    assert find_step(SEED, HOTP, RFC_4226_D[0], range(-3, 0)) is None
    assert find_step(SEED, HOTP, RFC_4226_D[0], range(-3, 2)) == 0


@pytest.mark.parametrize("typed", [RFC_4226_D[0], RFC_4226_D[5], RFC_4226_D[9], "000000"])
def test_every_step_is_computed_whichever_one_matches(typed: str) -> None:
    generated = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal generated
        generated += event == "call" and frame.f_code is pyotp.HOTP.generate_otp.__code__

    sys.setprofile(count)
    try:
        find_step(SEED, HOTP, typed, range(10))
    finally:
        sys.setprofile(None)
    assert generated == 10


HEX = DIGITS[:20].hex()
BASE32 = base64.b32encode(DIGITS[:20]).decode()


@pytest.mark.parametrize(
    "line",
    [
        HEX,
        HEX.upper(),
        f"  {HEX}\n",
        " ".join(HEX[i : i + 4] for i in range(0, len(HEX), 4)),
        "-".join(HEX[i : i + 8] for i in range(0, len(HEX), 8)),
        BASE32,
        BASE32.lower(),
        " ".join(BASE32[i : i + 4] for i in range(0, len(BASE32), 4)),
    ],
)
def test_a_seed_reads_the_same_in_every_spelling(line: str) -> None:
    enrolment = read_seed(line, HOTP)
    assert enrolment.seed.reveal() == DIGITS[:20]
    assert enrolment.mechanism is HOTP


@pytest.mark.parametrize("padding", [0, 1])
def test_base32_needs_no_padding(padding: int) -> None:
    text = base64.b32encode(DIGITS[:16]).decode()
    assert read_seed(text if padding else text.rstrip("="), HOTP).seed.reveal() == DIGITS[:16]


def test_a_uri_brings_its_own_mechanism() -> None:
    uri = f"otpauth://totp/Arena:12-345?secret={BASE32}&issuer=Arena&algorithm=SHA256&digits=8&period=60"
    assert read_seed(uri, HOTP) == Enrolment(Secret(DIGITS[:20]), Mechanism(Kind.TOTP, Algorithm.SHA256, 8, 60), "12-345")


def test_a_uri_without_parameters_means_what_phone_apps_take_it_for() -> None:
    assert read_seed(f"otpauth://totp/x?secret={BASE32}", HOTP).mechanism == Mechanism(Kind.TOTP, Algorithm.SHA1, 6, 30)


def test_a_hotp_uri_brings_its_counter() -> None:
    enrolment = read_seed(f"OTPAUTH://HOTP/me?SECRET={BASE32.lower()}&counter=7&algorithm=sha-512", Mechanism())
    assert (enrolment.mechanism.kind, enrolment.mechanism.algorithm, enrolment.counter) == (Kind.HOTP, Algorithm.SHA512, 7)


@given(
    st.binary(min_size=16, max_size=128),
    st.builds(Mechanism, st.sampled_from(Kind), st.sampled_from(Algorithm), st.sampled_from([6, 8]), st.integers(1, 86400)),
    st.text("0123456789-ABC é", min_size=1).map(str.strip),
    st.integers(0, 2**32),
)
def test_what_is_written_as_a_uri_reads_back(seed: bytes, mechanism: Mechanism, serial: str, counter: int) -> None:
    back = read_seed(write_uri(Enrolment(Secret(seed), mechanism, serial, counter), "Arena & Co"), HOTP)
    assert (back.seed.reveal(), back.serial, back.mechanism.kind) == (seed, serial, mechanism.kind)
    assert (back.mechanism.algorithm, back.mechanism.digits) == (mechanism.algorithm, mechanism.digits)
    if mechanism.kind is Kind.TOTP:
        assert back.mechanism.period == mechanism.period
    else:
        assert back.counter == counter


def _uri(parameters: str, kind: str = "totp", secret: str = BASE32) -> str:
    return f"otpauth://{kind}/Arena:1?secret={secret}&{parameters}"


REFUSED = {
    "empty": "",
    "blank": " \t ",
    "nothing but padding": "====",
    "hex of 15 bytes": HEX[:30],
    "hex of 129 bytes": (DIGITS * 2)[:129].hex(),
    "hex of odd length": HEX[:-1] + "",
    "hex with a prefix": "0x" + HEX,
    "base32 of 15 bytes": base64.b32encode(DIGITS[:15]).decode(),
    "base32 of 129 bytes": base64.b32encode((DIGITS * 2)[:129]).decode(),
    "base32 with a digit of none": BASE32[:-1] + "1",
    "base32 of an impossible length": BASE32 + "A",
    "base64": base64.b64encode(DIGITS[:20]).decode(),
    "words": "correct horse battery staple",
    "uri of another type": _uri("digits=6", kind="motp"),
    "uri without a type": f"otpauth:///1?secret={BASE32}",
    "uri without a query": "otpauth://totp/1",
    "uri without a secret": "otpauth://totp/1?digits=6",
    "uri with a short secret": _uri("digits=6", secret=BASE32[:16]),
    "uri with a secret of no base32": _uri("digits=6", secret=BASE32[:-1] + "1"),
    "uri with a query of no pairs": f"otpauth://totp/1?{BASE32}",
    "uri with an unknown hash": _uri("algorithm=MD5"),
    "uri with 7 digits": _uri("digits=7"),
    "uri with digits of no number": _uri("digits=six"),
    "uri with a period of 0": _uri("period=0"),
    "uri with a period of days": _uri("period=86401"),
    "uri with a period of no number": _uri("period=30.5"),
    "uri with a counter below 0": _uri("counter=-1", kind="hotp"),
    "uri with a counter of no number": _uri("counter=one", kind="hotp"),
    "uri of no host": f"otpauth://[/1?secret={BASE32}",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_seed_is_refused_and_never_repeated(line: str) -> None:
    with pytest.raises(SeedError) as refusal:
        read_seed(line, HOTP)
    shown = "".join(traceback.format_exception(refusal.value, limit=0)).lower()
    assert len(str(refusal.value)) > 20
    for part in (line[-16:], line[4:20], BASE32[:8], HEX[:8]):
        assert len(part) < 8 or part.lower() not in shown or part.lower().startswith("otpauth://")


@pytest.mark.parametrize(
    "line", ["é" * 32, "Α" * 32, f"otpauth://totp/1?secret={'é' * 32}", "\udcff" * 32], ids=["latin", "greek", "uri", "bytes"]
)
def test_a_seed_that_is_not_ascii_is_refused_like_any_other(line: str) -> None:
    with pytest.raises(SeedError):
        read_seed(line, HOTP)


@given(st.text())
def test_any_line_is_a_seed_or_is_refused(line: str) -> None:
    with contextlib.suppress(SeedError):
        read_seed(line, HOTP)


def test_an_enrolment_does_not_print_its_seed() -> None:
    shown = repr(read_seed(BASE32, HOTP))
    assert HEX not in shown
    assert BASE32 not in shown
    assert "1234" not in shown
