"""arenactl backup and restore: a whole installation in one file, and back, on this host or another."""

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import click

from .desk_client import DeskClient, Failure
from .local import read_passphrase, run_arenad
from .output import Output, format_option

_FILE = click.Path(path_type=Path)
_SECONDS = 3600.0  # until the first byte: the store is copied before
_REFUSED = 1


@click.command()
@click.argument("file", type=_FILE)
@format_option
def backup(file: Path, output: Output) -> None:
    """Save store, configuration and master key to FILE, under a passphrase; logins go on."""
    if os.path.lexists(file):
        raise Failure(f"{file} exists already: nothing was written", _REFUSED)
    passphrase = read_passphrase(confirm=True)
    try:
        with _written(file) as out:
            DeskClient(timeout=_SECONDS).save("/backup", body={"passphrase": passphrase}, out=out)
        size = file.stat().st_size
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}: nothing was written", _REFUSED) from None
    output.record({"file": str(file), "bytes": size, "keep": "somewhere else, and the passphrase apart from it"})


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A new file that has its name only once all of it is on the disk. Raises OSError."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _name(temporary, file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _name(temporary: Path, file: Path) -> None:
    try:
        os.link(temporary, file)  # unlike rename(2), it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, as on a memory stick
        if os.path.lexists(file):
            raise FileExistsError(17, "File exists") from None
        os.rename(temporary, file)


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
