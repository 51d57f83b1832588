"""What is sealed at rest: seeds and PIN hashes, with AES-256-GCM under keys derived from one master key (HKDF, RFC 5869).

A sealed value is: version (1 byte), nonce (12 bytes), ciphertext and tag. The associated data names what the value
belongs to, so that a value moved to another row does not open.
"""

import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pam_arena.errors import VaultError
from pam_arena.secret import Secret

MASTER_KEY_BYTES = 32
CREDENTIAL = "arena.key"
_VERSION = 1
_NONCE_BYTES = 12


class Vault:
    """Seals and opens values, and names what must not be stored in clear."""

    def __init__(self, master: Secret) -> None:
        if len(master) != MASTER_KEY_BYTES:
            raise VaultError(f"the master key has {len(master)} bytes; {MASTER_KEY_BYTES} are expected")

        def derive(purpose: str) -> bytes:
            return HKDF(SHA256(), 32, None, f"pam_arena {purpose} v1".encode()).derive(master.reveal())

        self._seeds = AESGCM(derive("seeds"))
        self._pins = AESGCM(derive("pins"))
        self._names = derive("names")
        self._codes = derive("recovery codes")
        self._numbers = AESGCM(derive("PIN lengths"))
        self._histories = AESGCM(derive("PIN histories"))
        self.key_id = derive("key id")[:8].hex()

    def __repr__(self) -> str:
        return f"Vault({self.key_id})"

    def seal_seed(self, seed: Secret, serial: str, version: int) -> bytes:
        """Seal the seed of a token; `version` counts the seeds that this serial has had."""
        return _seal(self._seeds, seed.reveal(), _seed_owner(serial, version))

    def open_seed(self, sealed: bytes, serial: str, version: int) -> Secret:
        """Raises VaultError if the value belongs to another token or another key."""
        return Secret(_open(self._seeds, sealed, _seed_owner(serial, version), f"the seed of token {serial}"))

    def seal_pin(self, hashed: str, holder: str) -> bytes:
        """Seal the argon2id hash of a holder's PIN."""
        return _seal(self._pins, hashed.encode(), _pin_owner(holder))

    def open_pin(self, sealed: bytes, holder: str) -> str:
        """Raises VaultError if the value belongs to another holder or another key."""
        return _open(self._pins, sealed, _pin_owner(holder), f"the PIN of {holder or 'nobody'}").decode()

    def seal_pin_length(self, length: int, holder: str) -> bytes:
        """Seal how many characters the PIN of a holder has."""
        return _seal(self._numbers, bytes([length]), _pin_owner(holder))

    def open_pin_length(self, sealed: bytes, holder: str) -> int:
        """Raises VaultError if the value belongs to another holder or another key."""
        return _open(self._numbers, sealed, _pin_owner(holder), f"the PIN's length of {holder or 'nobody'}")[0]

    def seal_history(self, history: bytes, holder: str) -> bytes:
        """Seal the hashes of a holder's earlier PINs."""
        return _seal(self._histories, history, _pin_owner(holder))

    def open_history(self, sealed: bytes, holder: str) -> bytes:
        """Raises VaultError if the value belongs to another holder or another key."""
        return _open(self._histories, sealed, _pin_owner(holder), f"the earlier PINs of {holder or 'nobody'}")

    def digest_code(self, code: str, holder: str) -> bytes:
        """A recovery code of a holder as the store knows it: keyed, because the code itself has 50 bits only."""
        return hmac.digest(self._codes, f"{holder}|{code}".encode("utf-8", "surrogateescape"), "sha256")

    def hide_name(self, name: str) -> str:
        """A name that the system does not know, as a keyed hash: it may be a password typed at `login:`."""
        return "~" + hmac.digest(self._names, name.encode("utf-8", "surrogateescape"), "sha256")[:8].hex()


def read_master_key(folder: str | None) -> Secret:
    """The master key from systemd's credentials folder ($CREDENTIALS_DIRECTORY). Raises VaultError with the remedy."""
    remedy = "see `arenactl key status`; a saved key is brought back by `arenactl key import FILE`"
    if not folder or not (path := Path(folder, CREDENTIAL)).exists():
        raise VaultError(f"there is no master key (systemd credential {CREDENTIAL}): {remedy}")
    try:
        return Secret(path.read_bytes())
    except OSError as error:
        raise VaultError(f"the master key cannot be read: {path}: {error.strerror}; {remedy}") from None


def _seal(cipher: AESGCM, value: bytes, owner: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return bytes([_VERSION]) + nonce + cipher.encrypt(nonce, value, owner)


def _open(cipher: AESGCM, sealed: bytes, owner: bytes, what: str) -> bytes:
    if len(sealed) < 1 + _NONCE_BYTES or sealed[0] != _VERSION:
        raise VaultError(f"{what} is sealed in a way that this version does not know")
    try:
        return cipher.decrypt(sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], owner)
    except InvalidTag:
        raise VaultError(f"{what} does not open: another master key, or the row was changed or moved") from None


def _seed_owner(serial: str, version: int) -> bytes:
    return f"seed|{version}|{serial}".encode()


def _pin_owner(holder: str) -> bytes:
    return f"pin|{holder}".encode()
