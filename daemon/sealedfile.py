"""A file under a passphrase, written and read as a stream: what was changed, cut off, swapped or added is found.

Two lines of text: the format with its version, and argon2id's cost and salt as JSON. Then the content in chunks of
CHUNK bytes, each with its tag (AES-256-GCM). A file has a salt, and so a key, of its own; the nonce of a chunk is its
number (11 bytes) and whether it is the last (1 byte); the associated data is the two lines (STREAM, Hoang, Reyhanitabar,
Rogaway, Vizár 2015). Nothing of a chunk is given out before its tag was right.
"""

import base64
import json
import os
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pam_arena.errors import Refusal, VaultError
from pam_arena.secret import Secret

from .keyfile import COST, PASSPHRASE_LEAST, stretch

CHUNK = 64 * 1024  # bytes
_FORMAT = b"pam_arena backup "
_VERSION = 1
_TAG = 16  # bytes
_LONGEST_LINE = 1024  # bytes of a line of the header


class SealedWriter:
    """Takes content by write(); close() ends the file, and without it what was written cannot be read."""

    def __init__(self, out: BinaryIO, passphrase: Secret, cost: dict[str, int] = COST) -> None:
        if len(passphrase) < PASSPHRASE_LEAST:
            raise Refusal(f"the passphrase is too short: at least {PASSPHRASE_LEAST} characters")
        salt = os.urandom(16)
        words = json.dumps({"argon2id": cost, "salt": base64.b64encode(salt).decode()})
        self._header = _FORMAT + f"{_VERSION}\n{words}\n".encode()
        self._cipher = AESGCM(stretch(passphrase, salt, cost))
        self._out, self._held, self._number = out, bytearray(), 0
        out.write(self._header)

    def write(self, content: bytes) -> int:
        """Take some content."""
        self._held += content
        while len(self._held) > CHUNK:  # the last chunk, be it a full one, is close()'s
            self._seal(bytes(self._held[:CHUNK]), last=False)
            del self._held[:CHUNK]
        return len(content)

    def close(self) -> None:
        """Write the last chunk. The file below stays open."""
        self._seal(bytes(self._held), last=True)
        self._held.clear()

    def _seal(self, content: bytes, *, last: bool) -> None:
        self._out.write(self._cipher.encrypt(_nonce(self._number, last), content, self._header))
        self._number += 1


class SealedReader:
    """Gives the content by read(). Every method raises VaultError, with what is wrong, by the name of the file."""

    def __init__(self, file: BinaryIO, name: str, passphrase: Secret) -> None:
        self._file, self._name = file, name
        first, second = file.readline(_LONGEST_LINE), file.readline(_LONGEST_LINE)
        self._header = first + second
        if not first.startswith(_FORMAT):
            raise VaultError(f"{name}: is no backup that arenactl made")
        if first != _FORMAT + f"{_VERSION}\n".encode():
            raise VaultError(f"{name}: is a backup of another format, of a later release: restore it with that release")
        try:
            words = json.loads(second)
            salt = base64.b64decode(words["salt"], validate=True)
            cost = {part: int(words["argon2id"][part]) for part in COST}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise VaultError(f"{name}: its header is cut short or changed") from None
        if len(salt) < 8 or any(not 1 <= cost[part] <= 4 * COST[part] for part in COST):
            raise VaultError(f"{name}: its header asks for work that no backup of arenactl asks for: it was changed")
        self._cipher = AESGCM(stretch(passphrase, salt, cost))
        self._number, self._ended, self._opened = 0, False, bytearray()
        self._next = file.read(CHUNK + _TAG)

    def read(self, size: int) -> bytes:
        """As many bytes as there are, up to `size`; fewer only at the end."""
        while len(self._opened) < size and not self._ended:
            self._opened += self._open()
        content = bytes(self._opened[:size])
        del self._opened[:size]
        return content

    def finish(self) -> None:
        """Read to the end, so that all of the file is known to be good."""
        while self.read(CHUNK):
            pass

    def _open(self) -> bytes:
        sealed, self._next = self._next, self._file.read(CHUNK + _TAG)
        last = not self._next
        content = self._try(sealed, last)
        if content is not None:
            self._number, self._ended = self._number + 1, last
            return content
        if self._try(sealed, not last) is not None:
            raise VaultError(f"{self._name}: is cut short" if last else f"{self._name}: something was added to its end")
        if self._number == 0:
            raise VaultError(f"{self._name}: wrong passphrase, or the file was changed or cut short")
        where = len(self._header) + self._number * (CHUNK + _TAG)
        raise VaultError(f"{self._name}: was changed, damaged or cut short after {where} bytes")

    def _try(self, sealed: bytes, last: bool) -> bytes | None:
        try:
            return self._cipher.decrypt(_nonce(self._number, last), sealed, self._header)
        except (InvalidTag, ValueError):  # the second: shorter than a tag
            return None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
