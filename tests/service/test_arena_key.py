"""arena-key against a real arenad, by lines on stdin: as the user who runs it, in the service's words."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Service
from arenad.store.schema import audit
from dialogues import AGAIN, CHOOSE, CURRENT, PIN, Holder, grant, split

from pam_arena.otp import Kind, Mechanism

HOTP = Mechanism(kind=Kind.HOTP)
DONE, REFUSED, DOWN = 0, 1, 3
RUN = """
import sys
from pam_arena.cli.arena_key import change_pin
from pam_arena.client import Client
sys.exit(change_pin(Client(sys.argv[1])))
"""


def arena_key(service: Service, *lines: str) -> "subprocess.CompletedProcess[str]":
    """Run `arena-key pin` as root, who is a holder here like any other."""
    command = [sys.executable, "-c", RUN, service.socket_path]
    return subprocess.run(command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True)


@pytest.fixture
def root(service: Service) -> Holder:
    return Holder(service, "root", HOTP)


def test_the_new_pin_works_and_the_old_one_does_not(service: Service, root: Holder) -> None:
    done = arena_key(service, PIN + root.code(0), "97531", "97531")
    assert (done.returncode, done.stdout) == (DONE, "PIN changed.\n")
    assert done.stderr.splitlines() == [CURRENT, CHOOSE, AGAIN]
    row = service.rows(audit)[-1]
    assert (row["event"], row["holder"], row["service"], row["actor"]) == ("pin-change", "root", "arena-key", "uid:0")
    grant(service, "root", split("97531", root.code(1)))


def test_a_refusal_is_the_services_sentence_alone(service: Service, root: Holder) -> None:
    refused = arena_key(service, "0000" + root.code(0))
    assert (refused.returncode, refused.stdout) == (REFUSED, "")
    assert refused.stderr.startswith(f"{CURRENT}\nAccess denied. Wait for a new code, then retry. (ref ")
    grant(service, "root", split(PIN, root.code(1)))


@pytest.mark.parametrize("lines", [[], ["passcode"], ["passcode", "97531"]], ids=len)
def test_an_input_that_ends_early_changes_nothing(service: Service, root: Holder, lines: list[str]) -> None:
    lines = [PIN + root.code(0) if line == "passcode" else line for line in lines]
    refused = arena_key(service, *lines)
    assert refused.returncode == REFUSED
    assert "PIN not changed / Code PIN non modifié: a prompt was not answered" in refused.stderr
    grant(service, "root", split(PIN, root.code(1)))


def test_what_is_too_long_to_be_sent_is_refused_and_not_shown(service: Service, root: Holder) -> None:
    refused = arena_key(service, "7" * 600)
    assert (refused.returncode, "777" in refused.stderr) == (REFUSED, False)
    assert "PIN not changed" in refused.stderr


@pytest.fixture
def french(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path, 'language = "fr"\n[login]\ndeny_after = "0"\n')
    one.start()
    yield one
    one.close()


def test_it_speaks_the_services_language(french: Service) -> None:
    root = Holder(french, "root", HOTP)
    done = arena_key(french, PIN + root.code(0), "1234", "97531", "97531")
    assert (done.returncode, done.stdout) == (DONE, "Code PIN modifié.\n")
    assert "Passcode actuel (PIN + code)" in done.stderr
    assert "Trop facile à deviner. Choisissez-en un autre." in done.stderr


@pytest.mark.parametrize(
    ("mode", "status", "told"),
    [("off", REFUSED, "No PIN is asked of you here"), ("observe", REFUSED, "Access denied. ")],
)
def test_where_nothing_is_enforced_it_still_says_why_not(tmp_path: Path, mode: str, status: int, told: str) -> None:
    service = Service(tmp_path, f'[login]\ndeny_after = "0"\n[service.arena-key]\nmode = "{mode}"\n')
    service.start()
    try:
        Holder(service, "root", HOTP)
        done = arena_key(service, "0000000000")
        assert (done.returncode, told in done.stderr) == (status, True)
    finally:
        service.close()


def test_a_service_that_is_down_is_said_with_the_command_that_starts_it(service: Service, root: Holder) -> None:
    service.stop()
    service.close()
    down = arena_key(service)
    assert (down.returncode, down.stdout) == (DOWN, "")
    assert down.stderr.startswith("OTP unavailable / OTP indisponible\n")
    assert "systemctl start arenad.socket arenad.service" in down.stderr
