"""Dates as the desk types them: 2026-12-31, or 14d for in fourteen days. A day is one of this host's time zone."""

import datetime
import re
from typing import Any

from pam_arena.errors import Refusal

NEVER = "never"
_DAYS = re.compile(r"([0-9]{1,5})d")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def end_of(text: str, now: int) -> int:
    """The end of a day, as the second since 1970 at which it is over: the last day counts in full.

    Raises Refusal for what is no date, or for one that is over at `now`.
    """
    day = _read(text, now)
    if day is None:
        raise Refusal(f"date {text!r}: allowed: a day such as 2026-12-31, or a number of days such as 14d")
    over = _midnight(day + datetime.timedelta(days=1))
    if over <= now:
        raise Refusal(f"date {text!r}: that day is over")
    return over


def read_until(wanted: dict[str, Any], now: int, otherwise: int | None = None) -> int | None:
    """The `until` of a request's body, as `end_of`, or none for "never"; what it is otherwise, if it is left out."""
    text = wanted.get("until")
    if text is None:
        return otherwise
    return None if text == NEVER else end_of(str(text), now)


def start_of_past(text: str, now: int) -> int:
    """The beginning of a day, or the second so many days before `now`. Raises Refusal for what is no date."""
    if days := _DAYS.fullmatch(text):
        return now - int(days[1]) * 86400
    day = _read(text, now)
    if day is None:
        raise Refusal(f"date {text!r}: allowed: a day such as 2026-12-31, or a number of days such as 90d")
    return _midnight(day)


def _read(text: str, now: int) -> datetime.date | None:
    try:
        if days := _DAYS.fullmatch(text):
            today = datetime.datetime.fromtimestamp(now, datetime.UTC).astimezone().date()
            return today + datetime.timedelta(days=int(days[1]))
        day = datetime.date.fromisoformat(text) if _DAY.fullmatch(text) else None
        return day if day is None or 1 < day.year < 9999 else None  # a time zone may lead a day beyond
    except (ValueError, OverflowError):
        return None


def _midnight(day: datetime.date) -> int:
    return int(datetime.datetime.combine(day, datetime.time()).astimezone().timestamp())
