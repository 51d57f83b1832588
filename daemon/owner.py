"""Touching the store as the user it belongs to: a file that root made in its folder would lock arenad out."""

import os
from collections.abc import Callable
from pathlib import Path

from pam_arena.errors import ArenaError, StoreError


def as_owner(folder: Path, task: Callable[[], str]) -> str:
    """Run a task, in a child that is the folder's owner if we are root; its ArenaError is raised here as a StoreError."""
    try:
        owner = folder.stat()
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from None
    if os.geteuid() != 0 or owner.st_uid == 0:
        return task()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_run(task, writer, owner.st_uid, owner.st_gid))
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as said:
        text = said.read()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise StoreError(text or f"{folder}: the store could not be touched as its owner")
    return text


def _run(task: Callable[[], str], writer: int, uid: int, gid: int) -> int:
    with os.fdopen(writer, "w", encoding="utf-8") as out:
        try:
            os.umask(0o077)
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            out.write(task())
        except (ArenaError, OSError) as error:
            out.write(str(error))
            return 1
    return 0
