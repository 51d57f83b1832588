"""Next-tokencode mode, as people meet it: after failures, and with a key whose clock is off."""

from collections.abc import Iterator

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, Door, Holder, Step, check_golden, doors, play, reference, refuse
from hosts import AUTH_ERR, Host

NEXT = "Wait; next code alone: "
FRENCH_PIN, FRENCH_CODE = r"laisser vide\)\s: ", r"affiché sur la clé\)\s: "
FRENCH_NEXT = r"Patientez\s; code suivant, seul\s: "
WRONG: list[Step] = [(ASK_PIN, PIN, "PIN"), (ASK_CODE, "000000", "a wrong code")]


@pytest.fixture(scope="module")
def quick(host: Host) -> Iterator[Host]:
    """Arena first, so that a refusal comes without pam_unix's two seconds; arenad's own come at once too."""
    host.arena_first()
    host.run("chpasswd", input="root:the root password\n")
    with host.configured('[login]\ndeny_after = "0"\n'):
        yield host
    host.password_first()


@pytest.fixture
def holder(quick: Host) -> Holder:
    """Someone with a PIN and a fob whose display changes."""
    one = Holder(quick)
    one.enrol()
    return one


@pytest.fixture
def presser(quick: Host) -> Holder:
    """Someone with a PIN and a fob with a button."""
    one = Holder(quick, kind="hotp")
    one.enrol()
    return one


def fail(holder: Holder, door: Door) -> None:
    """Three failures: at ssh each over its own connection, at this host as one sudo allows them."""
    if door.name == "ssh":
        for _ in range(3):
            assert NEXT not in refuse(holder.ssh(), WRONG)
    else:
        play(holder.host.sudo(holder.name), WRONG * 3, "3 incorrect")


def next_code(holder: Holder) -> Step:
    return (NEXT, holder.fob.next, "next code")


@pytest.mark.parametrize("name", ["ssh", "login", "sudo", "su"])
def test_after_three_failures_the_very_next_code_opens_and_the_one_after_that_alone(presser: Holder, name: str) -> None:
    door = doors(presser)[name]
    fail(presser, door)
    check_golden(f"{name}-next-code", door.enter([*presser.steps(), next_code(presser)]))
    assert NEXT not in door.enter(presser.steps())


def test_the_holder_waits_for_the_display_in_french_too(holder: Holder) -> None:
    door = doors(holder)["ssh"]
    fail(holder, door)
    fresh: Step = (FRENCH_CODE, holder.fob.fresh, "code")
    steps: list[Step] = [(FRENCH_PIN, PIN, "PIN"), fresh, (FRENCH_NEXT, holder.fob.next, "next code")]
    with holder.host.configured('language = "fr"\n'):
        check_golden("ssh-next-code-french", door.enter(steps))


def test_a_guess_at_the_next_code_is_refused_and_the_desk_is_told(presser: Holder) -> None:
    door = doors(presser)["ssh"]
    fail(presser, door)
    dialogue = door.start()
    told = refuse(dialogue, [*presser.steps(), (NEXT, "000000", "a wrong code")])
    check_golden("ssh-next-code-refused", told)
    assert "next code" in presser.host.arenactl("why", reference(dialogue.transcript)).stdout
    door.enter([*presser.steps(), next_code(presser)])


@pytest.mark.parametrize(("name", "off"), [("ssh", 6), ("login", 9), ("sudo", 4)])
def test_a_clock_that_is_off_is_learnt_from_two_codes_in_a_row(holder: Holder, name: str, off: int) -> None:
    holder.fob.off, door = off, doors(holder)[name]
    assert NEXT in door.enter([*holder.steps(), next_code(holder)])
    assert NEXT not in door.enter(holder.steps())


def test_a_clock_that_is_off_by_more_is_the_desks(holder: Holder) -> None:
    holder.fob.off = 15
    dialogue = holder.ssh()
    refuse(dialogue, holder.steps())
    told = holder.host.arenactl("why", reference(dialogue.transcript)).stdout
    assert "wrong code" in told
    assert "resync" in told


def test_a_button_that_was_pressed_in_the_pocket_does_not_matter_up_to_ten_codes(presser: Holder) -> None:
    door = doors(presser)["ssh"]
    presser.fob.ahead(9)
    assert NEXT not in door.enter(presser.steps())
    presser.fob.ahead(10)
    assert presser.host.authenticate(presser.name, PIN, presser.fob.fresh())[0] == AUTH_ERR
