"""Choosing, changing and replacing a PIN, by what the configuration allows, through the programs that people use."""

import re
from collections.abc import Callable, Iterator

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
from hosts import PASSWORD, SUCCESS, Dialogue, Host

AUTHTOK_ERR = 20  # security/_pam_types.h
NEW_PIN = "97531"
CURRENT = r"Current passcode \(PIN \+ code\): "
FRENCH_PIN, FRENCH_CODE = r"laisser vide\)\s: ", r"affiché sur la clé\)\s: "
FRENCH_CHOOSE, FRENCH_AGAIN = r"Choisissez un code PIN \(4 à 6 chiffres\)\s: ", r"Confirmez le code PIN\s: "
FRENCH_NEW = r"nouveau code\s: "
MADE = r"Your new PIN is \d{4}\. Memorise it\.\s+Same PIN again: "


@pytest.fixture(scope="module")
def quick(host: Host) -> Iterator[Host]:
    host.password_first()
    with host.configured('[login]\ndeny_after = "0"\n'):
        yield host


@pytest.fixture
def newcomer(quick: Host) -> Holder:
    return Holder(quick, kind="hotp")


@pytest.fixture
def holder(newcomer: Holder) -> Holder:
    newcomer.enrol()
    return newcomer


def choices(choose: str, *pins: tuple[str, str]) -> list[Step]:
    return [(choose, pin, label) for pin, label in pins]


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_a_pin_that_is_easy_to_guess_is_refused_in_french(newcomer: Holder) -> None:
    fob = newcomer.fob
    easy = choices(FRENCH_CHOOSE, ("0000", "repeats"), ("4321", "a run"), ("2580", "a keypad column"), ("123", "too short"))
    steps = [password(), (FRENCH_PIN, "", ""), (FRENCH_CODE, fob.fresh, "code"), *easy]
    chosen = [(FRENCH_CHOOSE, PIN, "a PIN"), (FRENCH_AGAIN, PIN, "the same PIN"), (FRENCH_NEW, newcomer.passcode, "PIN + code")]
    with newcomer.host.configured('language = "fr"\n'):
        check_golden("ssh-choose-pin-french", play(newcomer.ssh(), [*steps, *chosen], SHELL))


