"""arenactl: the sysadmin's and the desk's command. It asks the desk's service, and prints a table, JSON or CSV.

Exit: 0 done, 1 refused, 2 usage, 3 service down, 4 not found.
"""

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .desk_client import DeskClient
from .output import Output, format_option, qr_code

_ARENAD = "/usr/sbin/arenad"
_LONGEST_LINE = 1024  # characters of a seed


class Group(click.Group):
    """A group whose unknown commands are a usage error with the list of the known ones."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"no command {args[0]!r}; there are: {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=Group)
def main() -> None:
    """Look after one-time codes: tokens, PINs, waits, and the service. See arenactl(1)."""


@main.command()
@format_option
def status(output: Output) -> None:
    """The service at a glance."""
    found = DeskClient().get("/status")
    state = subprocess.run(
        ["systemctl", "show", "arenad.service", "-p", "ActiveState", "-p", "StatusText"],
        capture_output=True,
        text=True,
        check=False,
    )
    unit = dict(line.partition("=")[::2] for line in state.stdout.splitlines())
    tokens = {f"tokens {name}": number for name, number in found["tokens"].items()}
    output.record(
        {"arenad": unit.get("ActiveState", "unknown"), "doing": unit.get("StatusText", ""), "key": found["key"], **tokens}
    )


@main.command()
@click.argument("ref")
@format_option
def why(ref: str, output: Output) -> None:
    """What a failure reference stands for, and what to do."""
    output.record(DeskClient().get("/why/", ref))


@main.command()
@click.argument("who")
@format_option
def unlock(who: str, output: Output) -> None:
    """End all waits of a user (or of a serial's holder)."""
    output.record(DeskClient().post("/holders/", who, "/unlock"))


@main.group(cls=Group)
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
@click.argument("serial")
@click.argument("user")
@format_option
def assign_token(serial: str, user: str, output: Output) -> None:
    """Make a key a user's: active, and in new-PIN mode unless they have a PIN."""
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


_token_verb("show", "Everything about a key but its seed.", "", changes=False)
_token_verb("unassign", "Take a key from its holder, back into the stock.", "/unassign")
_token_verb("enable", "Make a disabled key work again.", "/enable")
_token_verb("disable", "Let no code of a key work.", "/disable")


@main.group(cls=Group)
def pin() -> None:
    """PINs: the desk never sees or sets one."""


@pin.command("reset")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def reset_pin(who: str, yes: bool, output: Output) -> None:
    """Take a user's PIN away: at the next login they create a new one."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Take the PIN of {who} away?", abort=True)
    output.record(DeskClient().post("/holders/", who, "/pin/reset"))


@main.group(cls=Group)
def key() -> None:
    """The master key, that seals seeds and PINs."""


@key.command("status")
@format_option
def key_status(output: Output) -> None:
    """Which key is in force, and which the store was made under."""
    output.record(DeskClient().get("/key"))


@key.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def key_export(file: Path, output: Output) -> None:
    """Write the key to FILE, under a passphrase from the terminal, or stdin's first line."""
    passphrase = _passphrase(confirm=True)
    document = DeskClient().post("/key/export", body={"passphrase": passphrase})["export"]
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(document)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    output.record({"file": str(file), "keep": "somewhere else, and the passphrase apart from it"})


@key.command("import")
@click.argument("file", type=click.File("r"))
@format_option
def key_import(file: Any, output: Output) -> None:
    """Bring the key of an export back to this host, as root; then restart arenad."""
    text = file.read()
    passphrase = _passphrase(confirm=False)
    done = _arenad("import-key", given=f"{passphrase}\n{text}")
    output.record({"key": done, "now": "systemctl restart arenad.service; systemctl try-restart arena-desk.service"})


def _passphrase(*, confirm: bool) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Same again: ") != first:
        raise click.ClickException("the two differ: nothing was written")
    return first


@main.group(cls=Group)
def config() -> None:
    """The configuration."""


@config.command("check")
@format_option
def config_check(output: Output) -> None:
    """Whether the configuration is good, and a guesser's chances: with a stolen key, and with a known PIN, a code."""
    output.record(json.loads(_arenad("config", "check")))


@config.command("show")
@format_option
def config_show(output: Output) -> None:
    """The configuration in force."""
    shown = json.loads(_arenad("config", "show"))
    output.record(shown if output.is_json else dict(_flat(shown)))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@main.command()
@format_option
def migrate(output: Output) -> None:
    """Create the store, or bring it to this release's schema."""
    output.record({"store": _arenad("migrate")})


def _arenad(*words: str, given: str | None = None) -> str:
    """Run a part of arenad here, as what it needs to be; its complaint and exit status are ours, its words returned."""
    try:
        done = subprocess.run([_ARENAD, *words], input=given, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise click.ClickException(f"{_ARENAD}: {error.strerror}") from None
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip()
