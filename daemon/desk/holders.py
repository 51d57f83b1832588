"""What the desk sees of holders: who they are, everything about one at a glance, session grants."""

import base64
from collections.abc import Mapping
from functools import lru_cache

from attrs import asdict

from pam_arena.errors import Refusal

from ..store import history
from ..store import inventory as store
from ..store.grants import list_grants as read_grants
from ..store.grants import revoke_grants as end_grants
from ..store.recovery import count_left
from ..store.requests import list_requests
from ..store.schema import RequestState, State
from ..store.search import find_holders, keys_of
from .addresses import address_of
from .advice import Facts, Key, next_steps
from .caller import Caller, Connection, Result, holder_of
from .tokens import foresee, is_user
from .words import describe

EVENTS = 10  # the last ones that are shown
FILTERS = ("without_pin", "orphans", "locked", "after")
PAGE, MOST = 500, 10_000  # holders that are read at once; of one answer
_KEYS = 100  # of one holder


def list_holders(connection: Connection, caller: Caller, asked: Mapping[str, str]) -> list[Result]:
    """Those who have a key, a PIN or a code, by name: at most 10,000, the next ones `after` the last name."""
    if unknown := set(asked) - set(FILTERS):
        raise Refusal(f"filter {min(unknown)!r}: there are: {', '.join(FILTERS)}")
    flags = {name: asked.get(name, "no") for name in FILTERS[:-1]}
    if wrong := [name for name, value in flags.items() if value not in ("yes", "no")]:
        raise Refusal(f"{wrong[0]}: allowed: yes, no")
    exists = lru_cache(maxsize=None)(is_user)
    found: list[Result] = []
    after = asked.get("after")
    while len(found) < MOST:
        page = find_holders(connection, after, PAGE, caller.now)
        keys = keys_of(connection, (row.name for row in page), caller.now)
        for row in page:
            if flags["without_pin"] == "yes" and row.has_pin:
                continue
            if flags["locked"] == "yes" and not (row.waiting or row.closed):
                continue
            if flags["orphans"] == "yes" and exists(row.name):
                continue
            found.append(_listed(row, keys.get(row.name, [])))
        if len(page) < PAGE:
            break
        after = page[-1].name
    return found[:MOST]


def _listed(row: store.Row, keys: list[store.Row]) -> Result:
    return {
        "name": row.name,
        "pin": bool(row.has_pin),
        "keys": [key.serial if key.state == State.ACTIVE else f"{key.serial} ({key.state})" for key in keys],
        "last_login_at": row.last_login_at,
        "waiting": row.waiting,
        "closed": row.closed,
    }


def show_holder(connection: Connection, caller: Caller, who: str) -> Result:
    """Everything about a holder, but what nobody may know."""
    holder = holder_of(connection, caller, who)
    tokens = store.list_tokens(connection, holder.name, None, _KEYS, caller.now)
    events = history.last_events(connection, holder.name, EVENTS)
    waits = [_wait(row, caller.now) for row in history.list_waits(connection, holder.id)]
    left = count_left(connection, holder.id, caller.now)
    return {
        "name": holder.name,
        "tokens": [_key(one) for one in tokens],
        "pin_set_at": holder.pin_set_at if holder.pin is not None else None,
        "new_pin_until": holder.new_pin_until if holder.pin is None else None,
        **address_of(holder, caller),
        "waits": waits,
        "failures_in_a_year": history.year_failures(connection, holder.id, caller.now),
        "recovery_codes_left": left,
        "grants": [_grant(row) for row in read_grants(connection, caller.now, holder.id)],
        "events": [{"at": row.at, "what": describe(row), "ref": row.ref} for row in events],
        "next": [asdict(step) for step in next_steps(_facts(connection, caller, holder, tokens, waits, left))],
    }


def _key(token: store.Row) -> Result:
    return {name: getattr(token, name) for name in ("serial", "state", "why", "valid_until")}


def _facts(
    connection: Connection, caller: Caller, holder: store.Row, tokens: list[store.Row], waits: list[Result], left: int
) -> Facts:
    last = history.last_attempt(connection, holder.name)
    asked = list_requests(connection, caller.now, state=RequestState.OPEN.value, name=holder.name, limit=1)
    return Facts(
        name=holder.name,
        now=caller.now,
        exists=is_user(holder.name),
        keys=tuple(
            Key(one.serial, State(one.state), one.why, one.valid_until, foresee(one, caller).resync_at) for one in tokens
        ),
        has_pin=holder.pin is not None,
        new_pin_until=holder.new_pin_until or 0,
        waits=sum(one["closed"] or one["wait_until"] is not None for one in waits),
        codes_left=left,
        asked=asked[0].serial if asked else None,
        last_outcome="" if last is None else last.outcome,
        last_reason="" if last is None else last.reason,
        last_detail="" if last is None else last.detail,
        last_serial="" if last is None else last.serial,
    )


def list_grants(connection: Connection, caller: Caller, who: str | None) -> list[Result]:
    """The session grants that hold now, of one holder or of all."""
    holder_id = None if who is None else holder_of(connection, caller, who).id
    return [_grant(row) for row in read_grants(connection, caller.now, holder_id)]


def revoke_grants(connection: Connection, caller: Caller, who: str) -> Result:
    """End every session grant of a holder: the next connection asks again."""
    holder = holder_of(connection, caller, who)
    ended = end_grants(connection, holder.id)
    caller.note(connection, "grant-revoke", holder.name, detail=str(ended))
    return {"holder": holder.name, "ended": ended}


def _grant(row: store.Row) -> Result:
    fingerprint = base64.b64encode(row.key_hash).decode().rstrip("=")
    return {
        "holder": row.holder,
        "service": row.service,
        "address": row.address,
        "key": f"SHA256:{fingerprint}",  # as ssh-keygen -l prints it
        "granted_at": row.granted_at,
        "valid_until": row.valid_until,
    }


def _wait(row: store.Row, now: int) -> Result:
    place = {"console": "console", "remote": row.key or "other addresses", "local": f"uid {row.key} on this host"}
    waits = row.wait_until if row.wait_until > now and not row.closed else None
    return {"origin": place[row.kind], "failures": row.failures, "wait_until": waits, "closed": row.closed}
