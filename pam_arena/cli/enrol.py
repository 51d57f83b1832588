"""arenactl token add and prove: new keys, and the right code that makes a soft one count."""

import sys
from typing import Any

import click

from .desk_client import DeskClient, Failure
from .output import Output, format_option, qr_code
from .tokens import show_key

_LONGEST_LINE = 1024  # characters of a seed, or of a code
_REFUSED = 1


@click.command("add")
@click.option("--serial", metavar="S", help="The number on its back; made up if left out.")
@click.option("--seed-file", type=click.File("r"), metavar="FILE|-", help="One line of hex, base32 or an otpauth URI.")
@click.option("--type", "kind", type=click.Choice(["totp", "hotp"]), default=None)
@click.option("--digits", type=click.Choice(["6", "8"]), default=None)
@click.option("--period", type=click.IntRange(1, 86400), metavar="SECONDS", default=None)
@click.option("--algorithm", type=click.Choice(["sha1", "sha256", "sha512"]), default=None)
@click.option("--qr", "prove", is_flag=True, help="For a phone: it counts once a right code was typed.")
@click.option("--holder", metavar="USER", help="With --qr: whose it is then.")
@click.option("--until", metavar="DATE", help="With --holder: its last day, as 2026-12-31 or 14d.")
@format_option
def add_token(serial: str | None, seed_file: Any, prove: bool, output: Output, **more: Any) -> None:
    """Add a key to the stock; without a seed one is generated, and shown once."""
    if prove and seed_file is not None:
        raise click.UsageError("--qr makes a seed of its own: leave --seed-file out")
    if not prove and (more["holder"] or more["until"]):
        raise click.UsageError("--holder and --until go with --qr; a key in the stock: arenactl token assign SERIAL USER")
    wanted = {"serial": serial, "type": more.pop("kind"), "prove": prove or None, **more}
    if seed_file is not None:
        wanted["seed"] = _one_line(seed_file)
    client = DeskClient()
    added = client.post("/tokens", body={name: value for name, value in wanted.items() if value is not None})
    show_key(added, output)
    if not output.is_table:
        return
    if uri := added.get("uri"):
        click.echo(qr_code(uri))
        click.echo("Shown this once: scan it now. It is the key itself; let nobody else see it.")
    if prove:
        _prove(client, added["serial"], output)


def _one_line(file: Any) -> str:
    try:
        lines = str(file.read(_LONGEST_LINE + 1)).strip().splitlines()
    except UnicodeDecodeError:
        raise click.UsageError("--seed-file: is not text: one line of hex, base32 or an otpauth URI is expected") from None
    if len(lines) != 1 or len(lines[0]) > _LONGEST_LINE:
        raise click.UsageError(f"--seed-file: has {len(lines)} lines; exactly one is expected")
    return lines[0]


@click.command("prove")
@click.argument("who")
@format_option
def prove_token(who: str, output: Output) -> None:
    """Let a phone's key count: one right code, from the terminal or lines on stdin."""
    client = DeskClient()
    found = client.get("/tokens/", who)
    if found["state"] != "unproven":
        raise Failure(f"token {found['serial']} is {found['state']}: there is nothing to prove", _REFUSED)
    _prove(client, found["serial"], output)


def _prove(client: DeskClient, serial: str, output: Output) -> None:
    """Ask for codes until one is right, or none comes any more."""
    while code := _next_code():
        try:
            return show_key(client.post("/tokens/", serial, "/prove", body={"code": code}), output)
        except Failure as failure:
            if failure.exit_code != _REFUSED:
                raise
            click.echo(failure.message, err=True)
    raise Failure(f"not proven yet, so no code of it works: arenactl token prove {serial}", _REFUSED)


def _next_code() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("The code that the app shows (empty: later)", default="", show_default=False, err=True)).strip()
    return sys.stdin.readline(_LONGEST_LINE).strip()
