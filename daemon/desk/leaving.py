"""One who leaves: their keys go back, all that lets them in or tells of them is forgotten; the audit stays."""

from typing import Any

from ..store import inventory as store
from ..store.grants import revoke_grants
from ..store.history import forget_attempts
from ..store.recovery import drop_codes
from ..store.requests import drop_requests
from ..store.schema import CodeKind, State
from ..store.states import Verb
from .assignment import put_back
from .caller import Caller, Connection, Result, holder_of
from .life import retire

_MOST = 1000  # tokens of one holder
_FORGOTTEN = ("pin", "pin_set_at", "new_pin_until", "pin_length", "pin_history", "mail", "language")


def leave_holder(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result:
    """End everything that a holder has. A key that is lost, or was never proven, is retired; with `retire`, every one.

    The name stays as that of nobody in particular: attempts under way, and the audit, refer to it.
    """
    holder, everything = holder_of(connection, caller, who), bool(wanted.get("retire"))
    asked = drop_requests(connection, holder.name, "left", caller.actor, caller.now)
    stocked, retired = [], []
    for token_id in asked:
        store.update_token(connection, token_id, holder_id=None, state=State.STOCK.value, why="")
    for token in store.list_tokens(connection, holder.name, None, _MOST, caller.now):
        if everything or token.state in (State.LOST, State.UNPROVEN):
            retire(connection, caller, token, Verb.RETIRE, f"{holder.name} left")
            retired.append(token.serial)
        else:
            put_back(connection, token)
            stocked.append(token.serial)
    ended = {
        "codes": sum(drop_codes(connection, holder.id, kind) for kind in CodeKind),
        "grants": revoke_grants(connection, holder.id),
        "waits": store.clear_waits(connection, holder.id),
    }
    forget_attempts(connection, holder.id)
    store.update_holder(connection, holder.id, **dict.fromkeys(_FORGOTTEN))
    keys = [f"to the stock: {', '.join(stocked)}" if stocked else "", f"retired: {', '.join(retired)}" if retired else ""]
    counted = [f"{what}: {number}" for what, number in ended.items() if number]
    caller.note(connection, "holder-leave", holder.name, detail="; ".join(filter(None, (*keys, *counted))))
    return {"holder": holder.name, "stocked": stocked, "retired": retired, "pin": holder.pin is not None, **ended}
