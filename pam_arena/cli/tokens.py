"""arenactl token: keys, from the stock to a holder and back, or out of service."""

import socket
import sys
from typing import Any

import click

from .codes import show_codes
from .desk_client import DeskClient
from .group import Group
from .imports import assign_from, import_tokens
from .output import Output, confirm, day, format_option, last_day

_STATES = ["stock", "unproven", "requested", "active", "disabled", "expired", "lost", "retired"]
_LONGEST_LINE = 1024  # characters of a code
_UNTIL = "The last day, as 2026-12-31 or 14d."
_CSV = ("serial", "state", "holder", "kind", "digits", "period", "why", "drift", "last_login_at", "valid_until")


@click.group(cls=Group)
def token() -> None:
    """Keys: fobs and apps."""


@token.command("assign")
@click.argument("serial", required=False)
@click.argument("user", required=False)
@click.option("--until", metavar="DATE", help=_UNTIL)
@click.option("--from", "file", metavar="CSV", help="Assign many: rows of serial,user; all of them, or none.")
@click.option("--dry-run", is_flag=True, help="With --from: say what would happen, and change nothing.")
@format_option
def assign_token(
    serial: str | None, user: str | None, until: str | None, file: str | None, dry_run: bool, output: Output
) -> None:
    """Make a key a user's: active, and in new-PIN mode unless they have a PIN."""
    if file is not None and serial is None and until is None:
        return assign_from(file, dry_run, output)
    if file is not None or serial is None or user is None or dry_run:
        raise click.UsageError("give SERIAL and USER, or --from CSV, which --dry-run belongs to")
    show_key(DeskClient().post("/tokens/", serial, "/assign", body=_given(holder=user, until=until)), output)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@token.command("list")
@click.option("--holder", metavar="USER", help="Only a user's.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in a state.")
@click.option("--serial", metavar="PREFIX", help="Only those whose serial begins so.")
@click.option("--kind", type=click.Choice(["totp", "hotp"]), help="Only those by time, or by counter.")
@click.option("--unused-since", metavar="DATE", help="Held, and no login since: 2026-06-30, or 90d for 90 days.")
@click.option("--expiring", type=click.IntRange(1, 36500), metavar="DAYS", help="Whose time is over within so many days.")
@click.option("--orphans", is_flag=True, help="Whose holders the system does not know any more.")
@click.option("--drifting", is_flag=True, help="Whose clocks run off, with a forecast.")
@format_option
def list_tokens(output: Output, *, orphans: bool, drifting: bool, **filters: Any) -> None:
    """All keys, or those that the filters leave."""
    query = {name: str(value) for name, value in filters.items() if value is not None}
    query |= {name: "yes" for name, wanted in (("orphans", orphans), ("drifting", drifting)) if wanted}
    found = DeskClient().get_all("/tokens", query, "serial")
    if not output.is_table:
        return output.table(found, (*_CSV, "steps_a_year", "next_code_at", "resync_at") if drifting else _CSV)
    if drifting:
        for one in found:
            one |= {"next_code": day(one["next_code_at"]), "resync": day(one["resync_at"])}
        found.sort(key=lambda one: one["resync_at"] or 0)
        return output.table(found, ("serial", "state", "holder", "drift", "steps_a_year", "next_code", "resync"))
    for one in found:
        one |= {"last_login": day(one["last_login_at"]), "through": last_day(one["valid_until"])}
    return output.table(found, ("serial", "state", "holder", "last_login", "through", "why"))


def show_key(found: dict[str, Any], output: Output) -> None:
    """A key; to a person, its last day instead of the second after it."""
    if output.is_table:
        found = {"valid_through" if name == "valid_until" else name: value for name, value in found.items()}
        found["valid_through"] = last_day(found["valid_through"]) if found["valid_through"] else "for ever"
    output.record(found)


@token.command("show")
@click.argument("who")
@format_option
def show_token(who: str, output: Output) -> None:
    """Everything about a key but its seed."""
    show_key(DeskClient().get("/tokens/", who), output)


@token.command("unassign")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def unassign_token(who: str, yes: bool, output: Output) -> None:
    """Take a key from its holder, back into the stock."""
    confirm(f"Take the key {who} from its holder?", yes=yes)
    show_key(DeskClient().post("/tokens/", who, "/unassign"), output)


@token.command("replace")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--lost", is_flag=True, help="The old one is lost; else it is retired.")
@click.option("--until", metavar="DATE", help=_UNTIL + " Left out: that of the old one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def replace_token(old: str, new: str, lost: bool, until: str | None, yes: bool, output: Output) -> None:
    """Give the holder of OLD (a serial, or the user) the key NEW in its place; their PIN stays."""
    confirm(f"Replace the key {old} by {new}?", yes=yes)
    body = _given(new=new, lost=lost, until=until)
    show_key(DeskClient().post("/tokens/", old, "/replace", body=body), output)


@token.command("enable")
@click.argument("who")
@click.option("--until", metavar="DATE", help=_UNTIL + " Or never.")
@format_option
def enable_token(who: str, until: str | None, output: Output) -> None:
    """Make a disabled, expired or found key work again, or set its last day."""
    show_key(DeskClient().post("/tokens/", who, "/enable", body=_given(until=until)), output)


@token.command("disable")
@click.argument("who")
@format_option
def disable_token(who: str, output: Output) -> None:
    """Let no code of a key work."""
    show_key(DeskClient().post("/tokens/", who, "/disable"), output)


@token.command("lost")
@click.argument("who")
@click.option("--codes", is_flag=True, help="Give temporary codes at once.")
@format_option
def lose_token(who: str, codes: bool, output: Output) -> None:
    """Disable a lost key at once; it gives up its place, and its holder gets temporary codes."""
    client = DeskClient()
    found = client.post("/tokens/", who, "/lost")
    if not codes:
        return show_key(found, output)
    given = client.post("/holders/", found["holder"], "/codes/temporary")
    if output.is_json:
        return output.record({**found, "temporary": {**given, "host": socket.gethostname()}})
    if output.is_table:
        show_key(found, output)
        click.echo("")
    return show_codes(given, output)


@token.command("retire")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def retire_token(who: str, yes: bool, output: Output) -> None:
    """Take a key out of service for good: it can not be assigned again."""
    confirm(f"Retire the key {who}, for good?", yes=yes)
    show_key(DeskClient().post("/tokens/", who, "/retire"), output)


@token.command("resync")
@click.argument("who")
@format_option
def resync_token(who: str, output: Output) -> None:
    """Bring a key back whose clock ran away: two codes in a row, from the terminal or two lines on stdin."""
    output.record(DeskClient().post("/tokens/", who, "/resync", body={"codes": _two_codes()}))


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
