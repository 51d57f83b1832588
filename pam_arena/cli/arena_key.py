"""arena-key: the holder's own command. It asks what arenad asks, as the user who runs it, and shows what arenad says.

Exit: 0 done, 1 refused, 2 usage, 3 service down. What arena-key says itself is in two languages, like the module's text:
only arenad knows which one is configured.
"""

import getpass
import os
import pwd
import sys

import click

from pam_arena.client import Client
from pam_arena.errors import LocalProtocolError, ProtocolError, ServiceDown
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

from .group import Group, survive_any_locale

SERVICE = "arena-key"  # its section in arena.toml is [service.arena-key]
_DONE, _REFUSED, _DOWN = 0, 1, 3
_PAM_SUCCESS, _PAM_SYSTEM_ERR, _PAM_AUTHINFO_UNAVAIL, _PAM_IGNORE = 0, 4, 9, 25  # security/_pam_types.h
_UNAVAILABLE = "OTP unavailable / OTP indisponible"
_NOT_CHANGED = "PIN not changed / Code PIN non modifié"
_NOT_ASKED = "No PIN is asked of you here / Aucun code PIN ne vous est demandé ici"
_START = "systemctl start arenad.socket arenad.service"
_JOURNAL = "journalctl -u arenad.service -n 20"


@click.group(cls=Group)
def main() -> None:
    """Look after your own OTP key. See arena-key(1)."""
    survive_any_locale()


@main.command()
def pin() -> None:
    """Change your PIN: the current passcode, then the new PIN twice, from the terminal or lines on stdin."""
    sys.exit(change_pin(Client()))


def change_pin(client: Client) -> int:
    """Change the PIN of whoever runs this; returns the exit status."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return _refuse(f"uid {uid} has no name on this system: getent passwd {uid}")
    person = _Person()
    try:
        code = client.converse(Start(Operation.CHANGE_PIN, SERVICE, name, uid=uid), person.answer).code
    except LocalProtocolError as error:  # an answer too long, or none
        return _refuse(f"{_NOT_CHANGED}: {error}")
    except (ServiceDown, ProtocolError) as error:
        return _tell_down(str(error) if _START in str(error) else f"{error}: {_START}; {_JOURNAL}")
    if code in (_PAM_SYSTEM_ERR, _PAM_AUTHINFO_UNAVAIL):
        return _tell_down(f"{_START}; {_JOURNAL}")
    if code == _PAM_IGNORE:
        return _refuse(_NOT_ASKED)
    if code != _PAM_SUCCESS:
        return _refuse("" if person.was_told else _NOT_CHANGED)
    return _DONE


def _tell_down(remedy: str) -> int:
    click.echo(f"{_UNAVAILABLE}\n{remedy}", err=True)
    return _DOWN


def _refuse(text: str) -> int:
    if text:
        click.echo(text, err=True)
    return _REFUSED


class _Person:
    """Who is asked: at the terminal, without an echo, or by lines on stdin."""

    def __init__(self) -> None:
        self.was_told = False  # why it was refused
        self._at_terminal = sys.stdin.isatty()

    def answer(self, style: Style, text: str) -> Secret | None:
        """What the person answers, and None for what wants no answer, or got none."""
        if style in (Style.INFO, Style.ERROR):
            self.was_told = self.was_told or style is Style.ERROR
            click.echo(text, err=style is Style.ERROR)
            return None
        if not self._at_terminal:
            click.echo(text, err=True)
            line = sys.stdin.buffer.readline()
            return Secret(line.rstrip(b"\r\n")) if line else None
        try:
            typed = getpass.getpass(text) if style is Style.HIDDEN else input(text)
        except EOFError:
            return None
        return Secret(typed.encode("utf-8", "surrogateescape"))
