"""arenactl holder, pin, code, grant and report: what the desk does for people."""

import socket
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from pam_arena.texts import LANGUAGES

from .desk_client import DeskClient
from .group import Group
from .output import Output, format_option, plain
from .page import write_page

_WIDTH = 80  # columns
_REPORT = ("name", "keys", "pin", "seen_at", "outcome", "reason", "failures", "ready", "missing", "remedy")


@click.group(cls=Group)
def holder() -> None:
    """Those who own keys."""


@holder.command("show")
@click.argument("who")
@format_option
def show_holder(who: str, output: Output) -> None:
    """Everything about a user (or a serial's holder): keys, PIN, waits, codes, grants, the last events."""
    found = DeskClient().get("/holders/", who)
    output.record(found if output.is_json else dict(_in_lines(found)))


def _in_lines(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The same, with a line of words in the place of each table's row."""

    def at(value: int | None) -> str:
        return plain("at", value)

    lines: dict[str, list[str]] = {
        "tokens": [": ".join(filter(None, (f"{one['serial']} {one['state']}", one["why"]))) for one in found["tokens"]],
        "waits": [f"{one['origin']}: {one['failures']} failures, {_wait(one)}" for one in found["waits"]],
        "grants": [
            f"{one['service']} from {one['address']} until {at(one['valid_until'])}, {one['key']}" for one in found["grants"]
        ],
        "events": [
            f"{at(one['at'])}  {one['what']}" + (f" (ref {one['ref']})" if one["ref"] else "") for one in found["events"]
        ],
    }
    for name, value in found.items():
        yield name, lines.get(name, value)


def _wait(one: dict[str, Any]) -> str:
    if one["closed"]:
        return "closed"
    return "may try" if one["wait_until"] is None else f"waits until {plain('at', one['wait_until'])}"


@holder.command("set")
@click.argument("who")
@click.option("--mail", metavar="ADDRESS", help="Where codes and news go; '' for NAME@domain of [mail].")
@click.option("--language", type=click.Choice([*LANGUAGES, ""]), help="Of their mails and pages; '' for the configured one.")
@format_option
def set_holder(who: str, output: Output, **noted: str | None) -> None:
    """Note a user's mail address and language."""
    wanted = {name: value for name, value in noted.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to note: give --mail or --language")
    output.record(DeskClient().post("/holders/", who, body=wanted))


@click.group(cls=Group)
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
    """Print a set of codes: as a page, or for a program. err: on stderr, beside what the command itself prints."""
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


@click.group(cls=Group)
def report() -> None:
    """Reports over everybody."""


@report.command("observe")
@format_option
def report_observe(output: Output) -> None:
    """Who is ready for enforcement, who is not, and what to do about it."""
    found = DeskClient().get("/reports/observe")
    if not output.is_table:
        return output.table(found, list(_REPORT))
    last = [{**one, "last": f"{one['outcome']}: {one['reason']}" if one["outcome"] else "not seen"} for one in found]
    output.table(last, ("name", "keys", "pin", "failures", "ready", "last"))
    waiting = [one for one in found if not one["ready"]]
    for one in waiting:
        text = plain("", f"{one['name']}: missing: {one['missing']}; {one['remedy']}")
        click.echo("\n".join(textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)))
    click.echo(f"{len(found) - len(waiting)} ready, {len(waiting)} not")
