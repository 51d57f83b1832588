"""Conversations as scripts: what is asked, what is answered, in order, with nothing left over on either side."""

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import strategies as st

from pam_arena import recovery
from pam_arena.conversation import (
    Ask,
    Conversation,
    Created,
    CreatePin,
    GeneratePin,
    GiveUp,
    MailCode,
    Manner,
    Outcome,
    PromptStyle,
    Reply,
    Result,
    Say,
    Step,
    Verdict,
    Verify,
    VerifyNext,
)
from pam_arena.pin import Flaw, Passcode, Policy, normalise, split
from pam_arena.protocol import Style
from pam_arena.secret import Secret
from pam_arena.texts import texts_in

N = "\u00a0"  # before a colon in French
TEXTS = texts_in("en")
FRENCH = texts_in("fr")
SPLIT = Manner(TEXTS)
JOINED = Manner(TEXTS, PromptStyle.JOINED)

SERIAL = "90-114-662"
GRANTED = Verdict(Outcome.GRANTED, serial=SERIAL)
NEW_PIN = Verdict(Outcome.NEW_PIN, serial=SERIAL)
NEXT_CODE = Verdict(Outcome.NEXT_CODE, serial=SERIAL)
EXPIRED = Verdict(Outcome.GRANTED, serial=SERIAL, pin_expired=True)
DENIED = Verdict(Outcome.DENIED, ref="K7QX")

Line = tuple[Step, Reply]

PIN = "PIN (first login: leave empty): "
CODE = "Passcode (the code on your key): "
BOTH = "Passcode (PIN + code; first: code): "
NEXT_ALONE = "Wait; next code alone: "
DENIAL: Line = (Say(Style.ERROR, "Access denied. Wait for a new code, then retry. (ref K7QX)"), None)
GIVE_UP: list[Line] = [(GiveUp(), DENIED), DENIAL]
ENDS = [(GRANTED, [], Result.GRANTED), (DENIED, [DENIAL], Result.DENIED)]


def secret(text: str) -> Secret:
    return Secret(text.encode())


def ask(text: str, typed: str) -> Line:
    return Ask(Style.HIDDEN, text), secret(typed)


def inform(text: str) -> Line:
    return Say(Style.INFO, text), None


def verify(first: str | None, second: str, verdict: Verdict, forward: bool = False) -> Line:
    step = Verify(None if first is None else secret(first), secret(second), forward)
    return step, take_apart(step, verdict)


def verify_next(code: str, verdict: Verdict) -> Line:
    return VerifyNext(secret(code)), verdict


def create(pin: str, reply: Created | Flaw = Created(41)) -> Line:  # noqa: B008  # frozen
    return CreatePin(secret(pin)), reply


def generate(code: str, pin: str) -> Line:
    return GeneratePin(SERIAL, code), secret(pin)


def take_apart(step: Verify, verdict: Verdict, policy: Policy = SPLIT.policy) -> Verdict:
    """The verdict with what was typed, as the verifier gives it; unless the test itself says what was typed."""
    if verdict.outcome is Outcome.DENIED or verdict.passcode is not None:
        return verdict
    first = normalise(step.first, policy) if step.first is not None else ""
    typed = split(first, normalise(step.second, policy), verdict.digits)
    return evolve(verdict, passcode=recovery.find(step.first, step.second, policy) or typed)


def typed_as(verdict: Verdict, pin: str, code: str) -> Verdict:
    return evolve(verdict, passcode=Passcode(pin, code, True))


def play(conversation: Conversation, script: Sequence[Line], result: Result) -> None:
    """Hold the conversation to its script: every step as written, none missing, none more."""
    reply: Reply = None
    for number, (wanted, answer) in enumerate(script):
        try:
            step = conversation.send(reply)
        except StopIteration as end:
            pytest.fail(f"ended {end.value} before line {number}: {wanted}")
        assert step == wanted, f"line {number}"
        reply = answer
    with pytest.raises(StopIteration) as ended:
        pytest.fail(f"more than the script: {conversation.send(reply)}")
    assert ended.value.value is result


ANSWERS = ["", "8361", "9074", "755224", "287082", "8361755224", "8361287082", "hunter2", "0000", "8361*", "8361ABCDE-FGHJK"]
TYPED = st.sampled_from(ANSWERS).map(secret)
MADE = st.sampled_from(["8361", "9074", "2749"]).map(secret)


def wander(
    conversation: Conversation,
    data: st.DataObject,
    verdicts: st.SearchStrategy[Verdict],
    typed: st.SearchStrategy[Secret] = TYPED,
) -> tuple[Result, list[Line]]:
    """Answer whatever comes with something. Every conversation ends."""
    lines: list[Line] = []
    reply: Reply = None
    for _ in range(100):
        try:
            step = conversation.send(reply)
        except StopIteration as end:
            return end.value, lines
        match step:
            case Ask():
                reply = data.draw(typed)
            case Verify():
                reply = take_apart(step, data.draw(verdicts))
            case VerifyNext():
                reply = data.draw(verdicts)
            case GeneratePin():
                reply = data.draw(MADE)
            case CreatePin():
                reply = data.draw(st.sampled_from([Created(41), Created(41, in_time=False), Flaw.USED]))
            case GiveUp():
                reply = DENIED
            case Say() | MailCode():
                reply = None
        lines.append((step, reply))
    pytest.fail("no end")
