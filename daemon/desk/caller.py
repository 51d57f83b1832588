"""Who asks the desk, with what, and whom they mean. WHO is a user or a serial everywhere."""

from typing import Any

import sqlalchemy as sa
from attrs import frozen

from pam_arena.errors import NotFound, Refusal

from ..audit import Event, append
from ..config import Config
from ..letters.templates import Kind
from ..outbox import Addressee, Outbox, Told
from ..store import inventory as store
from ..store.schema import State
from ..store.states import AFTER, Verb
from ..vault import Vault

Connection = sa.engine.Connection
Result = dict[str, Any]  # what arenactl shows, as plain values
_MOST = 100  # tokens of one holder that are looked at


@frozen
class Caller:
    """Who asks, and with what: the vault, the configuration, the time in seconds since 1970 UTC, the mails."""

    actor: str
    vault: Vault
    config: Config
    now: int
    outbox: Outbox

    def note(self, connection: Connection, event: str, holder: str = "", serial: str = "", detail: str = "") -> None:
        """Add the audit row of a change."""
        append(connection, self.now, Event(event, holder, serial, detail=detail, actor=self.actor, service="desk"))

    def tell(self, connection: Connection, kind: Kind, name: str, **words: str | int) -> Result:
        """Have a holder told by mail, if this transaction comes to be; what the answer says of it. Raises as Outbox.tell."""
        return _said(self.outbox.tell(connection, self.now, (self.actor, "desk"), kind, name, **words))

    def tell_address(self, connection: Connection, kind: Kind, whom: Addressee) -> Result:
        """As `tell`, at an address."""
        return _said(self.outbox.tell_address(connection, self.now, (self.actor, "desk"), kind, whom))


def _said(told: Told) -> Result:
    return {"mail": told.to, "no_mail": told.why}


def _find_token(connection: Connection, caller: Caller, serial: str) -> store.Row | None:
    """The token of a serial; none for what no database can look for."""
    try:
        serial.encode()
    except UnicodeEncodeError:
        raise NotFound(f"{serial!r} is no serial and no user: arenactl token list") from None
    return store.find_token(connection, serial, caller.now)


def token_of(connection: Connection, caller: Caller, serial: str) -> store.Row:
    """The token of a serial. Raises NotFound."""
    token = _find_token(connection, caller, serial)
    if token is None:
        raise NotFound(f"no token has the serial {serial!r}: arenactl token list")
    return token


def token_meant(connection: Connection, caller: Caller, who: str, verb: Verb | None = None) -> store.Row:
    """The token of a serial, or the one that a user has, if only one of theirs allows the verb. Raises NotFound, Refusal."""
    token = _find_token(connection, caller, who)
    if token is not None:
        return token
    if store.find_holder(connection, who) is None:
        raise NotFound(f"no token has the serial {who!r}, and no holder that name: arenactl token list")
    owned = store.list_tokens(connection, who, None, _MOST, caller.now)
    if not owned:
        raise NotFound(f"{who} has no token: arenactl token assign SERIAL {who}")
    fitting = [one for one in owned if verb is None or State(one.state) in AFTER[verb]] or owned
    if len(fitting) > 1:
        listed = ", ".join(f"{one.serial} ({one.state})" for one in fitting)
        raise Refusal(f"{who} has {len(fitting)} tokens: say which one: {listed}")
    return fitting[0]


def holder_of(connection: Connection, caller: Caller, who: str) -> store.Row:
    """The holder of a name, or of a token's serial. Raises NotFound."""
    token = _find_token(connection, caller, who)
    name = token.holder if token is not None and token.holder is not None else who
    holder = store.find_holder(connection, name)
    if holder is None:
        raise NotFound(f"{who!r} is neither a holder nor the serial of a holder's token: arenactl token list")
    return holder
