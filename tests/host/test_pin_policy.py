"""Which PINs there are: what is refused, longer ones and letters, earlier ones, old ones, those made for the holder; and how
one is changed.
"""

import re
from collections.abc import Iterator

import pytest
from holders import AGAIN, ASK_CODE, ASK_PIN, CHOOSE, NEW, PIN, ROOT, SHELL, Holder, Step, check_golden, password, play, refuse
from hosts import SUCCESS, Dialogue, Host

AUTHTOK_ERR = 20  # security/_pam_types.h
OTHER = "7391"
CURRENT = r"Current passcode \(PIN \+ code\): "
FRENCH_PIN, FRENCH_CODE = r"laisser vide\)\s: ", r"sur la clé\)\s: "
FRENCH_CHOOSE, FRENCH_AGAIN = r"Choisissez un code PIN \(4 à 6 chiffres\)\s: ", r"Confirmez le code PIN\s: "
FRENCH_NEW, FRENCH_CURRENT = r"nouveau code\s: ", r"Passcode actuel \(PIN \+ code\)\s: "
MADE = re.compile(r"(?:Your new PIN is|Votre code PIN est) (\d+)\.")
EASY = "Too easy to guess. Choose another.\nChoose a PIN (4 to 6 digits): "
AGE = """
import sqlite3, sys
with sqlite3.connect("/var/lib/arena/arena.db", timeout=10) as store:
    store.execute("UPDATE holder SET pin_set_at = pin_set_at - 31 * 86400 WHERE name = ?", sys.argv[1:])
"""


@pytest.fixture(scope="module")
def choosing(host: Host) -> Host:
    host.password_first()
    host.run("chpasswd", input="root:the root password\n")
    return host


@pytest.fixture
def newcomer(choosing: Host) -> Holder:
    """Someone without a PIN, and with a fob that has a button, so that no code has to be waited for."""
    return Holder(choosing, kind="hotp")


@pytest.fixture
def holder(newcomer: Holder) -> Holder:
    newcomer.enrol()
    return newcomer


def first_code(newcomer: Holder) -> list[Step]:
    """A first login up to the choice of a PIN."""
    return [(ASK_PIN, "", ""), (ASK_CODE, newcomer.fob.fresh, "code")]


