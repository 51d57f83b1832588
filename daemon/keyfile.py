"""The master key's credential: made once, sealed by systemd with this host's key, and brought back from an export.

Runs as root for a moment (arenad-key.service, arenactl key import); the daemons only ever see the opened credential.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pam_arena.errors import Refusal, VaultError
from pam_arena.secret import Secret

from .owner import as_owner
from .store.engine import open_store, read_key_id, store_path
from .vault import CREDENTIAL, MASTER_KEY_BYTES, Vault

SEALED = Path("/etc/credstore.encrypted", CREDENTIAL)

PASSPHRASE_LEAST = 12  # characters: an export leaves the house
COST = {"time_cost": 3, "memory_cost": 256 * 1024, "parallelism": 4}  # argon2id, memory in KiB (RFC 9106, section 4)


def noted_key(url: str) -> str | None:
    """The id of the key that the store was made under; None for a store that has none yet, or is not there."""
    path = store_path(url)
    return as_owner(path.parent, lambda: _read_key_id(url)) or None if path.exists() else None


def _read_key_id(url: str) -> str:
    open_store(url)  # it says what is wrong with it
    return read_key_id(store_path(url)) or ""


def make_key(url: str) -> str:
    """Make the master key of a store that has none; refuses where there is one to be brought back."""
    noted = noted_key(url)
    if noted is not None:
        raise VaultError(f"the store was made under master key {noted}: bring it back by `arenactl key import FILE`")
    return _seal(Secret(os.urandom(MASTER_KEY_BYTES)))


def export_key(master: Secret, passphrase: Secret) -> str:
    """The master key under a passphrase, as one JSON document."""
    if len(passphrase) < PASSPHRASE_LEAST:
        raise Refusal(f"the passphrase is too short: at least {PASSPHRASE_LEAST} characters")
    salt, nonce = os.urandom(16), os.urandom(12)
    document: dict[str, Any] = {"pam_arena": "master key", "version": 1, "key": Vault(master).key_id, "argon2id": COST}
    sealed = AESGCM(stretch(passphrase, salt, COST)).encrypt(nonce, master.reveal(), document["key"].encode())
    document |= {"salt": _base64(salt), "nonce": _base64(nonce), "sealed": _base64(sealed)}
    return json.dumps(document, indent=1) + "\n"


def import_key(url: str) -> str:
    """Make the credential of an export: stdin has the passphrase in its first line, then the document."""
    passphrase, _, text = sys.stdin.read().partition("\n")
    master = open_export(text, Secret(passphrase.encode()))
    noted = noted_key(url)
    if noted not in (None, Vault(master).key_id):
        raise VaultError(f"this is key {Vault(master).key_id}; the store was made under key {noted}: nothing was changed")
    return _seal(master)


def open_export(text: str, passphrase: Secret) -> Secret:
    """The master key of what `export_key` made. Raises VaultError, whatever the text is."""
    try:
        document = json.loads(text)
        parts = [base64.b64decode(document[name], validate=True) for name in ("salt", "nonce", "sealed")]
        cost = {name: int(document["argon2id"][name]) for name in COST}
        claimed = str(document["key"]).encode()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise VaultError("this is no key export of arenactl, or it is cut short") from None
    if any(not 1 <= cost[name] <= 4 * COST[name] for name in COST):
        raise VaultError("this export asks for work that no export of arenactl asks for: it was changed")
    try:
        return Secret(AESGCM(stretch(passphrase, parts[0], cost)).decrypt(parts[1], parts[2], claimed))
    except (InvalidTag, ValueError):  # the second: a nonce or a tag of another length
        raise VaultError("wrong passphrase, or the export was changed") from None


def stretch(passphrase: Secret, salt: bytes, cost: dict[str, int]) -> bytes:
    """A key of 32 bytes from a passphrase; cost: as in COST. Raises VaultError for one that argon2id cannot have."""
    try:
        stretched: bytes = hash_secret_raw(passphrase.reveal(), salt, hash_len=32, type=Type.ID, **cost)
    except HashingError as error:
        raise VaultError(f"the file was changed: {error}") from None
    return stretched


def open_key() -> Secret | None:
    """This host's master key, opened as root; None if there is none. Raises VaultError."""
    if not SEALED.exists():
        return None
    return Secret(_creds("decrypt", f"--name={CREDENTIAL}", str(SEALED), "-").stdout)


def seal_beside(master: Secret) -> Path:
    """Seal a master key for this host in a new file beside the one in force. Raises VaultError."""
    SEALED.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = SEALED.with_name(SEALED.name + ".new")
    fresh.unlink(missing_ok=True)
    _creds("encrypt", "--with-key=host", f"--name={CREDENTIAL}", "-", str(fresh), given=master.reveal())
    return fresh


def _seal(master: Secret) -> str:
    seal_beside(master).rename(SEALED)
    return f"{SEALED}: master key {Vault(master).key_id}, sealed for this host; export it: arenactl key export FILE"


def _creds(*words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    try:
        done = subprocess.run(["systemd-creds", *words], input=given, capture_output=True, check=False)
    except OSError as error:
        raise VaultError(f"systemd-creds cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise VaultError(f"systemd-creds failed: {done.stderr.decode(errors='replace').strip()}")
    return done


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
