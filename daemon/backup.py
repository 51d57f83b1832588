"""A backup: store, configuration and master key in one file under a passphrase, while logins go on.

Root makes it, on the host itself: it holds the master key, so that no group of the desk may have it; it may take longer
than any answer over HTTP should; and it needs nothing of the desk's service. The store is copied as of one moment into
its own folder (a read transaction: nobody waits for it), then streamed: however large, little of it is in memory.
"""

import fcntl
import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pam_arena import __version__
from pam_arena.errors import Refusal, StoreError, VaultError
from pam_arena.secret import Secret

from .audit import Event, append
from .config import load
from .keyfile import noted_key
from .owner import as_owner
from .sealedfile import SealedWriter
from .store.engine import open_store, peek, store_path
from .store.marks import KEY_EXPORTED, note_time
from .store.restored import copy_store, count_people
from .vault import Vault

# The names in the file, in this order.
ABOUT, KEY, CONFIG, STORE = "about.json", "arena.key", "config/", "arena.db"
FORMAT = 1  # of what about.json says; the file's own is the header's
_MODE = 0o600


def back_up(config_path: Path, file: Path, passphrase: Secret, master: Secret, actor: str, now: int) -> dict[str, Any]:
    """Make the backup `file`, which must not exist; returns what is in it. Raises ArenaError, and leaves no file then."""
    path = store_path(load(config_path).store.url)
    url = f"sqlite:///{path}"
    noted, key_id = noted_key(url), Vault(master).key_id
    if noted != key_id:
        raise VaultError(
            f"the store was made under master key {noted or 'none'}, and this host's is {key_id}: nothing was saved"
        )
    if os.path.lexists(file):
        raise Refusal(f"{file} exists already: nothing was written")
    with alone(path.parent), _copied(path) as copy, _written(file) as out:
        made = json.loads(as_owner(path.parent, lambda: _describe(copy)))
        about = {"format": FORMAT, "release": __version__, "made_at": now, "key": key_id, **made}
        sealed = SealedWriter(out, passphrase)
        _write_members(sealed, about, master, config_path, copy)
        sealed.close()
        out.flush()
        as_owner(path.parent, lambda: _note(url, actor, now, file.name, made))
    return {"file": str(file), **about, "bytes": file.stat().st_size}


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other backups and restores of the store in this folder away. Raises Refusal where one is under way."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refusal("another backup or restore is under way: wait for its end") from None
    finally:
        os.close(held)


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A copy of the store beside it, gone at the end; one that a crash left goes first."""
    copy = path.with_name(f"{path.name}.backup")
    drop = ("", "-journal", "-wal", "-shm")

    def make() -> str:
        remove()
        copy_store(path, copy)
        return ""

    def remove() -> str:
        for suffix in drop:
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
        return ""

    try:
        as_owner(path.parent, make)
        yield copy
    finally:
        as_owner(path.parent, remove)


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A new file that has its name only once all of it is on the disk. Raises Refusal."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _name(temporary, file)
        sync_folder(file.parent)
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}: nothing was written") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _name(temporary: Path, file: Path) -> None:
    try:
        os.link(temporary, file)  # unlike rename(2), it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, as on a memory stick
        if os.path.lexists(file):
            raise FileExistsError(17, "File exists") from None
        os.rename(temporary, file)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def config_files(config_path: Path) -> list[Path]:
    """What the configuration of a host is made of: arena.toml, its drop-ins, the mails' templates."""
    drop_ins = config_path.with_name(config_path.name + ".d").glob("*.toml")
    mails = config_path.with_name("mail").rglob("*.txt")
    return [config_path, *sorted(drop_ins), *sorted(mails)]


def _write_members(sealed: SealedWriter, about: dict[str, Any], master: Secret, config_path: Path, copy: Path) -> None:
    try:
        with tarfile.open(fileobj=sealed, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload] # it writes alone
            _add(archive, ABOUT, json.dumps(about).encode())
            _add(archive, KEY, master.reveal())
            for path in config_files(config_path):
                with path.open("rb") as config:
                    _add(archive, CONFIG + str(path.relative_to(config_path.parent)), config.read(), os.fstat(config.fileno()))
            # Its owner could have put a link there, to have root read another file.
            with os.fdopen(os.open(copy, os.O_RDONLY | os.O_NOFOLLOW), "rb") as store:
                entry = tarfile.TarInfo(STORE)
                entry.size, entry.mode = os.fstat(store.fileno()).st_size, _MODE
                archive.addfile(entry, store)
    except tarfile.TarError as error:
        raise StoreError(f"the backup cannot be written: {error}") from None


def _add(archive: tarfile.TarFile, name: str, content: bytes, like: os.stat_result | None = None) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), _MODE if like is None else like.st_mode & 0o777
    archive.addfile(entry, io.BytesIO(content))


def _describe(copy: Path) -> str:
    engine = open_store(f"sqlite:///{copy}")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        counted = count_people(connection)
    return json.dumps({"schema": peek(copy), "holders": counted.holders, "tokens": counted.tokens})


def _note(url: str, actor: str, now: int, name: str, made: dict[str, Any]) -> str:
    detail = f"{name}: {made['holders']} holders, {made['tokens']} tokens"
    with open_store(url).begin() as connection:
        append(connection, now, Event("backup", actor=actor, service="arenactl", detail=detail))
        note_time(connection, KEY_EXPORTED, now)  # it has the key in it
    return ""
