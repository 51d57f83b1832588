"""arenactl: the sysadmin's and the desk's command. It asks the desk's service, and prints a table, JSON or CSV.

Exit: 0 done, 1 refused, 2 usage, 3 service down, 4 not found.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .audit import audit, metrics
from .codes import code, grant, pin
from .desk_client import DeskClient
from .doctor import doctor
from .enrol import add_token, prove_token
from .group import Group, survive_any_locale
from .holders import holder
from .local import read_passphrase, run_arenad
from .mails import mail
from .moving import backup, restore
from .output import Output, format_option
from .pam import pam
from .reports import report
from .requests import request
from .support import support
from .tokens import token
from .trial import try_service


@click.group(cls=Group)
def main() -> None:
    """Look after one-time codes: tokens, PINs, waits, and the service. See arenactl(1)."""
    survive_any_locale()


for group in (doctor, try_service, pam, token, holder, request, pin, code, grant, report, audit, mail):
    main.add_command(group)
for command in (metrics, support, backup, restore):
    main.add_command(command)
for command in (add_token, prove_token):
    token.add_command(command)


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
    counted = {f"{what} {name}": number for what in ("tokens", "holders") for name, number in found[what].items()}
    ballast = f"{found['ballast']['logins']} of {found['ballast']['wanted']} logins"
    state_of = {"arenad": unit.get("ActiveState", "unknown"), "doing": unit.get("StatusText", ""), "key": found["key"]}
    output.record({**state_of, "ballast": ballast, **counted})


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
    passphrase = read_passphrase(confirm=True)
    try:
        # First, so that nothing is noted as exported that could not be written.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            try:
                out.write(DeskClient().post("/key/export", body={"passphrase": passphrase})["export"])
                out.flush()
                os.fsync(out.fileno())
            except BaseException:
                file.unlink()
                raise
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    output.record({"file": str(file), "keep": "somewhere else, and the passphrase apart from it"})


@key.command("import")
@click.argument("file", type=click.File("r"))
@format_option
def key_import(file: Any, output: Output) -> None:
    """Bring the key of an export back to this host, as root; then restart arenad."""
    text = file.read()
    passphrase = read_passphrase(confirm=False)
    done = run_arenad("import-key", given=f"{passphrase}\n{text}")
    output.record({"key": done, "now": "systemctl restart arenad.service; systemctl try-restart arena-desk.service"})


@main.group(cls=Group)
def config() -> None:
    """The configuration."""


@config.command("check")
@format_option
def config_check(output: Output) -> None:
    """Whether the configuration is good, and a guesser's chances: with a stolen key, and with a known PIN, a code."""
    output.record(json.loads(run_arenad("config", "check")))


@config.command("show")
@format_option
def config_show(output: Output) -> None:
    """The configuration in force."""
    shown = json.loads(run_arenad("config", "show"))
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
    output.record({"store": run_arenad("migrate")})
