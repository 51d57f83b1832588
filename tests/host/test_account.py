"""PAM's account phase: refuses a holder whose keys are all disabled, passes over who has none, and never asks or explains."""

from collections.abc import Iterator

import pytest
from holders import ROOT, SHELL, Holder, password, play
from hosts import AUTHINFO_UNAVAIL, SERVICES, SUCCESS, Dialogue, Host

PERM_DENIED, IGNORED = 6, 7  # the second is what pam_deny says, whose turn comes where pam_arena is not asked


@pytest.fixture(scope="module")
def host_with_account(host: Host) -> Host:
    host.password_first()
    host.run("chpasswd", input="root:the root password\n")
    host.pam_service(
        "account-then-deny",
        "account [success=done ignore=ignore default=die] pam_arena.so\naccount required pam_deny.so\n",
    )
    return host


@pytest.fixture
def holder(host_with_account: Host) -> Holder:
    return Holder(host_with_account, kind="hotp")


def account(host: Host, user: str) -> int:
    """What the account phase comes to; it says nothing, whoever it is about."""
    called = host.call_pam("acct_mgmt", user, service="account-then-deny")
    assert (called["asked"], called["said"]) == ([], [])
    return int(called["code"])


def test_a_holder_with_a_key_that_works_passes_with_a_pin_or_without(holder: Holder) -> None:
    assert account(holder.host, holder.name) == SUCCESS
    holder.enrol()
    assert account(holder.host, holder.name) == SUCCESS


def test_a_holder_is_refused_when_the_last_key_is_disabled(holder: Holder) -> None:
    host, second = holder.host, holder.host.give_fob(holder.name, f"S-{holder.name}")
    host.arenactl("token", "disable", holder.fob.serial)
    assert account(host, holder.name) == SUCCESS
    host.arenactl("token", "disable", second.serial)
    assert account(host, holder.name) == PERM_DENIED
    host.arenactl("token", "enable", holder.fob.serial)
    assert account(host, holder.name) == SUCCESS


def test_codes_of_the_desk_stand_in_for_a_disabled_key(holder: Holder) -> None:
    holder.enrol()
    holder.host.arenactl("token", "disable", holder.fob.serial)
    holder.host.arenactl("code", "temporary", holder.name)
    assert account(holder.host, holder.name) == SUCCESS


@pytest.mark.parametrize("name", ["root", "erin", "no-such-name"])
def test_who_has_no_key_is_passed_over(host_with_account: Host, name: str) -> None:
    assert account(host_with_account, name) == IGNORED


@pytest.mark.parametrize("lines", ['mode = "off"', 'mode = "observe"', 'exempt_groups = ["sudo"]', 'include_groups = ["adm"]'])
def test_who_is_not_asked_is_passed_over(holder: Holder, lines: str) -> None:
    holder.host.arenactl("token", "disable", holder.fob.serial)
    with holder.host.configured(f"[service.account-then-deny]\n{lines}\n"):
        assert account(holder.host, holder.name) == IGNORED
    assert account(holder.host, holder.name) == PERM_DENIED


def test_without_arenad_everyone_is_refused_in_silence(holder: Holder) -> None:
    holder.host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    codes = {account(holder.host, name) for name in (holder.name, "erin", "no-such-name")}
    holder.host.run("systemctl", "start", "arenad.socket", "arenad.service")
    assert codes == {AUTHINFO_UNAVAIL}


# --- a line in account alone: passwords and SSH keys as before pam_arena ----------------------------------------------


@pytest.fixture
def account_alone(host_with_account: Host) -> Iterator[Host]:
    host = host_with_account
    host.without_arena()
    for service in SERVICES:
        path = host.root / "etc/pam.d" / service
        path.write_text("account required pam_arena.so\n" + path.read_text())
    yield host
    host.password_first()


def ssh_by_key(holder: Holder) -> Dialogue:
    """ssh with an SSH key, which is all that sshd wants here."""
    name = holder.name
    holder.host.shell(
        "test -f /root/account-key || ssh-keygen -q -t ed25519 -N '' -f /root/account-key;"
        f" install -d -o {name} ~{name}/.ssh; install -o {name} /root/account-key.pub ~{name}/.ssh/authorized_keys"
    )
    words = ["-i", "/root/account-key", "-o", "PreferredAuthentications=publickey", "-o", "NumberOfPasswordPrompts=1"]
    return holder.host.dialogue(["ssh", "-t", *words, f"{name}@127.0.0.1", "echo", SHELL])


def test_sshd_login_sudo_and_su_refuse_a_holder_whose_key_is_disabled(account_alone: Host) -> None:
    host, holder = account_alone, Holder(account_alone, kind="hotp")
    name = holder.name
    play(ssh_by_key(holder), [], SHELL)
    play(host.login(name), [password()], r"\$ ")
    play(host.sudo(name, "echo", SHELL), [password()], SHELL)
    play(host.su(name), [ROOT], "root\r?\n")
    host.arenactl("token", "disable", holder.fob.serial)
    refused = [
        play(ssh_by_key(holder), [], "Connection closed"),
        play(host.login(name), [password()], r"Permission denied"),
        play(host.sudo(name, "echo", SHELL), [password()], "account"),
        play(host.su(name), [ROOT], "Permission denied"),
    ]
    assert not any(word in told for told in refused for word in (SHELL, "PIN", "Access denied", "key"))
