"""The decoys: nobody's three tokens and PIN, that attempts without a real token work on. Sealed like real ones."""

import os

import sqlalchemy as sa

from pam_arena.errors import VaultError
from pam_arena.otp import Mechanism
from pam_arena.pin import Hasher
from pam_arena.secret import Secret

from ..clock import Clock
from ..store.accounts import SLOTS
from ..store.inventory import NewToken, add_holder, add_token
from ..store.schema import KEY_ID, NOBODY, State, meta
from ..store.writer import Writer
from ..vault import Vault

DECOY_PIN_LENGTH = 4  # characters


def prepare(writer: Writer, vault: Vault, clock: Clock, hasher: Hasher) -> None:
    """Check that the store was made under this master key; in a new one, note the key and add the decoys."""
    now = int(clock.now())

    def job(connection: sa.engine.Connection) -> str:
        noted = connection.execute(sa.select(meta.c.value).where(meta.c.name == KEY_ID)).scalar()
        if noted is not None:
            return bytes(noted).decode()
        connection.execute(sa.insert(meta).values(name=KEY_ID, value=vault.key_id.encode()))
        hashed = hasher.hash(os.urandom(8).hex(), os.urandom(16))
        length = vault.seal_pin_length(DECOY_PIN_LENGTH, "")
        add_holder(connection, "", now, id=NOBODY, pin=vault.seal_pin(hashed, ""), pin_length=length)
        for n in range(SLOTS):
            serial = f"~decoy{n}"
            seed = vault.seal_seed(Secret(os.urandom(20)), serial, 1)
            add_token(connection, NewToken(serial, Mechanism(), seed), now, State.DECOY, NOBODY)
        return vault.key_id

    refuse_other_key(writer.submit(job).result(), vault)


def refuse_other_key(noted: str | None, vault: Vault) -> None:
    """Raises VaultError if a store was made under another master key; None: under none yet."""
    if noted not in (None, vault.key_id):
        raise VaultError(
            f"the store was made under master key {noted}, and this one is {vault.key_id}: bring the right one back by"
            " `arenactl key import FILE`, or the right store by `arenactl restore FILE`"
        )
