"""How a command prints: tables for people, JSON and CSV for programs. Nothing is told by colour alone."""

import csv
import datetime
import functools
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

import click
import segno
from rich import box
from rich.console import Console
from rich.table import Table

_TIMES = frozenset(
    (
        *("at", "created_at", "used_at", "pin_set_at", "new_pin_until", "granted_at", "valid_until", "wait_until", "seen_at"),
        *("last_login_at", "next_code_at", "resync_at"),
        *("decided_at", "written_at", "next_try_at"),
        *("made_at", "exported_at", "keys_by_time_work_at"),
    )
)


class Output:
    """Prints what a command found in the format that -o named."""

    def __init__(self, form: str) -> None:
        self._form = form

    @property
    def is_table(self) -> bool:
        """Whether a person reads it."""
        return self._form == "table"

    @property
    def is_json(self) -> bool:
        """Whether a program reads it that wants all values."""
        return self._form == "json"

    def record(self, values: dict[str, Any]) -> None:
        """One thing: a line for each of its values, and of those that are lists, for each item."""
        if self._form == "json":
            click.echo(json.dumps(values, indent=1))
        elif self._form == "csv":
            _csv(list(values), [values])
        else:
            width = max(map(len, values), default=0)
            for name, value in values.items():
                lines = value if isinstance(value, list) else [value]
                for title, line in zip_longest([_title(name)], lines or [None], fillvalue=""):
                    click.echo(f"{title:<{width}}  {plain(name, line)}".rstrip())

    def table(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        """Many things: a row for each, with these columns; JSON has all values."""
        if self._form == "json":
            click.echo(json.dumps(rows, indent=1))
        elif self._form == "csv":
            _csv(columns, rows)
        else:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for name in columns:
                table.add_column(_title(name), overflow="fold")
            for row in rows:
                table.add_row(*(plain(name, row[name]) for name in columns))
            Console(file=sys.stdout, highlight=False, markup=False).print(table)
            click.echo(f"{len(rows)} in all")

    def stream(self, rows: Iterable[dict[str, Any]], columns: Sequence[str], line: Callable[[dict[str, Any]], str]) -> None:
        """Many things as they come: for people a line each, made by `line`; JSON a document a line."""
        if self._form == "csv":
            _csv(columns, [])
        for row in rows:
            if self._form == "csv":
                _csv(columns, [row], header=False)
            else:
                click.echo(json.dumps(row) if self._form == "json" else line(row))
            sys.stdout.flush()


def format_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option -o, and an Output by the name `output`."""

    @click.option("-o", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="The format.")
    @functools.wraps(command)
    def wrapped(*args: Any, form: str, **options: Any) -> None:
        command(*args, output=Output(form), **options)

    return wrapped


def day(seconds: int | None) -> str:
    """The day of a time, in this host's time zone; `-` for none."""
    if seconds is None:
        return "-"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().date().isoformat()


def last_day(until: int | None) -> str:
    """The last day before `until`: what is valid through that day ends there."""
    return day(None if until is None else until - 1)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is taken away, where there is somebody to ask; ends the command at a no."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True)


def qr_code(text: str) -> str:
    """A QR code of half blocks, for a terminal."""
    drawn = io.StringIO()
    segno.make(text, micro=False, error="l").terminal(drawn, compact=True)
    return drawn.getvalue()


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]], *, header: bool = True) -> None:
    out = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        out.writeheader()
    out.writerows({name: _cell(row[name]) for name in columns} for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _title(name: str) -> str:
    return name if "." in name else name.replace("_", " ")  # a dotted name is a key of arena.toml, to be typed as it is


def plain(name: str, value: Any) -> str:
    """A value for people, by its name where it is a time. Names and addresses come from outside: no control characters."""
    if value is None:
        return "-"
    if name in _TIMES:
        return datetime.datetime.fromtimestamp(value, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(_cell(value))
    return "".join(c if c.isprintable() or c == "\u00a0" else c.encode("unicode_escape").decode() for c in text)
