"""arena-key: the holder's own command. It asks what arenad asks, as the user who runs it, and shows what arenad says.

Exit: 0 done, 1 refused, 2 usage, 3 service down. What arena-key says itself is in two languages, like the module's text:
only arenad knows which one is configured.
"""

import getpass
import os
import pwd
import sys
from typing import NoReturn

import click

from pam_arena.client import Client
from pam_arena.errors import LocalProtocolError, ProtocolError, ServiceDown
from pam_arena.protocol import SERIAL_MAX, Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

from .group import Group, survive_any_locale

SERVICE = "arena-key"  # its section in arena.toml is [service.arena-key]
_DONE, _REFUSED, _DOWN = 0, 1, 3
_PAM_SUCCESS, _PAM_SYSTEM_ERR, _PAM_AUTHINFO_UNAVAIL, _PAM_IGNORE = 0, 4, 9, 25  # security/_pam_types.h
_UNAVAILABLE = "OTP unavailable / OTP indisponible"
_REFUSED_TEXT = "Refused / Refusé"
_NOT_CHANGED = "PIN not changed / Code PIN non modifié"
_NOT_ASKED = "No PIN is asked of you here / Aucun code PIN ne vous est demandé ici"
_START = "systemctl start arenad.socket arenad.service"
_JOURNAL = "journalctl -u arenad.service -n 20"
_user = click.option("--user", metavar="USER", help="As root: for this user.")


@click.group(cls=Group)
def main() -> None:
    """Look after your own OTP key. See arena-key(1)."""
    survive_any_locale()


@main.command()
@_user
def status(user: str | None) -> None:
    """What you have: keys, PIN, requests, emergency codes left."""
    _end(Operation.STATUS, user)


@main.command()
@click.argument("serial", required=False, default="")
@_user
def request(serial: str, user: str | None) -> None:
    """Ask for the activation of the key with this SERIAL on its back: two codes in a row show that you have it."""
    _end(Operation.REQUEST, user, serial)


@main.command()
def pin() -> None:
    """Change your PIN: the current passcode, then the new PIN twice, from the terminal or lines on stdin."""
    sys.exit(change_pin(Client()))


@main.command()
@click.argument("serial", required=False, default="")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_user
def lost(serial: str, yes: bool, user: str | None) -> None:
    """Disable a key that you lost, at once: the one with this SERIAL, or the only one that you have."""
    _end(Operation.LOST, user, serial, confirmed=yes)


@main.command()
@_user
def codes(user: str | None) -> None:
    """New emergency codes, shown once; they replace the older ones. It asks for your current passcode."""
    _end(Operation.CODES, user)


def _end(operation: Operation, user: str | None, serial: str = "", *, confirmed: bool = False) -> NoReturn:
    if len(serial.encode("utf-8", "surrogateescape")) > SERIAL_MAX:
        raise click.UsageError(f"SERIAL: a serial has {SERIAL_MAX} characters at most")
    sys.exit(settle(Client(), operation, serial, user, confirmed=confirmed))


def change_pin(client: Client) -> int:
    """Change the PIN of whoever runs this; returns the exit status."""
    return _converse(client, Operation.CHANGE_PIN, None, "", _Person(), _NOT_CHANGED)


def settle(client: Client, operation: Operation, serial: str = "", user: str | None = None, *, confirmed: bool = False) -> int:
    """Have something settled for whoever runs this, or, by root, for another user; returns the exit status.

    confirmed: what is asked before a key is disabled is answered with yes.
    """
    return _converse(client, operation, user, serial, _Person(confirmed=confirmed), _REFUSED_TEXT)


def _converse(client: Client, operation: Operation, user: str | None, serial: str, person: "_Person", refused: str) -> int:
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name if user is None else pwd.getpwnam(user).pw_name
    except (KeyError, ValueError):
        who = f"uid {uid}" if user is None else f"user {user!r}"
        return _refuse(f"{who} has no name on this system: getent passwd {uid if user is None else user}")
    try:
        code = client.converse(Start(operation, SERVICE, name, uid=uid, serial=serial), person.answer).code
    except LocalProtocolError as error:  # an answer too long, or none
        return _refuse(f"{refused}: {error}")
    except (ServiceDown, ProtocolError) as error:
        return _tell_down(str(error) if _START in str(error) else f"{error}: {_START}; {_JOURNAL}")
    if code in (_PAM_SYSTEM_ERR, _PAM_AUTHINFO_UNAVAIL):
        return _tell_down(f"{_START}; {_JOURNAL}")
    if code == _PAM_IGNORE:
        return _refuse(_NOT_ASKED)
    if code != _PAM_SUCCESS:
        return _refuse("" if person.was_told else refused)
    return _DONE


def _tell_down(remedy: str) -> int:
    click.echo(f"{_UNAVAILABLE}\n{remedy}", err=True)
    return _DOWN


def _refuse(text: str) -> int:
    if text:
        click.echo(text, err=True)
    return _REFUSED


class _Person:
    """Who is asked: at the terminal, without an echo, or by lines on stdin. confirmed: what is shown is answered with yes."""

    def __init__(self, *, confirmed: bool = False) -> None:
        self.was_told = False  # why it was refused
        self._confirmed = confirmed
        self._at_terminal = sys.stdin.isatty()

    def answer(self, style: Style, text: str) -> Secret | None:
        """What the person answers, and None for what wants no answer, or got none."""
        if style in (Style.INFO, Style.ERROR):
            self.was_told = self.was_told or style is Style.ERROR
            click.echo(text, err=style is Style.ERROR)
            return None
        if style is Style.SHOWN and self._confirmed:
            return Secret(b"yes")
        if not self._at_terminal:
            click.echo(text, err=True)
            line = sys.stdin.buffer.readline()
            return Secret(line.rstrip(b"\r\n")) if line else None
        try:
            typed = getpass.getpass(text) if style is Style.HIDDEN else input(text)
        except EOFError:
            return None
        return Secret(typed.encode("utf-8", "surrogateescape"))
