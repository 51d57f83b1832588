"""A backup: store, configuration and master key in one stream under a passphrase, while logins go on.

It has the master key in it, so that no group of the desk may have it but the admins'. The store is copied as of one moment
into its own folder (a read transaction: nobody waits for it), then streamed: however large, little of it is in memory.
"""

import fcntl
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pam_arena import __version__
from pam_arena.errors import Refusal, StoreError, VaultError
from pam_arena.secret import Secret

from .config import load
from .keyfile import noted_key
from .sealedfile import SealedWriter
from .store.engine import open_store, peek, store_path
from .store.restored import copy_store, count_people
from .vault import Vault

# The names in the file, in this order.
ABOUT, KEY, CONFIG, STORE = "about.json", "arena.key", "config/", "arena.db"
FORMAT = 1  # of what about.json says; the file's own is the header's
_MODE = 0o600


def back_up(config_path: Path, out: BinaryIO, passphrase: Secret, master: Secret, now: int) -> dict[str, Any]:
    """Write a backup, as of the time `now`; returns what is in it. Raises ArenaError: what was written is no backup then."""
    path = store_path(load(config_path).store.url)
    noted, key_id = noted_key(f"sqlite:///{path}"), Vault(master).key_id
    if noted != key_id:
        raise VaultError(
            f"the store was made under master key {noted or 'none'}, and this host's is {key_id}: nothing was saved"
        )
    with alone(path.parent), _copied(path) as copy:
        about = {"format": FORMAT, "release": __version__, "made_at": now, "key": key_id, **_describe(copy)}
        sealed = SealedWriter(out, passphrase)
        try:
            _write_members(sealed, about, master, config_path, copy)
            sealed.close()
            out.flush()
        except OSError as error:
            raise StoreError(f"the backup broke off: {error.filename or ''} {error.strerror}".replace("  ", " ")) from None
    return about


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
    names = [copy.with_name(copy.name + suffix) for suffix in ("", "-journal", "-wal", "-shm")]
    try:
        for name in names:
            name.unlink(missing_ok=True)
        copy_store(path, copy)
        yield copy
    finally:
        for name in names:
            name.unlink(missing_ok=True)


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
            with copy.open("rb") as store:
                entry = tarfile.TarInfo(STORE)
                entry.size, entry.mode = os.fstat(store.fileno()).st_size, _MODE
                archive.addfile(entry, store)
    except tarfile.TarError as error:
        raise StoreError(f"the backup cannot be written: {error}") from None


def _add(archive: tarfile.TarFile, name: str, content: bytes, like: os.stat_result | None = None) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), _MODE if like is None else like.st_mode & 0o777
    archive.addfile(entry, io.BytesIO(content))


def _describe(copy: Path) -> dict[str, Any]:
    engine = open_store(f"sqlite:///{copy}")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        counted = count_people(connection)
    return {"schema": peek(copy), "holders": counted.holders, "tokens": counted.tokens}
