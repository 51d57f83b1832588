"""arenactl request: holders' wishes to have a key activated, and what the desk makes of them."""

import textwrap

import click

from .desk_client import DeskClient
from .group import Group
from .output import Output, format_option, plain

_WIDTH = 80  # columns
_COLUMNS = (
    *("id", "serial", "holder", "at", "actor", "proven", "ticket", "valid_until"),
    *("state", "why", "decided_at", "decided_by"),
)


@click.group(cls=Group)
def request() -> None:
    """Holders' wishes to have a key activated."""


@request.command("list")
@click.option("--state", type=click.Choice(["open", "approved", "rejected", "all"]), default="open", help="Those that wait.")
@format_option
def list_requests(state: str, output: Output) -> None:
    """The requests that wait for a decision, or those of a state."""
    found = DeskClient().get("/requests", query={"state": state})
    if not output.is_table:
        return output.table(found, _COLUMNS)
    rows = [{**one, "date": plain("at", one["at"])[:10], "grounds": _grounds(one)} for one in found]
    output.table(rows, ("id", "serial", "holder", "date", "grounds", "state"))
    for one in found:
        if one["state"] == "rejected":
            said = plain("", f"{one['id']}: rejected: {one['why']}")
            click.echo("\n".join(textwrap.wrap(said, _WIDTH, subsequent_indent="    ")))


def _grounds(one: dict[str, object]) -> str:
    return f"ticket {one['ticket']}" if one["ticket"] else "two codes"


@request.command("add")
@click.argument("serial")
@click.argument("user")
@click.option("--ticket", required=True, metavar="T", help="Where the desk noted who asked, and how it knew them.")
@click.option("--until", metavar="DATE", help="The last day that the key works: 2026-12-31, or 14d for in 14 days.")
@format_option
def add_request(serial: str, user: str, ticket: str, until: str | None, output: Output) -> None:
    """Enter a request for one who cannot log in yet; approve it, and the key is theirs."""
    body = {"holder": user, "ticket": ticket} | ({} if until is None else {"until": until})
    output.record(DeskClient().post("/requests/", serial, body=body))


@request.command("approve")
@click.argument("which", metavar="ID|SERIAL")
@format_option
def approve_request(which: str, output: Output) -> None:
    """Make the key the holder's: active, in new-PIN mode unless they have a PIN. They are told by mail."""
    output.record(DeskClient().post("/requests/", which, "/approve"))


@request.command("reject")
@click.argument("which", metavar="ID|SERIAL")
@click.option("--why", required=True, metavar="TEXT", help="For the holder to read.")
@format_option
def reject_request(which: str, why: str, output: Output) -> None:
    """Leave the key in the stock. The holder is told why by mail."""
    output.record(DeskClient().post("/requests/", which, "/reject", body={"why": why}))
