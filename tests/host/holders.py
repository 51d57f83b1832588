"""Holders with fobs, and the dialogues that they have with sshd, login, sudo and su.

What a holder sees is held against tests/host/golden/; ARENA_GOLDEN=write rewrites it, to be read in review.
"""

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

from attrs import frozen
from hosts import PASSWORD, SUCCESS, Answer, Dialogue, Host

GOLDEN = Path(__file__).with_name("golden")
ASK_PIN, ASK_CODE = r"leave empty\): ", r"on your key\): "
CHOOSE, AGAIN, NEW = r"Choose a PIN \(4 to 6 digits\): ", "Same PIN again: ", r"PIN \+ new code: "
PASSWORD_PROMPT = r"[Pp]assword[^\n]*: "
PIN = "2846"
ROOT_PASSWORD = "the root password"
SHELL = "arena-in"
REFUSED = r"Permission denied|Login incorrect|Sorry, try again|Authentication failure"

Step = tuple[str, Answer, str]  # prompt, answer, what stands for the answer in the transcript
ROOT: Step = (PASSWORD_PROMPT, ROOT_PASSWORD, "root's password")
_numbers = itertools.count(1)


class Holder:
    """A user of the host with a fob, in new-PIN mode."""

    def __init__(self, host: Host, *, period: int = 5, kind: str = "totp", serial: str = "K-holder{}") -> None:
        number = next(_numbers)
        self.host, self.name = host, f"holder{number}"
        host.add_user(self.name, groups="sudo")
        self.fob = host.give_fob(self.name, serial.format(number), period=period, kind=kind)

    def passcode(self) -> str:
        """PIN + a fresh code."""
        return PIN + self.fob.fresh()

    def first_steps(self) -> list[Step]:
        """What the first login asks after the password."""
        create: list[Step] = [(CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN")]
        return [(ASK_PIN, "", ""), (ASK_CODE, self.fob.fresh, "code"), *create, (NEW, self.passcode, "PIN + new code")]

    def steps(self, pin: str = PIN) -> list[Step]:
        """What every other login asks after the password."""
        return [(ASK_PIN, pin, "PIN"), (ASK_CODE, self.fob.fresh, "code")]

    def ssh(self, source: str = "127.0.0.1") -> Dialogue:
        """A login over ssh, whose shell says that it is there."""
        return self.host.ssh(self.name, "echo arena-in", source=source)

    def enrol(self, pin: str = PIN) -> None:
        """The first login through the module alone, as at the console: quicker than enter()."""
        code, _, said = self.host.authenticate(self.name, "", self.fob.fresh(), pin, pin, pin + self.fob.ahead())
        assert code == SUCCESS, said

    def enter(self) -> None:
        """The first login, password-first."""
        assert SHELL in play(self.ssh(), [password(), *self.first_steps()], SHELL)


def reference(transcript: str) -> str:
    """The reference that a denial ends in, as the holder reads it out to the desk."""
    found = re.search(r"\((?:ref|réf\.)\s([0-9A-Z]{8})\)", transcript)
    assert found, transcript
    return found[1]


def password() -> Step:
    return (PASSWORD_PROMPT, PASSWORD, "password")


@frozen
class Door:
    """Where a holder is asked, arena-first: a start, the password that comes after, and what shows that it opened."""

    name: str
    start: Callable[[], Dialogue]
    password: Step
    opened: str

    def enter(self, steps: list[Step]) -> str:
        """Hold a dialogue that opens the door; returns what was asked and answered, without what stands behind the door."""
        told = play(self.start(), [*steps, self.password], self.opened)
        return told[: told.rindex("⟧") + 1]


def doors(holder: Holder) -> dict[str, Door]:
    """sshd, login, sudo and su. Root has "the root password"."""
    host, name = holder.host, holder.name
    every = (
        Door("ssh", holder.ssh, password(), SHELL),
        Door("login", lambda: host.login(name), password(), r"\$ "),
        Door("sudo", lambda: host.sudo(name, "echo", SHELL), password(), SHELL),
        Door("su", lambda: host.su(name), ROOT, r"root\r?\n"),
    )
    return {door.name: door for door in every}


def play(dialogue: Dialogue, steps: list[Step], end: str, timeout: float = 15) -> str:
    """Hold a dialogue up to `end`; returns its transcript without what differs from run to run."""
    with dialogue:
        for prompt, answer, label in steps:
            dialogue.expect(prompt, timeout=timeout)
            dialogue.send(answer, label or "nothing")
        dialogue.expect(end, timeout=timeout)
    text = dialogue.transcript.replace("\r", "")
    text = re.sub(r"(about|dans) \d+ s", r"\1 N s", text)
    text = re.sub(r"\A[^⟦]* login: (?=⟦)", "login: ", text)  # getty's name of the system and the host
    text = text.replace("\n\nLogin incorrect", "\nLogin incorrect")  # login leaves a line in Debian 12, none in 13
    text = re.sub(r"(\(r\S+\s)[0-9A-Z]{8}\)", r"\1REFERENCE)", text)  # (ref …), (réf. …), as far as a console can show it
    return re.sub(r"holder\d+", "alice", text)


def check_golden(name: str, transcript: str) -> None:
    """Hold a transcript against the one in golden/."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ARENA_GOLDEN") == "write":
        path.write_text(transcript)
    assert transcript == path.read_text()


def refuse(dialogue: Dialogue, steps: list[Step]) -> str:
    transcript = play(dialogue, steps, REFUSED)
    assert SHELL not in transcript
    return transcript
