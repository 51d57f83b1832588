"""Logging in: what is asked, how it reads, and that nothing but a verdict opens the door."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from script import (
    BOTH,
    CODE,
    DENIAL,
    DENIED,
    ENDS,
    EXPIRED,
    FRENCH,
    GIVE_UP,
    GRANTED,
    JOINED,
    NEW_PIN,
    NEXT_ALONE,
    NEXT_CODE,
    PIN,
    SPLIT,
    TEXTS,
    TYPED,
    Line,
    N,
    ask,
    play,
    secret,
    verify,
    verify_next,
    wander,
)

from pam_arena.conversation import (
    Ask,
    Conversation,
    Created,
    CreatePin,
    GiveUp,
    MailCode,
    Manner,
    Outcome,
    PinChoice,
    PromptStyle,
    Result,
    Say,
    Verdict,
    VerifyNext,
    change_pin,
    log_in,
)
from pam_arena.pin import Policy
from pam_arena.protocol import Style

# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "rest", "result"), ENDS)
def test_split_asks_for_pin_then_code(verdict: Verdict, rest: list[Line], result: Result) -> None:
    script = [ask(PIN, "8361"), ask(CODE, "755224"), verify("8361", "755224", verdict), *rest]
    play(log_in(SPLIT), script, result)


@pytest.mark.parametrize(("verdict", "rest", "result"), ENDS)
def test_joined_asks_once(verdict: Verdict, rest: list[Line], result: Result) -> None:
    play(log_in(JOINED), [ask(BOTH, "8361755224"), verify(None, "8361755224", verdict), *rest], result)


@pytest.mark.parametrize(("first", "second"), [("", ""), ("x", "y"), ("8361", "8361755224"), ("hunter2", "")])
def test_nothing_typed_shortens_a_denial(first: str, second: str) -> None:
    play(log_in(SPLIT), [ask(PIN, first), ask(CODE, second), verify(first, second, DENIED), DENIAL], Result.DENIED)


def test_a_login_in_french() -> None:
    pin, code = f"Code PIN (1re connexion{N}: laisser vide){N}: ", f"Passcode (code affiché sur la clé){N}: "
    denial: Line = Say(Style.ERROR, "Accès refusé. Attendez un nouveau code, puis réessayez. (réf. K7QX)"), None
    script = [ask(pin, "8361"), ask(code, "755224")]
    play(log_in(Manner(FRENCH)), [*script, verify("8361", "755224", GRANTED)], Result.GRANTED)
    play(log_in(Manner(FRENCH)), [*script, verify("8361", "755224", DENIED), denial], Result.DENIED)
    both = f"Passcode (PIN + code{N}; 1re fois{N}: code){N}: "
    script = [ask(both, "8361755224"), verify(None, "8361755224", GRANTED)]
    play(log_in(Manner(FRENCH, PromptStyle.JOINED)), script, Result.GRANTED)


@pytest.mark.parametrize("collected", [None, "8361755224"])
def test_while_nothing_is_enforced_nobody_is_told_of_a_denial(collected: str | None) -> None:
    observe = evolve(SPLIT, observe=True)
    asked = [ask(PIN, "8361"), ask(CODE, "755224"), verify("8361", "755224", DENIED)]
    script = asked if collected is None else [verify(None, collected, DENIED)]
    play(log_in(observe, None if collected is None else secret(collected)), script, Result.DENIED)
    script = [verify(None, "755224", NEW_PIN), (GiveUp(), DENIED)]
    play(log_in(observe, secret("755224"), only_collected=True), script, Result.DENIED)


# --- collected --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", [SPLIT, JOINED])
@pytest.mark.parametrize(
    "typed", ["755224", "8361755224", "8361 + 755 224", "83617552 24", "12345678", "8361ABCDE-FGHJK", "é\"'( abcde-fghjk"]
)
def test_a_collected_passcode_is_verified_without_asking(manner: Manner, typed: str) -> None:
    play(log_in(manner, secret(typed)), [verify(None, typed, GRANTED)], Result.GRANTED)
    play(log_in(manner, secret(typed)), [verify(None, typed, DENIED), DENIAL], Result.DENIED)


@pytest.mark.parametrize("typed", ["", "hunter2", "12345", "hunter2755224", "hunter2ABCDE-FGHJK", "8361*", "*"])
def test_what_was_collected_and_is_no_passcode_is_asked_for(typed: str) -> None:
    manner = Manner(TEXTS, mail_codes=True)
    split = [ask(PIN, "8361"), ask(CODE, "755224"), verify("8361", "755224", GRANTED)]
    play(log_in(manner, secret(typed)), split, Result.GRANTED)
    play(log_in(JOINED, secret(typed)), [ask(BOTH, "8361755224"), verify(None, "8361755224", GRANTED)], Result.GRANTED)


@pytest.mark.parametrize("typed", ["8361755224", "hunter2", ""])
def test_only_collected_never_asks(typed: str) -> None:
    play(log_in(SPLIT, secret(typed), only_collected=True), [verify(None, typed, GRANTED)], Result.GRANTED)
    play(log_in(SPLIT, secret(typed), only_collected=True), [verify(None, typed, DENIED), DENIAL], Result.DENIED)


def test_only_collected_with_nothing_collected_is_an_empty_passcode() -> None:
    play(log_in(SPLIT, None, only_collected=True), [verify(None, "", DENIED), DENIAL], Result.DENIED)


@pytest.mark.parametrize("verdict", [NEW_PIN, NEXT_CODE, EXPIRED])
def test_only_collected_is_denied_where_an_answer_would_be_needed(verdict: Verdict) -> None:
    script = [verify(None, "8361755224", verdict), *GIVE_UP]
    play(log_in(SPLIT, secret("8361755224"), only_collected=True), script, Result.DENIED)


def test_only_collected_asks_for_no_code_by_mail() -> None:
    manner = Manner(TEXTS, PromptStyle.JOINED, mail_codes=True)
    play(log_in(manner, secret("8361*"), only_collected=True), [verify(None, "8361*", DENIED), DENIAL], Result.DENIED)


# --- a password before the passcode -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PromptStyle)
@pytest.mark.parametrize("typed", ["correct horse8361755224", "", "horse*"])
def test_password_and_passcode_are_one_answer(prompt: PromptStyle, typed: str) -> None:
    manner = Manner(TEXTS, prompt, forward=True, mail_codes=True)
    for verdict, rest, result in ENDS:
        script = [ask(BOTH, typed), verify(None, typed, verdict, forward=True), *rest]
        play(log_in(manner), script, result)


@pytest.mark.parametrize("typed", ["horse8361755224", "hunter2", ""])
@pytest.mark.parametrize("only", [False, True])
def test_a_collected_password_and_passcode_is_always_used(typed: str, only: bool) -> None:
    manner = Manner(TEXTS, forward=True)
    for verdict, rest, result in ENDS:
        play(log_in(manner, secret(typed), only), [verify(None, typed, verdict, forward=True), *rest], result)


def test_later_answers_hold_no_password() -> None:
    manner = Manner(TEXTS, forward=True)
    script = [ask(BOTH, "horse8361755224"), verify(None, "horse8361755224", NEXT_CODE, forward=True)]
    script += [ask(NEXT_ALONE, "287082"), verify_next("287082", GRANTED)]
    play(log_in(manner), script, Result.GRANTED)


# --- next-tokencode mode ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "rest", "result"), ENDS)
def test_the_next_code_is_asked_for_alone(verdict: Verdict, rest: list[Line], result: Result) -> None:
    start = [ask(PIN, "8361"), ask(CODE, "755224"), verify("8361", "755224", NEXT_CODE)]
    play(log_in(SPLIT), [*start, ask(NEXT_ALONE, "287082"), verify_next("287082", verdict), *rest], result)


def test_the_next_code_after_a_collected_passcode() -> None:
    script = [verify(None, "8361755224", NEXT_CODE), ask(NEXT_ALONE, "287082"), verify_next("287082", GRANTED)]
    play(log_in(SPLIT, secret("8361755224")), script, Result.GRANTED)


@pytest.mark.parametrize("typed", ["", "hunter2", "8361287082"])
def test_whatever_comes_for_the_next_code_is_verified(typed: str) -> None:
    start = [ask(BOTH, "8361755224"), verify(None, "8361755224", NEXT_CODE)]
    play(log_in(JOINED), [*start, ask(NEXT_ALONE, typed), verify_next(typed, DENIED), DENIAL], Result.DENIED)


def test_the_next_code_is_asked_for_once() -> None:
    start = [ask(BOTH, "8361755224"), verify(None, "8361755224", NEXT_CODE)]
    play(log_in(JOINED), [*start, ask(NEXT_ALONE, "287082"), verify_next("287082", NEXT_CODE), *GIVE_UP], Result.DENIED)


def test_giving_up_opens_no_door_whatever_comes_of_it() -> None:
    start = [verify(None, "8361755224", NEXT_CODE), ask(NEXT_ALONE, "287082"), verify_next("287082", NEXT_CODE)]
    denial: Line = Say(Style.ERROR, "Access denied. Wait for a new code, then retry. (ref )"), None
    play(log_in(JOINED, secret("8361755224")), [*start, (GiveUp(), GRANTED), denial], Result.DENIED)


def test_the_next_code_in_french() -> None:
    start = [verify(None, "8361755224", NEXT_CODE), ask(f"Patientez{N}; code suivant, seul{N}: ", "287082")]
    play(log_in(Manner(FRENCH), secret("8361755224")), [*start, verify_next("287082", GRANTED)], Result.GRANTED)


# --- what holds for every conversation --------------------------------------------------------------------------------

ANY = st.sampled_from([GRANTED, EXPIRED, evolve(GRANTED, codes_left=3), NEW_PIN, NEXT_CODE, DENIED])
NOT_GRANTED = st.sampled_from([NEW_PIN, NEXT_CODE, DENIED, Verdict(Outcome.NEW_PIN, digits=8)])
MANNERS = st.builds(
    Manner,
    st.just(TEXTS),
    st.sampled_from(PromptStyle),
    st.just(Policy()),
    st.sampled_from(PinChoice),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def logins(data: st.DataObject) -> Conversation:
    return log_in(data.draw(MANNERS), data.draw(st.none() | TYPED), data.draw(st.booleans()))


def verdicts_of(lines: list[Line]) -> list[Verdict]:
    return [reply for _, reply in lines if isinstance(reply, Verdict)]


@given(st.data())
def test_without_a_granted_verdict_nobody_gets_in(data: st.DataObject) -> None:
    result, _ = wander(logins(data), data, NOT_GRANTED)
    assert result is not Result.GRANTED


@given(st.data())
def test_who_gets_in_was_granted_by_the_last_verdict(data: st.DataObject) -> None:
    result, lines = wander(logins(data), data, ANY)
    last = verdicts_of(lines)[-1]
    assert (result is Result.GRANTED) == (last.outcome is Outcome.GRANTED)
    if last.pin_expired and result is Result.GRANTED:
        assert any(isinstance(reply, Created) for _, reply in lines)
    if result is Result.LATER:
        assert isinstance(lines[-1][0], Ask)


@given(st.data())
def test_a_denial_is_the_one_sentence_or_nothing_while_observing(data: st.DataObject) -> None:
    manner = data.draw(MANNERS)
    result, lines = wander(log_in(manner), data, ANY)
    said = [step for step, _ in lines if isinstance(step, Say) and step.style is Style.ERROR]
    assert bool(said) == (result is Result.DENIED and not manner.observe)
    if said:
        assert lines[-1] == DENIAL


@given(st.data())
def test_a_pin_is_stored_after_a_right_code_alone(data: st.DataObject) -> None:
    start = data.draw(st.sampled_from([log_in, change_pin]))
    _, lines = wander(start(data.draw(MANNERS)), data, ANY)
    for number, (step, _) in enumerate(lines):
        if isinstance(step, CreatePin):
            *before, last = verdicts_of(lines[:number])
            assert last.outcome in (Outcome.GRANTED, Outcome.NEW_PIN)
            assert [verdict.outcome for verdict in before] in ([], [Outcome.NEXT_CODE])


@given(st.data())
def test_the_next_code_follows_a_right_passcode_alone(data: st.DataObject) -> None:
    _, lines = wander(logins(data), data, ANY)
    for number, (step, _) in enumerate(lines):
        if isinstance(step, VerifyNext):
            assert verdicts_of(lines[:number])[-1].outcome is Outcome.NEXT_CODE


@given(st.data())
def test_at_most_one_mail_is_asked_for_and_only_where_a_service_allows_it(data: st.DataObject) -> None:
    manner = data.draw(MANNERS)
    _, lines = wander(log_in(manner, data.draw(st.none() | TYPED)), data, ANY)
    mails = [step for step, _ in lines if isinstance(step, MailCode)]
    assert len(mails) <= (manner.mail_codes and not manner.forward)


@given(st.data())
def test_a_denied_attempt_looks_the_same_whatever_was_typed(data: st.DataObject) -> None:
    manner = evolve(data.draw(MANNERS), mail_codes=False)
    _, one = wander(log_in(manner), data, st.just(DENIED))
    _, other = wander(log_in(manner), data, st.just(DENIED))
    assert shown(one) == shown(other)


@given(st.data())
def test_a_mail_asked_for_looks_the_same_whatever_pin_came_with_it(data: st.DataObject) -> None:
    manner = evolve(data.draw(MANNERS), mail_codes=True, forward=False)
    pins = st.sampled_from(["", "8361", "0000", "hunter2", "8361755224"])
    logs = []
    for _ in range(2):
        pin = data.draw(pins)
        answers = iter([f"{pin}*"] if manner.prompt is PromptStyle.JOINED else [pin, ""])
        typed = st.builds(lambda answers=answers: secret(next(answers, "271828")))
        logs.append(wander(log_in(manner), data, st.just(DENIED), typed)[1])
    assert shown(logs[0]) == shown(logs[1])
    assert MailCode in shown(logs[0])


@given(st.data())
def test_in_one_field_a_star_cannot_be_told_from_anything_else_that_opens_nothing(data: st.DataObject) -> None:
    manner = evolve(data.draw(MANNERS), mail_codes=True, forward=False, prompt=PromptStyle.JOINED)
    said = []
    for first in ("8361*", data.draw(st.sampled_from(["8361755224", "", "\b\n\r\x7fINCORRECT"]))):
        answers = iter([first])
        typed = st.builds(lambda answers=answers: secret(next(answers, "")))
        _, lines = wander(log_in(manner), data, st.just(DENIED), typed)
        said.append([step for step, _ in lines if isinstance(step, Ask | Say)])
    assert said[0] == said[1]


def shown(lines: list[Line]) -> list[object]:
    """What a holder and an onlooker see of a conversation."""
    return [step if isinstance(step, Ask | Say) else type(step) for step, _ in lines]
