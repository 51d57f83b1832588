"""What a holder is asked and told, as generators: no socket, no clock, no store, no randomness.

A conversation yields what is to be done next, and is sent what came of it:

    yielded                          sent back
    Ask(style, text)                 Secret: what was typed
    Say(style, text)                 None
    Verify(first, second, forward)   Verdict: of the passcode typed into one field (first is None) or two
    VerifyNext(code)                 Verdict: of the very next code, alone (next-tokencode mode)
    MailCode(pin)                    None: whether a code was mailed is never known here
    GeneratePin(serial, code)        Secret: a PIN that keeps the policy
    CreatePin(pin)                   Created, or Flaw.USED where the holder had this PIN before
    GiveUp()                         Verdict: a denial with its reference

and returns a Result. Whatever a verdict is, it comes from the verifier alone. Until PIN and code are right, what comes next
depends on the service's configuration and on the shape of what was typed (a passcode that was collected; nothing, where
codes are mailed), and on nothing else.

New-PIN mode opens no door: after the PIN is created, only PIN + new code does, through the same Verify as ever.
A reason and the prompt that follows it go as one text, because sshd before 10.3 shows lone messages late.
"""

import enum
from collections.abc import Generator

from attrs import evolve, field, frozen

from . import pin, recovery
from .pin import Flaw as Flaw
from .pin import PinChoice as PinChoice
from .protocol import Style
from .secret import Secret
from .texts import Texts

ROUNDS = 5  # tries to choose a PIN, and to type the new code while the old one is still on the display


class Outcome(enum.Enum):
    """What the verifier says of one attempt."""

    GRANTED = "granted"
    NEW_PIN = "new-pin"  # the code was right, and there is no PIN yet
    NEXT_CODE = "next-code"  # what was typed was right, and the very next code is wanted too
    DENIED = "denied"


@frozen
class Verdict:
    """An outcome; ref names a denial to the desk. serial and digits are those of the token whose code was right.

    passcode: what was typed, as the verifier took it apart; None with DENIED, and not looked at after a VerifyNext.
    With GRANTED alone: pin_expired, and codes_left where an emergency code was used.
    """

    outcome: Outcome
    ref: str = ""
    serial: str = ""
    digits: int = 6
    passcode: pin.Passcode | None = field(default=None, repr=False)
    pin_expired: bool = False
    codes_left: int | None = None

    @property
    def by_recovery(self) -> bool:
        """Whether a recovery code was right, and not the code of a key: its shape tells."""
        return self.passcode is not None and "-" in self.passcode.code


class Result(enum.Enum):
    """How a conversation ended."""

    GRANTED = "granted"
    DENIED = "denied"
    LATER = "later"  # the PIN is created; there was no time left to wait for the new code, so the door stays shut


@frozen
class Ask:
    """Ask for an answer. The text may show a PIN that was made for the holder."""

    style: Style
    text: str


@frozen
class Say:
    """Say a sentence that wants no answer."""

    style: Style
    text: str


@frozen
class Verify:
    """Have a passcode verified. first is None where there was one field only; forward: a password stands before it."""

    first: Secret | None
    second: Secret
    forward: bool = False


@frozen
class VerifyNext:
    """Have the code that follows the one just verified verified."""

    code: Secret


@frozen
class MailCode:
    """A code by mail is asked for, by someone who typed this PIN, or none."""

    pin: Secret


@frozen
class GeneratePin:
    """Make a PIN for the holder of this token who just typed this code."""

    serial: str
    code: str = field(repr=False)


@frozen
class CreatePin:
    """Store the PIN that the holder confirmed."""

    pin: Secret


@frozen
class Created:
    """A PIN is stored. seconds until the display changes; in_time: the caller will wait so long, and for the answer."""

    seconds: int
    in_time: bool = True


@frozen
class GiveUp:
    """Record a denial without an attempt: what was asked for did not come, or nothing may be asked."""


Step = Ask | Say | Verify | VerifyNext | MailCode | GeneratePin | CreatePin | GiveUp
Reply = Secret | Verdict | Created | Flaw | None
Conversation = Generator[Step, Reply, Result]


class PromptStyle(enum.StrEnum):
    """How a passcode is asked for."""

    SPLIT = "split"
    JOINED = "joined"


@frozen
class Manner:
    """How a service asks: its texts, its prompts and the PINs that it allows.

    mail_codes: an empty passcode asks for a code by mail. forward: a password comes before the passcode, in one field.
    observe: nothing is enforced, so that nobody is told of a denial.
    """

    texts: Texts
    prompt: PromptStyle = PromptStyle.SPLIT
    policy: pin.Policy = pin.Policy()
    choice: PinChoice = PinChoice.HOLDER
    mail_codes: bool = False
    forward: bool = False
    observe: bool = False


