"""Choosing a PIN: in new-PIN mode, when it has expired, by the holder's wish; and the PIN that the system makes."""

import pytest
from attrs import evolve
from script import (
    BOTH,
    CODE,
    DENIAL,
    DENIED,
    EXPIRED,
    FRENCH,
    GIVE_UP,
    GRANTED,
    JOINED,
    NEW_PIN,
    NEXT_ALONE,
    NEXT_CODE,
    PIN,
    SERIAL,
    SPLIT,
    TEXTS,
    Line,
    N,
    ask,
    create,
    generate,
    inform,
    play,
    secret,
    typed_as,
    verify,
    verify_next,
)

from pam_arena.conversation import (
    ROUNDS,
    Created,
    Manner,
    Outcome,
    PinChoice,
    Result,
    Verdict,
    change_pin,
    log_in,
)
from pam_arena.pin import Flaw, Policy

CHOOSE = "Choose a PIN (4 to 6 digits): "
AGAIN = "Same PIN again: "
NEXT = "PIN + new code: "
CREATED = "PIN created. New code in about 41 s.\n" + NEXT
STILL_OLD = "Still the old code. Wait for the next.\n" + NEXT
DIFFER = "The two PINs differ. Start again.\n"
LENGTH = "A PIN has 4 to 6 digits.\n" + CHOOSE
EASY = "Too easy to guess. Choose another.\n" + CHOOSE
USED = "PIN used before. Choose another.\n"
LATER = "PIN created. Log in again: PIN + new code."
EXPIRED_NOW = "PIN expired. Choose a new one.\n"
CURRENT = "Current passcode (PIN + code): "
MADE = "Your new PIN is 8361. Memorise it.\n" + AGAIN
OTHER = "Your new PIN is 9074. Memorise it.\n" + AGAIN
CHANGED = inform("PIN changed.")

SYSTEM = Manner(TEXTS, choice=PinChoice.SYSTEM)
EITHER = Manner(TEXTS, choice=PinChoice.EITHER)

FIRST_CODE = [ask(PIN, ""), ask(CODE, "755224"), verify("", "755224", NEW_PIN)]
CHOSEN = [ask(CHOOSE, "8361"), ask(AGAIN, "8361"), create("8361")]
ENTERED = [ask(CREATED, "8361287082"), verify(None, "8361287082", GRANTED)]
RIGHT = [ask(PIN, "8361"), ask(CODE, "755224")]


# --- new-PIN mode -----------------------------------------------------------------------------------------------------


def test_a_first_login_creates_a_pin_and_wants_it_with_the_next_code() -> None:
    script = [
        *FIRST_CODE,
        ask(CHOOSE, "8361"),
        ask(AGAIN, "8361"),
        create("8361"),
        ask(CREATED, "8361287082"),
        verify(None, "8361287082", GRANTED),
    ]
    play(log_in(SPLIT), script, Result.GRANTED)


def test_a_first_login_in_french() -> None:
    script = [
        ask(f"Code PIN (1re connexion{N}: laisser vide){N}: ", ""),
        ask(f"Passcode (code affiché sur la clé){N}: ", "755224"),
        verify("", "755224", NEW_PIN),
        ask(f"Choisissez un code PIN (4 à 6 chiffres){N}: ", "836"),
        ask(f"Un code PIN comporte 4 à 6 chiffres.\nChoisissez un code PIN (4 à 6 chiffres){N}: ", "1234"),
        ask(
            f"Trop facile à deviner. Choisissez-en un autre.\nChoisissez un code PIN (4 à 6 chiffres){N}: ",
            "8361",
        ),
        ask(f"Confirmez le code PIN{N}: ", "8362"),
        ask(f"Les deux codes PIN diffèrent. Recommencez.\nChoisissez un code PIN (4 à 6 chiffres){N}: ", "8361"),
        ask(f"Confirmez le code PIN{N}: ", "8361"),
        create("8361"),
        ask(f"Code PIN créé. Nouveau code dans 41 s environ.\nCode PIN + nouveau code{N}: ", "8361755224"),
        ask(f"C’est encore l’ancien code. Attendez le suivant.\nCode PIN + nouveau code{N}: ", "8361287082"),
        verify(None, "8361287082", GRANTED),
    ]
    play(log_in(Manner(FRENCH)), script, Result.GRANTED)


def test_a_first_login_in_one_field() -> None:
    script = [ask(BOTH, "755224"), verify(None, "755224", NEW_PIN), *CHOSEN, *ENTERED]
    play(log_in(JOINED), script, Result.GRANTED)


