"""arenactl holder: those who own keys."""

import csv
import time
from typing import Any

import click

from pam_arena.texts import LANGUAGES

from .desk_client import DeskClient
from .group import Group
from .output import Output, confirm, day, format_option
from .screen import write_screen

_COLUMNS = ("user", "mail", "language")


@click.group(cls=Group)
def holder() -> None:
    """Those who own keys."""


@holder.command("list")
@click.option("--without-pin", is_flag=True, help="Only those who have no PIN yet.")
@click.option("--orphans", is_flag=True, help="Only those whom the system does not know any more.")
@click.option("--locked", is_flag=True, help="Only those of whom an origin waits, or is closed.")
@format_option
def list_holders(output: Output, **filters: bool) -> None:
    """All holders, or those that the filters leave."""
    query = {name: "yes" for name, wanted in filters.items() if wanted}
    found = DeskClient().get_all("/holders", query, "name")
    if not output.is_table:
        return output.table(found, ("name", "pin", "keys", "last_login_at", "waiting", "closed"))
    for one in found:
        waits = [f"{one[what]} {what}" for what in ("waiting", "closed") if one[what]]
        one |= {"last_login": day(one["last_login_at"]), "waits": waits or "-"}
    return output.table(found, ("name", "pin", "keys", "last_login", "waits"))


@holder.command("show")
@click.argument("who")
@format_option
def show_holder(who: str, output: Output) -> None:
    """Everything about a user (or a serial's holder) on one screen, and what to do next."""
    found = DeskClient().get("/holders/", who)
    if output.is_table:
        return click.echo(write_screen(found, int(time.time())))
    if output.is_json:
        return output.record(found)
    flat = {**found, "tokens": [f"{one['serial']} {one['state']}" for one in found["tokens"]]}
    flat["waits"] = [one["origin"] for one in found["waits"]]
    flat["grants"] = [f"{one['service']} {one['address']}" for one in found["grants"]]
    flat["events"] = [one["what"] for one in found["events"]]
    flat["next"] = [one["do"] for one in found["next"]]
    return output.record(flat)


@holder.command("leave")
@click.argument("who")
@click.option("--retire", is_flag=True, help="Their keys are retired; else they go back to the stock.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def leave_holder(who: str, retire: bool, yes: bool, output: Output) -> None:
    """End all that a user has: keys, PIN, codes, grants, waits, mail address. The audit stays."""
    confirm(f"Take everything from {who}, PIN and codes for good?", yes=yes)
    output.record(DeskClient().post("/holders/", who, "/leave", body={"retire": retire}))


@holder.command("set")
@click.argument("who", required=False)
@click.option("--mail", metavar="ADDRESS", help="Where codes and news go; '' for NAME@domain of [mail].")
@click.option("--language", type=click.Choice([*LANGUAGES, ""]), help="Of their mails and pages; '' for the configured one.")
@click.option("--from", "file", type=click.File("r", encoding="utf-8-sig"), metavar="CSV", help="Of many: user,mail,language.")
@click.option("--dry-run", is_flag=True, help="With --from: only say what would change.")
@format_option
def set_holder(who: str | None, file: Any, dry_run: bool, output: Output, **noted: str | None) -> None:
    """Note a user's mail address and language, or those of all users of a file: all or none."""
    wanted = {name: value for name, value in noted.items() if value is not None}
    if file is not None:
        if who is not None or wanted:
            raise click.UsageError("--from goes without WHO, --mail and --language")
        return _set_from(file, dry_run, output)
    if who is None or dry_run:
        raise click.UsageError("--dry-run goes with --from" if dry_run else "WHO is missing, or --from CSV")
    if not wanted:
        raise click.UsageError("nothing to note: give --mail or --language")
    return output.record(DeskClient().post("/holders/", who, body=wanted))


def _set_from(file: Any, dry_run: bool, output: Output) -> None:
    done = DeskClient().post("/holders", body={"rows": _rows(file), "dry_run": dry_run})
    if not output.is_table:
        return output.record(done) if output.is_json else output.table(done["changes"], ("holder", "mail", "language"))
    output.table(done["changes"], ("holder", "mail", "language"))
    what = "would change" if dry_run else "changed"
    click.echo(f"{done['changed']} {what}, {done['unchanged']} are so already")


def _rows(file: Any) -> list[dict[str, Any]]:
    """The lines of a CSV file, by a header that names its columns, or in the order user, mail, language."""
    try:
        text = str(file.read())
        first = text.partition("\n")[0]
        reader = csv.reader(text.splitlines(), delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.UsageError(f"--from: is no CSV file in UTF-8: {error}") from None
    columns: tuple[str, ...] = _COLUMNS
    if lines and "user" in map(str.lower, lines[0][1]):
        columns = tuple(cell.lower() for cell in lines.pop(0)[1])
        if unknown := set(columns) - set(_COLUMNS):
            raise click.UsageError(f"--from: column {min(unknown)!r}: there are: {', '.join(_COLUMNS)}")
    if not lines:
        raise click.UsageError("--from: the file has no line")
    for number, row in lines:
        if len(row) > len(columns):
            raise click.UsageError(f"--from: line {number} has {len(row)} columns; {len(columns)} are expected")
    return [{"line": number, **dict(zip(columns, row, strict=False))} for number, row in lines]
