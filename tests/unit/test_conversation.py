"""Conversations as scripts: what is asked, what is answered, in order, with nothing left over on either side."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_arena.conversation import (
    ROUNDS,
    Ask,
    Conversation,
    CreatePin,
    GiveUp,
    Manner,
    Outcome,
    PromptStyle,
    Reply,
    Result,
    Say,
    Step,
    Verdict,
    Verify,
    change_pin,
    log_in,
)
from pam_arena.pin import Policy
from pam_arena.protocol import Style
from pam_arena.secret import Secret
from pam_arena.texts import texts_in

TEXTS = texts_in("en")
SPLIT = Manner(TEXTS)
JOINED = Manner(TEXTS, PromptStyle.JOINED)

GRANTED = Verdict(Outcome.GRANTED, serial="90-114-662")
NEW_PIN = Verdict(Outcome.NEW_PIN, serial="90-114-662")
DENIED = Verdict(Outcome.DENIED, ref="K7QX")

Line = tuple[Step, Reply]


def secret(text: str) -> Secret:
    return Secret(text.encode())


def ask(text: str, typed: str) -> Line:
    return Ask(Style.HIDDEN, text), secret(typed)


def verify(first: str | None, second: str, verdict: Verdict) -> Line:
    return Verify(None if first is None else secret(first), secret(second)), verdict


def create(pin: str, seconds: int = 41) -> Line:
    return CreatePin(secret(pin)), seconds


PIN = "PIN (first login: leave empty): "
CODE = "Passcode (the code on your key): "
BOTH = "Passcode (PIN + code; first: code): "
CHOOSE = "Choose a PIN (4 to 6 digits): "
AGAIN = "Same PIN again: "
NEXT = "PIN + new code: "
CREATED = "PIN created. New code in about 41 s.\n" + NEXT
STILL_OLD = "Still the old code. Wait for the next.\n" + NEXT
DIFFER = "The two PINs differ. Start again.\n" + CHOOSE
LENGTH = "A PIN has 4 to 6 digits.\n" + CHOOSE
EASY = "Too easy to guess. Choose another.\n" + CHOOSE
CURRENT = "Current passcode (PIN + code): "
DENIAL: Line = (Say(Style.ERROR, "Access denied. Wait for a new code, then retry. (ref K7QX)"), None)
GIVE_UP: list[Line] = [(GiveUp(), DENIED), DENIAL]
CHANGED: Line = (Say(Style.INFO, "PIN changed."), None)

FIRST_LOGIN = [ask(PIN, ""), ask(CODE, "755224"), verify("", "755224", NEW_PIN)]


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


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "rest", "result"), [(GRANTED, [], Result.GRANTED), (DENIED, [DENIAL], Result.DENIED)])
def test_split_asks_for_pin_then_code(verdict: Verdict, rest: list[Line], result: Result) -> None:
    script = [ask(PIN, "8361"), ask(CODE, "755224"), verify("8361", "755224", verdict), *rest]
    play(log_in(SPLIT), script, result)


@pytest.mark.parametrize(("verdict", "rest", "result"), [(GRANTED, [], Result.GRANTED), (DENIED, [DENIAL], Result.DENIED)])
def test_joined_asks_once(verdict: Verdict, rest: list[Line], result: Result) -> None:
    play(log_in(JOINED), [ask(BOTH, "8361755224"), verify(None, "8361755224", verdict), *rest], result)


@pytest.mark.parametrize(("first", "second"), [("", ""), ("x", "y"), ("8361", "8361755224"), ("hunter2", "")])
def test_nothing_typed_shortens_a_denial(first: str, second: str) -> None:
    play(log_in(SPLIT), [ask(PIN, first), ask(CODE, second), verify(first, second, DENIED), DENIAL], Result.DENIED)


# --- collected --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", [SPLIT, JOINED])
@pytest.mark.parametrize("typed", ["755224", "8361755224", "8361 + 755 224", "83617552 24", "12345678"])
def test_a_collected_passcode_is_verified_without_asking(manner: Manner, typed: str) -> None:
    play(log_in(manner, secret(typed)), [verify(None, typed, GRANTED)], Result.GRANTED)
    play(log_in(manner, secret(typed)), [verify(None, typed, DENIED), DENIAL], Result.DENIED)


@pytest.mark.parametrize("typed", ["", "hunter2", "12345", "hunter2755224"])
def test_what_was_collected_and_is_no_passcode_is_asked_for(typed: str) -> None:
    split = [ask(PIN, "8361"), ask(CODE, "755224"), verify("8361", "755224", GRANTED)]
    play(log_in(SPLIT, secret(typed)), split, Result.GRANTED)
    play(log_in(JOINED, secret(typed)), [ask(BOTH, "8361755224"), verify(None, "8361755224", GRANTED)], Result.GRANTED)


@pytest.mark.parametrize("typed", ["8361755224", "hunter2", ""])
def test_only_collected_never_asks(typed: str) -> None:
    play(log_in(SPLIT, secret(typed), only_collected=True), [verify(None, typed, GRANTED)], Result.GRANTED)
    play(log_in(SPLIT, secret(typed), only_collected=True), [verify(None, typed, DENIED), DENIAL], Result.DENIED)


def test_only_collected_with_nothing_collected_is_an_empty_passcode() -> None:
    play(log_in(SPLIT, None, only_collected=True), [verify(None, "", DENIED), DENIAL], Result.DENIED)


def test_only_collected_cannot_create_a_pin() -> None:
    play(log_in(SPLIT, secret("755224"), only_collected=True), [verify(None, "755224", NEW_PIN), *GIVE_UP], Result.DENIED)


# --- new-PIN mode -----------------------------------------------------------------------------------------------------


def test_a_first_login_creates_a_pin_and_wants_it_with_the_next_code() -> None:
    script = [
        *FIRST_LOGIN,
        ask(CHOOSE, "8361"),
        ask(AGAIN, "8361"),
        create("8361"),
        ask(CREATED, "8361287082"),
        verify(None, "8361287082", GRANTED),
    ]
    play(log_in(SPLIT), script, Result.GRANTED)


@pytest.mark.parametrize("start", [[ask(BOTH, "755224"), verify(None, "755224", NEW_PIN)]])
def test_a_first_login_in_one_field(start: list[Line]) -> None:
    script = [*start, ask(CHOOSE, "8361"), ask(AGAIN, "8361"), create("8361"), ask(CREATED, "8361287082")]
    play(log_in(JOINED), [*script, verify(None, "8361287082", GRANTED)], Result.GRANTED)


def test_a_first_login_with_a_collected_code() -> None:
    script = [verify(None, "755224", NEW_PIN), ask(CHOOSE, "8361"), ask(AGAIN, "8361"), create("8361")]
    script += [ask(CREATED, "8361287082"), verify(None, "8361287082", GRANTED)]
    play(log_in(SPLIT, secret("755224")), script, Result.GRANTED)


def test_the_chosen_pin_is_stored_as_it_will_be_read() -> None:
    script = [*FIRST_LOGIN, ask(CHOOSE, "_'§!"), ask(LENGTH, "8 3 6 1"), ask(AGAIN, '_"-&'), create("8361")]
    play(log_in(SPLIT), [*script, ask(CREATED, "8361287082"), verify(None, "8361287082", GRANTED)], Result.GRANTED)


def test_the_old_display_is_told_and_not_tried() -> None:
    script = [*FIRST_LOGIN, ask(CHOOSE, "8361"), ask(AGAIN, "8361"), create("8361")]
    script += [ask(CREATED, "8361755224"), ask(STILL_OLD, "755 224"), ask(STILL_OLD, "8361+287082")]
    play(log_in(SPLIT), [*script, verify(None, "8361+287082", GRANTED)], Result.GRANTED)


def test_the_old_display_of_a_code_of_eight_digits() -> None:
    eight = Verdict(Outcome.NEW_PIN, serial="1", digits=8)
    script = [ask(PIN, "942"), ask(CODE, "87082"), verify("942", "87082", eight), ask(CHOOSE, "8361"), ask(AGAIN, "8361")]
    script += [
        create("8361"),
        ask(CREATED, "836194287082"),
        ask(STILL_OLD, "836107081804"),
        verify(None, "836107081804", GRANTED),
    ]
    play(log_in(SPLIT), script, Result.GRANTED)


def test_only_the_old_display_until_the_rounds_are_over() -> None:
    script = [*FIRST_LOGIN, ask(CHOOSE, "8361"), ask(AGAIN, "8361"), create("8361"), ask(CREATED, "8361755224")]
    script += [ask(STILL_OLD, "8361755224")] * (ROUNDS - 1)
    play(log_in(SPLIT), [*script, *GIVE_UP], Result.DENIED)


def test_two_pins_that_differ_start_again() -> None:
    script = [*FIRST_LOGIN, ask(CHOOSE, "8361"), ask(AGAIN, "8362"), ask(DIFFER, "9074"), ask(AGAIN, "9074"), create("9074")]
    play(log_in(SPLIT), [*script, ask(CREATED, "9074287082"), verify(None, "9074287082", GRANTED)], Result.GRANTED)


@pytest.mark.parametrize(
    ("pin", "asked_again"),
    [
        ("", LENGTH),
        ("836", LENGTH),
        ("8361907", LENGTH),
        ("836a", LENGTH),
        ("0000", EASY),
        ("1234", EASY),
        ("2580", EASY),
        ("5522", EASY),
        ("1466", EASY),
    ],
)
def test_a_pin_with_a_flaw_is_refused_with_its_reason(pin: str, asked_again: str) -> None:
    script = [*FIRST_LOGIN, ask(CHOOSE, pin), ask(asked_again, "8361"), ask(AGAIN, "8361"), create("8361")]
    play(log_in(SPLIT), [*script, ask(CREATED, "8361287082"), verify(None, "8361287082", GRANTED)], Result.GRANTED)


def test_the_code_just_typed_is_no_pin_in_two_fields_either() -> None:
    script = [ask(PIN, "755"), ask(CODE, "224"), verify("755", "224", NEW_PIN), ask(CHOOSE, "5522")]
    script += [ask(EASY, "0000"), *[ask(EASY, "0000")] * (ROUNDS - 2)]
    play(log_in(SPLIT), [*script, *GIVE_UP], Result.DENIED)


def test_no_pin_chosen_in_any_round_is_a_denial() -> None:
    flawed = [ask(CHOOSE, "12"), *[ask(LENGTH, "12")] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*FIRST_LOGIN, *flawed, *GIVE_UP], Result.DENIED)
    differing = [ask(CHOOSE, "8361"), ask(AGAIN, "8362"), *[ask(DIFFER, "8361"), ask(AGAIN, "8362")] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*FIRST_LOGIN, *differing, *GIVE_UP], Result.DENIED)


@pytest.mark.parametrize("last", [DENIED, Verdict(Outcome.NEW_PIN, ref="K7QX")])
def test_the_login_after_the_pin_may_still_be_denied(last: Verdict) -> None:
    script = [*FIRST_LOGIN, ask(CHOOSE, "8361"), ask(AGAIN, "8361"), create("8361")]
    script += [ask(CREATED, "8361000000"), verify(None, "8361000000", last), DENIAL]
    play(log_in(SPLIT), script, Result.DENIED)


def test_another_policy_is_asked_for_and_kept() -> None:
    manner = Manner(TEXTS, policy=Policy(8, 10))
    choose = "Choose a PIN (8 to 10 digits): "
    script = [
        *FIRST_LOGIN,
        ask(choose, "8361"),
        ask("A PIN has 8 to 10 digits.\n" + choose, "83619074"),
        ask(AGAIN, "83619074"),
    ]
    script += [create("83619074"), ask(CREATED, "83619074287082"), verify(None, "83619074287082", GRANTED)]
    play(log_in(manner), script, Result.GRANTED)


# --- the PIN's change -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", [SPLIT, JOINED])
def test_a_change_wants_the_passcode_and_the_new_pin_twice(manner: Manner) -> None:
    script = [ask(CURRENT, "8361755224"), verify(None, "8361755224", GRANTED), ask(CHOOSE, "9074"), ask(AGAIN, "9074")]
    play(change_pin(manner), [*script, create("9074"), CHANGED], Result.GRANTED)


def test_a_change_without_the_right_passcode_goes_no_further() -> None:
    play(change_pin(SPLIT), [ask(CURRENT, "8361000000"), verify(None, "8361000000", DENIED), DENIAL], Result.DENIED)


def test_a_change_refuses_the_code_just_typed() -> None:
    script = [ask(CURRENT, "8361755224"), verify(None, "8361755224", GRANTED), ask(CHOOSE, "755224"), ask(EASY, "9074")]
    play(change_pin(SPLIT), [*script, ask(AGAIN, "9074"), create("9074"), CHANGED], Result.GRANTED)


def test_a_change_that_comes_to_no_pin_is_a_denial() -> None:
    flawed = [ask(CHOOSE, "12"), *[ask(LENGTH, "12")] * (ROUNDS - 1)]
    play(change_pin(SPLIT), [ask(CURRENT, "8361755224"), verify(None, "8361755224", GRANTED), *flawed, *GIVE_UP], Result.DENIED)


# --- what holds for every conversation --------------------------------------------------------------------------------

TYPED = st.sampled_from(["", "8361", "755224", "287082", "8361755224", "8361287082", "hunter2", "0000"]).map(secret)
NOT_GRANTED = st.sampled_from([NEW_PIN, DENIED, Verdict(Outcome.NEW_PIN, digits=8)])


def wander(conversation: Conversation, data: st.DataObject, verdicts: st.SearchStrategy[Verdict]) -> tuple[Result, list[Line]]:
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
                reply = data.draw(TYPED)
            case Verify():
                reply = data.draw(verdicts)
            case CreatePin():
                reply = 41
            case GiveUp():
                reply = DENIED
            case Say():
                reply = None
        lines.append((step, reply))
    pytest.fail("no end")


def logins(data: st.DataObject) -> Conversation:
    return log_in(data.draw(st.sampled_from([SPLIT, JOINED])), data.draw(st.none() | TYPED), data.draw(st.booleans()))


@given(st.data())
def test_without_a_granted_verdict_nobody_gets_in(data: st.DataObject) -> None:
    result, _ = wander(logins(data), data, NOT_GRANTED)
    assert result is Result.DENIED


@given(st.data())
def test_who_gets_in_was_granted_by_the_last_verdict_with_nothing_after_it(data: st.DataObject) -> None:
    result, lines = wander(logins(data), data, st.sampled_from([GRANTED, NEW_PIN, DENIED]))
    assert (result is Result.GRANTED) == (lines[-1][1] is GRANTED and isinstance(lines[-1][0], Verify))
    if result is Result.DENIED:
        assert lines[-1] == DENIAL or lines[-1][0] == Say(Style.ERROR, TEXTS.denied(""))


@given(st.data())
def test_a_pin_is_stored_after_a_right_code_alone(data: st.DataObject) -> None:
    start = data.draw(st.sampled_from([log_in, change_pin]))
    _, lines = wander(start(SPLIT), data, st.sampled_from([GRANTED, NEW_PIN, DENIED]))
    for number, (step, _) in enumerate(lines):
        if isinstance(step, CreatePin):
            verdicts = [reply for _, reply in lines[:number] if isinstance(reply, Verdict)]
            assert len(verdicts) == 1
            assert verdicts[0].outcome is not Outcome.DENIED


@given(st.data())
def test_a_denied_attempt_looks_the_same_whatever_was_typed(data: st.DataObject) -> None:
    manner = data.draw(st.sampled_from([SPLIT, JOINED]))
    _, one = wander(log_in(manner), data, st.just(DENIED))
    _, other = wander(log_in(manner), data, st.just(DENIED))

    def shown(lines: list[Line]) -> list[object]:
        return [step if isinstance(step, Ask | Say) else type(step) for step, _ in lines]

    assert shown(one) == shown(other)
