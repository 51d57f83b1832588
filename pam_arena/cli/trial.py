"""arenactl try: the real PAM conversation of a service, at this terminal, and what its answer means."""

import getpass
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pam_arena.protocol import Style
from pam_arena.secret import Secret

from .desk_client import DeskClient, Failure
from .host.configuration import read_configuration
from .host.pam_files import MODULE, PAM_FOLDER, read_stack
from .host.pam_report import section_of, what_is_asked
from .output import Output, format_option

if TYPE_CHECKING:
    from .host.pam_talk import Verdict

_REFUSED, _DOWN, _NOT_FOUND = 1, 3, 4
_WARNING = "This is a real attempt: it uses the code up, and a failure counts like one at the door."

# What PAM's codes mean to whoever set the stack up (security/_pam_types.h).
_CODES = {
    0: ("yes", ""),
    3: ("a module failed", "journalctl -n 20"),
    4: ("a module failed, or a line of the stack is wrong", "arenactl doctor; journalctl -n 20"),
    6: ("permission denied", "see the account lines of the service"),
    7: ("no: something that was typed is wrong", ""),
    9: ("arenad gave no answer", "systemctl start arenad.socket arenad.service; journalctl -u arenad -n 20"),
    10: ("PAM knows no such user", "getent passwd USER"),
    11: ("too many attempts", "wait, then try again"),
    12: ("the password is over", "passwd USER"),
    13: ("the account is over", "chage -l USER"),
    19: ("the conversation ended: nothing was typed", ""),
    28: ("a module is missing, or its name is wrong", "arenactl doctor"),
}
_LOGIN = {
    "sshd": "sshd opens the session",
    "login": "login opens the session",
    "sudo": "sudo looks into sudoers, and runs the command",
    "su": "su becomes root",
}


class Person:
    """Who sits at the terminal; or lines on stdin, for programs."""

    def __init__(self) -> None:
        self._at_terminal = sys.stdin.isatty()

    def answer(self, style: Style, text: str) -> Secret | None:
        """Show what PAM says, and return what was typed; None if nothing is wanted, or nobody is there."""
        if style in (Style.INFO, Style.ERROR):
            click.echo(text, err=True)
            return None
        if not self._at_terminal:
            click.echo(text, err=True)
            line = sys.stdin.buffer.readline()
            return Secret(line.rstrip(b"\r\n")) if line else None
        typed = getpass.getpass(text) if style is Style.HIDDEN else input(text)
        return Secret(typed.encode("utf-8", "surrogateescape"))


@click.command("try")
@click.argument("service")
@click.argument("user")
@click.option("--alone", is_flag=True, help="pam_arena by itself, also where the service's file does not name it yet.")
@format_option
def try_service(service: str, user: str, alone: bool, output: Output) -> None:
    """Hold the conversation that a login of USER at SERVICE has, and explain its answer."""
    if os.geteuid() != 0:
        raise click.ClickException("only root may hold another's conversation: sudo arenactl try")
    click.echo(_WARNING, err=True)
    config = read_configuration()
    verdict = hold_trial(service, user, config, alone=alone)
    output.record(explain(verdict, service, user, alone=alone))
    if not verdict.opened:
        sys.exit(_DOWN if verdict.auth == 9 else _REFUSED)


def hold_trial(service: str, user: str, config: Mapping[str, Any] | None, *, alone: bool) -> "Verdict":
    """Hold the conversation at the terminal; ends the command where there is no such service, user or line."""
    # python-pam is wanted here alone.
    from .host.pam_talk import PamTrouble, caller_at, hold

    asks_caller = config is not None and section_of(config, service)["ask"] == "caller"
    tty = os.ttyname(0) if sys.stdin.isatty() else ""
    try:
        caller = caller_at(service, user, asks_caller, tty)
    except KeyError:
        raise Failure(f"no user {user!r} on this system: getent passwd {user}", _NOT_FOUND) from None
    try:
        if alone:
            with tempfile.TemporaryDirectory() as folder:
                lines = f"auth requisite {MODULE}\naccount required pam_permit.so\n"
                Path(folder, service).write_text(lines)
                Path(folder, "other").write_text("auth required pam_deny.so\n")
                return hold(caller, Person().answer, Path(folder))
        _say_what_comes(service, user, config)
        return hold(caller, Person().answer)
    except PamTrouble as trouble:
        raise Failure(str(trouble), _REFUSED) from None


def _say_what_comes(service: str, user: str, config: Mapping[str, Any] | None) -> None:
    if "/" in service or not (PAM_FOLDER / service).is_file():
        raise Failure(f"there is no service {service!r}: ls {PAM_FOLDER}", _NOT_FOUND)
    stack = read_stack(service)
    if not any(entry.is_arena for entry in stack.entries):
        raise Failure(
            f"{service} does not ask for a code: arenactl pam enable {service};"
            f" before that: arenactl try --alone {service} {user}",
            _REFUSED,
        )
    click.echo(f"{service}: {what_is_asked(stack, config)}", err=True)


def explain(verdict: "Verdict", service: str, user: str, *, alone: bool) -> dict[str, Any]:
    """PAM's answer in words, what pam_arena decided, and what a real login would do next."""
    code = verdict.auth if verdict.account in (None, 0) else verdict.account
    words, remedy = _CODES.get(code or 0, (verdict.words, "journalctl -n 20"))
    found = {"what": "", "remedy": ""}
    if verdict.ref:
        try:
            found = DeskClient().get("/why/", verdict.ref)
        except Failure as failure:
            found = {"what": f"unknown: {failure.message}", "remedy": f"arenactl why {verdict.ref}"}
    if verdict.opened:
        after = "nothing more: pam_arena said yes" if alone else _LOGIN.get(service, "goes on: the door is open")
    elif verdict.auth == 0:
        after = "refuses: auth said yes, and account no"
    else:
        after = "refuses, and asks again or ends"
    return {
        "service": service,
        "user": user,
        "opened": verdict.opened,
        "PAM": f"{code} ({verdict.words}): {words}",
        "pam_arena": found["what"]
        or ("was content" if verdict.opened else "told no reference: another line refused, or it failed"),
        "ref": verdict.ref,
        "remedy": (found["remedy"] or remedy).replace("USER", user),
        "a real login": after,
    }