def log_in(manner: Manner, collected: Secret | None = None, only_collected: bool = False) -> Conversation:
    """One login. `collected` is what an earlier PAM module asked for: used if it has the shape of a passcode.

    With only_collected nothing is ever asked. Where a password comes before the passcode, `collected` is always used.
    """
    if only_collected:
        return (yield from _log_in_unasked(manner, collected or Secret()))
    if collected is not None and (manner.forward or recovery.well_formed(None, collected, manner.policy)):
        verdict = yield from _verify(manner, Verify(None, collected, manner.forward))
    else:
        verdict = yield from _ask_passcode(manner)
    if verdict.outcome is Outcome.NEW_PIN:
        return (yield from _new_pin_mode(manner, verdict))
    return (yield from _end(manner, verdict))


def change_pin(manner: Manner) -> Conversation:
    """PAM's password phase: the current passcode, then a new PIN twice."""
    verdict = yield from verify_current(manner)
    if verdict.outcome is Outcome.DENIED:
        return (yield from _deny(manner, verdict.ref))
    return (yield from _replace_pin(manner, verdict))


def verify_current(manner: Manner) -> Generator[Step, Reply, Verdict]:
    """The verdict on the current passcode, asked for in one field; never NEXT_CODE."""
    return (yield from _verify(manner, Verify(None, (yield from _ask(manner.texts.current_passcode)))))


def _log_in_unasked(manner: Manner, collected: Secret) -> Conversation:
    verdict = yield from _verdict_on(Verify(None, collected, manner.forward))
    if verdict.outcome is Outcome.DENIED:
        return (yield from _deny(manner, verdict.ref))
    if verdict.outcome is Outcome.GRANTED and not verdict.pin_expired:
        return (yield from _enter(manner, verdict))
    return (yield from _give_up(manner))


def _ask_passcode(manner: Manner) -> Generator[Step, Reply, Verdict]:
    texts, policy = manner.texts, manner.policy
    if manner.forward:
        return (yield from _verify(manner, Verify(None, (yield from _ask(texts.joined)), forward=True)))
    if manner.prompt is PromptStyle.JOINED:
        answer = yield from _ask(texts.joined)
        typed = pin.normalise(answer, policy)
        if not manner.mail_codes:
            return (yield from _verify(manner, Verify(None, answer)))
        if not typed.endswith("*"):
            return (yield from _verify_or_mail(manner, answer))
        first = pin.secret_of(typed[:-1])
    else:
        first = yield from _ask(texts.pin)
        answer = yield from _ask(texts.passcode)
        if not manner.mail_codes or pin.normalise(answer, policy):
            return (yield from _verify(manner, Verify(first, answer)))
    yield MailCode(Secret(first.reveal()))  # a copy: the caller may wipe it, and the PIN is verified below
    return (yield from _verify(manner, Verify(first, (yield from _ask(texts.mail_code)))))


def _verify_or_mail(manner: Manner, answer: Secret) -> Generator[Step, Reply, Verdict]:
    """The verdict on what was typed in one field that may have ended in `*`, and be mangled.

    sshd puts junk in the place of what is answered for a name that it does not know. So whatever opens nothing leads to the
    question that `*` leads to, or that question would tell which names exist.
    """
    verdict = yield from _verdict_on(Verify(None, answer))
    if verdict.outcome is not Outcome.DENIED:
        return (yield from _complete(manner, verdict))
    mailed = yield from _ask(manner.texts.mail_code)
    empty = not pin.normalise(mailed, manner.policy)
    second = yield from _verify(manner, Verify(Secret(), mailed))
    # Whoever typed a wrong passcode has nothing to answer here: the reference tells what was wrong with that.
    return evolve(second, ref=verdict.ref) if empty and second.outcome is Outcome.DENIED else second


def _verify(manner: Manner, step: Verify) -> Generator[Step, Reply, Verdict]:
    """The verdict on a passcode, with the very next code where it is wanted: never NEXT_CODE."""
    return (yield from _complete(manner, (yield from _verdict_on(step))))


def _complete(manner: Manner, verdict: Verdict) -> Generator[Step, Reply, Verdict]:
    """A verdict, with the very next code where that is wanted."""
    if verdict.outcome is not Outcome.NEXT_CODE:
        return verdict
    typed = _typed(verdict)
    answer = yield from _ask(manner.texts.next_code)
    typed = evolve(typed, code=_code_in(answer, verdict.digits, manner.policy))
    verdict = yield from _verdict_on(VerifyNext(answer))
    if verdict.outcome is Outcome.NEXT_CODE:
        verdict = yield from _verdict_on(GiveUp())
    return verdict if verdict.outcome is Outcome.DENIED else evolve(verdict, passcode=typed)


