"""The reference that every denial ends in: read by the holder over ssh and at the console, explained to the desk."""

from collections.abc import Iterator

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, Holder, Step, doors, reference, refuse
from hosts import Dialogue, Host


@pytest.fixture(scope="module")
def quick(host: Host) -> Iterator[Host]:
    host.arena_first()
    with host.configured('[login]\ndeny_after = "0"\n[lock]\nafter = 100\nclose_after = 200\n[code]\nnext_code_after = 100\n'):
        yield host
    host.password_first()


@pytest.fixture
def holder(quick: Host) -> Holder:
    one = Holder(quick, kind="hotp")
    one.enrol()
    return one


def start(host: Host, program: str, name: str) -> Dialogue:
    return host.ssh(name) if program == "ssh" else host.login(name)


def why(host: Host, dialogue: Dialogue, steps: list[Step]) -> str:
    """Be refused; what the desk reads about the reference that was shown."""
    refuse(dialogue, steps)
    return host.arenactl("why", reference(dialogue.transcript)).stdout


@pytest.mark.parametrize("program", ["ssh", "login"])
def test_the_desk_reads_what_the_holder_is_not_told(holder: Holder, program: str) -> None:
    host, fob, name = holder.host, holder.fob, holder.name
    code: Step = (ASK_CODE, fob.fresh, "code")
    causes: list[tuple[str, list[Step]]] = [
        ("right code, wrong PIN", [(ASK_PIN, "2847", "a wrong PIN"), code]),
        ("used", [(ASK_PIN, PIN, "PIN"), (ASK_CODE, fob.used, "a used code")]),
        ("right PIN, wrong code", [(ASK_PIN, PIN, "PIN"), (ASK_CODE, "000000", "a wrong code")]),
        ("no passcode", [(ASK_PIN, "", ""), (ASK_CODE, "", "")]),
    ]
    for cause, steps in causes if program == "ssh" else causes[1:3]:  # login waits 3 s after each
        told = why(host, start(host, program, name), steps)
        assert cause in told
        assert name in told
        assert ("127.0.0.1" in told) == (program == "ssh")


def test_nobody_learns_from_a_reference_whether_a_name_exists(holder: Holder) -> None:
    host = holder.host
    guess: list[Step] = [(ASK_PIN, "7931", "a guess"), (ASK_CODE, "000000", "a guess")]
    dialogues = {"wrong": holder.ssh(), "no key": host.ssh("erin"), "unknown name": host.login("no-such-name")}
    for cause, dialogue in dialogues.items():
        told = why(host, dialogue, guess)
        assert cause in told
        assert "no-such-name" not in told
    references = [reference(dialogue.transcript) for dialogue in dialogues.values()]
    assert len(set(references)) == 3
    assert {len(one) for one in references} == {8}


def test_a_drift_that_is_too_far_and_a_disabled_key_are_told(holder: Holder) -> None:
    host, fob = holder.host, holder.fob
    host.arenactl("token", "disable", fob.serial)
    assert "disabled" in why(host, holder.ssh(), holder.steps())
    host.arenactl("token", "enable", fob.serial)
    doors(holder)["ssh"].enter(holder.steps())
    fob.ahead(10)
    assert "resync" in why(host, holder.ssh(), holder.steps())


def test_a_reference_that_was_never_given_is_not_found(quick: Host) -> None:
    done = quick.arenactl("why", "00000000", check=False)
    assert done.returncode == 4
