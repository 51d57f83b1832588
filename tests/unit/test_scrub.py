"""What leaves the house is scrubbed of whatever may be a secret, and stays readable."""

import base64
from collections.abc import Callable

import pytest

from pam_arena.cli.scrub import MARK, scrub_arguments, scrub_log, scrub_text
from pam_arena.recovery import make

SEED = bytes.fromhex("8e1f0ad3b7c25964e0a1f7330bd8c4925a6e71fd")


def shapes(value: bytes) -> list[str]:
    """A secret as it might be written."""
    return [
        value.hex(),
        value.hex().upper(),
        base64.b32encode(value).decode(),
        base64.b32encode(value).decode().lower(),
        base64.b64encode(value).decode(),
        base64.urlsafe_b64encode(value).decode(),
    ]


@pytest.mark.parametrize("scrub", [scrub_text, scrub_log, scrub_arguments])
@pytest.mark.parametrize("written", [*shapes(SEED), *shapes(SEED[:16]), *shapes(SEED + SEED[:12])])
def test_a_seed_goes_however_it_is_written(written: str, scrub: Callable[[str], str]) -> None:
    for text in (f"got {written}, and went on", f'"{written}"', written, f"otpauth://totp/A:B?secret={written}&x"):
        scrubbed = scrub(text)
        assert written.rstrip("=") not in scrubbed
        assert MARK in scrubbed


@pytest.mark.parametrize("scrub", [scrub_text, scrub_log])
def test_a_recovery_code_goes(scrub: Callable[[str], str]) -> None:
    for _ in range(50):
        code = make()
        assert code not in scrub(f"typed {code} at sshd")


@pytest.mark.parametrize("typed", ["2846", "28461", "284611", "284600123456", "00123456"])
def test_pins_and_codes_go_from_a_log(typed: str) -> None:
    for text in (f"typed {typed} at sshd", f"x{typed}y", f"PIN: {typed}", f"({typed})"):
        assert typed not in scrub_log(text)


@pytest.mark.parametrize(
    "name", ["passphrase", "Passphrase", "smtp_password", "PIN", "seed", "SECRET", "passcode", "api-token"]
)
def test_what_a_name_announces_as_a_secret_goes_to_the_end_of_the_line(name: str) -> None:
    assert scrub_log(f"read {name}: correct horse battery\nnext line") == f"read {name}: {MARK}\nnext line"


@pytest.mark.parametrize(
    "line",
    [
        "auth requisite pam_arena.so prompt=joined socket=/run/arena/auth.sock",
        "auth\t[success=1 default=ignore]\tpam_unix.so nullok try_first_pass",
        "@include common-auth",
    ],
)
def test_a_pam_file_stays_as_it_is(line: str) -> None:
    assert scrub_arguments(line) == line


@pytest.mark.parametrize("value", ["hunter2", '"two words"', "[two words]"])
def test_a_secret_among_pams_arguments_goes(value: str) -> None:
    line = f"auth required pam_other.so secret={value} debug bind_password={value}"
    assert scrub_arguments(line) == f"auth required pam_other.so secret={MARK} debug bind_password={MARK}"


@pytest.mark.parametrize(
    "text",
    [
        "ready: key 00112233445566aa, 2 cores",
        "[service.default]: there is no group arena-exempt",
        "Loaded: loaded (/lib/systemd/system/arenad.service; enabled; preset: enabled)",
        "/usr/lib/python3/dist-packages/pam_arena",
    ],
)
def test_what_tells_nothing_stays(text: str) -> None:
    assert scrub_text(text) == text


def test_a_long_line_of_names_alone_is_read_through_quickly_and_stays() -> None:
    line = "pin-" * 3000  # minutes, if each name were tried with each beginning and each end
    assert scrub_log(line) == scrub_arguments(line) == line
