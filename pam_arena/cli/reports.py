"""arenactl report: over everybody."""

import textwrap

import click

from .desk_client import DeskClient
from .group import Group
from .output import Output, format_option, plain

_WIDTH = 80  # columns
_REPORT = ("name", "keys", "pin", "seen_at", "outcome", "reason", "failures", "ready", "missing", "remedy")


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