def test_a_first_login_with_a_collected_code() -> None:
    play(log_in(SPLIT, secret("755224")), [verify(None, "755224", NEW_PIN), *CHOSEN, *ENTERED], Result.GRANTED)


def test_a_first_login_after_a_password_in_the_same_field() -> None:
    first = verify(None, "horse755224", typed_as(NEW_PIN, "", "755224"), forward=True)
    play(log_in(Manner(TEXTS, forward=True)), [ask(BOTH, "horse755224"), first, *CHOSEN, *ENTERED], Result.GRANTED)


def test_the_chosen_pin_is_stored_as_it_will_be_read() -> None:
    script = [*FIRST_CODE, ask(CHOOSE, "_'§!"), ask(LENGTH, "8 3 6 1"), ask(AGAIN, '_"-&'), create("8361")]
    play(log_in(SPLIT), [*script, *ENTERED], Result.GRANTED)


def test_the_old_display_is_told_and_not_tried() -> None:
    script = [*FIRST_CODE, *CHOSEN]
    script += [ask(CREATED, "8361755224"), ask(STILL_OLD, "755 224"), ask(STILL_OLD, "8361+287082")]
    play(log_in(SPLIT), [*script, verify(None, "8361+287082", GRANTED)], Result.GRANTED)


def test_the_old_display_of_a_code_of_eight_digits() -> None:
    eight = Verdict(Outcome.NEW_PIN, serial="1", digits=8)
    script = [ask(PIN, "942"), ask(CODE, "87082"), verify("942", "87082", eight), *CHOSEN]
    script += [ask(CREATED, "836194287082"), ask(STILL_OLD, "836107081804"), verify(None, "836107081804", GRANTED)]
    play(log_in(SPLIT), script, Result.GRANTED)


def test_a_recovery_code_typed_again_is_told_and_not_tried() -> None:
    script = [ask(PIN, ""), ask(CODE, "abcde-fghjk"), verify("", "abcde-fghjk", NEW_PIN), *CHOSEN]
    script += [ask(CREATED, "8361ABCDE-FGHJK"), ask(STILL_OLD, "8361VWXYZ-23456")]
    play(log_in(SPLIT), [*script, verify(None, "8361VWXYZ-23456", GRANTED)], Result.GRANTED)


def test_only_the_old_display_until_the_rounds_are_over() -> None:
    script = [*FIRST_CODE, *CHOSEN, ask(CREATED, "8361755224"), *[ask(STILL_OLD, "8361755224")] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*script, *GIVE_UP], Result.DENIED)


def test_without_time_for_the_next_code_the_pin_stays_and_the_door_shut() -> None:
    script = [*FIRST_CODE, *CHOSEN[:-1], create("8361", Created(41, in_time=False))]
    for answer in ("", "8361287082"):
        play(log_in(SPLIT), [*script, ask(LATER, answer)], Result.LATER)
    french = [verify(None, "755224", NEW_PIN), ask(f"Choisissez un code PIN (4 à 6 chiffres){N}: ", "8361")]
    french += [ask(f"Confirmez le code PIN{N}: ", "8361"), create("8361", Created(41, in_time=False))]
    french += [ask(f"Code PIN créé. Reconnectez-vous{N}: PIN + nouveau code.", "")]
    play(log_in(Manner(FRENCH), secret("755224")), french, Result.LATER)


def test_two_pins_that_differ_start_again() -> None:
    script = [*FIRST_CODE, ask(CHOOSE, "8361"), ask(AGAIN, "8362"), ask(DIFFER + CHOOSE, "9074"), ask(AGAIN, "9074")]
    script += [create("9074"), ask(CREATED, "9074287082"), verify(None, "9074287082", GRANTED)]
    play(log_in(SPLIT), script, Result.GRANTED)


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
    script = [*FIRST_CODE, ask(CHOOSE, pin), ask(asked_again, "8361"), ask(AGAIN, "8361"), create("8361")]
    play(log_in(SPLIT), [*script, *ENTERED], Result.GRANTED)


def test_a_pin_of_before_is_refused_once_the_store_knows_it() -> None:
    script = [*FIRST_CODE, *CHOSEN[:-1], create("8361", Flaw.USED), ask(USED + CHOOSE, "9074"), ask(AGAIN, "9074")]
    script += [create("9074"), ask(CREATED, "9074287082"), verify(None, "9074287082", GRANTED)]
    play(log_in(SPLIT), script, Result.GRANTED)