def test_digits_that_stand_on_the_key_are_refused_at_the_console(quick: Host) -> None:
    holder = Holder(quick, kind="hotp", serial="90{}3827")
    fob, serial = holder.fob, re.sub(r"\D", "", holder.fob.serial)
    easy: list[Step] = [(CHOOSE, serial[-4:], "of the serial"), (CHOOSE, lambda: fob.used()[1:5], "of the code")]
    differ: list[Step] = [(CHOOSE, PIN, "a PIN"), (AGAIN, "2847", "another")]
    chosen: list[Step] = [(CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN"), (NEW, holder.passcode, "PIN + new code")]
    first: list[Step] = [password(), (ASK_PIN, "", ""), (ASK_CODE, fob.fresh, "code")]
    told = play(quick.login(holder.name), [*first, *easy, *differ, *chosen], r"\$ ")
    check_golden("login-choose-pin", told[: told.rindex("⟧") + 1])


def test_five_pins_that_will_not_do_are_a_refusal(newcomer: Holder) -> None:
    steps = [password(), (ASK_PIN, "", ""), (ASK_CODE, newcomer.fob.fresh, "code"), *choices(CHOOSE, *[("1234", "a run")] * 5)]
    refuse(newcomer.ssh(), steps)
    assert re.search(r"^pin set at +-$", newcomer.host.arenactl("holder", "show", newcomer.name).stdout, re.MULTILINE)


def test_longer_pins_with_letters_by_configuration(newcomer: Holder) -> None:
    pin, choose = "Été à Nîmes", r"Choose a PIN \(8 to 20 digits\): "
    short = choices(choose, (PIN, "too short"), ("abababab", "a pattern"))
    first: list[Step] = [password(), (ASK_PIN, "", ""), (ASK_CODE, newcomer.fob.fresh, "code")]
    create: list[Step] = [(choose, pin, "letters"), (AGAIN, pin, "the same"), (NEW, lambda: pin + newcomer.fob.fresh(), "both")]
    with newcomer.host.configured("[pin]\nlength = [8, 20]\ndigits_only = false\n"):
        play(newcomer.ssh(), [*first, *short, *create], SHELL)
        play(newcomer.host.sudo(newcomer.name, "echo", SHELL), [password(), *newcomer.steps(pin)], SHELL)
        refuse(newcomer.ssh(), [password(), *newcomer.steps(pin.lower())])


# --- made by the system -----------------------------------------------------------------------------------------------


def shown(dialogue: Dialogue) -> Callable[[], str]:
    """The PIN that stands on the terminal."""
    return lambda: re.findall(r"Your new PIN is (\d{4})", dialogue.transcript)[-1]


def first_login_with_a_made_pin(holder: Holder, dialogue: Dialogue, before: list[Step], opened: str) -> str:
    """A first login up to the shell, in which the system shows a PIN; the transcript has 0000 in its place."""
    made, code = shown(dialogue), holder.fob.fresh
    first: list[Step] = [password(), (ASK_PIN, "", ""), (ASK_CODE, code, "code"), *before]
    new: list[Step] = [(MADE, made, "the same PIN"), (NEW, lambda: made() + code(), "PIN + new code")]
    told = play(dialogue, [*first, *new], opened)
    return re.sub(r"new PIN is \d{4}", "new PIN is 0000", told[: told.rindex("⟧") + 1])


def test_the_system_makes_the_pin(newcomer: Holder) -> None:
    host, another = newcomer.host, Holder(newcomer.host, kind="hotp")
    with host.configured('[pin]\nchoice = "system"\n'):
        check_golden("ssh-made-pin", first_login_with_a_made_pin(newcomer, newcomer.ssh(), [], SHELL))
        console = host.login(another.name)
        check_golden("login-made-pin", first_login_with_a_made_pin(another, console, [], r"\$ "))
        play(host.sudo(another.name, "echo", SHELL), [password(), *another.steps(shown(console)())], SHELL)


def test_a_pin_that_was_made_is_shown_until_it_is_confirmed(newcomer: Holder) -> None:
    with newcomer.host.configured('[pin]\nchoice = "system"\n'):
        wrong: list[Step] = [(MADE, "0000", "another")]
        told = first_login_with_a_made_pin(newcomer, newcomer.ssh(), wrong, SHELL)
    assert told.count("Your new PIN is 0000. Memorise it.") == 2
    assert "The two PINs differ. Start again." in told


def test_whoever_likes_has_a_pin_made(newcomer: Holder) -> None:
    host, another = newcomer.host, Holder(newcomer.host, kind="hotp")
    with host.configured('[pin]\nchoice = "either"\n'):
        empty: list[Step] = [(CHOOSE, "", "")]
        check_golden("ssh-either-pin", first_login_with_a_made_pin(newcomer, newcomer.ssh(), empty, SHELL))
        play(another.ssh(), [password(), *another.first_steps()], SHELL)


# --- too old, and used before -----------------------------------------------------------------------------------------


def change_to(pin: str) -> list[Step]:
    return [(CHOOSE, PIN, "the old PIN"), (CHOOSE, pin, "a PIN"), (AGAIN, pin, "the same PIN")]


def grow_old(holder: Holder) -> None:
    """Let a day pass since the PIN was set."""
    holder.host.in_store(f"UPDATE holder SET pin_set_at = pin_set_at - 86400 WHERE name = '{holder.name}'")


def test_a_pin_that_is_too_old_is_replaced_after_a_right_passcode(holder: Holder) -> None:
    host, name = holder.host, holder.name
    grow_old(holder)
    with host.configured('[pin]\nexpires = "1d"\n'):
        assert "expired" not in refuse(holder.ssh(), [password(), *holder.steps("2847")])
        told = play(holder.ssh(), [password(), *holder.steps(), *change_to(NEW_PIN)], SHELL)
        check_golden("ssh-pin-expired", told)
        play(holder.ssh(), [password(), *holder.steps(NEW_PIN)], SHELL)
        grow_old(holder)
        first: list[Step] = [password(), *holder.steps(NEW_PIN)]
        told = play(host.login(name), [*first, (CHOOSE, "846135", "a PIN"), (AGAIN, "846135", "the same PIN")], r"\$ ")
        assert "PIN changed." in told
        check_golden("login-pin-expired", told[: told.rindex("⟧") + 1])
    play(holder.ssh(), [password(), *holder.steps("846135")], SHELL)


def test_a_pin_that_is_too_old_is_replaced_in_french(holder: Holder) -> None:
    grow_old(holder)
    with holder.host.configured('language = "fr"\n[pin]\nexpires = "1d"\n'):
        first = [password(), (FRENCH_PIN, PIN, "PIN"), (FRENCH_CODE, holder.fob.fresh, "code")]
        chosen = [(FRENCH_CHOOSE, NEW_PIN, "a PIN"), (FRENCH_AGAIN, NEW_PIN, "the same PIN")]
        check_golden("ssh-pin-expired-french", play(holder.ssh(), [*first, *chosen], SHELL))


def test_earlier_pins_are_refused_as_many_as_are_kept(quick: Host) -> None:
    with quick.configured("[pin]\nhistory = 2\n"):
        holder = Holder(quick, kind="hotp")
        holder.enrol()
        used: Step = (AGAIN, PIN, "the same PIN")
        change(holder, [(CHOOSE, NEW_PIN, "a PIN"), (AGAIN, NEW_PIN, "the same PIN")])
        told = change(
            holder,
            [(CHOOSE, PIN, "an earlier PIN"), used, (CHOOSE, "846135", "a PIN"), (AGAIN, "846135", "the same PIN")],
            NEW_PIN,
        )
        check_golden("arena-key-pin-used-before", told)
        change(holder, [(CHOOSE, PIN, "a PIN"), used], "846135")


# --- changing ---------------------------------------------------------------------------------------------------------


def change(holder: Holder, steps: list[Step], pin: str = PIN) -> str:
    """arena-key pin, by its holder at a terminal."""
    current: Step = (CURRENT, lambda: pin + holder.fob.fresh(), "PIN + code")
    return play(holder.host.dialogue(["arena-key", "pin"], holder.name), [current, *steps], r"PIN changed\.\s+")


def test_pams_password_phase_changes_the_pin(holder: Holder) -> None:
    host, name, code = holder.host, holder.name, holder.fob.fresh
    called = host.call_pam("chauthtok", name, PIN + code(), "1234", NEW_PIN, NEW_PIN)
    assert (called["code"], called["said"]) == (SUCCESS, ["PIN changed."])
    choose = "Choose a PIN (4 to 6 digits): "
    easy = f"Too easy to guess. Choose another.\n{choose}"
    assert called["asked"] == ["Current passcode (PIN + code): ", choose, easy, "Same PIN again: "]
    called = host.call_pam("chauthtok", name, PIN + code())
    assert (called["code"], called["asked"]) == (AUTHTOK_ERR, ["Current passcode (PIN + code): "])
    assert called["said"][0].startswith("Access denied. ")
    assert host.authenticate(name, NEW_PIN, code())[0] == SUCCESS


def test_passwd_changes_the_pin_before_the_password_where_its_stack_says_so(holder: Holder) -> None:
    path = holder.host.root / "etc/pam.d/passwd"
    before = path.read_text()
    path.write_text(before.replace("@include common-password", "password requisite pam_arena.so\n@include common-password"))
    # pam_unix asks for the password in PAM's preliminary round, in which pam_arena only looks whether arenad is there.
    unix: Step = ("Current password: ", PASSWORD, "password")
    mine: list[Step] = [(CURRENT, holder.passcode, "PIN + code"), (CHOOSE, NEW_PIN, "a PIN"), (AGAIN, NEW_PIN, "the same PIN")]
    new: list[Step] = [
        ("New password: ", "battery staple 7", "a password"),
        ("Retype new password: ", "battery staple 7", "it"),
    ]
    try:
        told = play(holder.host.dialogue(["passwd"], holder.name), [unix, *mine, *new], "updated successfully")
        check_golden("passwd", told)
        unix = ("Current password: ", "battery staple 7", "password")
        wrong: list[Step] = [unix, (CURRENT, holder.passcode, "the old PIN + code")]
        told = play(holder.host.dialogue(["passwd"], holder.name), wrong, "password unchanged")
        check_golden("passwd-refused", told)
    finally:
        path.write_text(before)
    assert holder.host.authenticate(holder.name, NEW_PIN, holder.fob.fresh())[0] == SUCCESS


def test_the_system_makes_the_new_pin_at_a_change_too(holder: Holder) -> None:
    with holder.host.configured('[pin]\nchoice = "system"\n'):
        dialogue = holder.host.dialogue(["arena-key", "pin"], holder.name)
        made = shown(dialogue)
        play(dialogue, [(CURRENT, holder.passcode, "PIN + code"), (MADE, made, "the same PIN")], r"PIN changed\.")
    assert holder.host.authenticate(holder.name, made(), holder.fob.fresh())[0] == SUCCESS
