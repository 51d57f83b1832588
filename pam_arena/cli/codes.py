"""arenactl pin, code and grant: what opens doors beside a key's codes, taken away or given by the desk."""

import socket
from typing import Any

import click

from .desk_client import DeskClient
from .group import Group
from .output import Output, confirm, format_option
from .page import write_page


@click.group(cls=Group)
def pin() -> None:
    """PINs: the desk never sees or sets one."""


@pin.command("reset")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def reset_pin(who: str, yes: bool, output: Output) -> None:
    """Take a user's PIN away: at the next login they create a new one."""
    confirm(f"Take the PIN of {who} away?", yes=yes)
    output.record(DeskClient().post("/holders/", who, "/pin/reset"))


@click.group(cls=Group)
def code() -> None:
    """Recovery codes, for one without their key: they are typed after the PIN."""


@code.command("emergency")
@click.argument("who")
@format_option
def give_emergency_codes(who: str, output: Output) -> None:
    """Print ten codes for the drawer, shown once; they replace the older set."""
    show_codes(DeskClient().post("/holders/", who, "/codes/emergency"), output)


@code.command("temporary")
@click.argument("who")
@click.option("--days", type=click.IntRange(1, 30), default=3, help="How long they work (3).")
@click.option("--count", type=click.IntRange(1, 20), default=5, help="How many (5).")
@format_option
def give_temporary_codes(who: str, days: int, count: int, output: Output) -> None:
    """Give codes that work for some days, shown once; they replace the older temporary ones."""
    show_codes(DeskClient().post("/holders/", who, "/codes/temporary", body={"days": days, "count": count}), output)


def show_codes(given: dict[str, Any], output: Output, *, err: bool = False) -> None:
    """Print a set of codes: the page of its holder, or rows. err: on stderr, beside what the command itself prints."""
    given = {**given, "host": socket.gethostname()}
    if output.is_table:
        click.echo(write_page(given), err=err)
    elif output.is_json:
        output.record(given)
    else:
        output.table(
            [{**given, "code": one} for one in given["codes"]], ("code", "holder", "kind", "created_at", "valid_until")
        )


@click.group(cls=Group)
def grant() -> None:
    """Session grants: one passcode for further connections of a user, address and SSH key."""


@grant.command("list")
@click.argument("who", required=False)
@format_option
def list_grants(who: str | None, output: Output) -> None:
    """The grants that hold now, of all or of one user."""
    found = DeskClient().get("/grants", query={} if who is None else {"who": who})
    output.table(found, ("holder", "service", "address", "granted_at", "valid_until", "key"))


@grant.command("revoke")
@click.argument("who")
@format_option
def revoke_grants(who: str, output: Output) -> None:
    """End a user's grants: their next connection is asked again."""
    output.record(DeskClient().post("/holders/", who, "/grants/revoke"))