def test_the_code_just_typed_is_no_pin_in_two_fields_either() -> None:
    script = [ask(PIN, "755"), ask(CODE, "224"), verify("755", "224", NEW_PIN), ask(CHOOSE, "5522")]
    script += [ask(EASY, "0000"), *[ask(EASY, "0000")] * (ROUNDS - 2)]
    play(log_in(SPLIT), [*script, *GIVE_UP], Result.DENIED)


def test_no_pin_chosen_in_any_round_is_a_denial() -> None:
    flawed = [ask(CHOOSE, "12"), *[ask(LENGTH, "12")] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*FIRST_CODE, *flawed, *GIVE_UP], Result.DENIED)
    differing = [ask(CHOOSE, "8361"), ask(AGAIN, "8362"), *[ask(DIFFER + CHOOSE, "8361"), ask(AGAIN, "8362")] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*FIRST_CODE, *differing, *GIVE_UP], Result.DENIED)
    refused = [ask(AGAIN, "8361"), create("8361", Flaw.USED)]
    used = [ask(CHOOSE, "8361"), *refused, *[ask(USED + CHOOSE, "8361"), *refused] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*FIRST_CODE, *used, *GIVE_UP], Result.DENIED)


@pytest.mark.parametrize(("last", "rest"), [(DENIED, [DENIAL]), (NEW_PIN, GIVE_UP)])
def test_the_login_after_the_pin_may_still_be_denied(last: Verdict, rest: list[Line]) -> None:
    script = [*FIRST_CODE, *CHOSEN, ask(CREATED, "8361000000"), verify(None, "8361000000", last), *rest]
    play(log_in(SPLIT), script, Result.DENIED)


@pytest.mark.parametrize(
    ("verdict", "rest", "result"),
    [(GRANTED, [], Result.GRANTED), (DENIED, [DENIAL], Result.DENIED), (NEW_PIN, GIVE_UP, Result.DENIED)],
)
def test_the_login_after_the_pin_may_want_one_more_code(verdict: Verdict, rest: list[Line], result: Result) -> None:
    script = [*FIRST_CODE, *CHOSEN, ask(CREATED, "8361287082"), verify(None, "8361287082", NEXT_CODE)]
    play(log_in(SPLIT), [*script, ask(NEXT_ALONE, "359152"), verify_next("359152", verdict), *rest], result)


def test_after_two_first_codes_the_second_is_the_old_display_and_no_pin() -> None:
    script = [ask(PIN, ""), ask(CODE, "755224"), verify("", "755224", NEXT_CODE), ask(NEXT_ALONE, "287082")]
    script += [verify_next("287082", NEW_PIN), ask(CHOOSE, "2870"), ask(EASY, "8361"), ask(AGAIN, "8361"), create("8361")]
    script += [ask(CREATED, "8361287082"), ask(STILL_OLD, "8361359152"), verify(None, "8361359152", GRANTED)]
    play(log_in(SPLIT), script, Result.GRANTED)


def test_another_policy_is_asked_for_and_kept() -> None:
    manner = Manner(TEXTS, policy=Policy(8, 10))
    choose = "Choose a PIN (8 to 10 digits): "
    script = [*FIRST_CODE, ask(choose, "8361"), ask("A PIN has 8 to 10 digits.\n" + choose, "83619074")]
    script += [ask(AGAIN, "83619074"), create("83619074"), ask(CREATED, "83619074287082")]
    play(log_in(manner), [*script, verify(None, "83619074287082", GRANTED)], Result.GRANTED)


# --- the PIN that the system makes ------------------------------------------------------------------------------------


def test_a_made_pin_is_shown_and_stored_once_confirmed() -> None:
    script = [*FIRST_CODE, generate("755224", "8361"), ask(MADE, "8361"), create("8361"), *ENTERED]
    play(log_in(SYSTEM), script, Result.GRANTED)


def test_a_made_pin_in_french() -> None:
    script = [verify(None, "755224", NEW_PIN), generate("755224", "8361")]
    script += [ask(f"Votre code PIN est 8361. Mémorisez-le.\nConfirmez le code PIN{N}: ", "8361"), create("8361")]
    script += [ask(f"Code PIN créé. Nouveau code dans 41 s environ.\nCode PIN + nouveau code{N}: ", "8361287082")]
    manner = Manner(FRENCH, choice=PinChoice.SYSTEM)
    play(log_in(manner, secret("755224")), [*script, verify(None, "8361287082", GRANTED)], Result.GRANTED)


