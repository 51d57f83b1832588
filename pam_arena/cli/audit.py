"""arenactl audit and metrics: who did what, whether the record of it is whole, and the service in numbers."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import click

from .desk_client import DeskClient
from .group import Group
from .output import Output, format_option, plain

_POLL_SECONDS = 1.0
_VERIFY_SECONDS = 3600.0  # a million rows take some ten seconds
_HEADS_A_REQUEST = 500
_LAST_ENTRIES = 1000  # of the journal, beside all heads
_REFUSED = 1
_COLUMNS = (
    *("id", "at", "event", "outcome", "reason", "holder", "serial", "service", "address", "actor", "detail", "ref"),
    "what",
)
_NUMBER = ("name", "labels", "value")
_UNITS = ("_SYSTEMD_UNIT=arenad.service", "_SYSTEMD_UNIT=arena-desk.service")


@click.group(cls=Group)
def audit() -> None:
    """The record of what was done, and by whom."""


@audit.command("list")
@click.option("--holder", metavar="WHO", help="About a user, or a serial's holder.")
@click.option("--serial", metavar="SERIAL", help="About a key.")
@click.option("--event", metavar="EVENT", help="Of a kind: login, token-assign, pin-reset ...")
@click.option("--outcome", metavar="OUTCOME", help="granted, denied, done ...")
@click.option("--ref", metavar="REF", help="Of a reference.")
@click.option("--since", metavar="TIME", help="From a date and time in UTC on, or from so long ago: 2h, 3d.")
@click.option("--until", metavar="TIME", help="Before it.")
@click.option("--limit", type=click.IntRange(1, 10_000), metavar="N", default=100, show_default=True, help="The last so many.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until it is interrupted.")
@format_option
def list_audit(follow: bool, output: Output, **filters: Any) -> None:
    """What was done, the newest last, in plain words."""
    query = {name: str(value) for name, value in filters.items() if value is not None}
    newest = DeskClient().get("/audit", query={"limit": "1"}) if follow else []  # before: what comes between is not lost
    found = DeskClient().get("/audit", query=query)
    if not follow:
        output.table(found, ("at", "holder", "what", "ref") if output.is_table else _COLUMNS)
        return
    try:
        output.stream(chain(found, _coming(query, found or newest)), _COLUMNS, _line)
    except KeyboardInterrupt:  # how it is meant to end
        sys.exit(0)


def _coming(query: dict[str, str], seen: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows as they are written, after those that were seen."""
    last = max((one["id"] for one in seen), default=0)
    while True:
        rows = DeskClient().get("/audit", query={**query, "after": str(last), "limit": "1000"})
        for row in rows:
            last = row["id"]
            yield row
        if not rows:
            time.sleep(_POLL_SECONDS)


def _line(row: dict[str, Any]) -> str:
    ref = f" (ref {row['ref']})" if row["ref"] else ""
    return f"{plain('at', row['at'])}  {plain('', row['holder'])}  {plain('', row['what'])}{ref}"


@audit.command("verify")
@click.option("--head", "heads", multiple=True, metavar="ID:HASH", help="A head from an earlier run; or its hash alone.")
@format_option
def verify(heads: tuple[str, ...], output: Output) -> None:
    """Whether no row was changed, taken out or moved, by the chain and by the heads that the journal keeps."""
    client = DeskClient(timeout=_VERIFY_SECONDS)
    found = client.get("/audit/verify")
    told, restores, unread = _read_journal(found["key"])
    wanted = [*heads, *(head for head in told if head not in heads), *(head for head in restores if head not in told)]
    old = 0
    failed: dict[str, str] = {}
    for begin in range(0, len(wanted), _HEADS_A_REQUEST):
        seen = client.post("/audit/heads", body={"heads": wanted[begin : begin + _HEADS_A_REQUEST]})
        old += seen["too_old"]
        failed |= dict(zip(seen["failed"], seen["problems"], strict=True))
    lost = _lost_by_restores({head: told[head] for head in failed if head in told and head not in heads}, restores, failed)
    explained = {head for one in lost.values() for head in one}
    problems = [found["problem"]] if found["problem"] else []
    problems += [problem for head, problem in failed.items() if head not in explained]
    values = {
        "verdict": "broken" if problems else "good",
        **{name: found[name] for name in ("rows", "first", "head", "dropped", "row", "kind")},
        "heads_checked": len(wanted) - old,
        "journal": unread or f"{len(told)} heads",
        "restored": [_what_was_lost(restores[restore], lost[restore]) for restore in lost],
        "problems": problems if output.is_json else problems[:1],
    }
    output.record(values)
    if problems:
        click.echo(f"Error: {problems[0]}" + (f" ({len(problems) - 1} more)" if problems[1:] else ""), err=True)
        sys.exit(_REFUSED)


