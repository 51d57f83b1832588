"""arenactl mail: what of the mails waits or was given up, and whether one arrives at all."""

import subprocess
import sys
import time
from typing import Any

import click

from .desk_client import DeskClient
from .group import Group
from .output import Output, format_option

_REFUSED = 1
_PATIENCE = 30.0  # seconds that a test mail has
_PAUSE = 0.2  # seconds between two looks
_COLUMNS = ("id", "state", "to", "written_at", "tries", "next_try_at")


@click.group(cls=Group)
def mail() -> None:
    """Mails to holders, on their way."""


@mail.command("list")
@format_option
def list_mails(output: Output) -> None:
    """The mails that wait for the mail server, and those that were given up; never what they say."""
    found = DeskClient().get("/mails")
    if not output.is_table:
        return output.table(found, _COLUMNS)
    now = time.time()
    rows = [{**one, "age": _span(now - one["written_at"]), "next try": _next(one, now)} for one in found]
    output.table(rows, ("id", "state", "to", "age", "tries", "next try"))


def _next(one: dict[str, Any], now: float) -> str:
    if one["state"] != "waiting":
        return "-"
    return "now" if one["next_try_at"] is None or one["next_try_at"] <= now else f"in {_span(one['next_try_at'] - now)}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


@mail.command("test")
@click.argument("address")
@format_option
def send_test(address: str, output: Output) -> None:
    """Send a test mail to ADDRESS the whole way, and say within 30 seconds what became of it."""
    client = DeskClient()
    left = client.post("/mails", body={"to": address})
    end, seen = time.monotonic() + _PATIENCE, {"state": "waiting", "tries": 0}
    while time.monotonic() < end:
        seen = client.get("/mails/", left["id"])
        if seen["state"] != "waiting" or seen["tries"]:
            break
        time.sleep(_PAUSE)
    result, remedy = _verdict(seen)
    said = _said(left["id"])
    output.record({**left, "result": result, "said": said, "remedy": remedy})
    if seen["state"] != "sent":
        sys.exit(_REFUSED)


def _verdict(seen: dict[str, Any]) -> tuple[str, str]:
    """What became of a mail, and what to do."""
    journal = "journalctl -u arena-mail -n 20"
    if seen["state"] == "sent":
        return "the server took it", "has it not arrived? ask the server's log for the id"
    if seen["state"] == "failed":
        return "refused for good, and set aside", f"see why: {journal}; then [mail] smtp and from in arena.toml"
    if seen["tries"]:
        return "the server did not take it yet; it is tried again", f"see why: {journal}; arenactl mail list"
    return f"nothing in {_PATIENCE:.0f} seconds", f"is arena-mail.path active? systemctl status arena-mail.path; {journal}"


def _said(number: str) -> str:
    """What arena-mail wrote of a mail into the journal, for those who may read it."""
    command = ["journalctl", "-q", "-u", "arena-mail.service", "-o", "cat", "--since", "-2min", "--no-pager"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line for line in done.stdout.splitlines() if f"<{number.lower()}@" in line]
    return lines[-1].partition(">: ")[2] if lines else ""
