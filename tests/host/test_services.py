"""Policy per service, over sshd, login, sudo and su: who is asked where, in what manner, and in whose words."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from holders import (
    ASK_PIN,
    PASSWORD_PROMPT,
    PIN,
    REFUSED,
    ROOT,
    ROOT_PASSWORD,
    SHELL,
    Holder,
    Step,
    check_golden,
    password,
    play,
    refuse,
)
from hosts import PASSWORD, Dialogue, Host

ALL = frozenset({"ssh", "login", "sudo", "su"})
PROGRAMS: dict[str, tuple[Callable[[Host, str], Dialogue], str, str]] = {
    "ssh": (lambda host, name: host.ssh(name, "echo", SHELL), PASSWORD, SHELL),
    "login": (Host.login, PASSWORD, r"@\S+\$ "),
    "sudo": (lambda host, name: host.sudo(name, "echo", SHELL), PASSWORD, SHELL),
    "su": (Host.su, ROOT_PASSWORD, "root\r?\n"),
}
OWN_TEXTS = """
[service.sshd]
language = "fr"
[service.sshd.texts]
pin = "Code PIN de l’académie : "
passcode = "Six chiffres de la clé bleue : "
[service.su]
language = "fr"
[service.su.texts]
denied = "Refusé. Appelez le 5555 et citez {ref}."
"""


def who_asks(host: Host, name: str, programs: frozenset[str] = ALL) -> set[str]:
    """The programs that ask for more than a password; the others let in by it."""
    asking = set()
    for program in sorted(programs):
        start, secret, end = PROGRAMS[program]
        with start(host, name) as dialogue:
            dialogue.expect(PASSWORD_PROMPT)
            dialogue.send(secret)
            if dialogue.expect(ASK_PIN, end, REFUSED) != 1:
                assert dialogue.transcript.endswith("leave empty): ")
                asking.add(program)
    return asking


@pytest.mark.parametrize(
    ("lines", "asking"),
    [
        ('[service.sshd]\nmode = "off"\n', ALL - {"ssh"}),
        ('[service.default]\nmode = "off"\n[service.sudo]\nmode = "enforce"\n', {"sudo"}),
    ],
    ids=["off-at-sshd", "on-at-sudo"],
)
def test_each_service_asks_or_not(holder: Holder, lines: str, asking: set[str]) -> None:
    with holder.host.configured(lines):
        assert who_asks(holder.host, holder.name) == asking


@contextmanager
def group(host: Host, name: str, *members: str) -> Iterator[None]:
    """A group of the host, for as long as a test."""
    host.run("groupadd", name)
    for member in members:
        host.run("usermod", "--append", "--groups", name, member)
    try:
        yield
    finally:
        host.run("groupdel", name)


def test_only_the_members_of_the_groups_named_are_asked(holder: Holder) -> None:
    host = holder.host
    with group(host, "staff-online", holder.name), host.configured('[service.default]\ninclude_groups = ["staff-online"]\n'):
        assert who_asks(host, holder.name) == ALL
        assert who_asks(host, "carol") == set()
        host.run("gpasswd", "--delete", holder.name, "staff-online")
        assert who_asks(host, holder.name, frozenset({"ssh"})) == set()


def test_members_of_exempt_groups_are_not_asked(holder: Holder) -> None:
    host = holder.host
    with group(host, "robots", holder.name), host.configured('[service.sshd]\nexempt_groups = ["robots"]\n'):
        assert who_asks(host, holder.name) == ALL - {"ssh"}
        assert who_asks(host, "carol", frozenset({"ssh"})) == {"ssh"}


def test_people_without_a_key_are_let_by_only_where_that_is_configured(holder: Holder) -> None:
    host = holder.host
    with host.configured('[service.sshd]\nwithout_token = "ignore"\n'):
        assert who_asks(host, "carol") == ALL - {"ssh"}
        assert who_asks(host, holder.name, frozenset({"ssh"})) == {"ssh"}
        newcomer = Holder(host)
        assert who_asks(host, newcomer.name, frozenset({"ssh"})) == {"ssh"}


def test_su_asks_for_the_key_of_the_caller_or_of_the_target(holder: Holder) -> None:
    host, target = holder.host, Holder(holder.host, kind="hotp")
    target.enrol()
    end = rf"{target.name}\r?\n$"
    play(host.su(holder.name, target.name), [password(), *holder.steps()], end)
    refuse(host.su(holder.name, target.name), [password(), *target.steps()])
    with host.configured('[service.su]\nask = "target"\n'):
        play(host.su(holder.name, target.name), [password(), *target.steps()], end)
        refuse(host.su(holder.name, target.name), [password(), *holder.steps()])


@contextmanager
def sudo_asks(host: Host, setting: str) -> Iterator[None]:
    """sudo with a setting of sudoers(5)."""
    sudoers = host.root / "etc/sudoers.d/whose-password"
    sudoers.write_text(f"Defaults {setting}\n")
    try:
        yield
    finally:
        sudoers.unlink()


def test_sudo_asks_for_the_key_of_whose_password_it_asks(holder: Holder) -> None:
    """With targetpw the target's, with rootpw root's; the caller's own opens neither."""
    host, target = holder.host, Holder(holder.host, kind="hotp")
    target.enrol()
    command = ["sudo", "-k", "-u", target.name, "echo", SHELL]
    with sudo_asks(host, "targetpw"):
        play(host.dialogue(command, holder.name), [password(), *target.steps()], SHELL)
        refuse(host.dialogue(command, holder.name), [password(), *holder.steps()])
    with sudo_asks(host, "rootpw"):
        refuse(host.sudo(holder.name, "echo", SHELL), [ROOT, *holder.steps()])  # root has no key yet
        fob = host.give_fob("root", "K-root-of-sudo", kind="hotp")
        code, _, said = host.authenticate("root", "", fob.fresh(), PIN, PIN, PIN + fob.ahead())
        assert code == 0, said
        steps: list[Step] = [(ASK_PIN, PIN, "PIN"), (r"on your key\): ", fob.fresh, "code")]
        play(host.sudo(holder.name, "echo", SHELL), [ROOT, *steps], SHELL)
        host.arenactl("token", "unassign", fob.serial)
    play(host.sudo(holder.name, "echo", SHELL), [password(), *holder.steps()], SHELL)


