"""What arenactl runs on this host itself, as root: parts of arenad, with a passphrase from the terminal or stdin."""

import getpass
import subprocess
import sys

import click

_ARENAD = "/usr/sbin/arenad"


def run_arenad(*words: str, given: str | None = None) -> str:
    """Run a part of arenad here, as what it needs to be; its complaint and exit status are ours, its words returned."""
    try:
        done = subprocess.run([_ARENAD, *words], input=given, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise click.ClickException(f"{_ARENAD}: {error.strerror}") from None
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip()


def read_passphrase(*, confirm: bool) -> str:
    """A passphrase: typed at the terminal (twice, with `confirm`), or else the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Same again: ") != first:
        raise click.ClickException("the two differ: nothing was written")
    return first