def test_a_made_pin_stays_the_same_until_it_is_confirmed() -> None:
    script = [*FIRST_CODE, generate("755224", "8361"), ask(MADE, "8362"), ask(DIFFER + MADE, ""), ask(DIFFER + MADE, "8361")]
    play(log_in(SYSTEM), [*script, create("8361"), *ENTERED], Result.GRANTED)


def test_a_made_pin_that_is_never_confirmed_is_never_stored() -> None:
    script = [*FIRST_CODE, generate("755224", "8361"), ask(MADE, "1"), *[ask(DIFFER + MADE, "1")] * (ROUNDS - 1)]
    play(log_in(SYSTEM), [*script, *GIVE_UP], Result.DENIED)


def test_a_made_pin_of_before_makes_room_for_another() -> None:
    script = [*FIRST_CODE, generate("755224", "8361"), ask(MADE, "8361"), create("8361", Flaw.USED)]
    script += [generate("755224", "9074"), ask(USED + OTHER, "9074"), create("9074")]
    script += [ask(CREATED, "9074287082"), verify(None, "9074287082", GRANTED)]
    play(log_in(SYSTEM), script, Result.GRANTED)


def test_the_pin_in_use_is_not_made_once_more() -> None:
    script = [ask(CURRENT, "8361755224"), verify(None, "8361755224", GRANTED), generate("755224", "8361")]
    script += [generate("755224", "9074"), ask(USED + OTHER, "9074"), create("9074"), CHANGED]
    play(change_pin(SYSTEM), script, Result.GRANTED)


def test_either_lets_the_holder_choose() -> None:
    play(log_in(EITHER), [*FIRST_CODE, ask(CHOOSE, "12"), ask(LENGTH, "8361"), *CHOSEN[1:], *ENTERED], Result.GRANTED)


def test_either_makes_a_pin_for_an_empty_answer() -> None:
    script = [*FIRST_CODE, ask(CHOOSE, "12"), ask(LENGTH, " "), generate("755224", "8361"), ask(MADE, "1")]
    play(log_in(EITHER), [*script, ask(DIFFER + MADE, "8361"), create("8361"), *ENTERED], Result.GRANTED)


def test_either_asks_again_after_a_made_pin_of_before() -> None:
    script = [*FIRST_CODE, ask(CHOOSE, ""), generate("755224", "8361"), ask(MADE, "8361"), create("8361", Flaw.USED)]
    script += [ask(USED + CHOOSE, "9074"), ask(AGAIN, "9074"), create("9074"), ask(CREATED, "9074287082")]
    play(log_in(EITHER), [*script, verify(None, "9074287082", GRANTED)], Result.GRANTED)


def test_a_made_pin_does_not_print_with_the_code_it_was_made_for() -> None:
    step, _ = generate("755224", "8361")
    assert "755224" not in repr(step)
    assert SERIAL in repr(step)


def test_a_verdict_does_not_print_what_was_typed() -> None:
    shown = repr(typed_as(GRANTED, "8361", "755224"))
    assert "8361" not in shown
    assert "755224" not in shown


# --- an expired PIN ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [Created(41), Created(41, in_time=False)])
def test_an_expired_pin_opens_the_door_once_it_is_changed(reply: Created) -> None:
    script = [*RIGHT, verify("8361", "755224", EXPIRED), ask(EXPIRED_NOW + CHOOSE, "9074"), ask(AGAIN, "9074")]
    play(log_in(SPLIT), [*script, create("9074", reply), CHANGED], Result.GRANTED)


def test_the_expired_pin_is_refused_as_the_new_one() -> None:
    script = [*RIGHT, verify("8361", "755224", EXPIRED), ask(EXPIRED_NOW + CHOOSE, "8361"), ask(USED + CHOOSE, "9074")]
    play(log_in(SPLIT), [*script, ask(AGAIN, "9074"), create("9074"), CHANGED], Result.GRANTED)


def test_an_expired_pin_that_is_not_changed_opens_nothing() -> None:
    flawed = [ask(EXPIRED_NOW + CHOOSE, "8361"), *[ask(USED + CHOOSE, "8361")] * (ROUNDS - 1)]
    play(log_in(SPLIT), [*RIGHT, verify("8361", "755224", EXPIRED), *flawed, *GIVE_UP], Result.DENIED)


def test_an_expired_pin_after_the_next_code_is_refused_as_the_new_one_too() -> None:
    script = [*RIGHT, verify("8361", "755224", NEXT_CODE), ask(NEXT_ALONE, "287082"), verify_next("287082", EXPIRED)]
    script += [ask(EXPIRED_NOW + CHOOSE, "8361"), ask(USED + CHOOSE, "2870"), ask(EASY, "9074"), ask(AGAIN, "9074")]
    play(log_in(SPLIT), [*script, create("9074"), CHANGED], Result.GRANTED)


