"""arenactl backup and restore: a whole installation in one file, and back, on this host or another. For root, on the host."""

import json
import sys
from pathlib import Path

import click

from .local import read_passphrase, run_arenad
from .output import Output, format_option

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@format_option
def backup(file: Path, output: Output) -> None:
    """Save store, configuration and master key to FILE, under a passphrase; logins go on."""
    done = json.loads(run_arenad("backup", str(file.absolute()), given=read_passphrase(confirm=True) + "\n"))
    output.record({**done, "keep": "somewhere else, and the passphrase apart from it"})


@click.command()
@click.argument("file", type=_FILE)
@click.option("--replace", is_flag=True, help="Also where the store is not empty; it is kept aside.")
@click.option("--keep-config", is_flag=True, help="Leave this host's configuration as it is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def restore(file: Path, replace: bool, keep_config: bool, yes: bool, output: Output) -> None:
    """Bring the backup FILE back: no code that may have been used works after it."""
    if not yes and sys.stdin.isatty():
        click.confirm("Nobody can log in for a moment, and keys by counter wait for a resync. Go on?", abort=True)
    options = [name for name, wanted in (("--replace", replace), ("--keep-config", keep_config)) if wanted]
    passphrase = read_passphrase(confirm=False)
    done = json.loads(run_arenad("restore", str(file.absolute()), *options, given=passphrase + "\n"))
    waiting = "arenactl token list --state disabled, then arenactl token resync SERIAL"
    output.record({**done, **({"now": waiting} if done["wait_for_resync"] else {})})
