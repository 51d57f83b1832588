"""Arena-first, whoever is denied sees and waits the same, byte for byte, whatever the state of the account.

Held against tests/host/golden/all-states-*.txt; ARENA_GOLDEN=write rewrites them, to be read in review.
"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from attrs import frozen
from holders import ASK_CODE, ASK_PIN, Step, check_golden, refuse
from hosts import AUTH_ERR, Dialogue, Host
from states import SETTINGS, State, bring_about

T = TypeVar("T")
# From 9.8 on sshd turns away an address after a few denials; here they are many, and all from the same one.
PATIENT_SSHD = """
if sshd -T | grep -q '^persourcepenalties'; then
    echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/patient.conf
    systemctl reset-failed ssh
    systemctl restart ssh
fi
"""
DENY_AFTER = 1.0  # seconds: the default
LOOKS = 5  # times at most that a state is looked at again
BAND = 0.1  # seconds, from then on, within which all denials arrive
AT_ONCE = 9  # logins, half of all states: they spend their time in waits
JOINED = r"Passcode \(PIN \+ code; first: code\): "
MAILED = r"a code was mailed\. Code: "
PIN_FRENCH, CODE_FRENCH = r"laisser vide\).: ", r"sur la cl..?\).: "
JOINED_FRENCH, MAILED_FRENCH = r"fois.: code\).: ", r"par mel\. Code.: "


@frozen
class Manner:
    """How a host asks. top, sections: TOML for the top, and for [service.default]."""

    name: str
    top: str = ""
    sections: str = ""
    joined: bool = False
    mail: bool = False
    prompts: tuple[str, str, str, str] = (ASK_PIN, ASK_CODE, JOINED, MAILED)

    def toml(self) -> str:
        """The lines of arena.toml."""
        login = '[login]\nprompt = "joined"\n' if self.joined else ""
        mail = '[mail]\nfrom = "arena@school.example"\n' if self.mail else ""
        default = self.sections + ("mail_codes = true\n" if self.mail else "")
        return f"{self.top}\n{SETTINGS}\n{login}{mail}" + (f"[service.default]\n{default}" if default else "")

    def steps(self, state: State) -> list[Step]:
        """What is asked and typed."""
        pin_prompt, code_prompt, joined_prompt, mailed_prompt = self.prompts
        pin, code = state.pin(), state.code()
        by_mail: list[Step] = [(mailed_prompt, code, "code")]
        if self.joined:
            return [(joined_prompt, f"{pin}*", "PIN*"), *by_mail] if self.mail else [(joined_prompt, pin + code, "passcode")]
        ask_pin: Step = (pin_prompt, pin, "PIN")
        return [ask_pin, (code_prompt, "", "nothing"), *by_mail] if self.mail else [ask_pin, (code_prompt, code, "code")]


FRENCH = (PIN_FRENCH, CODE_FRENCH, JOINED_FRENCH, MAILED_FRENCH)
# Each language with each way of asking, and each of both with and without mails.
MANNERS = [
    Manner("english-split"),
    Manner("french-joined", sections='language = "fr"\n', joined=True, prompts=FRENCH),
    Manner("french-mail-split", top='language = "fr"', mail=True, prompts=FRENCH),
    Manner("english-mail-joined", joined=True, mail=True),
]


@pytest.fixture(scope="module")
def states(host: Host) -> Iterator[list[State]]:
    """One account in each state, on a host that asks for PIN and code first."""
    host.arena_first(("sshd", "login"))
    host.shell(PATIENT_SSHD)
    _configure(host, MANNERS[0])
    yield bring_about(host)
    _drop_in(host).unlink()
    host.run("systemctl", "reload", "arenad.service")
    host.shell(
        "systemctl stop arena-mail.path arena-mail.service; rm -f /var/spool/arena/out/*; systemctl start arena-mail.path"
    )
    host.run("rm", "-f", "/etc/ssh/sshd_config.d/patient.conf")
    host.without_arena()


def _drop_in(host: Host) -> Path:
    return host.root / "etc/arena/arena.toml.d/all-states.toml"


def _configure(host: Host, manner: Manner) -> None:
    _drop_in(host).write_text(manner.toml())
    host.run("systemctl", "start", "arenad.service")
    host.run("systemctl", "reload", "arenad.service")
    assert "not reloaded" not in host.journal("arenad.service")


@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.name)
def test_every_state_is_denied_in_the_same_words_and_the_same_time(host: Host, states: list[State], manner: Manner) -> None:
    _configure(host, manner)
    denials = 2 if manner.mail else 1  # that a code is, or is not, mailed is answered after the same time as a denial
    latest = (DENY_AFTER + BAND) * denials
    overheard = _each(states, partial(_overhear, host, manner), AT_ONCE // 4)
    # A busy machine only ever adds: who was late is looked at again, alone. A state that is late is so every time.
    for _ in range(LOOKS):
        overheard |= _each([one for one in states if overheard[one.what][1] > latest], partial(_overhear, host, manner), 1)
    assert len({said for said, _ in overheard.values()}) == 1, overheard
    seconds = {what: taken for what, (_, taken) in overheard.items()}
    print(f"{host.suite} {manner.name}: {min(seconds.values())} to {max(seconds.values())} s")
    assert DENY_AFTER * denials <= min(seconds.values()), seconds
    assert max(seconds.values()) <= latest, seconds
    golden = next(iter(overheard.values()))[0]
    for program in ("ssh", "login"):
        ask: Callable[[str], Dialogue] = getattr(host, program)
        seen = _each(states, partial(_see, ask, manner), AT_ONCE)
        assert len(set(seen.values())) == 1, seen
        golden += f"\n--- {program}\n{next(iter(seen.values()))}\n"
    check_golden(f"all-states-{manner.name}", f"--- the module alone: style and text of each message, PAM's code\n{golden}")


def _each(states: list[State], attempt: Callable[[State], T], at_once: int) -> dict[str, T]:
    """What comes of an attempt in each state, so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip([state.what for state in states], pool.map(attempt, states), strict=True))


def _overhear(host: Host, manner: Manner, state: State) -> tuple[str, float]:
    """What the module alone says, and the seconds that it takes; the desk is told the state's own reason."""
    code, seconds, said = host.overhear(state.user, *(str(answer) for _, answer, _ in manner.steps(state)))
    assert code == AUTH_ERR, (state.what, code, said)
    ref = re.search(r"\(r\S+ ([0-9A-Z]{8})\)", said)
    assert ref, said
    assert json.loads(host.arenactl("why", ref[1], "-o", "json").stdout)["reason"] == state.reason, state.what
    return said.replace(ref[1], "REFERENCE").replace("|", "\n") + f"\n{code}", seconds


def _see(ask: Callable[[str], Dialogue], manner: Manner, state: State) -> str:
    """What a person sees who is denied."""
    seen = refuse(ask(state.user), manner.steps(state)).replace(state.user, "alice")
    return re.sub(r"\n+Login", "\nLogin", seen)  # bookworm's login(1) leaves a line empty before its own words
