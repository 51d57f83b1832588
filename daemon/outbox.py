"""What a transaction leaves to be mailed: a mail goes if what it tells was done, and only then, whatever crashes when.

The spool and the store cannot commit together, and a mail must neither be lost nor tell what did not happen. So a mail
is written in two steps around the commit:

1. Inside the transaction, under the lock that SQLite gives to one writer at a time, the mail is written to the spool whole
   and synced, but *held*: under a name that arena-mail does not look for. In the same transaction the audit gets a row that
   says what is mailed to whom. Its reference, 40 random bits, is in the name of the file and is the mail's Message-ID.
2. After the commit the file is renamed, which sets it free. If the transaction failed, it is removed.

A crash before the commit leaves a held mail whose reference the audit has not; one after it, a held mail whose reference
the audit has. `settle_held`, which every start of arenad and of the desk runs, removes the first and frees the second. It
does so as a transaction of its own, so that no other is between its two steps meanwhile. Freeing is not synced: a mail
that a power cut turns back into a held one is freed again, and goes a second time with the same Message-ID.

A group of jobs that fails is run again job by job (store/writer.py): the reference of a mail is therefore drawn once, and
the second run writes the same file.
"""

import logging
import socket
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from pam_arena.errors import StoreError

from .audit import Event, append, new_ref
from .config import Config
from .letters.templates import Kind, show_time, write
from .spool import Mail, drop, free, held, hold, is_address
from .store.inventory import find_by_ref, find_holder

log = logging.getLogger(__name__)


@frozen
class Told:
    """Where a mail goes, or why none does."""

    to: str | None
    why: str = ""


@frozen
class Addressee:
    """Who is told, in which language; to is empty where no address is known."""

    name: str
    to: str
    language: str


class Outbox:
    """The mails of one transaction; `settle` is to be told of its end. folder: of the templates."""

    def __init__(self, config: Config, spool: Path, folder: Path) -> None:
        self._config, self._spool, self._folder = config, spool, folder
        self._refs: dict[tuple[Kind, str, str], str] = {}

    def tell(
        self,
        connection: sa.engine.Connection,
        at: int,
        by: tuple[str, str],
        kind: Kind | str,
        name: str,
        **words: str | int,
    ) -> Told:
        """Have a holder told, with the row of the audit, if this transaction comes to be. by: the actor and the service.

        words: what the kind fills in beside what all do; `until` in seconds since 1970. Raises StoreError naming the spool,
        and Refusal for a mail that cannot be.
        """
        return self.tell_address(connection, at, by, Kind(kind), addressee_of(connection, self._config, name), **words)

    def tell_address(
        self,
        connection: sa.engine.Connection,
        at: int,
        by: tuple[str, str],
        kind: Kind,
        whom: Addressee,
        **words: str | int,
    ) -> Told:
        """As `tell`, at this address."""
        sender = self._config.mail.sender
        if not sender:
            return Told(None, "no mail is sent, because [mail] from is empty")
        if not whom.to:
            remedy = f"note one: arenactl holder set {whom.name} --mail ADDRESS, or set domain in [mail]"
            return Told(None, f"no mail address of {whom.name} is known; {remedy}")
        if not is_address(whom.to):
            return Told(None, f"{whom.to!r} is no mail address; note one: arenactl holder set {whom.name} --mail ADDRESS")
        serial = str(words.get("serial", ""))
        ref = self._refs.setdefault((kind, whom.to, serial), new_ref())
        filled = {key: show_time(int(word), whom.language) if key == "until" else str(word) for key, word in words.items()}
        filled |= {"name": whom.name, "host": socket.gethostname(), "date": show_time(at, whom.language)}
        subject, body = write(kind, whom.language, filled, self._config.help, self._folder)
        message_id = f"<{ref.lower()}@{sender.rpartition('@')[2]}>"
        hold(self._spool, sender, Mail(whom.to, subject, body, message_id), ref)
        actor, service = by
        append(
            connection,
            at,
            Event("mail", whom.name, serial, detail=f"{kind} to {whom.to}", actor=actor, service=service, ref=ref),
        )
        return Told(whom.to)

    @property
    def refs(self) -> tuple[str, ...]:
        """The references of the mails."""
        return tuple(self._refs.values())

    def settle(self, done: "Future[Any]") -> None:
        """Free the mails of a transaction that is durable, remove those of one that failed: a callback of its future."""
        end = drop if done.cancelled() or done.exception() is not None else free
        for ref in self._refs.values():
            try:
                end(self._spool, ref)
            except StoreError as error:  # the next start sees to it
                log.error("%s", error)


def addressee_of(connection: sa.engine.Connection, config: Config, name: str) -> Addressee:
    """Where a name gets mail: as the desk noted it, or else as configured. It need be no holder's."""
    found = find_holder(connection, name)
    noted, language = (found.mail, found.language) if found is not None else (None, None)
    domain = config.mail.domain
    return Addressee(name, noted or (f"{name}@{domain}" if domain else ""), language or config.language)


def settle_held(connection: sa.engine.Connection, spool: Path) -> None:
    """Free or remove what a crash left held. To be run as a transaction. Raises StoreError naming the spool."""
    for ref in held(spool):
        if find_by_ref(connection, ref) is not None:
            free(spool, ref)
            log.warning("mail %s: held back by a crash, sent now", ref)
        else:
            drop(spool, ref)
            log.warning("mail %s: removed: a crash undid what it tells", ref)
