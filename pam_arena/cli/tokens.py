"""arenactl token: keys, from the stock to a holder and back."""

import sys
from typing import Any

import click

from .desk_client import DeskClient
from .group import Group
from .imports import assign_from, import_tokens
from .output import Output, format_option, qr_code

_LONGEST_LINE = 1024  # characters of a seed


@click.group(cls=Group)
def token() -> None:
    """Keys: fobs and apps."""


@token.command("add")
@click.option("--serial", metavar="S", help="The number on its back; made up if left out.")
@click.option("--seed-file", type=click.File("r"), metavar="FILE|-", help="One line of hex, base32 or an otpauth URI.")
@click.option("--type", "kind", type=click.Choice(["totp", "hotp"]), default=None)
@click.option("--digits", type=click.Choice(["6", "8"]), default=None)
@click.option("--period", type=click.IntRange(1, 86400), metavar="SECONDS", default=None)
@click.option("--algorithm", type=click.Choice(["sha1", "sha256", "sha512"]), default=None)
@format_option
def add_token(serial: str | None, seed_file: Any, output: Output, **mechanism: Any) -> None:
    """Add a key to the stock; without a seed one is generated, and shown once."""
    wanted = {"serial": serial, "type": mechanism.pop("kind"), **mechanism}
    if seed_file is not None:
        wanted["seed"] = _one_line(seed_file)
    added = DeskClient().post("/tokens", body={name: value for name, value in wanted.items() if value is not None})
    uri = added.get("uri")
    output.record(added)
    if uri and output.is_table:
        click.echo(qr_code(uri))
        click.echo("Shown this once: scan it now. It is the key itself; let nobody else see it.")


def _one_line(file: Any) -> str:
    try:
        lines = str(file.read(_LONGEST_LINE + 1)).strip().splitlines()
    except UnicodeDecodeError:
        raise click.UsageError("--seed-file: is not text: one line of hex, base32 or an otpauth URI is expected") from None
    if len(lines) != 1 or len(lines[0]) > _LONGEST_LINE:
        raise click.UsageError(f"--seed-file: has {len(lines)} lines; exactly one is expected")
    return lines[0]


@token.command("assign")
@click.argument("serial", required=False)
@click.argument("user", required=False)
@click.option("--from", "file", metavar="CSV", help="Assign many: rows of serial,user; all of them, or none.")
@click.option("--dry-run", is_flag=True, help="With --from: say what would happen, and change nothing.")
@format_option
def assign_token(serial: str | None, user: str | None, file: str | None, dry_run: bool, output: Output) -> None:
    """Make a key a user's: active, and in new-PIN mode unless they have a PIN."""
    if file is not None and serial is None:
        return assign_from(file, dry_run, output)
    if file is not None or serial is None or user is None or dry_run:
        raise click.UsageError("give SERIAL and USER, or --from CSV, which --dry-run belongs to")
    output.record(DeskClient().post("/tokens/", serial, "/assign", body={"holder": user}))


@token.command("list")
@click.option("--holder", metavar="USER")
@click.option("--state", type=click.Choice(["stock", "active", "disabled"]))
@format_option
def list_tokens(holder: str | None, state: str | None, output: Output) -> None:
    """All keys, or those of a user or a state."""
    query = {name: value for name, value in (("holder", holder), ("state", state)) if value is not None}
    output.table(DeskClient().get("/tokens", query=query), ("serial", "state", "holder", "kind", "digits", "period", "why"))


def _token_verb(name: str, help_text: str, path: str, *, changes: bool = True) -> None:
    @token.command(name, help=help_text)
    @click.argument("serial")
    @format_option
    def verb(serial: str, output: Output) -> None:
        client = DeskClient()
        output.record(client.post("/tokens/", serial, path) if changes else client.get("/tokens/", serial))


@token.command("resync")
@click.argument("serial")
@format_option
def resync_token(serial: str, output: Output) -> None:
    """Bring a key back whose clock ran away: two codes in a row, from the terminal or two lines on stdin."""
    output.record(DeskClient().post("/tokens/", serial, "/resync", body={"codes": _two_codes()}))


def _two_codes() -> list[str]:
    if sys.stdin.isatty():
        first = click.prompt("The code on the key now", err=True)
        return [first, click.prompt("Wait until it changes; the next code", err=True)]
    lines = sys.stdin.read(_LONGEST_LINE + 1).split("\n")
    codes = [line.strip() for line in lines if line.strip()]
    if len(codes) != 2:
        raise click.UsageError(f"stdin has {len(codes)} lines; two codes are expected, in the order the key showed them")
    return codes


token.add_command(import_tokens)
_token_verb("show", "Everything about a key but its seed.", "", changes=False)
_token_verb("unassign", "Take a key from its holder, back into the stock.", "/unassign")
_token_verb("enable", "Make a disabled key work again.", "/enable")
_token_verb("disable", "Let no code of a key work.", "/disable")
