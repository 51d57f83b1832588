"""Orders to diskfault.c, while the program that it is preloaded into runs: which call on the store's files is to fail."""

import errno
import mmap
import struct
import subprocess
from pathlib import Path

_ORDERS = struct.Struct("5i")  # kinds, left, lasting, failure, failed
OPEN, READ, WRITE, SYNC, TRUNCATE, MAP, UNLINK = (1 << bit for bit in range(7))
# What a disk may say to which call: one that fails, one that is full, one that became read-only.
KINDS = {
    errno.EIO: OPEN | READ | WRITE | SYNC | TRUNCATE | MAP | UNLINK,
    errno.ENOSPC: OPEN | WRITE | SYNC | TRUNCATE,
    errno.EROFS: OPEN | WRITE | SYNC | TRUNCATE | UNLINK,
}
KILL = -1  # in the place of an errno: the process ends as by kill -9


class Faults:
    """Faults for the store in a folder: `environment` is for the program's, once for all its starts."""

    def __init__(self, folder: Path, store: Path) -> None:
        library, orders = folder / "diskfault.so", folder / "orders"
        source = str(Path(__file__).with_name("diskfault.c"))
        flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
        subprocess.run(["cc", *flags, source, "-o", str(library), "-ldl"], check=True)
        orders.write_bytes(bytes(_ORDERS.size))
        with orders.open("r+b") as file:
            self._orders = mmap.mmap(file.fileno(), _ORDERS.size)
        self.environment = {"LD_PRELOAD": str(library), "ARENA_FAULTS": str(orders), "ARENA_FAULTS_FOLDER": str(store)}

    def arm(self, number: int, failure: int, *, lasting: bool = False, kinds: int | None = None) -> None:
        """Have the call of this number from now on fail, or kill; lasting: and all that follow."""
        chosen = kinds if kinds is not None else KINDS.get(failure, WRITE | SYNC | TRUNCATE | UNLINK)
        self._orders[: _ORDERS.size] = bytes(_ORDERS.size)
        self._orders[: _ORDERS.size] = _ORDERS.pack(0, number, int(lasting), failure, 0)
        self._orders[:4] = struct.pack("i", chosen)

    def disarm(self) -> int:
        """No more faults; how many calls failed."""
        self._orders[:4] = bytes(4)
        failed: int = _ORDERS.unpack(self._orders[: _ORDERS.size])[4]
        return failed

    def watch(self, kinds: int) -> None:
        """Let all calls pass, and count them."""
        self._orders[: _ORDERS.size] = _ORDERS.pack(kinds, 0, 0, 0, 0)

    def seen(self) -> int:
        """How many there were since `watch`."""
        left: int = _ORDERS.unpack(self._orders[: _ORDERS.size])[1]
        self.disarm()
        return -left
