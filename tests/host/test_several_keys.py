"""A holder with three keys: one PIN, any of the keys, and each of them with a life of its own."""

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, ROOT, SHELL, Holder, Step, check_golden, password, play, refuse
from hosts import AUTH_ERR, SUCCESS, Fob, Host

NEXT = "Wait; next code alone: "
FRENCH_PIN, FRENCH_CODE = r"laisser vide\)\s: ", r"sur la clé\)\s: "


@pytest.fixture(scope="module")
def keyed(host: Host) -> Host:
    host.password_first()
    host.run("chpasswd", input="root:the root password\n")
    return host


@pytest.fixture
def holder(keyed: Host) -> Holder:
    """Someone with a PIN, and a fob with a display."""
    one = Holder(keyed)
    one.enrol()
    return one


@pytest.fixture
def second(holder: Holder) -> Fob:
    """A fob of theirs that has a button."""
    return holder.host.give_fob(holder.name, f"B-{holder.name}", kind="hotp")


@pytest.fixture
def third(holder: Holder) -> Fob:
    """A fob of theirs that shows eight digits."""
    return holder.host.give_fob(holder.name, f"E-{holder.name}", digits=8)


def with_code_of(fob: Fob, label: str = "code") -> list[Step]:
    """What a login asks, answered from this key."""
    return [(ASK_PIN, PIN, "PIN"), (ASK_CODE, fob.fresh, label)]


def test_each_key_opens_every_door_with_the_one_pin(holder: Holder, second: Fob, third: Fob) -> None:
    host, name = holder.host, holder.name
    play(holder.ssh(), [password(), *with_code_of(second)], SHELL)
    check_golden("ssh-eight-digits", play(holder.ssh(), [password(), *with_code_of(third, "eight digits")], SHELL))
    play(host.login(name), [password(), *with_code_of(second)], r"\$ ")
    play(host.sudo(name, "echo", SHELL), [password(), *with_code_of(holder.fob)], SHELL)
    play(host.su(name), [ROOT, *with_code_of(second)], "root\r?\n")
    french: list[Step] = [(FRENCH_PIN, "", ""), (FRENCH_CODE, lambda: PIN + third.fresh(), "PIN + eight digits")]
    with host.configured('language = "fr"\n'):
        check_golden("su-eight-digits-french", play(host.su(name), [ROOT, *french], "root\r?\n"))


def test_a_code_of_one_key_is_spent_for_that_key_alone(holder: Holder, second: Fob, third: Fob) -> None:
    host, name = holder.host, holder.name
    for fob in (second, third, holder.fob):
        assert host.authenticate(name, PIN, fob.fresh())[0] == SUCCESS
    for fob in (second, third, holder.fob):
        assert host.authenticate(name, PIN, fob.used())[0] == AUTH_ERR


def test_a_new_key_asks_for_the_pin_that_its_holder_knows(holder: Holder, second: Fob) -> None:
    refuse(holder.ssh(), [password(), (ASK_PIN, "", ""), (ASK_CODE, second.fresh, "code alone")])
    play(holder.ssh(), [password(), *with_code_of(second)], SHELL)


@pytest.mark.usefixtures("second", "third")
def test_after_failures_the_next_code_is_that_of_the_same_key(holder: Holder, second: Fob, third: Fob) -> None:
    host, name = holder.host, holder.name
    for _ in range(3):
        host.authenticate(name, PIN, "000000")
    assert host.authenticate(name, PIN, second.fresh(), holder.fob.fresh())[0] == AUTH_ERR
    wanted: list[Step] = [(NEXT, second.fresh, "next code of the same key")]
    play(host.sudo(name, "echo", SHELL), [password(), *with_code_of(second), *wanted], SHELL)


def test_a_disabled_key_does_not_open_and_the_others_do(holder: Holder, second: Fob, third: Fob) -> None:
    host, name = holder.host, holder.name
    host.arenactl("token", "disable", second.serial)
    assert host.authenticate(name, PIN, second.fresh())[0] == AUTH_ERR
    assert host.authenticate(name, PIN, third.fresh())[0] == SUCCESS
    host.arenactl("token", "enable", second.serial)
    assert host.authenticate(name, PIN, second.fresh())[0] == SUCCESS


@pytest.mark.usefixtures("second", "third")
def test_a_fourth_key_is_refused(holder: Holder) -> None:
    host, serial = holder.host, f"F-{holder.name}"
    host.arenactl("token", "add", "--serial", serial)
    done = host.arenactl("token", "assign", serial, holder.name, check=False)
    assert f"{holder.name} has 3 tokens already" in done.stderr
