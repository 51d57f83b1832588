"""Keys as the desk sees them: one, or those that it looks for; never a seed."""

import pwd
from collections.abc import Mapping
from functools import lru_cache

from attrs import evolve

from pam_arena.errors import Refusal
from pam_arena.otp import Kind

from ..store import inventory as store
from ..store.schema import State
from ..store.search import Wanted, find_tokens
from .caller import Caller, Connection, Result, token_meant
from .dates import start_of_past
from .forecast import Forecast, forecast, is_drifting

PAGE = 1000  # tokens that are read at once
MOST = 10_000  # tokens of one answer; the next begin after its last serial
SHOWN = tuple(state.value for state in State if state not in (State.STAGED, State.DECOY))
FILTERS = ("holder", "state", "serial", "kind", "unused_since", "expiring", "orphans", "drifting", "after")
_DAY = 86400
_DAYS = 36_500


def show_token(connection: Connection, caller: Caller, who: str) -> Result:
    """One token, without its seed."""
    token = token_meant(connection, caller, who)
    return {**shown(token), **_told(foresee(token, caller))}


def list_tokens(connection: Connection, caller: Caller, asked: Mapping[str, str]) -> list[Result]:
    """Tokens by serial, without their seeds: at most 10,000, the next ones `after` the last serial."""
    wanted, orphans, drifting = _wanted(asked, caller.now), _flag(asked, "orphans"), _flag(asked, "drifting")
    exists = lru_cache(maxsize=None)(is_user)
    found: list[Result] = []
    while len(found) < MOST:
        page = find_tokens(connection, wanted, PAGE, caller.now)
        for row in page:
            foreseen = foresee(row, caller)
            if orphans and (row.holder is None or exists(row.holder)):
                continue
            if drifting and not is_drifting(row.drift, foreseen, caller.config.code.window, caller.now):
                continue
            found.append({**shown(row), "last_login_at": row.last_login_at, **_told(foreseen)})
        if len(page) < PAGE:
            break
        wanted = evolve(wanted, after=page[-1].serial)
    return found[:MOST]


def is_user(name: str) -> bool:
    """Whether the system knows a name."""
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True


def shown(row: store.Row) -> Result:
    """What may be known of a token."""
    names = (
        *("serial", "state", "holder", "kind", "algorithm", "digits", "period", "drift", "why"),
        *("created_at", "used_at", "valid_until"),
    )
    return {name: getattr(row, name) for name in names}


def _wanted(asked: Mapping[str, str], now: int) -> Wanted:
    if unknown := set(asked) - set(FILTERS):
        raise Refusal(f"filter {min(unknown)!r}: there are: {', '.join(FILTERS)}")
    state, kind = asked.get("state"), asked.get("kind")
    if state is not None and state not in SHOWN:
        raise Refusal(f"state {state!r}: allowed: {', '.join(SHOWN)}")
    if kind is not None and kind not in list(Kind):
        raise Refusal(f"kind {kind!r}: allowed: {', '.join(Kind)}")
    since, days = asked.get("unused_since"), asked.get("expiring")
    return Wanted(
        holder=asked.get("holder"),
        state=state,
        prefix=asked.get("serial"),
        kind=kind,
        after=asked.get("after"),
        unused_since=None if since is None else start_of_past(since, now),
        ends_before=None if days is None else now + _whole_days(days) * _DAY,
    )


def _flag(asked: Mapping[str, str], name: str) -> bool:
    value = asked.get(name, "no")
    if value not in ("yes", "no"):
        raise Refusal(f"{name}: allowed: yes, no")
    return value == "yes"


def _whole_days(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= _DAYS:
        return int(text[:6])
    raise Refusal(f"expiring: allowed: 1 to {_DAYS} days")


def foresee(row: store.Row, caller: Caller) -> Forecast:
    """What is to be expected of a token's clock."""
    return forecast(row.kind, row.drift, row.period, row.created_at, row.last_step, caller.config.code)


def _told(foreseen: Forecast) -> Result:
    return {
        "steps_a_year": foreseen.steps_a_year,
        "next_code_at": foreseen.next_code_at,
        "resync_at": foreseen.resync_at,
    }
