"""A run of arenad as powerlog.c wrote it down, and the disks that a power cut at any point of it could have left behind.

The disk's rules are the harshest that a file system may have: what a sync that has ended does not cover may be there, be
missing, or be there in part, sector by sector, in any choice; a file is larger than what was written to it, and holds
zeros or old rubbish there; a new or a deleted name counts once the folder was synced.
"""

import os
import random
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

from pam_arena.errors import RemoteProtocolError
from pam_arena.wire import Answer, Done, Prompt, Start, decode

SECTOR = 512
_HEAD = struct.Struct("<IiQc")
_REF = re.compile(r"\(ref ([0-9A-Z]{8})\)")


def build_tracer(folder: Path) -> Path:
    """Compile powerlog.c."""
    made = folder / "powerlog.so"
    source = str(Path(__file__).with_name("powerlog.c"))
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, source, "-o", str(made), "-ldl"], check=True)
    return made


@frozen
class Record:
    """One thing that happened: O open, C close, U unlink, W write, T truncate, B and E of a sync, S send, R receive."""

    kind: str
    fd: int
    number: int
    data: bytes


def read_trace(path: Path) -> list[Record]:
    """All that happened, in order."""
    raw, at, found = path.read_bytes(), 0, []
    while at < len(raw):
        size, fd, number, kind = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        found.append(Record(kind.decode(), fd, number, raw[at : at + size]))
        at += size
    return found


@define
class Said:
    """What arenad had told its clients at some point: codes that opened, references of denials, PINs that were created."""

    opened: list[tuple[str, str]] = field(factory=list)  # name, what was typed last
    refs: set[str] = field(factory=set)
    pins: set[str] = field(factory=set)


class Talks:
    """Follows the conversations of a trace."""

    def __init__(self) -> None:
        self.said = Said()
        self._user: dict[int, str] = {}
        self._typed: dict[int, str] = {}

    def see(self, record: Record) -> None:
        """A message that was received, or is about to be sent."""
        try:
            message = decode(record.data)
        except RemoteProtocolError:  # another socket's
            return
        if isinstance(message, Start):
            self._user[record.fd] = message.user
        elif isinstance(message, Answer):
            self._typed[record.fd] = message.typed.reveal().decode()
        elif isinstance(message, Prompt):
            self.said.refs.update(_REF.findall(message.text))
            if message.text.endswith("PIN + new code: "):
                self.said.pins.add(self._user[record.fd])
        elif isinstance(message, Done) and message.code == 0:
            self.said.opened.append((self._user[record.fd], self._typed[record.fd]))


@define(eq=False)
class _File:
    """What is on the disk for certain, and what was done since: (offset, data), or (size, None) for a truncation."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(factory=list)


class Disk:
    """What a trace made of a folder, as far as it was played."""

    def __init__(self, folder: Path, at_first: dict[str, bytes]) -> None:
        self._folder = str(folder)
        self._names: dict[str, _File] = {name: _File(content) for name, content in at_first.items()}
        self._durable_names = dict(self._names)
        self._name_changes: list[tuple[str, _File | None]] = []
        self._open: dict[int, _File | None] = {}  # None: the folder
        self._begun: dict[int, int] = {}  # how much of `pending` a sync under way covers

    @property
    def unsynced(self) -> int:
        """How many changes a power cut now could undo."""
        return sum(len(one.pending) for one in self._names.values()) + len(self._name_changes)

    def play(self, record: Record) -> None:
        """Do what the record says."""
        if record.kind == "O":
            self._open[record.fd] = self._opened(record.data.decode(), bool(record.number & os.O_CREAT))
        elif record.kind == "U":
            name = Path(record.data.decode()).name
            self._names.pop(name, None)
            self._name_changes.append((name, None))
        elif record.fd in self._open:
            self._change(record, self._open[record.fd])

    def _opened(self, path: str, creates: bool) -> _File | None:
        if path.rstrip("/") == self._folder:
            return None
        name = Path(path).name
        if name not in self._names and creates:
            self._names[name] = _File()
            self._name_changes.append((name, self._names[name]))
        return self._names[name]

    def _change(self, record: Record, file: _File | None) -> None:
        if record.kind == "C":
            del self._open[record.fd]
        elif record.kind == "B":
            self._begun[record.fd] = len(self._name_changes if file is None else file.pending)
        elif record.kind == "E":
            self._settle(file, self._begun.pop(record.fd))
        elif record.kind in "WT":
            assert file is not None
            file.pending.append((record.number, record.data if record.kind == "W" else None))

    def _settle(self, file: _File | None, covered: int) -> None:
        if file is None:
            for name, one in self._name_changes[:covered]:
                _rename(self._durable_names, name, one)
            del self._name_changes[:covered]
        else:
            content = bytearray(file.durable)
            for change in file.pending[:covered]:
                _apply(content, change, b"\0")
            file.durable = bytes(content)
            del file.pending[:covered]

    def after_a_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files as a power cut now might leave them; SQLite's shared memory, which is none, is not among them."""
        names, mode = dict(self._durable_names), chance.choice(("none", "all", "prefix", "writes", "sectors"))
        kept = {"none": 0, "all": len(self._name_changes)}.get(mode, chance.randint(0, len(self._name_changes)))
        for name, one in self._name_changes[:kept]:
            _rename(names, name, one)
        return {name: _cut(one, mode, chance) for name, one in names.items() if not name.endswith("-shm")}


def _rename(names: dict[str, _File], name: str, one: _File | None) -> None:
    if one is None:
        names.pop(name, None)
    else:
        names[name] = one


def _apply(content: bytearray, change: tuple[int, bytes | None], fill: bytes) -> None:
    at, data = change
    if data is None:
        del content[at:]
    size = at if data is None else at + len(data)
    content.extend((fill * (size - len(content)))[: max(0, size - len(content))])
    if data is not None:
        content[at : at + len(data)] = data


def _cut(file: _File, mode: str, chance: random.Random) -> bytes:
    content, fill = bytearray(file.durable), chance.choice((b"\0", chance.randbytes(97)))
    if mode == "none":
        return file.durable
    length = len(file.pending) if mode != "prefix" else chance.randint(0, len(file.pending))
    for number, change in enumerate(file.pending[:length]):
        last = mode == "prefix" and number == length - 1
        for part in _parts(change, mode, last, chance):
            _apply(content, part, fill)
    return bytes(content)


def _parts(
    change: tuple[int, bytes | None], mode: str, last: bool, chance: random.Random
) -> Iterator[tuple[int, bytes | None]]:
    """What of one change is done: all, nothing, or some of its sectors."""
    at, data = change
    if mode == "all" or (mode == "prefix" and not last) or data is None:
        yield change
        return
    if mode == "writes":
        if chance.random() < 0.5:
            yield change
        return
    begins = [at, *range(at - at % SECTOR + SECTOR, at + len(data), SECTOR)]
    torn = chance.randint(0, len(begins))
    for number, (begin, end) in enumerate(zip(begins, [*begins[1:], at + len(data)], strict=True)):
        if number < torn if mode == "prefix" else chance.random() < 0.5:
            yield begin, data[begin - at : end - at]
