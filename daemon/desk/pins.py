"""PINs and waits: the desk takes a PIN away and ends waits; it never sees or sets a PIN."""

from ..letters.templates import Kind as Letter
from ..store import inventory as store
from .caller import Caller, Connection, Result, holder_of
from .life import end_grants


def reset_pin(connection: Connection, caller: Caller, who: str) -> Result:
    """Take a holder's PIN away: the next login is new-PIN mode. Their session grants end."""
    holder = holder_of(connection, caller, who)
    until = lapses(caller)
    store.update_holder(connection, holder.id, pin=None, pin_set_at=None, new_pin_until=until)
    caller.note(connection, "pin-reset", holder.name, detail=end_grants(connection, holder.id))
    low, high = caller.config.pin.length
    told = caller.tell(connection, Letter.PIN_RESET, holder.name, until=until, min=low, max=high)
    return {"holder": holder.name, "new_pin_until": until, **told}


def unlock(connection: Connection, caller: Caller, who: str) -> Result:
    """End all waits of a holder, and open what was closed."""
    holder = holder_of(connection, caller, who)
    ended = store.clear_waits(connection, holder.id)
    caller.note(connection, "unlock", holder.name, detail=str(ended))
    return {"holder": holder.name, "origins": ended}


def lapses(caller: Caller) -> int:
    """When new-PIN mode that begins now is over."""
    return caller.now + int(caller.config.pin.new_pin_lapses)
