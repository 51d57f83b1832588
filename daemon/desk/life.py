"""Whether a key works: enabled, disabled, lost, retired. What is allowed from which state: store/states.py."""

from typing import Any

from pam_arena.errors import Refusal

from ..store import inventory as store
from ..store.accounts import SLOTS
from ..store.grants import revoke_grants
from ..store.schema import State
from ..store.states import HELD, Verb, after
from .caller import Caller, Connection, Result, token_meant
from .dates import NEVER, read_until
from .tokens import show_token
from .words import show_day

_MOST = 100  # tokens of one holder that are looked at


def enable_token(connection: Connection, caller: Caller, who: str, wanted: dict[str, Any] | None = None) -> Result:
    """Make a disabled, expired or found token of a holder work again; `until` sets, or takes away, its last day."""
    token = token_meant(connection, caller, who, Verb.ENABLE)
    state = State(token.state)
    becomes = after(Verb.ENABLE, state, token.serial, token.holder)
    until = read_until(wanted or {}, caller.now, token.valid_until)
    if until is not None and until <= caller.now:
        raise Refusal(
            f"token {token.serial} was valid through {show_day(until)}: arenactl token enable {token.serial} --until DATE,"
            f" or --until {NEVER}"
        )
    if state not in HELD:
        require_slot(connection, caller, token.holder)
    store.update_token(connection, token.id, state=becomes.value, why="", wrong_pins=0, valid_until=until)
    caller.note(connection, "token-enable", token.holder, token.serial, through(until))
    return show_token(connection, caller, token.serial)


def disable_token(connection: Connection, caller: Caller, who: str) -> Result:
    """Let no code of a token work; its holder's session grants end."""
    token = token_meant(connection, caller, who, Verb.DISABLE)
    becomes = after(Verb.DISABLE, State(token.state), token.serial, token.holder)
    store.update_token(connection, token.id, state=becomes.value, why=f"disabled by {caller.actor}")
    caller.note(connection, "token-disable", token.holder, token.serial, end_grants(connection, token.holder_id))
    return show_token(connection, caller, token.serial)


def lose_token(connection: Connection, caller: Caller, who: str) -> Result:
    """Let no code of a lost token work; its holder's session grants end. They keep its name, not its place."""
    token = token_meant(connection, caller, who, Verb.LOST)
    becomes = after(Verb.LOST, State(token.state), token.serial, token.holder)
    store.update_token(connection, token.id, state=becomes.value, why=f"reported by {caller.actor}")
    caller.note(connection, "token-lost", token.holder, token.serial, end_grants(connection, token.holder_id))
    others = [one.serial for one in held(connection, caller, token.holder) if one.state == State.ACTIVE]
    replace = f"arenactl token replace {token.serial} NEW --lost"
    steps = [replace] if others else [f"arenactl code temporary {token.holder}", replace]
    return {**show_token(connection, caller, token.serial), "other_keys": others, "next": steps}


def retire_token(connection: Connection, caller: Caller, serial: str) -> Result:
    """Take a token out of service for good: it is nobody's, and can not be assigned again."""
    token = token_meant(connection, caller, serial, Verb.RETIRE)
    retire(connection, caller, token, Verb.RETIRE, f"retired by {caller.actor}")
    ended = "" if token.holder is None else end_grants(connection, token.holder_id)
    was = "" if token.holder is None else f"was {token.holder}'s"
    detail = "; ".join(filter(None, (was, ended)))
    caller.note(connection, "token-retire", token.holder or "", token.serial, detail)
    return show_token(connection, caller, token.serial)


def retire(connection: Connection, caller: Caller, token: store.Row, verb: Verb, why: str) -> None:
    """Change the store as a retirement does, for a verb that notes it."""
    becomes = after(verb, State(token.state), token.serial, token.holder)
    store.update_token(connection, token.id, holder_id=None, state=becomes.value, why=why, valid_until=None, wrong_pins=0)


def held(connection: Connection, caller: Caller, name: str) -> list[store.Row]:
    """The tokens that fill a holder's places."""
    owned = store.list_tokens(connection, name, None, _MOST, caller.now)
    return [one for one in owned if State(one.state) in HELD]


def require_slot(connection: Connection, caller: Caller, name: str) -> None:
    """Raises Refusal if a holder has no place for one more token: a login looks at so many, and no more."""
    if len(held(connection, caller, name)) >= SLOTS:
        raise Refusal(f"{name} has {SLOTS} tokens already: unassign one first")


def end_grants(connection: Connection, holder_id: int) -> str:
    """End a holder's session grants; returns what the audit is to say of it."""
    ended = revoke_grants(connection, holder_id)
    return f"session grants ended: {ended}" if ended else ""


def through(until: int | None) -> str:
    """What the audit is to say of a token's last day."""
    return "" if until is None else f"through {show_day(until)}"