def test_one_field_at_sshd_and_two_at_sudo(holder: Holder) -> None:
    host = holder.host
    with host.configured('[service.sshd]\nprompt = "joined"\n'):
        joined: list[Step] = [(r"Passcode \(PIN \+ code; first: code\): ", holder.passcode, "PIN + code")]
        check_golden("ssh-joined", play(holder.ssh(), [password(), *joined], SHELL))
        play(host.sudo(holder.name, "echo", SHELL), [password(), *holder.steps()], SHELL)
    with host.configured('[login]\nprompt = "joined"\n[service.sshd]\nprompt = "split"\n'):
        play(host.sudo(holder.name, "echo", SHELL), [password(), *joined], SHELL)
        play(holder.ssh(), [password(), *holder.steps()], SHELL)


def test_a_first_login_in_one_field(plain: Host) -> None:
    newcomer = Holder(plain)
    with plain.configured('[service.sshd]\nprompt = "joined"\n'):
        code: Step = (r"Passcode \(PIN \+ code; first: code\): ", newcomer.fob.fresh, "code")
        told = play(newcomer.ssh(), [password(), code, *newcomer.first_steps()[2:]], SHELL)
    check_golden("ssh-joined-first-login", told)


def test_sshd_speaks_french_in_its_own_words_and_the_console_english(holder: Holder) -> None:
    host = holder.host
    with host.configured(OWN_TEXTS):
        french: list[Step] = [("de l’académie : ", PIN, "code PIN"), ("de la clé bleue : ", holder.fob.fresh, "code")]
        check_golden("ssh-own-texts", play(holder.ssh(), [password(), *french], SHELL))
        english = play(host.login(holder.name), [password(), *holder.steps()], rf"{holder.name}@\S+\$ ")
        assert "PIN (first login: leave empty): ⟦PIN⟧" in english
        french = [(r"laisser vide\).: ", "2847", "code PIN"), (r"sur la clé\).: ", holder.fob.fresh, "code")]
        dialogue = host.su(holder.name)
        told = refuse(dialogue, [ROOT, *french])
    ref = re.search(r"Refusé\. Appelez le 5555 et citez (\w{8})\.", told)
    assert ref
    check_golden("su-own-texts-refused", told.replace(ref[1], "REFERENCE"))
    assert "right code, wrong PIN" in host.arenactl("why", ref[1]).stdout


def test_policies_that_contradict_are_told_at_configuration_time_and_never_at_the_prompt(holder: Holder) -> None:
    host = holder.host
    drop_in = host.root / "etc/arena/arena.toml.d/contradiction.toml"
    drop_in.write_text('[service.sshd]\ninclude_groups = ["sudo"]\nexempt_groups = ["sudo"]\n')
    checked = host.arenactl("config", "check", check=False)
    host.run("systemctl", "reload", "arenad.service")
    told = play(holder.ssh(), [password(), *holder.steps()], SHELL)
    drop_in.unlink()
    allowed = "service.sshd.include_groups, service.sshd.exempt_groups: allowed: a group in one of them; sudo is in both"
    assert checked.returncode == 1
    assert allowed in re.sub(r"\s+", " ", checked.stdout + checked.stderr)
    assert "sudo is in both" not in told
    assert allowed in host.journal("arenad.service")
