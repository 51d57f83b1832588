"""What becomes of a PIN: chosen, made, changed, too old, used before."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from arena import Service
from dialogues import (
    AGAIN,
    CHOOSE,
    CURRENT,
    FIRST_PASS,
    FORWARD,
    JOINED,
    NEW,
    NEXT,
    PIN,
    Holder,
    converse,
    deny,
    give_to,
    grant,
    last,
    split,
)

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Operation, Option
from pam_arena.secret import Secret

HOTP = Mechanism(kind=Kind.HOTP)
PAM_AUTH_ERR, PAM_AUTHTOK_ERR = 7, 20
CHANGE = {"operation": Operation.CHANGE_PIN, "service": "passwd", "rhost": ""}
NO_DELAY = '[login]\ndeny_after = "0"\n'
Start = Callable[[str], Service]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    """Starts arenad with lines of arena.toml."""
    services = []

    def start(extra: str) -> Service:
        services.append(Service(tmp_path, NO_DELAY + extra))
        services[-1].start()
        return services[-1]

    yield start
    for one in services:
        one.close()


def test_the_password_phase_changes_the_pin(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    script = [(CURRENT, PIN + alice.code(0)), (CHOOSE, "7391"), (AGAIN, "7391"), ("PIN changed.", None)]
    assert converse(service, "alice", script, **CHANGE).code == 0
    assert last(service)["event"] == "pin-change"
    grant(service, "alice", split("7391", alice.code(1)))


def test_a_change_wants_the_passcode_and_another_pin(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    denied = [(CURRENT, "2847" + alice.code(0)), ("Access denied.", None)]
    assert converse(service, "alice", denied, **CHANGE).code == PAM_AUTHTOK_ERR
    used = "PIN used before. Choose another.\n" + CHOOSE
    script = [(CURRENT, PIN + alice.code(1)), (CHOOSE, PIN), (used, "7391"), (AGAIN, "7391"), ("PIN changed.", None)]
    assert converse(service, "alice", script, **CHANGE).code == 0


def test_earlier_pins_are_refused_as_many_as_are_kept(started: Start) -> None:
    service = started("[pin]\nhistory = 2\n")
    alice = Holder(service, mechanism=HOTP, pin=None)
    script = [*split("", alice.code(0)), (CHOOSE, "2846"), (AGAIN, "2846"), (NEW, "2846" + alice.code(1))]
    grant(service, "alice", script)
    pins = ["2846", "7391", "5813"]
    for number, (old, new) in enumerate(pairwise(pins), 2):
        script = [(CURRENT, old + alice.code(number)), (CHOOSE, new), (AGAIN, new), ("PIN changed.", None)]
        assert converse(service, "alice", script, **CHANGE).code == 0
    used = "PIN used before. Choose another.\n" + CHOOSE
    script = [(CURRENT, "5813" + alice.code(4)), (CHOOSE, "7391"), (AGAIN, "7391"), (used, "2846"), (AGAIN, "2846")]
    assert converse(service, "alice", [*script, ("PIN changed.", None)], **CHANGE).code == 0


def test_a_pin_that_is_too_old_is_changed_after_a_right_passcode(started: Start) -> None:
    service = started('[pin]\nexpires = "30d"\n')
    alice = Holder(service, mechanism=HOTP)
    alice.set_pin(PIN, at=time.time() - 31 * 86400)
    deny(service, "alice", split(PIN, "000000"))
    expired = "PIN expired. Choose a new one.\n" + CHOOSE
    grant(service, "alice", [*split(PIN, alice.code(0)), (expired, "7391"), (AGAIN, "7391"), ("PIN changed.", None)])
    grant(service, "alice", split("7391", alice.code(1)))


def test_the_system_makes_a_pin_and_shows_it_until_it_is_confirmed(started: Start) -> None:
    service = started('[pin]\nchoice = "system"\n')
    alice = Holder(service, mechanism=HOTP, pin=None)
    made: list[str] = []

    def ask(style: object, text: str) -> Secret:
        if text.startswith("Your new PIN is "):
            made.append(text[16:20])
            assert text.endswith(f". Memorise it.\n{AGAIN}")
            return Secret(made[-1].encode())
        typed = {"PIN (first": "", "Passcode (": alice.code(0), "PIN create": (made or [""])[-1] + alice.code(1)}
        return Secret(typed[text[:10]].encode())

    assert service.client().authenticate("alice", "sshd", ask)
    assert len(made) == 1 and made[0].isdigit()


def test_when_the_callers_time_is_nearly_over_the_holder_is_sent_to_log_in_again(tmp_path: Path) -> None:
    service = Service(tmp_path, NO_DELAY + '[service.default]\ndeadline = "30s"\n')
    service.start()
    try:
        alice = Holder(service, pin=None)  # with a display that changes in 20 s at the earliest
        script = [*split("", alice.code()), (CHOOSE, PIN), (AGAIN, PIN), ("PIN created. Log in again: PIN + new code.", "")]
        assert converse(service, "alice", script).code == PAM_AUTH_ERR
        grant(service, "alice", split(PIN, alice.code(1)))
    finally:
        service.close()


def test_password_pin_and_code_come_in_one_field_and_the_password_goes_on(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    password = "correct horse 123456 é "
    done = converse(service, "alice", [(JOINED, password + PIN + alice.code(0))], options=FORWARD)
    assert (done.code, done.authtok) == (0, Secret(password.encode()))
    for wrong in (password + "2847" + alice.code(1), password + PIN + "000000", PIN, ""):
        done = converse(service, "alice", [(JOINED, wrong), ("Access denied.", None)], options=FORWARD)
        assert (done.code, done.authtok) == (PAM_AUTH_ERR, None)
    collected = Secret((password + PIN + alice.code(2)).encode())
    done = converse(service, "alice", [], options=FORWARD | FIRST_PASS, passcode=collected)
    assert (done.code, done.authtok) == (0, Secret(password.encode()))


def test_a_first_login_in_one_field_keeps_the_password_for_the_end(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP, pin=None)
    script = [(JOINED, "secret" + alice.code(0)), (CHOOSE, PIN), (AGAIN, PIN), (NEW, PIN + alice.code(1))]
    done = converse(service, "alice", script, options=FORWARD)
    assert (done.code, done.authtok) == (0, Secret(b"secret"))


def test_a_pin_of_another_length_is_found_before_the_code(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    alice.set_pin("284671")
    done = converse(service, "alice", [(JOINED, "secret284671" + alice.code(0))], options=FORWARD)
    assert (done.code, done.authtok) == (0, Secret(b"secret"))


def test_what_was_collected_is_verified_and_nothing_asked(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    assert converse(service, "alice", [], passcode=Secret((PIN + alice.code(0)).encode())).code == 0
    grant(service, "alice", split(PIN, alice.code(1)), passcode=Secret(b"hunter2"))
    assert converse(service, "alice", [], options=FIRST_PASS, passcode=Secret((PIN + alice.code(2)).encode())).code == 0
    deny(service, "alice", [], options=FIRST_PASS, passcode=Secret(b"hunter2"))
    bob = Holder(service, "bob", HOTP, pin=None)
    deny(service, "bob", [], options=FIRST_PASS, passcode=Secret(bob.code(0).encode()))
    assert last(service)["reason"] == "gave-up"


def test_letters_and_eight_characters_by_configuration(started: Start) -> None:
    service = started("[pin]\nlength = [8, 20]\ndigits_only = false\n")
    alice = Holder(service, mechanism=HOTP, pin=None)
    choose = "Choose a PIN (8 to 20 digits): "
    script = [*split("", alice.code(0)), (choose, "2846"), ("A PIN has 8 to 20 digits.\n" + choose, "Été à Nîmes")]
    grant(service, "alice", [*script, (AGAIN, "Été à Nîmes"), (NEW, "Été à Nîmes" + alice.code(1))])
    grant(service, "alice", split("Été à Nîmes", alice.code(2)))
    deny(service, "alice", split("ete a nimes", alice.code(3)))


def test_three_tokens_are_one_pin_and_every_one_opens(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    others = [
        Holder(service, f"other{n}", Mechanism(kind=Kind.HOTP, digits=digits), pin=None) for n, digits in ((1, 8), (2, 6))
    ]
    for one in others:
        give_to(service, one, alice)
    for one in (alice, *others, alice):
        grant(service, "alice", split(PIN, one.code(one.used)))
        one.used += 1
    deny(service, "alice", split("2847", others[0].code(1)))
    assert last(service)["reason"] == "wrong-pin"


def test_the_next_code_is_asked_for_before_a_change_too(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    for guess in range(3):
        deny(service, "alice", split(PIN, f"00000{guess}"), rhost="")
    script = [(CURRENT, PIN + alice.code(0)), (NEXT, alice.code(1)), (CHOOSE, "7391"), (AGAIN, "7391")]
    assert converse(service, "alice", [*script, ("PIN changed.", None)], **CHANGE).code == 0


def test_options_of_the_line_choose_the_prompt(service: Service) -> None:
    alice = Holder(service, mechanism=HOTP)
    grant(service, "alice", [(JOINED, PIN + alice.code(0))], options=Option.JOINED)
    grant(service, "alice", split(PIN, alice.code(1)), options=Option.SPLIT)
