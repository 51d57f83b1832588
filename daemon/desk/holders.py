"""What the desk sees and notes of a holder: everything at a glance, mail and language, session grants."""

import base64
from typing import Any

from pam_arena.errors import Refusal
from pam_arena.texts import LANGUAGES

from ..spool import is_address
from ..store import history
from ..store import inventory as store
from ..store.accounts import SLOTS
from ..store.grants import list_grants as read_grants
from ..store.grants import revoke_grants as end_grants
from ..store.recovery import count_left
from .caller import Caller, Connection, Result, holder_of
from .words import describe

EVENTS = 10  # the last ones that are shown
_NOTED = {"mail", "language"}


def show_holder(connection: Connection, caller: Caller, who: str) -> Result:
    """Everything about a holder, but what nobody may know."""
    holder = holder_of(connection, caller, who)
    tokens = store.list_tokens(connection, holder.name, None, SLOTS, caller.now)
    events = history.last_events(connection, holder.name, EVENTS)
    return {
        "name": holder.name,
        "tokens": [{"serial": one.serial, "state": one.state, "why": one.why} for one in tokens],
        "pin_set_at": holder.pin_set_at if holder.pin is not None else None,
        "new_pin_until": holder.new_pin_until if holder.pin is None else None,
        **_address(holder, caller),
        "waits": [_wait(row, caller.now) for row in history.list_waits(connection, holder.id)],
        "failures_in_a_year": history.year_failures(connection, holder.id, caller.now),
        "recovery_codes_left": count_left(connection, holder.id, caller.now),
        "grants": [_grant(row) for row in read_grants(connection, caller.now, holder.id)],
        "events": [{"at": row.at, "what": describe(row), "ref": row.ref} for row in events],
    }


def set_holder(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result:
    """Note where a holder gets mail, and in which language; an empty value: as the configuration says."""
    if not wanted or set(wanted) - _NOTED:
        raise Refusal(f"nothing to note; there are: {', '.join(sorted(_NOTED))}")
    values = {name: str(value) for name, value in wanted.items()}
    if values.get("mail") and not is_address(values["mail"]):
        raise Refusal(f"mail: {values['mail']!r} is no mail address")
    if values.get("language") and values["language"] not in LANGUAGES:
        raise Refusal(f"language: allowed: {', '.join(LANGUAGES)}")
    holder = holder_of(connection, caller, who)
    store.update_holder(connection, holder.id, **{name: value or None for name, value in values.items()})
    said = ", ".join(f"{name} {value or 'as configured'}" for name, value in values.items())
    caller.note(connection, "holder-set", holder.name, detail=said)
    return {"name": holder.name, **_address(holder_of(connection, caller, holder.name), caller)}


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


def _address(holder: store.Row, caller: Caller) -> Result:
    """Where mail goes, and in which language: as noted, or else as configured."""
    domain = caller.config.mail.domain
    mail = holder.mail or (f"{holder.name}@{domain}" if domain else None)
    return {"mail": mail, "language": holder.language or caller.config.language}


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
