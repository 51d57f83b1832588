"""The screen of one holder: who, with what, what happened last, and what to do next; in 80 columns, in 24 lines if it can."""

import datetime
import textwrap
from collections.abc import Iterator
from typing import Any

from .output import last_day, plain

_WIDTH, _LINES, _FEWEST = 80, 23, 3  # columns, lines beside the shell's next prompt, events at least
_TITLE, _TIME = 21, 18  # columns of the titles, of an event's time


def write_screen(found: dict[str, Any], now: int) -> str:
    """The screen at the time `now`, in seconds since 1970 UTC."""
    head = [line for title, values in _facts(found, now) for line in _entry(title, values)]
    todo = list(_todo(found["next"]))
    events = [_event(one) for one in found["events"]]
    room = _LINES - len(head) - len(todo) - 1
    shown: list[str] = []
    for number, lines in enumerate(events):
        if number >= _FEWEST and len(shown) + len(lines) > room:
            break
        shown += lines
    return "\n".join([*head, "last events (UTC)", *(shown or ["  none"]), *todo])


def _facts(found: dict[str, Any], now: int) -> Iterator[tuple[str, list[str]]]:
    yield "name", [found["name"]]
    yield "tokens", [_token(one) for one in found["tokens"]]
    yield "PIN", [_pin(found, now)]
    yield "mail", [found["mail"] or "-"]
    yield "language", [found["language"]]
    yield "waits", [_wait(one) for one in found["waits"]]
    yield "failures in a year", [str(found["failures_in_a_year"])]
    yield "recovery codes left", [str(found["recovery_codes_left"])]
    yield "grants", [f"{one['service']} from {one['address']} until {_at(one['valid_until'])} UTC" for one in found["grants"]]


def _at(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _token(one: dict[str, Any]) -> str:
    state, why = str(one["state"]), str(one["why"])
    told = f"{one['serial']} {why}" if why.startswith(state) else f"{one['serial']} {state}" + (f": {why}" if why else "")
    return told + (f" through {last_day(one['valid_until'])}" if one["valid_until"] is not None else "")


def _pin(found: dict[str, Any], now: int) -> str:
    if found["pin_set_at"] is not None:
        return f"since {_at(found['pin_set_at'])} UTC"
    until = found["new_pin_until"]
    if until is None or until <= now:
        return "none, and the time to create one is over" if until is not None else "none"
    return f"none; to be created before {_at(until)} UTC"


def _wait(one: dict[str, Any]) -> str:
    told = f"{one['origin']}: {one['failures']} failures"
    if one["closed"]:
        return f"{told}, closed"
    return f"{told}, may try" if one["wait_until"] is None else f"{told}, until {_at(one['wait_until'])} UTC"


def _entry(title: str, values: list[str]) -> Iterator[str]:
    for number, value in enumerate(values or ["-"]):
        yield from _wrapped(f"{title if number == 0 else '':<{_TITLE}}", value)


def _event(one: dict[str, Any]) -> list[str]:
    ref = f" (ref\u00a0{one['ref']})" if one["ref"] else ""
    return list(_wrapped(f"{_at(one['at']):<{_TIME}}", f"{one['what']}{ref}"))


def _todo(steps: list[dict[str, Any]]) -> Iterator[str]:
    yield "what to do next"
    for step in steps:
        whole = _wrapped("  ", f"{step['why']}: {step['do']}", "      ")
        # A command is to be copied: rather a line of its own than a break in it.
        yield from whole if len(whole) == 1 else [*_wrapped("  ", f"{step['why']}:"), *_wrapped("      ", step["do"])]
    if not steps:
        yield "  nothing: ready to log in"


def _wrapped(begin: str, text: str, indent: str | None = None) -> list[str]:
    """Lines of 80 columns; what comes from outside has no control characters in them."""
    hanging = " " * len(begin) if indent is None else indent
    lines = textwrap.wrap(plain("", text), _WIDTH, initial_indent=begin, subsequent_indent=hanging, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines] or [begin.rstrip()]
