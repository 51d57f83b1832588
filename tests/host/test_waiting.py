"""Time at a prompt: slow typing, the wait for a new code in new-PIN mode, and a caller that will not wait that long."""

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
    PIN,
    SHELL,
    Holder,
    Step,
    check_golden,
    password,
    play,
    refuse,
)
from hosts import AUTH_ERR, Dialogue, Host

FRENCH_PIN, FRENCH_CODE = r"laisser vide\)\s: ", r"affiché sur la clé\)\s: "
FRENCH_CHOOSE, FRENCH_AGAIN = r"Choisissez un code PIN \(4 à 6 chiffres\)\s: ", r"Confirmez le code PIN\s: "
FRENCH_NEW = r"nouveau code\s: "
CREATE: list[Step] = [(CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN")]
FRENCH_CREATE: list[Step] = [(FRENCH_CHOOSE, PIN, "a PIN"), (FRENCH_AGAIN, PIN, "the same PIN")]
LOG_IN_AGAIN = r"PIN created\. Log in again: PIN \+ new code\."
FRENCH_LOG_IN_AGAIN = r"Code PIN créé\. Reconnectez-vous\s: PIN \+ nouveau code\."


@pytest.fixture(scope="module")
def waiting(host: Host) -> Iterator[Host]:
    host.password_first()
    host.run("chpasswd", input="root:the root password\n")
    with host.configured('[login]\ndeny_after = "0"\n'):
        yield host


def test_the_code_on_the_display_when_the_prompt_came_is_accepted_once_however_slow_the_typing(waiting: Host) -> None:
    people = [Holder(waiting) for _ in range(4)]
    for one in people:
        one.enrol()
    for one in people:
        one.fob.wait()
    starts = [Holder.ssh, lambda h: waiting.login(h.name), lambda h: waiting.sudo(h.name, "echo", SHELL)]
    starts.append(lambda h: waiting.su(h.name))
    firsts = [password()] * 3 + [(r"[Pp]assword: ", "the root password", "root's password")]
    codes: list[str] = []
    dialogues: list[Dialogue] = []
    for holder, start, first in zip(people, starts, firsts, strict=True):
        dialogue = start(holder)
        for prompt, answer, label in (first, (ASK_PIN, PIN, "PIN")):
            dialogue.expect(prompt)
            dialogue.send(answer, label)
        dialogue.expect(ASK_CODE)
        codes.append(holder.fob.fresh())
        dialogues.append(dialogue)
    typed_at = people[-1].fob.step + 3
    while people[-1].fob.step < typed_at:
        time.sleep(people[-1].fob.left())
    for dialogue, code, opened in zip(dialogues, codes, (SHELL, r"\$ ", SHELL, r"root\r?\n"), strict=True):
        with dialogue:
            dialogue.send(code, "the code of before")
            dialogue.expect(opened)
    for holder, code in zip(people, codes, strict=True):
        assert waiting.authenticate(holder.name, PIN, code)[0] == AUTH_ERR


def test_the_seconds_that_are_said_are_those_of_the_display(waiting: Host) -> None:
    holder = Holder(waiting, period=30)
    dialogue = holder.ssh()
    play(dialogue, [password(), *holder.first_steps()[:-1]], NEW)
    left = holder.fob.left()
    said = re.search(r"New code in about (\d+) s\.", dialogue.transcript)
    assert said
    assert (int(said[1]) - left) % 30 < 3 or (left - int(said[1])) % 30 < 3


def test_the_same_display_typed_again_is_told_and_costs_nothing(waiting: Host) -> None:
    holder = Holder(waiting)
    fob = holder.fob
    first: list[Step] = [password(), (ASK_PIN, "", ""), (ASK_CODE, fob.fresh, "code"), *CREATE]
    again: list[Step] = [(NEW, lambda: PIN + fob.used(), "PIN + old code"), (NEW, lambda: fob.used(), "the old code")]
    told = play(waiting.login(holder.name), [*first, *again, (NEW, holder.passcode, "PIN + new code")], r"\$ ")
    check_golden("login-old-code", told[: told.rindex("⟧") + 1])
    assert waiting.in_store(f"SELECT count(*) FROM audit WHERE holder = '{holder.name}' AND outcome = 'denied'") == [[0]]


def test_the_same_display_typed_again_is_told_in_french(waiting: Host) -> None:
    holder = Holder(waiting)
    fob = holder.fob
    first: list[Step] = [password(), (FRENCH_PIN, "", ""), (FRENCH_CODE, fob.fresh, "code"), *FRENCH_CREATE]
    again: list[Step] = [(FRENCH_NEW, lambda: PIN + fob.used(), "PIN + old code")]
    with waiting.configured('language = "fr"\n'):
        told = play(holder.ssh(), [*first, *again, (FRENCH_NEW, holder.passcode, "PIN + new code")], SHELL)
    check_golden("ssh-old-code-french", told)


def test_a_caller_who_will_not_wait_is_left_with_a_pin_and_told_to_come_again(waiting: Host) -> None:
    # Displays that change once a day: no caller waits for that.
    over_ssh, at_console, in_french = (Holder(waiting, period=86400) for _ in range(3))

    def steps(holder: Holder) -> list[Step]:
        first: list[Step] = [password(), (ASK_PIN, "", ""), (ASK_CODE, holder.fob.fresh, "code")]
        return [*first, *CREATE, (LOG_IN_AGAIN, "", "")]

    with waiting.configured('[service.default]\ndeadline = "30s"\n'):
        check_golden("ssh-log-in-again", refuse(over_ssh.ssh(), steps(over_ssh)))
        check_golden("login-log-in-again", refuse(waiting.login(at_console.name), steps(at_console)))
        first: list[Step] = [password(), (FRENCH_PIN, "", ""), (FRENCH_CODE, in_french.fob.fresh, "code")]
        with waiting.configured('language = "fr"\n'):
            told = refuse(in_french.ssh(), [*first, *FRENCH_CREATE, (FRENCH_LOG_IN_AGAIN, "", "")])
        check_golden("ssh-log-in-again-french", told)
        for holder in (over_ssh, at_console, in_french):
            new: Step = (ASK_CODE, holder.fob.ahead, "new code")
            play(holder.ssh(), [password(), (ASK_PIN, PIN, "PIN"), new], SHELL)
