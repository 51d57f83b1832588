"""What a holder is asked and told, as generators: no socket, no clock, no store.

A conversation yields what is to be done next, and is sent what came of it:

    yielded                 sent back
    Ask(style, text)        Secret: what was typed
    Say(style, text)        None
    Verify(first, second)   Verdict: of the passcode typed into one field (first is None) or two
    CreatePin(pin)          int: seconds until the display changes
    GiveUp()                Verdict: a denial with its reference

and returns a Result. Whatever a verdict is, it comes from the verifier alone; the only branch before PIN and code are
right is between two ways of asking, which the service's configuration chose.

New-PIN mode opens no door: after the PIN is created, only PIN + new code does, through the same Verify as ever.
A reason and the prompt that follows it go as one text, because sshd before 10.3 shows lone messages late.
"""

import enum
from collections.abc import Generator

from attrs import frozen

from . import pin
from .protocol import Style
from .secret import Secret
from .texts import Texts

ROUNDS = 5  # tries to choose a PIN, and to type the new code while the old one is still on the display


class Outcome(enum.Enum):
    """What the verifier says of one attempt."""

    GRANTED = "granted"
    NEW_PIN = "new-pin"  # the code was right, and there is no PIN yet
    DENIED = "denied"


@frozen
class Verdict:
    """An outcome; ref names a denial to the desk. serial and digits are those of the token whose code was right."""

    outcome: Outcome
    ref: str = ""
    serial: str = ""
    digits: int = 6


class Result(enum.Enum):
    """How a conversation ended."""

    GRANTED = "granted"
    DENIED = "denied"


@frozen
class Ask:
    """Ask for an answer."""

    style: Style
    text: str


@frozen
class Say:
    """Say a sentence that wants no answer."""

    style: Style
    text: str


@frozen
class Verify:
    """Have a passcode verified. first is None where there was one field only."""

    first: Secret | None
    second: Secret


@frozen
class CreatePin:
    """Store the PIN that the holder chose and confirmed."""

    pin: Secret


@frozen
class GiveUp:
    """Record a denial without an attempt: the holder did not manage to choose a PIN."""


Step = Ask | Say | Verify | CreatePin | GiveUp
Reply = Secret | Verdict | int | None
Conversation = Generator[Step, Reply, Result]


class PromptStyle(enum.StrEnum):
    """How a passcode is asked for."""

    SPLIT = "split"
    JOINED = "joined"


@frozen
class Manner:
    """How a service asks: its texts, its prompts and the PINs that it allows."""

    texts: Texts
    prompt: PromptStyle = PromptStyle.SPLIT
    policy: pin.Policy = pin.Policy()


def log_in(manner: Manner, collected: Secret | None = None, only_collected: bool = False) -> Conversation:
    """One login. `collected` is what an earlier PAM module asked for: used if it has the shape of a passcode.

    With only_collected nothing is ever asked.
    """
    typed = _Typed(manner)
    if only_collected:
        verdict = yield from typed.verify(None, collected or Secret())
    elif collected is not None and pin.well_formed("", pin.normalise(collected, manner.policy), manner.policy):
        verdict = yield from typed.verify(None, collected)
    else:
        verdict = yield from typed.ask()
    if verdict.outcome is Outcome.NEW_PIN:
        verdict = yield from (_give_up() if only_collected else _new_pin_mode(manner, typed, verdict))
    if verdict.outcome is Outcome.GRANTED:
        return Result.GRANTED
    return (yield from _deny(manner, verdict))


def change_pin(manner: Manner) -> Conversation:
    """PAM's password phase: the current passcode, then a new PIN twice."""
    typed = _Typed(manner)
    current = yield from _ask(manner.texts.current_passcode)
    verdict = yield from typed.verify(None, current)
    if verdict.outcome is Outcome.DENIED:
        return (yield from _deny(manner, verdict))
    if (yield from _choose_pin(manner, verdict, typed.code(verdict.digits))) is None:
        return (yield from _deny(manner, (yield from _give_up())))
    yield Say(Style.INFO, manner.texts.pin_changed)
    return Result.GRANTED


class _Typed:
    """What the holder typed last, kept to tell a display typed twice."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._first: Secret | None = None
        self._second = Secret()

    def ask(self) -> Generator[Step, Reply, Verdict]:
        texts = self._manner.texts
        if self._manner.prompt is PromptStyle.JOINED:
            return (yield from self.verify(None, (yield from _ask(texts.joined))))
        first = yield from _ask(texts.pin)
        return (yield from self.verify(first, (yield from _ask(texts.passcode))))

    def verify(self, first: Secret | None, second: Secret) -> Generator[Step, Reply, Verdict]:
        self._first, self._second = first, second
        reply = yield Verify(first, second)
        assert isinstance(reply, Verdict)
        return reply

    def code(self, digits: int) -> str:
        policy = self._manner.policy
        first = pin.normalise(self._first, policy) if self._first is not None else ""
        return pin.split(first, pin.normalise(self._second, policy), digits).code


def _new_pin_mode(manner: Manner, typed: _Typed, verdict: Verdict) -> Generator[Step, Reply, Verdict]:
    texts = manner.texts
    old_code = typed.code(verdict.digits)
    seconds = yield from _choose_pin(manner, verdict, old_code)
    if seconds is None:
        return (yield from _give_up())
    reason = texts.pin_created(seconds)
    for _ in range(ROUNDS):
        answer = yield from _ask(f"{reason}\n{texts.new_passcode}")
        if pin.split("", pin.normalise(answer, manner.policy), verdict.digits).code != old_code:
            return (yield from typed.verify(None, answer))
        reason = texts.old_code
    return (yield from _give_up())


def _choose_pin(manner: Manner, verdict: Verdict, code: str) -> Generator[Step, Reply, int | None]:
    """Seconds until the next code once a PIN is stored; None where the holder did not manage to choose one."""
    texts, policy = manner.texts, manner.policy
    reason = ""
    for _ in range(ROUNDS):
        chosen = yield from _ask(reason + texts.choose_pin(policy))
        text = pin.normalise(chosen, policy)
        flaw = pin.find_flaw(text, policy, verdict.serial, code)
        if flaw is not None:
            reason = texts.flaw(flaw, policy) + "\n"
            continue
        again = yield from _ask(texts.same_pin)
        if pin.normalise(again, policy) != text:
            reason = texts.pins_differ + "\n"
            continue
        seconds = yield CreatePin(Secret(text.encode()))
        assert isinstance(seconds, int)
        return seconds
    return None


def _ask(text: str) -> Generator[Step, Reply, Secret]:
    reply = yield Ask(Style.HIDDEN, text)
    assert isinstance(reply, Secret)
    return reply


def _give_up() -> Generator[Step, Reply, Verdict]:
    reply = yield GiveUp()
    assert isinstance(reply, Verdict)
    return reply


def _deny(manner: Manner, verdict: Verdict) -> Conversation:
    yield Say(Style.ERROR, manner.texts.denied(verdict.ref))
    return Result.DENIED
