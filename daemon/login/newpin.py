"""Storing the PIN that a holder chose: hashed, sealed, and compared with earlier ones at the cost of one more hash.

Earlier PINs are kept as hashes under one salt of the holder's, so that however many are remembered, a new PIN is hashed
once for all of them.
"""

import hmac
import json
from collections.abc import Callable

import sqlalchemy as sa
from attrs import frozen

from pam_arena import pin
from pam_arena.conversation import Outcome
from pam_arena.errors import StoreError

from ..audit import Event, append
from ..store.accounts import read_history, set_pin
from ..vault import Vault
from .attempt import Attempt
from .news import News, tell
from .settle import Subject, leave_grant

SALT_BYTES = 16


@frozen(repr=False)
class PinRecord:
    """A PIN as it goes into the store, all of it sealed."""

    pin: bytes
    length: bytes
    history: bytes | None


@frozen(repr=False)
class _History:
    """Earlier PINs, the oldest first, as argon2id hashes under one salt (hex)."""

    salt: str
    pins: tuple[str, ...]

    @classmethod
    def read(cls, document: bytes) -> "_History":
        """What `write` wrote."""
        known = json.loads(document)
        return cls(str(known["salt"]), tuple(map(str, known["pins"])))

    def write(self) -> bytes:
        """One JSON document."""
        return json.dumps({"salt": self.salt, "pins": self.pins}).encode()


def make_record(
    reader: sa.engine.Connection,
    vault: Vault,
    hasher: pin.Hasher,
    entropy: Callable[[int], bytes],
    subject: Subject,
    text: str,
    keep: int,
) -> PinRecord | None:
    """Hash and seal a PIN; None if it is one of the last `keep` PINs. Two argon2id where any are kept, else one."""
    sealed = read_history(reader, subject.account.holder_id)
    history = None
    if keep:
        known = _History.read(vault.open_history(sealed, subject.name)) if sealed else _History(entropy(SALT_BYTES).hex(), ())
        hashed = hasher.hash(text, bytes.fromhex(known.salt))
        earlier = known.pins[-keep:]
        if sum(hmac.compare_digest(one.encode(), hashed.encode()) for one in earlier):
            return None
        history = vault.seal_history(_History(known.salt, (*earlier, hashed)[-keep:]).write(), subject.name)
    hashed_pin = hasher.hash(text, entropy(SALT_BYTES))
    return PinRecord(
        vault.seal_pin(hashed_pin, subject.name), vault.seal_pin_length(len(text), subject.name), history if keep else sealed
    )


def store_record(
    connection: sa.engine.Connection,
    record: PinRecord,
    subject: Subject,
    attempt: Attempt,
    now: float,
    news: News | None = None,
) -> None:
    """Store a PIN with its row of the audit, and tell the holder where they had none.

    Raises StoreError if the holder's PIN changed meanwhile.
    """
    whose, before = subject.account.holder_id, subject.pin_before
    if not set_pin(connection, whose, before, record.pin, record.length, record.history, int(now)):
        raise StoreError(f"the PIN of {subject.name} changed meanwhile: theirs stays")
    event = "pin-change" if before is not None else "pin-create"
    serial = subject.match.slot.serial
    row = Event(event, subject.name, serial, actor=attempt.actor, service=attempt.service, address=attempt.address)
    append(connection, now, row)
    if before is None:
        tell(news, connection, int(now), (attempt.actor, attempt.service), "pin-created", subject.name, serial=serial)
    if subject.outcome is Outcome.GRANTED:  # an expired PIN was all that kept them out
        leave_grant(connection, attempt, subject.account, now)
