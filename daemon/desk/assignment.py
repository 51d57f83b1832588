"""Whose a key is: assigned, taken back, replaced by another. The PIN is the holder's, and stays."""

from typing import Any

from pam_arena.errors import NotFound, Refusal

from ..store import inventory as store
from ..store.requests import settle_request
from ..store.schema import State
from ..store.states import Verb, after
from .caller import Caller, Connection, Result, token_meant, token_of
from .dates import read_until
from .life import end_grants, require_slot, retire, through
from .pins import lapses
from .tokens import is_user, show_token
from .words import show_day


def assign_token(
    connection: Connection, caller: Caller, serial: str, name: str, *, until: int | None = None, event: str = "token-assign"
) -> Result:
    """Make a token a holder's: active, and in new-PIN mode unless the holder has a PIN.

    until: the second since 1970 at which it stops working. A request of the same holder for it is thereby approved.
    """
    token = token_of(connection, caller, serial)
    becomes = after(Verb.ASSIGN, State(token.state), serial, token.holder)
    if token.holder not in (None, name):
        raise Refusal(f"token {serial} is {token.holder}'s: arenactl token unassign {serial} first")
    settle_request(connection, token.id, serial, name, caller.actor, caller.now)
    give(connection, caller, token, name, becomes, until)
    caller.note(connection, event, name, serial, through(until))
    return show_token(connection, caller, serial)


def give(connection: Connection, caller: Caller, token: store.Row, name: str, state: State, until: int | None) -> None:
    """Change the store as an assignment does, for a verb that notes it."""
    require_user(name)
    require_slot(connection, caller, name)
    holder_id, has_pin = known_holder(connection, caller, name)
    if not has_pin:
        store.update_holder(connection, holder_id, new_pin_until=lapses(caller))
    store.update_token(
        connection,
        token.id,
        holder_id=holder_id,
        state=state.value,
        why="",
        wrong_pins=0,
        granted_step=-1,  # its last login, and when it was used, were somebody else's
        used_at=None,
        valid_until=until,
    )


def require_user(name: str) -> None:
    """Raises NotFound for a name that the system does not know."""
    if not is_user(name):
        raise NotFound(f"no user {name!r} on this system (getent passwd {name})")


def known_holder(connection: Connection, caller: Caller, name: str) -> tuple[int, bool]:
    """The holder of a name, added if there is none yet: (id, has a PIN)."""
    holder = store.find_holder(connection, name)
    if holder is None:
        if store.is_staged(connection, name):
            raise Refusal(f"an import under way brings {name}: try again when that is over")
        return store.add_holder(connection, name, caller.now), False
    return holder.id, holder.pin is not None


def unassign_token(connection: Connection, caller: Caller, who: str) -> Result:
    """Take a token from its holder, back into the stock; their session grants end."""
    token = token_meant(connection, caller, who, Verb.UNASSIGN)
    put_back(connection, token)
    ended = "" if token.holder is None else end_grants(connection, token.holder_id)
    caller.note(connection, "token-unassign", token.holder or "", token.serial, ended)
    return show_token(connection, caller, token.serial)


def put_back(connection: Connection, token: store.Row) -> None:
    """Change the store as an unassignment does, for a verb that notes it."""
    becomes = after(Verb.UNASSIGN, State(token.state), token.serial, token.holder)
    store.update_token(connection, token.id, holder_id=None, state=becomes.value, why="", wrong_pins=0, valid_until=None)


def replace_token(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any]) -> Result:
    """Give a holder another token in the place of one: retired, or noted as lost. Its last day goes over to the new one."""
    lost, old = bool(wanted.get("lost")), token_meant(connection, caller, who, Verb.REPLACE)
    becomes, name = after(Verb.REPLACE, State(old.state), old.serial, old.holder), old.holder
    serial = token_of(connection, caller, str(wanted.get("new", ""))).serial
    if serial == old.serial:
        raise Refusal(f"token {serial} cannot replace itself: name the new one")
    until = read_until(wanted, caller.now, old.valid_until)
    if until is not None and until <= caller.now:
        raise Refusal(f"token {old.serial} was valid through {show_day(until)}: say until when the new one is: --until DATE")
    grants = end_grants(connection, old.holder_id)
    if lost:
        why = old.why if old.state == State.LOST else f"reported by {caller.actor}"
        store.update_token(connection, old.id, state=State.LOST.value, why=f"{why}; replaced by {serial}")
    else:
        retire(connection, caller, old, Verb.REPLACE, f"replaced by {serial}")
    what = "lost" if lost else becomes.value
    detail = "; ".join(filter(None, (f"by {serial}, and is {what}", grants)))
    caller.note(connection, "token-replace", name, old.serial, detail)
    given = assign_token(connection, caller, serial, name, until=until)
    return {**given, "replaces": old.serial, "old_is": what}