def _new_pin_mode(manner: Manner, verdict: Verdict) -> Conversation:
    """Choose a PIN; wait until the display changes; log in with PIN + new code."""
    texts, old_code = manner.texts, _typed(verdict).code
    created = yield from _choose_pin(manner, verdict)
    if created is None:
        return (yield from _give_up(manner))
    if not created.in_time:
        yield from _ask(texts.log_in_again)  # a question, because not every ssh client shows a lone message
        return Result.LATER
    reason = texts.pin_created(created.seconds)
    for _ in range(ROUNDS):
        answer = yield from _ask(f"{reason}\n{texts.new_passcode}")
        if _code_in(answer, verdict.digits, manner.policy) != old_code:
            return (yield from _end(manner, (yield from _verify(manner, Verify(None, answer)))))
        reason = texts.old_code
    return (yield from _give_up(manner))


def _replace_pin(manner: Manner, verdict: Verdict, reason: str = "") -> Conversation:
    if (yield from _choose_pin(manner, verdict, reason)) is None:
        return (yield from _give_up(manner))
    yield Say(Style.INFO, manner.texts.pin_changed)
    return (yield from _enter(manner, verdict))


def _choose_pin(manner: Manner, verdict: Verdict, reason: str = "") -> Generator[Step, Reply, Created | None]:
    """A PIN, chosen or made, then confirmed and stored; None where the holder did not manage that."""
    texts, policy, typed = manner.texts, manner.policy, _typed(verdict)
    made = ""  # a PIN made for the holder is shown until they have confirmed it
    for _ in range(ROUNDS):
        before, chosen = f"{reason}\n" if reason else "", made
        if not made and manner.choice is not PinChoice.SYSTEM:
            chosen = pin.normalise((yield from _ask(before + texts.choose_pin(policy))), policy)
            before = ""
        if not chosen and manner.choice is not PinChoice.HOLDER:
            made = chosen = yield from _have_made(verdict, policy)
        flaw = pin.find_flaw(chosen, policy, verdict.serial, typed.code)
        if flaw is None and chosen == typed.pin:
            flaw = Flaw.USED
        if flaw is not None:
            made, reason = "", texts.flaw(flaw, policy)
            continue
        if made:
            before += f"{texts.generated_pin(made)}\n"
        if pin.normalise((yield from _ask(before + texts.same_pin)), policy) != chosen:
            reason = texts.pins_differ
            continue
        reply = yield CreatePin(pin.secret_of(chosen))
        if isinstance(reply, Created):
            return reply
        assert reply is Flaw.USED
        made, reason = "", texts.flaw(reply, policy)
    return None


def _have_made(verdict: Verdict, policy: pin.Policy) -> Generator[Step, Reply, str]:
    reply = yield GeneratePin(verdict.serial, _typed(verdict).code)
    assert isinstance(reply, Secret)
    return pin.normalise(reply, policy)


def _end(manner: Manner, verdict: Verdict) -> Conversation:
    """In, with a new PIN where the old one has expired; or not."""
    if verdict.outcome is Outcome.GRANTED:
        if verdict.pin_expired:
            return (yield from _replace_pin(manner, verdict, manner.texts.pin_expired))
        return (yield from _enter(manner, verdict))
    if verdict.outcome is Outcome.DENIED:
        return (yield from _deny(manner, verdict.ref))
    return (yield from _give_up(manner))  # no PIN again: the desk took it away while its holder was waiting


def _enter(manner: Manner, verdict: Verdict) -> Conversation:
    if verdict.codes_left is not None:
        yield Say(Style.INFO, manner.texts.codes_left(verdict.codes_left))
    return Result.GRANTED


def _give_up(manner: Manner) -> Conversation:
    verdict = yield from _verdict_on(GiveUp())
    return (yield from _deny(manner, verdict.ref))


def _deny(manner: Manner, ref: str) -> Conversation:
    if not manner.observe:
        yield Say(Style.ERROR, manner.texts.denied(ref))
    return Result.DENIED


def _ask(text: str) -> Generator[Step, Reply, Secret]:
    reply = yield Ask(Style.HIDDEN, text)
    assert isinstance(reply, Secret)
    return reply


def _verdict_on(step: Verify | VerifyNext | GiveUp) -> Generator[Step, Reply, Verdict]:
    reply = yield step
    assert isinstance(reply, Verdict)
    return reply if not isinstance(step, GiveUp) else evolve(reply, outcome=Outcome.DENIED)


def _typed(verdict: Verdict) -> pin.Passcode:
    assert verdict.passcode is not None
    return verdict.passcode


def _code_in(answer: Secret, digits: int, policy: pin.Policy) -> str:
    """What stands where the code does, right or wrong."""
    found = recovery.find(None, answer, policy)
    return found.code if found is not None else pin.split("", pin.normalise(answer, policy), digits).code
