"""Small disks in memory, each a test's own, and what fills one up."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def tmpfs(folder: Path, size: int | str) -> Iterator[Path]:
    """A disk at a folder that is not there yet; size: in bytes, or as tmpfs(5) writes it."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file: Path) -> None:
    """Write until there is no room: in large pieces, and then in pages up to the last one."""
    for piece in (65536, 4096):
        with suppress(OSError), file.open("ab", buffering=0) as out:
            while True:
                out.write(bytes(piece))