def _lost_by_restores(missing: dict[str, int], restores: dict[str, int], failed: dict[str, str]) -> dict[str, list[str]]:
    """Which of the heads that are gone went with a restore, by the restore: those told before it, of its row or a later one.

    A restore counts if its row is in the chain, and root told the journal of that very row: who can only write the store
    cannot do the latter. What was told after it must be there.
    """
    lost: dict[str, list[str]] = {}
    for restore, at in restores.items():
        if restore not in failed:
            gone = [head for head, told in missing.items() if told < at and _row(head) >= _row(restore)]
            lost |= {restore: gone} if gone else {}
    return lost


def _what_was_lost(at: int, heads: list[str]) -> str:
    rows = sorted(map(_row, heads))
    which = f"row {rows[0]}" if rows[0] == rows[-1] else f"rows {rows[0]} to {rows[-1]}"
    return f"{plain('at', at // 10**6)}, from a backup: {which} of the time after it are in the journal, and not in this store"


def _row(head: str) -> int:
    return int(head.partition(":")[0])


def _read_journal(key: str) -> tuple[dict[str, int], dict[str, int], str]:
    """(the heads that arenad told the journal of this store, the rows of its restores, why they cannot be read).

    Each with when it was told last, in microseconds since 1970 UTC by the journal's own clock.
    """
    heads: dict[str, int] = {}
    restores: dict[str, int] = {}
    wanted = (
        (heads, ["-n", str(_LAST_ENTRIES), *_UNITS]),
        (heads, [*_UNITS, "ARENA_EVENT=audit-head"]),
        (restores, ["_UID=0", "ARENA_EVENT=restore"]),
    )
    for found, match in wanted:
        command = ["journalctl", "--quiet", "--no-pager", "-o", "json"]
        command += ["--output-fields=ARENA_AUDIT_ROW,ARENA_AUDIT_HASH,ARENA_KEY", *match]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            return heads, restores, f"journalctl: {error.strerror}"
        if done.returncode and not done.stdout:
            return heads, restores, "cannot be read: be root, or in the group systemd-journal"
        for line in done.stdout.splitlines():
            entry = json.loads(line)
            if entry.get("ARENA_KEY") == key and isinstance(entry.get("ARENA_AUDIT_ROW"), str):
                head = f"{entry['ARENA_AUDIT_ROW']}:{entry['ARENA_AUDIT_HASH']}"
                found[head] = max(found.get(head, 0), int(entry["__REALTIME_TIMESTAMP"]))
    return heads, restores, ""


@click.command()
@format_option
def metrics(output: Output) -> None:
    """The service in numbers, as Prometheus' text format; for node_exporter's textfile collector."""
    text = DeskClient().text("/metrics", accept="text/plain")
    if output.is_table:  # the text is one already, and what a collector reads
        click.echo(text, nl=False)
        return
    from prometheus_client.parser import text_string_to_metric_families  # no other command needs it

    output.table([_number(one) for family in text_string_to_metric_families(text) for one in family.samples], _NUMBER)


def _number(sample: Any) -> dict[str, Any]:
    labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
    return dict(zip(_NUMBER, (sample.name, labels, sample.value), strict=True))
