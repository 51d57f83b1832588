"""A login without the key: how a code by mail is asked for, and what is said of the emergency codes that are left."""

import pytest
from attrs import evolve
from script import (
    BOTH,
    CODE,
    DENIAL,
    DENIED,
    ENDS,
    FRENCH,
    GRANTED,
    JOINED,
    NEXT_ALONE,
    NEXT_CODE,
    PIN,
    SPLIT,
    TEXTS,
    Line,
    N,
    ask,
    inform,
    play,
    secret,
    verify,
    verify_next,
)

from pam_arena.conversation import MailCode, Manner, Outcome, PromptStyle, Reply, Result, Say, Verdict, Verify, log_in
from pam_arena.pin import Policy
from pam_arena.protocol import Style
from pam_arena.secret import Secret

MAILED = "If allowed, a code was mailed. Code: "
WORDS = Policy(8, 20, digits_only=False)


def mail(pin: str) -> Line:
    return MailCode(secret(pin)), None


@pytest.mark.parametrize(("verdict", "rest", "result"), ENDS)
@pytest.mark.parametrize("pin", ["8361", "", "hunter2"])
@pytest.mark.parametrize("nothing", ["", " ", "+"])
def test_an_empty_passcode_asks_for_a_code_by_mail(
    pin: str, nothing: str, verdict: Verdict, rest: list[Line], result: Result
) -> None:
    script = [ask(PIN, pin), ask(CODE, nothing), mail(pin), ask(MAILED, "271828"), verify(pin, "271828", verdict), *rest]
    play(log_in(Manner(TEXTS, mail_codes=True)), script, result)


@pytest.mark.parametrize(("typed", "pin"), [("8361*", "8361"), ("8361 + *", "8361"), ('_"-&*', "8361"), ("*", ""), ("x*", "x")])
def test_a_star_asks_for_a_code_by_mail_in_one_field(typed: str, pin: str) -> None:
    script = [ask(BOTH, typed), mail(pin), ask(MAILED, "271828"), verify(pin, "271828", GRANTED)]
    play(log_in(Manner(TEXTS, PromptStyle.JOINED, mail_codes=True)), script, Result.GRANTED)


def test_a_star_after_a_pin_of_letters_and_of_bytes_that_are_no_text() -> None:
    manner = Manner(TEXTS, PromptStyle.JOINED, WORDS, mail_codes=True)
    script = [
        ask(BOTH, "correct-horse*"),
        mail("correct-horse"),
        ask(MAILED, "1"),
        verify("correct-horse", "1", DENIED),
        DENIAL,
    ]
    play(log_in(manner), script, Result.DENIED)
    conversation = log_in(manner)
    next(conversation)
    step = conversation.send(Secret(b"\xff*"))
    assert isinstance(step, MailCode)
    assert step.pin.reveal() == b"\xff"


def test_a_code_by_mail_comes_once_a_conversation() -> None:
    split = [ask(PIN, "8361"), ask(CODE, ""), mail("8361"), ask(MAILED, ""), verify("8361", "", DENIED), DENIAL]
    play(log_in(Manner(TEXTS, mail_codes=True)), split, Result.DENIED)
    joined = [ask(BOTH, "8361*"), mail("8361"), ask(MAILED, "8361*"), verify("8361", "8361*", DENIED), DENIAL]
    play(log_in(Manner(TEXTS, PromptStyle.JOINED, mail_codes=True)), joined, Result.DENIED)


def _denial(ref: str) -> Line:
    return Say(Style.ERROR, TEXTS.denied(ref)), None


def test_in_one_field_whatever_opens_nothing_leads_to_the_code_by_mail() -> None:
    """sshd puts junk in the place of what is typed for an unknown name: the star may have been there."""
    manner = Manner(TEXTS, PromptStyle.JOINED, mail_codes=True)
    wrong, later = Verdict(Outcome.DENIED, "FIRST000"), Verdict(Outcome.DENIED, "SECOND00")
    start = [ask(BOTH, "8361755224"), verify(None, "8361755224", wrong)]
    nothing = [*start, ask(MAILED, ""), verify("", "", later)]
    play(log_in(manner), [*nothing, _denial("FIRST000")], Result.DENIED)
    again = [*start, ask(MAILED, "271828"), verify("", "271828", later)]
    play(log_in(manner), [*again, _denial("SECOND00")], Result.DENIED)
    right = [*start, ask(MAILED, "8361271828"), verify("", "8361271828", GRANTED)]
    play(log_in(manner), right, Result.GRANTED)


def test_in_one_field_a_right_passcode_needs_no_second_question() -> None:
    manner = Manner(TEXTS, PromptStyle.JOINED, mail_codes=True)
    play(log_in(manner), [ask(BOTH, "8361755224"), verify(None, "8361755224", GRANTED)], Result.GRANTED)
    start = [ask(BOTH, "8361755224"), verify(None, "8361755224", NEXT_CODE)]
    play(log_in(manner), [*start, ask(NEXT_ALONE, "1"), verify_next("1", DENIED), DENIAL], Result.DENIED)


def test_without_mail_nothing_typed_asks_for_it() -> None:
    play(log_in(SPLIT), [ask(PIN, "8361"), ask(CODE, ""), verify("8361", "", DENIED), DENIAL], Result.DENIED)
    play(log_in(JOINED), [ask(BOTH, "8361*"), verify(None, "8361*", DENIED), DENIAL], Result.DENIED)


def test_the_pin_is_verified_even_if_the_mails_caller_wipes_it() -> None:
    conversation = log_in(Manner(TEXTS, mail_codes=True))
    reply: Reply = None
    for answer in ("8361", ""):
        conversation.send(reply)
        reply = secret(answer)
    step = conversation.send(reply)
    assert isinstance(step, MailCode)
    step.pin.wipe()
    conversation.send(None)
    assert conversation.send(secret("271828")) == Verify(secret("8361"), secret("271828"))


def test_a_code_by_mail_in_french() -> None:
    pin, code = f"Code PIN (1re connexion{N}: laisser vide){N}: ", f"Passcode (code affiché sur la clé){N}: "
    script = [ask(pin, "8361"), ask(code, ""), mail("8361"), ask(f"Si autorisé, code envoyé par mel. Code{N}: ", "271828")]
    play(log_in(Manner(FRENCH, mail_codes=True)), [*script, verify("8361", "271828", GRANTED)], Result.GRANTED)


@pytest.mark.parametrize("left", [9, 0])
def test_who_used_an_emergency_code_is_told_how_many_are_left(left: int) -> None:
    verdict = evolve(GRANTED, codes_left=left)
    script = [ask(PIN, "8361"), ask(CODE, "abcde-fghjk"), verify("8361", "abcde-fghjk", verdict)]
    play(log_in(SPLIT), [*script, inform(f"Emergency codes left: {left}")], Result.GRANTED)
    script = [verify(None, "8361abcde-fghjk", verdict), inform(f"Codes de secours restants{N}: {left}")]
    play(log_in(Manner(FRENCH), secret("8361abcde-fghjk"), only_collected=True), script, Result.GRANTED)