def test_an_expired_pin_is_replaced_by_a_made_one() -> None:
    script = [*RIGHT, verify("8361", "755224", EXPIRED), generate("755224", "9074"), ask(EXPIRED_NOW + OTHER, "9074")]
    play(log_in(SYSTEM), [*script, create("9074"), CHANGED], Result.GRANTED)


def test_an_expired_pin_with_an_emergency_code_in_french() -> None:
    verdict = evolve(EXPIRED, codes_left=3)
    script = [
        verify(None, "8361abcde-fghjk", verdict),
        ask(f"Code PIN expiré. Choisissez-en un nouveau.\nChoisissez un code PIN (4 à 6 chiffres){N}: ", "8361"),
        ask(
            f"Code PIN déjà utilisé. Choisissez-en un autre.\nChoisissez un code PIN (4 à 6 chiffres){N}: ",
            "9074",
        ),
        ask(f"Confirmez le code PIN{N}: ", "9074"),
        create("9074"),
        inform("Code PIN modifié."),
        inform(f"Codes de secours restants{N}: 3"),
    ]
    play(log_in(Manner(FRENCH), secret("8361abcde-fghjk")), script, Result.GRANTED)


# --- the PIN's change -------------------------------------------------------------------------------------------------

CURRENT_RIGHT = [ask(CURRENT, "8361755224"), verify(None, "8361755224", GRANTED)]


@pytest.mark.parametrize("manner", [SPLIT, JOINED, Manner(TEXTS, forward=True, mail_codes=True)])
def test_a_change_wants_the_passcode_and_the_new_pin_twice(manner: Manner) -> None:
    script = [*CURRENT_RIGHT, ask(CHOOSE, "9074"), ask(AGAIN, "9074"), create("9074"), CHANGED]
    play(change_pin(manner), script, Result.GRANTED)


def test_a_change_in_french() -> None:
    script = [ask(f"Passcode actuel (PIN + code){N}: ", "8361755224"), verify(None, "8361755224", GRANTED)]
    script += [ask(f"Choisissez un code PIN (4 à 6 chiffres){N}: ", "9074"), ask(f"Confirmez le code PIN{N}: ", "9074")]
    play(change_pin(Manner(FRENCH)), [*script, create("9074"), inform("Code PIN modifié.")], Result.GRANTED)


def test_a_change_without_the_right_passcode_goes_no_further() -> None:
    play(change_pin(SPLIT), [ask(CURRENT, "8361000000"), verify(None, "8361000000", DENIED), DENIAL], Result.DENIED)


@pytest.mark.parametrize(("pin", "asked_again"), [("755224", EASY), ("8361", USED + CHOOSE)])
def test_a_change_refuses_the_code_and_the_pin_just_typed(pin: str, asked_again: str) -> None:
    script = [*CURRENT_RIGHT, ask(CHOOSE, pin), ask(asked_again, "9074"), ask(AGAIN, "9074"), create("9074"), CHANGED]
    play(change_pin(SPLIT), script, Result.GRANTED)


def test_a_change_refuses_a_pin_of_before() -> None:
    script = [*CURRENT_RIGHT, ask(CHOOSE, "9074"), ask(AGAIN, "9074"), create("9074", Flaw.USED)]
    script += [ask(USED + CHOOSE, "2749"), ask(AGAIN, "2749"), create("2749"), CHANGED]
    play(change_pin(SPLIT), script, Result.GRANTED)


def test_a_change_may_want_the_next_code() -> None:
    script = [ask(CURRENT, "8361755224"), verify(None, "8361755224", NEXT_CODE), ask(NEXT_ALONE, "287082")]
    changed = [ask(CHOOSE, "9074"), ask(AGAIN, "9074"), create("9074"), CHANGED]
    play(change_pin(SPLIT), [*script, verify_next("287082", GRANTED), *changed], Result.GRANTED)
    play(change_pin(SPLIT), [*script, verify_next("287082", DENIED), DENIAL], Result.DENIED)
    play(change_pin(SPLIT), [*script, verify_next("287082", NEXT_CODE), *GIVE_UP], Result.DENIED)


def test_a_change_that_comes_to_no_pin_is_a_denial() -> None:
    flawed = [ask(CHOOSE, "12"), *[ask(LENGTH, "12")] * (ROUNDS - 1)]
    play(change_pin(SPLIT), [*CURRENT_RIGHT, *flawed, *GIVE_UP], Result.DENIED)
