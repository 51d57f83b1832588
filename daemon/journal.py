"""The audit in the journal: a structured entry for each row, and the chain's head, by journald's native protocol.

See https://systemd.io/JOURNAL_NATIVE_PROTOCOL: a datagram of `NAME=value` lines; a value that holds a line end is its
name, its length (8 bytes, little-endian) and its bytes. Nothing here waits: what the journal does not take at once is
dropped and counted, and stays in the store.
"""

import logging
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from .audit import Event, Noted
from .store.audits import Link

log = logging.getLogger(__name__)

HEAD_EVENT = "audit-head"
_AUTHPRIV = 10  # syslog's facility of logins
_CRITICAL, _WARNING, _NOTICE, _INFO = 2, 4, 5, 6
_LEVELS = {_CRITICAL: logging.CRITICAL, _WARNING: logging.WARNING, _INFO: logging.INFO}
# What is told of the ballast: event, priority, words.
_BALLAST = {
    "in-use": (
        "disk-full",
        _CRITICAL,
        "the disk is full; the ballast {path} is in use: about {left} logins left; make room on its disk",
    ),
    "empty": (
        "disk-full",
        _CRITICAL,
        "the disk is full and the ballast {path} is used up ({why}): nobody can log in until there is room on its disk",
    ),
    "made": ("ballast", _INFO, "the ballast {path} is whole: room for {left} logins once the disk is full"),
    "not-made": (
        "ballast",
        _WARNING,
        "the ballast {path} cannot be made whole ({why}): room for about {left} logins once the disk is full",
    ),
}
Say = Callable[[Event], str]


class Journal:
    """Tells the journal. name: SYSLOG_IDENTIFIER; key: the id of the store's master key; say: a row in plain words."""

    def __init__(self, path: Path, name: str, key: str, say: Say) -> None:
        self._path, self._name, self._key, self._say = str(path), name, key, say
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.lost = 0  # entries that the journal did not take

    def tell(self, noted: Iterable[Noted]) -> None:
        """One entry for each row that was committed."""
        for one in noted:
            self._send(self._fields(one))

    def tell_head(self, head: Link) -> bool:
        """The chain's newest link; whether the journal took it."""
        return self._send(
            [
                ("MESSAGE", f"the audit's newest row is {head.id}, of the hash {head.hash.hex()}"),
                ("PRIORITY", str(_INFO)),
                ("ARENA_EVENT", HEAD_EVENT),
                *self._link(head),
            ]
        )

    def tell_ballast(self, word: str, path: Path, left: int, why: str = "") -> None:
        """What became of the ballast (store/ballast.py); left: logins. On stderr if the journal did not take it."""
        event, priority, told = _BALLAST[word]
        message = _printable(told.format(path=path, left=left, why=why))
        fields = [("ARENA_EVENT", event), ("ARENA_OUTCOME", word), ("ARENA_REASON", why), ("ARENA_DETAIL", str(left))]
        if not self._send([("MESSAGE", message), ("PRIORITY", str(priority)), *fields]):
            log.log(_LEVELS[priority], "%s", message)

    def _fields(self, noted: Noted) -> list[tuple[str, str]]:
        event = noted.event
        fields = [
            ("MESSAGE", _printable(self._say(event))),
            ("PRIORITY", str(_NOTICE if event.outcome in ("denied", "refused") else _INFO)),
            ("ARENA_EVENT", event.event),
            ("ARENA_USER", event.holder),  # of a name that NSS does not know, the keyed hash
            ("ARENA_SERIAL", event.serial),
            ("ARENA_OUTCOME", event.outcome),
            ("ARENA_REASON", event.reason),
            ("ARENA_REF", event.ref or ""),
            ("ARENA_SERVICE", event.service),
            ("ARENA_ADDRESS", event.address),
            ("ARENA_ACTOR", event.actor),
            ("ARENA_DETAIL", event.detail),
        ]
        return fields + self._link(Link(noted.row, noted.hash)) if noted.row else fields

    def _link(self, link: Link) -> list[tuple[str, str]]:
        return [("ARENA_AUDIT_ROW", str(link.id)), ("ARENA_AUDIT_HASH", link.hash.hex()), ("ARENA_KEY", self._key)]

    def _send(self, fields: list[tuple[str, str]]) -> bool:
        known = [("SYSLOG_IDENTIFIER", self._name), ("SYSLOG_FACILITY", str(_AUTHPRIV))]
        try:
            self._socket.sendto(encode(fields + known), self._path)
        except OSError:  # full, or not there: a login does not depend on it
            self.lost += 1
            return False
        return True


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """A datagram of the native protocol; empty values are left out."""
    return b"".join(_field(name, value) for name, value in fields if value)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def sentence(event: Event) -> str:
    """A row in plain words, for a process that does without the desk's."""
    words = [event.event.replace("-", " ")]
    if event.outcome != "done":
        words.append(f"{event.outcome.replace('-', ' ')}:")
    words += [event.holder or "nobody", *([f"at {event.service}"] if event.service else [])]
    words += [f"from {event.address}"] if event.address else []
    words += [f"with key {event.serial}"] if event.serial else []
    said = " ".join(words)
    said += f": {event.reason.replace('-', ' ')}" if event.reason else ""
    said += f", {event.detail}" if event.detail else ""
    return said + (f" (ref {event.ref})" if event.ref else "")


def _printable(text: str) -> str:
    """Text as one line that a terminal shows as it is: names and addresses come from outside."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
