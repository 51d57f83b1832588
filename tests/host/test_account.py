"""The account phase, where an admin adds its line: it refuses those whose keys are all disabled, and never asks anything."""

from collections.abc import Iterator
from typing import Any

import pytest
from holders import SHELL, Holder, password, play
from hosts import SUCCESS, Dialogue, Host

PERM_DENIED, ACCT_EXPIRED = 6, 13  # security/_pam_types.h
LINE = "account required pam_arena.so\n"
# pam_arena's IGNORE lets the next line decide, which says so, and whose answer is none of pam_arena's own.
IGNORED = ACCT_EXPIRED
STACK = "account [success=done ignore=ignore default=die] pam_arena.so\naccount required pam_debug.so acct=acct_expired\n"


@pytest.fixture(scope="module")
def accounts(host: Host) -> Iterator[Host]:
    """sshd, sudo and login with the account line and no other of pam_arena's; sshd takes a key alone."""
    host.pam_service("accounts", STACK)
    host.without_arena()
    host.shell("rm -f /root/account-key*; ssh-keygen -q -t ed25519 -N '' -f /root/account-key")
    for service in ("sshd", "sudo", "login"):
        path = host.root / "etc/pam.d" / service
        path.write_text(LINE + path.read_text())
    yield host
    host.password_first()


@pytest.fixture
def holder(accounts: Host) -> Holder:
    one = Holder(accounts, kind="hotp")
    one.enrol()
    return one


def account(host: Host, name: str) -> int:
    """What pam_arena says of an account; never with a word."""
    called: dict[str, Any] = host.call_pam("acct_mgmt", name, service="accounts")
    code: int = called["code"]
    assert (called["asked"], called["said"]) == ([], ["acct=acct_expired"] if code == IGNORED else [])
    return code


def test_a_key_that_works_is_a_success_and_none_at_all_is_ignored(holder: Holder) -> None:
    host, serial = holder.host, holder.fob.serial
    assert account(host, holder.name) == SUCCESS
    assert account(host, "erin") == IGNORED
    assert account(host, "no-such-name") == IGNORED
    host.arenactl("token", "disable", serial)
    assert account(host, holder.name) == PERM_DENIED
    host.arenactl("code", "temporary", holder.name)
    assert account(host, holder.name) == SUCCESS


def test_one_key_that_works_is_enough_and_a_pin_is_not_asked_for(accounts: Host) -> None:
    newcomer = Holder(accounts, kind="hotp")
    second = accounts.give_fob(newcomer.name, f"K2-{newcomer.name}", kind="hotp")
    accounts.arenactl("token", "disable", newcomer.fob.serial)
    assert account(accounts, newcomer.name) == SUCCESS
    accounts.arenactl("token", "disable", second.serial)
    assert account(accounts, newcomer.name) == PERM_DENIED


def test_whoever_the_configuration_does_not_ask_is_ignored(holder: Holder) -> None:
    holder.host.arenactl("token", "disable", holder.fob.serial)
    for lines in ('mode = "off"\n', 'exempt_groups = ["sudo"]\n', 'mode = "observe"\n'):
        with holder.host.configured(f"[service.accounts]\n{lines}"):
            assert account(holder.host, holder.name) == IGNORED
    assert account(holder.host, holder.name) == PERM_DENIED


def test_without_arenad_nobody_is_let_by(holder: Holder) -> None:
    holder.host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    try:
        assert account(holder.host, holder.name) not in (SUCCESS, IGNORED)
        assert account(holder.host, "erin") not in (SUCCESS, IGNORED)
    finally:
        holder.host.run("systemctl", "start", "arenad.socket", "arenad.service")


def with_key(host: Host, name: str) -> Dialogue:
    """ssh by a key alone."""
    host.shell(f"install -d -o {name} ~{name}/.ssh; install -o {name} /root/account-key.pub ~{name}/.ssh/authorized_keys")
    options = ["-o", "PreferredAuthentications=publickey", "-i", "/root/account-key"]
    return host.dialogue(["ssh", *options, f"{name}@127.0.0.1", f"echo {SHELL}"])


def test_an_ssh_key_alone_does_not_open_for_a_holder_whose_keys_are_disabled(holder: Holder) -> None:
    host, name, serial = holder.host, holder.name, holder.fob.serial
    play(with_key(host, name), [], SHELL)
    play(with_key(host, "erin"), [], SHELL)
    host.arenactl("token", "disable", serial)
    told = play(with_key(host, name), [], "Connection closed|closed by")
    assert SHELL not in told
    assert "PIN" not in told
    host.arenactl("token", "enable", serial)
    play(with_key(host, name), [], SHELL)


def test_sudo_and_the_console_refuse_after_the_right_password(holder: Holder) -> None:
    host, name, serial = holder.host, holder.name, holder.fob.serial
    play(host.sudo(name, "echo", SHELL), [password()], SHELL)
    play(host.login(name), [password()], r"\$ ")
    host.arenactl("token", "disable", serial)
    assert SHELL not in play(host.sudo(name, "echo", SHELL), [password()], "sudo: [^\n]*account")
    play(host.login(name), [password()], "Permission denied|Login incorrect|Authentication failure")
