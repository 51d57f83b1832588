"""The desk at a glance, and what lies behind a reference.

A verb gets a connection inside a transaction and a `Caller`: it changes the store and the audit together, or nothing.
"""

from pam_arena.errors import NotFound

from ..audit import Reason
from ..store import inventory as store
from ..store import requests
from ..store.ballast import logins_left
from ..store.engine import store_path
from .caller import Caller, Connection, Result
from .words import describe, explain


def status(connection: Connection, caller: Caller) -> Result:
    """The store at a glance."""
    with_pin, without = store.count_holders(connection)
    holders = {"with a PIN": with_pin, "without a PIN": without}
    wanted = caller.config.store.ballast
    ballast = {"logins": logins_left(store_path(caller.config.store.url), wanted), "wanted": wanted}
    tokens = store.count_tokens(connection, caller.now)
    return {"key": caller.vault.key_id, "tokens": tokens, "holders": holders, "ballast": ballast}


def why(connection: Connection, caller: Caller, ref: str) -> Result:
    """What a failure reference stands for, and what to do."""
    asked = ref.upper().translate(str.maketrans("ILO", "110", " -"))
    row = store.find_by_ref(connection, asked)
    reason = "" if row is None else row.reason
    if row is None:
        row = store.find_stranger_by_ref(connection, asked)
        # Whatever else was noted: sshd answers in the place of a name that does not exist, and strangers share their waits.
        reason = row.reason if row is not None and row.event == requests.EVENT else Reason.UNKNOWN.value
    if row is None:
        raise NotFound(f"no failure has the reference {ref}")
    what, remedy = explain(reason, row.detail, row.holder, row.serial or _only_serial(connection, caller, row.holder))
    what = what or describe(row)  # a mail has a reference too, and nothing that went wrong
    fields = {name: getattr(row, name) for name in ("ref", "at", "holder", "service", "address", "serial")}
    return {**fields, "reason": reason, "what": what, "remedy": remedy}


def _only_serial(connection: Connection, caller: Caller, name: str) -> str:
    """The serial of a holder who has one token: a wrong code belongs to no token, and yet it is meant."""
    tokens = store.list_tokens(connection, name, None, 2, caller.now)
    return str(tokens[0].serial) if len(tokens) == 1 else ""
