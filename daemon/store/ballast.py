"""The ballast: a file beside the store that holds room on its disk, and gives it back in slices once the disk is full.

A login that cannot be written down is refused, so a full disk would lock everybody out: root too, who is to make room.
The room is given back as it is needed and no faster, because other programs on the disk are as hungry for it.
"""

import errno
import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

BALLAST = "ballast"  # the file's name, beside the store
# What a login leaves in the store, in bytes: 176 to 192 from an address that was seen before, 288 from a new one for each
# login (tests/torture/test_ballast.py prints it for 10,000 of them). The rest is for long names, a second code, a new PIN.
LOGIN_BYTES = 1024
# SQLite's log, 4.2 MB when it is moved into the store after 1,000 pages, and as much while a reader holds that up.
LOG_BYTES = 8 * 2**20
SLICE = 256 * 1024  # bytes given back at a time
SPARE = 16 * 2**20  # bytes that are left to others when the ballast is made


class Say(Protocol):
    """Tells the journal of the ballast: word is in-use, empty, made, or not-made, whose why is the system's."""

    def __call__(self, word: str, path: Path, left: int, why: str = "") -> None: ...


def size_for(logins: int) -> int:
    """The bytes of a ballast for so many logins; 0 for none."""
    needed = LOG_BYTES + logins * LOGIN_BYTES if logins else 0
    return -(-needed // SLICE) * SLICE


def logins_left(store: Path, logins: int) -> int:
    """For how many logins a store's ballast, which is to be one for `logins`, has room."""
    held = _held(store.with_name(BALLAST))
    return min(logins, held * logins // size_for(logins)) if logins else 0


def room_on(folder: Path) -> int:
    """The bytes that a program without privileges can still write to a folder's disk. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Ballast:
    """The ballast beside a store, for so many logins; 0: there is none."""

    def __init__(self, store: Path, logins: int, say: Say) -> None:
        self._store, self._path, self._logins, self._say = store, store.with_name(BALLAST), logins, say
        self._size = size_for(logins)
        self._alone = threading.Lock()
        self._complained = self._empty = False

    @property
    def left(self) -> int:
        """For how many logins it has room."""
        return logins_left(self._store, self._logins)

    @property
    def is_whole(self) -> bool:
        """Whether it has all the room that it should, and no more."""
        return _held(self._path) == self._size

    def relieve(self, error: Exception) -> bool:
        """Give back a slice if an error was for want of room; whether it may be worth another try."""
        return self._is_full(error) and self._give()

    def relieve_start(self) -> None:
        """Give back what it takes to open the store, before anything asked for it."""
        try:
            while self._size and room_on(self._path.parent) < SLICE and self._give():
                pass
        except OSError as error:
            log.warning("%s: its disk cannot be looked at: %s", self._path.parent, error.strerror)

    def fill(self) -> None:
        """Make it whole where its disk has the room, and leaves others theirs. A failure is said, once."""
        with self._alone:
            before = _held(self._path)
            try:
                if before < self._size and room_on(self._path.parent) < self._size - before + SPARE:
                    raise _no_room()
                self._allocate()
            except OSError as error:
                if not self._complained:
                    self._say("not-made", self._path, self.left, error.strerror or "")
                self._complained = True
                return
            if self._size:
                self._say("made", self._path, self._logins)
            self._complained = self._empty = False

    def _allocate(self) -> None:
        """Real blocks: of a sparse file there would be nothing to give."""
        if not self._size:
            return self._path.unlink(missing_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            before = os.fstat(file).st_size
            try:
                os.posix_fallocate(file, 0, self._size)
            except OSError:
                os.ftruncate(file, before)
                raise
            os.ftruncate(file, self._size)
            os.fsync(file)
        finally:
            os.close(file)
        if not self.is_whole:  # one that compresses
            raise OSError(errno.EOPNOTSUPP, "the file system keeps no room for a file of zeros")

    def _give(self) -> bool:
        with self._alone:
            left = max(0, _held(self._path) - SLICE)
            try:
                if _held(self._path) == 0:
                    raise _no_room()
                file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    os.ftruncate(file, left)
                    os.fsync(file)  # some file systems free blocks for good only then
                finally:
                    os.close(file)
            except OSError as error:
                if self._size and not self._empty:
                    self._say("empty", self._path, 0, error.strerror or "")
                self._empty = True
                return False
            self._say("in-use", self._path, self.left)
            return True

    def _is_full(self, error: Exception) -> bool:
        said = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(said, sqlite3.Error):
            return False
        if said.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            return True
        # Without room for its shared memory or for a new log SQLite tells of an I/O error, and of no more.
        try:
            return room_on(self._path.parent) < SLICE
        except OSError:
            return False


def _no_room() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _held(path: Path) -> int:
    """The bytes that a file holds on its disk, none if it is not there: a sparse one holds less than its size."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return min(found.st_size, found.st_blocks * 512)
