"""Runs inside the guest as _arena, while arenad is stopped: adds holders FROM up to TO, each with a PIN and a HOTP token.

Usage: fill.py FROM TO
"""

import hashlib
import os
import sys
import time

sys.path.insert(0, "/usr/share/arenad")

import sqlalchemy as sa
from arenad.store.engine import open_store
from arenad.store.schema import State, holder, token
from arenad.vault import Vault, read_master_key

from pam_arena.pin import Hasher
from pam_arena.secret import Secret

BATCH = 20000
FIRST_ID = 1000  # beyond what arenad numbered itself


def main() -> None:
    """Sealed as the desk seals them; all have one PIN, hashed once, or a million argon2id would take six hours."""
    begin, end = map(int, sys.argv[1:])
    vault, now = Vault(read_master_key(os.environ["CREDENTIALS_DIRECTORY"])), int(time.time())
    hashed = Hasher().hash("2846", os.urandom(16))
    with open_store("sqlite:////var/lib/arena/arena.db").begin() as connection:
        for start in range(begin, end, BATCH):
            numbers = range(start, min(start + BATCH, end))
            holders = [
                {"id": FIRST_ID + n, "name": f"h{n}", "pin": vault.seal_pin(hashed, f"h{n}"), "created_at": now}
                for n in numbers
            ]
            tokens = [
                {
                    "serial": f"B-{n}",
                    "seed": vault.seal_seed(Secret(hashlib.sha1(f"bench {n}".encode()).digest()), f"B-{n}", 1),
                    "holder_id": FIRST_ID + n,
                }
                for n in numbers
            ]
            same = {"kind": "hotp", "algorithm": "sha1", "digits": 6, "period": 60, "seed_version": 1, "why": "", "drift": 0}
            same |= {"state": State.ACTIVE.value, "last_step": -1, "granted_step": -1, "wrong_pins": 0, "created_at": now}
            connection.execute(sa.insert(holder), holders)
            connection.execute(sa.insert(token), [one | same for one in tokens])


main()
