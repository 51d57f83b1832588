"""Time that people take: codes typed slowly, the wait for the next display, and a caller who does not wait so long."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from holders import (
    AGAIN,
    ASK_CODE,
    ASK_PIN,
    CHOOSE,
    NEW,
    PASSWORD_PROMPT,
    PIN,
    SHELL,
    Holder,
    Step,
    check_golden,
    password,
    play,
    refuse,
)
from hosts import AUTH_ERR, Host

LOG_IN_AGAIN = r"PIN created\. Log in again: PIN \+ new code\."
FRENCH_PIN, FRENCH_CODE = r"laisser vide\).: ", r"sur la cl..?\).: "
FRENCH_CHOOSE, FRENCH_AGAIN, FRENCH_NEW = r"chiffres\).: ", r"Confirmez le code PIN.: ", r"nouveau code.: "
SECONDS = re.compile(r"(?:about|dans) (\d+) s")


@pytest.fixture(scope="module")
def waiting(host: Host) -> Host:
    host.password_first()
    return host


@pytest.fixture
def newcomer(waiting: Host) -> Holder:
    return Holder(waiting)


@pytest.fixture
def holder(newcomer: Holder) -> Holder:
    newcomer.enter()
    return newcomer


# --- valid when prompted ----------------------------------------------------------------------------------------------


def typed_slowly(holder: Holder) -> Step:
    """Read the code as the prompt appears, and end typing it two displays later, outside the window."""

    def slowly() -> str:
        code = holder.fob.fresh()
        time.sleep(2 * holder.fob.period)
        return code

    return (ASK_CODE, slowly, "code, typed slowly")


@pytest.fixture
def quick(waiting: Host) -> Holder:
    """A holder whose display changes every 3 s, so that typing slowly takes no minute."""
    one = Holder(waiting, period=3)
    one.enter()
    return one


@pytest.fixture
def slow(waiting: Host) -> Iterator[None]:
    """Next-code mode out of the way: it would take a code of two steps ago as well, and ask for another."""
    with waiting.configured('[code]\nslow_typing = "15s"\nnext_code_reach = 1\n'):
        yield


@pytest.mark.usefixtures("slow")
def test_a_code_shown_as_the_prompt_appeared_opens_over_ssh_however_slowly_it_is_typed(quick: Holder) -> None:
    steps: list[Step] = [password(), (ASK_PIN, PIN, "PIN"), typed_slowly(quick)]
    check_golden("ssh-slow-typing", play(quick.ssh(), steps, SHELL))
    assert json.loads(quick.host.arenactl("token", "show", quick.fob.serial, "-o", "json").stdout)["drift"] == 0
    refuse(quick.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, quick.fob.used, "used code")])


@pytest.mark.usefixtures("slow")
def test_a_code_shown_as_the_prompt_appeared_opens_login_sudo_and_su_once(waiting: Host) -> None:
    waiting.run("chpasswd", input="root:the root password\n")
    people = [Holder(waiting, period=3) for _ in range(3)]
    root: Step = (PASSWORD_PROMPT, "the root password", "root's password")
    doors = [
        (waiting.login, password(), r"\$ "),
        (lambda name: waiting.sudo(name, "echo", SHELL), password(), SHELL),
        (waiting.su, root, r"root\r?\n"),
    ]
    for one in people:
        one.enrol()
    for one in people:
        one.fob.wait()
    prompted = []
    for one, (start, first, opened) in zip(people, doors, strict=True):
        dialogue = start(one.name)
        for prompt, answer, label in (first, (ASK_PIN, PIN, "PIN")):
            dialogue.expect(prompt)
            dialogue.send(answer, label)
        dialogue.expect(ASK_CODE)
        prompted.append((dialogue, one.fob.fresh(), opened))
    time.sleep(2 * people[0].fob.period)
    for one, (dialogue, code, opened) in zip(people, prompted, strict=True):
        with dialogue:
            dialogue.send(code)
            dialogue.expect(opened)
        assert waiting.authenticate(one.name, PIN, code)[0] == AUTH_ERR


@pytest.mark.usefixtures("slow")
def test_a_code_that_was_over_before_the_prompt_appeared_does_not_open(quick: Holder) -> None:
    code = quick.fob.fresh()
    time.sleep(2 * quick.fob.period)
    refuse(quick.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, code, "code of an earlier display")])


def test_without_slow_typing_a_code_ends_with_its_window(quick: Holder) -> None:
    with quick.host.configured('[code]\nslow_typing = "0"\nnext_code_reach = 1\n'):
        refuse(quick.ssh(), [password(), (ASK_PIN, PIN, "PIN"), typed_slowly(quick)])


# --- a wait that helps ------------------------------------------------------------------------------------------------


def failures_of(holder: Holder) -> int:
    """What was counted against them."""
    shown = json.loads(holder.host.arenactl("holder", "show", holder.name, "-o", "json").stdout)
    assert shown["waits"] == []
    return int(shown["failures_in_a_year"])


def created(newcomer: Holder) -> list[Step]:
    """A first login up to the PIN."""
    return [(ASK_PIN, "", ""), (ASK_CODE, newcomer.fob.fresh, "code"), (CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN")]


def test_new_pin_mode_says_how_long_the_display_stays_and_bears_with_the_old_code(newcomer: Holder) -> None:
    """The old code is not charged: the same conversation goes on, and nothing is counted against its holder."""
    old: Step = (NEW, lambda: PIN + newcomer.fob.used(), "PIN + old code")
    dialogue = newcomer.ssh()
    steps = [password(), *created(newcomer), old, old, (NEW, newcomer.passcode, "PIN + new code")]
    check_golden("ssh-old-code", play(dialogue, steps, SHELL))
    (seconds,) = SECONDS.findall(dialogue.transcript)
    assert 1 <= int(seconds) <= newcomer.fob.period
    assert failures_of(newcomer) == 0


def test_the_wait_is_told_in_french_on_the_console(newcomer: Holder) -> None:
    old: Step = (FRENCH_NEW, lambda: PIN + newcomer.fob.used(), "PIN + old code")
    steps = [password(), (FRENCH_PIN, "", ""), (FRENCH_CODE, newcomer.fob.fresh, "code")]
    steps += [(FRENCH_CHOOSE, PIN, "a PIN"), (FRENCH_AGAIN, PIN, "the same PIN"), old]
    with newcomer.host.configured('language = "fr"\n'):
        told = play(newcomer.host.login(newcomer.name), [*steps, (FRENCH_NEW, newcomer.passcode, "PIN + new code")], r"\$ ")
    assert "C’est encore l’ancien code. Attendez le suivant.\nCode PIN + nouveau code" in told
    assert "Code PIN créé. Nouveau code dans N s environ.\n" in told


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_caller_who_does_not_wait_so_long_sends_the_holder_to_log_in_again(waiting: Host, language: str) -> None:
    """The PIN stays, the door stays shut, and the next login is an ordinary one."""
    newcomer = Holder(waiting, period=60)
    fob = newcomer.fob
    steps = {
        "en": [*created(newcomer), (LOG_IN_AGAIN, "", "")],
        "fr": [
            (FRENCH_PIN, "", ""),
            (FRENCH_CODE, fob.fresh, "code"),
            (FRENCH_CHOOSE, PIN, "a PIN"),
            (FRENCH_AGAIN, PIN, "the same PIN"),
            (r"Reconnectez-vous.: PIN \+ nouveau code\.", "", ""),
        ],
    }
    if fob.left() < 20:
        time.sleep(fob.left())
    with waiting.configured(f'language = "{language}"\n[service.sshd]\ndeadline = "30s"\n'):
        told = refuse(newcomer.ssh(), [password(), *steps[language]])
    check_golden("ssh-log-in-again" if language == "en" else "ssh-log-in-again-french", told)
    play(newcomer.ssh(), [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, fob.ahead, "new code")], SHELL)


def test_a_console_that_does_not_wait_so_long_says_so_too(waiting: Host) -> None:
    newcomer = Holder(waiting, period=86400)  # a display that no console waits for
    steps = [password(), *created(newcomer), (LOG_IN_AGAIN, "", "")]
    with waiting.configured('[service.login]\ndeadline = "30s"\n'):
        check_golden("login-log-in-again", refuse(waiting.login(newcomer.name), steps))
    again: list[Step] = [password(), (ASK_PIN, PIN, "PIN"), (ASK_CODE, newcomer.fob.ahead, "new code")]
    play(waiting.login(newcomer.name), again, r"\$ ")
