"""A holder with three keys and one PIN: each opens every door, and a lost one alone is shut."""

from collections.abc import Iterator

import pytest
from holders import ASK_CODE, ASK_PIN, PIN, SHELL, Holder, Step, password, play, refuse
from hosts import AUTH_ERR, SUCCESS, Fob, Host


@pytest.fixture
def holder(host: Host) -> Iterator[Holder]:
    host.password_first()
    one = Holder(host)
    one.enrol()
    with host.configured('[login]\ndeny_after = "0"\n'):
        yield one


def steps(fob: Fob, pin: str = PIN) -> list[Step]:
    return [password(), (ASK_PIN, pin, "PIN"), (ASK_CODE, fob.fresh, "code")]


def test_three_keys_open_every_door_with_one_pin(holder: Holder) -> None:
    host, name = holder.host, holder.name
    eight = host.give_fob(name, f"K2-{name}", kind="hotp", digits=8)
    button = host.give_fob(name, f"K3-{name}", kind="hotp")
    for fob in (eight, button, holder.fob):
        play(holder.ssh(), steps(fob), SHELL)
    for fob in (button, eight):
        play(host.login(name), steps(fob), r"\$ ")
        play(host.sudo(name, "echo", SHELL), steps(fob), SHELL)
    root: Step = (r"[Pp]assword: ", "the root password", "root's password")
    host.run("chpasswd", input="root:the root password\n")
    play(host.su(name), [root, *steps(eight)[1:]], r"root\r?\n")
    refuse(holder.ssh(), steps(button, "2847"))
    # A fourth has no place: the equal work of an attempt is that of three.
    host.arenactl("token", "add", "--serial", f"K4-{name}", "--type", "hotp", "--seed-file", "-", input="00" * 20 + "\n")
    assert host.arenactl("token", "assign", f"K4-{name}", name, check=False).returncode == 1


def test_a_key_that_is_disabled_leaves_the_others_and_the_pin(holder: Holder) -> None:
    host, name = holder.host, holder.name
    second = host.give_fob(name, f"K2-{name}", kind="hotp")
    host.arenactl("token", "disable", holder.fob.serial)
    refuse(holder.ssh(), steps(holder.fob))
    play(holder.ssh(), steps(second), SHELL)
    host.arenactl("token", "enable", holder.fob.serial)
    play(holder.ssh(), steps(holder.fob), SHELL)


def test_a_code_of_one_key_is_not_spent_by_another(holder: Holder) -> None:
    host, name = holder.host, holder.name
    second = host.give_fob(name, f"K2-{name}", kind="hotp")
    for fob in (second, holder.fob):
        assert host.authenticate(name, PIN, fob.fresh())[0] == SUCCESS
        assert host.authenticate(name, PIN, fob.used())[0] == AUTH_ERR