def with_pin(holder: Holder, pin: str) -> list[Step]:
    """An ordinary login with this PIN."""
    return [(ASK_PIN, pin, "PIN"), (ASK_CODE, holder.fob.fresh, "code")]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_pin_that_is_easy_to_guess_or_too_short_is_refused_with_its_reason(newcomer: Holder) -> None:
    refused: list[Step] = [(CHOOSE, pin, pin) for pin in ("0000", "4321", "2580", "284")]
    steps = [password(), *first_code(newcomer), *refused, (CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN")]
    check_golden("ssh-pin-refused", play(newcomer.ssh(), [*steps, (NEW, newcomer.passcode, "PIN + new code")], SHELL))


def test_what_stands_on_the_key_is_refused_in_french(choosing: Host) -> None:
    """At su: the digits of its serial, those it has just shown, and a PIN that was not typed the same twice."""
    newcomer = Holder(choosing, kind="hotp")
    newcomer.fob = choosing.give_fob(newcomer.name, f"739105-{newcomer.name}", kind="hotp")
    steps: list[Step] = [ROOT, (FRENCH_PIN, "", ""), (FRENCH_CODE, newcomer.fob.fresh, "code")]
    steps += [(FRENCH_CHOOSE, "9105", "digits of the serial"), (FRENCH_CHOOSE, lambda: newcomer.fob.used()[:4], "of the code")]
    steps += [(FRENCH_CHOOSE, PIN, "a PIN"), (FRENCH_AGAIN, OTHER, "another")]
    steps += [(FRENCH_CHOOSE, PIN, "a PIN"), (FRENCH_AGAIN, PIN, "the same PIN"), (FRENCH_NEW, newcomer.passcode, "both")]
    with choosing.configured('language = "fr"\n'):
        check_golden("su-pin-refused-french", play(choosing.su(newcomer.name), steps, "root\r?\n"))


@pytest.mark.parametrize(
    "easy", [("1111", "999999", "1234", "345678"), ("9876", "7890", "3210", "1471"), ("0852", "963963", "7417", "258025")]
)
def test_repeats_runs_and_keypad_columns_are_refused(newcomer: Holder, easy: tuple[str, ...]) -> None:
    called = newcomer.host.call_pam("authenticate", newcomer.name, "", newcomer.fob.fresh(), *easy)
    assert called["asked"][3:] == [EASY] * len(easy)


def test_five_pins_that_are_refused_end_the_login(newcomer: Holder) -> None:
    code, _, said = newcomer.host.authenticate(newcomer.name, "", newcomer.fob.fresh(), *["1234"] * 5)
    assert code != SUCCESS and said.startswith("Access denied.")


# --- longer ones, and letters -----------------------------------------------------------------------------------------


def test_eight_digits_and_more_by_configuration(newcomer: Holder, holder_before: Holder) -> None:
    choose, pin = r"Choose a PIN \(8 to 12 digits\): ", "28463917"
    with newcomer.host.configured("[pin]\nlength = [8, 12]\n"):
        refused: list[Step] = [(choose, "2846", "a short PIN"), (choose, "74747474", "74747474")]
        steps = [password(), *first_code(newcomer), *refused, (choose, pin, "a PIN"), (AGAIN, pin, "the same PIN")]
        told = play(newcomer.ssh(), [*steps, (NEW, lambda: pin + newcomer.fob.fresh(), "PIN + new code")], SHELL)
        check_golden("ssh-pin-of-eight", told)
        play(newcomer.host.login(newcomer.name), [password(), *with_pin(newcomer, pin)], r"\$ ")
        refuse(newcomer.ssh(), [password(), *with_pin(newcomer, pin[:4])])
        play(holder_before.ssh(), [password(), *holder_before.steps()], SHELL)


@pytest.fixture
def holder_before(choosing: Host) -> Holder:
    """Someone whose PIN is older than the configuration that a test brings."""
    one = Holder(choosing, kind="hotp")
    one.enrol()
    return one


def test_letters_by_configuration_are_typed_over_ssh_and_at_sudo(newcomer: Holder) -> None:
    choose, pin = r"Choose a PIN \(8 to 20 digits\): ", "Été à Nîmes"
    with newcomer.host.configured("[pin]\nlength = [8, 20]\ndigits_only = false\n"):
        steps = [password(), *first_code(newcomer), (choose, pin, "a PIN"), (AGAIN, pin, "the same PIN")]
        play(newcomer.ssh(), [*steps, (NEW, lambda: pin + newcomer.fob.fresh(), "PIN + new code")], SHELL)
        play(newcomer.host.sudo(newcomer.name, "echo", SHELL), [password(), *with_pin(newcomer, pin)], SHELL)
        refuse(newcomer.ssh(), [password(), *with_pin(newcomer, "ete a nimes")])


# --- changing one, and earlier ones -----------------------------------------------------------------------------------


@pytest.fixture
def passwd_changes_pins(choosing: Host) -> Iterator[None]:
    """passwd(1) with PAM's password phase of this module alone."""
    path = choosing.root / "etc/pam.d/passwd"
    before = path.read_text()
    path.write_text("password required pam_arena.so\n")
    yield
    path.write_text(before)


def passwd(holder: Holder) -> Dialogue:
    return holder.host.dialogue(["passwd"], holder.name)


def current(holder: Holder, pin: str, prompt: str = CURRENT) -> Step:
    return (prompt, lambda: pin + holder.fob.fresh(), "PIN + code")


@pytest.mark.usefixtures("passwd_changes_pins")
def test_passwd_changes_the_pin_and_refuses_earlier_ones(newcomer: Holder) -> None:
    third = "5813"
    with newcomer.host.configured("[pin]\nhistory = 2\n"):
        newcomer.enrol()
        steps = [current(newcomer, PIN), (CHOOSE, PIN, "the PIN of now"), (CHOOSE, OTHER, "a PIN"), (AGAIN, OTHER, "the same")]
        check_golden("passwd", play(passwd(newcomer), steps, "updated successfully"))
        steps = [current(newcomer, OTHER), (CHOOSE, PIN, "an earlier PIN"), (AGAIN, PIN, "the same")]
        steps += [(CHOOSE, third, "a PIN"), (AGAIN, third, "the same")]
        check_golden("passwd-earlier-pin", play(passwd(newcomer), steps, "updated successfully"))
        refuse(newcomer.ssh(), [password(), *with_pin(newcomer, PIN)])
        play(newcomer.ssh(), [password(), *with_pin(newcomer, third)], SHELL)
        steps = [current(newcomer, third), (CHOOSE, PIN, "one of three PINs ago"), (AGAIN, PIN, "the same")]
        play(passwd(newcomer), steps, "updated successfully")


@pytest.mark.usefixtures("passwd_changes_pins")
def test_passwd_speaks_french(holder: Holder) -> None:
    french = [(FRENCH_CHOOSE, OTHER, "a PIN"), (FRENCH_AGAIN, OTHER, "the same")]
    with holder.host.configured('language = "fr"\n'):
        check_golden(
            "passwd-french", play(passwd(holder), [current(holder, PIN, FRENCH_CURRENT), *french], "updated successfully")
        )
        wrong = play(passwd(holder), [current(holder, PIN, FRENCH_CURRENT)], "manipulation error")
        check_golden("passwd-refused-french", wrong)


def test_a_change_wants_the_current_passcode(holder: Holder) -> None:
    called = holder.host.call_pam("chauthtok", holder.name, "2847" + holder.fob.fresh(), OTHER, OTHER)
    assert (called["code"], called["asked"]) == (AUTHTOK_ERR, ["Current passcode (PIN + code): "])
    assert called["said"][0].startswith("Access denied.")
    assert holder.host.authenticate(holder.name, PIN, holder.fob.fresh())[0] == SUCCESS


def test_a_holder_without_a_pin_chooses_one_in_a_change(newcomer: Holder) -> None:
    assert newcomer.host.call_pam("chauthtok", newcomer.name, newcomer.fob.fresh(), PIN, PIN)["code"] == SUCCESS
    assert newcomer.host.authenticate(newcomer.name, PIN, newcomer.fob.fresh())[0] == SUCCESS


# --- old ones ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def old(holder: Holder) -> Holder:
    """Someone who chose their PIN a month ago."""
    holder.host.run("runuser", "-u", "_arena", "--", "python3", "-c", AGE, holder.name)
    return holder


def test_an_old_pin_is_changed_after_a_right_passcode_alone(old: Holder) -> None:
    with old.host.configured('[pin]\nexpires = "30d"\n'):
        assert "expired" not in refuse(old.ssh(), [password(), *with_pin(old, OTHER)])
        chosen: list[Step] = [(CHOOSE, PIN, "the same PIN as before"), (CHOOSE, OTHER, "a PIN"), (AGAIN, OTHER, "the same")]
        check_golden("ssh-pin-expired", play(old.ssh(), [password(), *with_pin(old, PIN), *chosen], SHELL))
        play(old.ssh(), [password(), *with_pin(old, OTHER)], SHELL)


def test_an_old_pin_is_changed_at_sudo_in_french(old: Holder) -> None:
    steps: list[Step] = [password(), (FRENCH_PIN, PIN, "PIN"), (FRENCH_CODE, old.fob.fresh, "code")]
    steps += [(FRENCH_CHOOSE, OTHER, "a PIN"), (FRENCH_AGAIN, OTHER, "the same")]
    with old.host.configured('language = "fr"\n[pin]\nexpires = "30d"\n'):
        check_golden("sudo-pin-expired-french", play(old.host.sudo(old.name, "echo", SHELL), steps, SHELL))


def test_who_does_not_change_an_old_pin_stays_outside(old: Holder) -> None:
    with old.host.configured('[pin]\nexpires = "30d"\n'):
        play(old.ssh(), [password(), *with_pin(old, PIN)], CHOOSE)
        refuse(old.ssh(), [password(), *with_pin(old, PIN), *[(CHOOSE, "1234", "an easy PIN")] * 5])


# --- those made for the holder ----------------------------------------------------------------------------------------


def made_in(dialogue: Dialogue) -> str:
    """The PIN that is shown."""
    return MADE.findall(dialogue.transcript)[-1]


def test_the_system_makes_the_pin_and_shows_it_until_it_is_confirmed(newcomer: Holder) -> None:
    with newcomer.host.configured('[pin]\nchoice = "system"\n'):
        dialogue = newcomer.ssh()
        steps = [password(), *first_code(newcomer), (AGAIN, "9999", "another"), (AGAIN, lambda: made_in(dialogue), "the PIN")]
        told = play(dialogue, [*steps, (NEW, lambda: made_in(dialogue) + newcomer.fob.fresh(), "PIN + new code")], SHELL)
    shown = set(MADE.findall(told))
    assert len(shown) == 1
    pin = shown.pop()
    check_golden("ssh-pin-made", told.replace(pin, "NNNN"))
    play(newcomer.ssh(), [password(), *with_pin(newcomer, pin)], SHELL)


def test_either_makes_one_for_who_leaves_it_empty_and_takes_anothers_own(choosing: Host) -> None:
    lazy, own = (Holder(choosing, kind="hotp") for _ in range(2))
    with choosing.configured('language = "fr"\n[pin]\nchoice = "either"\n'):
        dialogue = choosing.su(lazy.name)
        steps: list[Step] = [ROOT, (FRENCH_PIN, "", ""), (FRENCH_CODE, lazy.fob.fresh, "code"), (FRENCH_CHOOSE, "", "")]
        steps += [(FRENCH_AGAIN, lambda: made_in(dialogue), "the PIN")]
        told = play(dialogue, [*steps, (FRENCH_NEW, lambda: made_in(dialogue) + lazy.fob.fresh(), "both")], "root\r?\n")
        check_golden("su-pin-made-french", told.replace(made_in(dialogue), "NNNN"))
        own.enrol()
