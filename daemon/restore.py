"""Bringing a backup back: everything is unpacked, checked and prepared beside the store; then arenad stops for a moment.

A backup comes from outside: it is opened as the user that owns the store, in a child, and root gets back what it is to
put in place. Whenever this is killed, the store is the old one or the new one, whole: they change places by one rename.
"""

import base64
import datetime
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from attrs import frozen

from pam_arena.errors import ArenaError, Refusal, ServiceDown, StoreError, VaultError
from pam_arena.secret import Secret

from .audit import Event, Noted, append, take_noted
from .backup import ABOUT, CONFIG, FORMAT, KEY, STORE, alone, config_files, sync_folder
from .config import JOURNAL, Code, load
from .journal import Journal, sentence
from .keyfile import noted_key
from .owner import as_owner
from .sealedfile import CHUNK, SealedReader
from .store.audits import Link, read_head
from .store.engine import open_store, read_only, store_path
from .store.migrate import migrate
from .store.restored import InUse, LostTime, carry_over, count_people, end_what_was_used, make_whole
from .vault import Vault

_SMALL = 1024 * 1024  # bytes of any part but the store
_MOST = 1000  # parts
_SIDES = ("-wal", "-shm", "-journal")  # SQLite's files beside a store


class Place(Protocol):
    """The host around the store."""

    def stop(self) -> None:
        """Stop everything that has the store open. Raises ArenaError."""

    def start(self) -> None:
        """Start it. Raises ArenaError."""

    def key_id(self) -> str | None:
        """The master key in force; None: there is none."""

    def stage_key(self, master: Secret) -> Path:
        """Seal a key for this host in a new file. Raises VaultError."""

    def key_path(self) -> Path:
        """Where the key in force is."""


@frozen
class Wish:
    """What a restore is asked for; actor and now are for the audit. journal: journald's socket."""

    config_path: Path
    file: Path
    replace: bool
    keep_config: bool
    actor: str
    now: int
    journal: Path = JOURNAL


def restore(wish: Wish, passphrase: Secret, place: Place) -> dict[str, Any]:
    """Put a backup in the place of this host's store. Raises ArenaError, and has changed nothing then."""
    path = store_path(load(wish.config_path).store.url)
    if not path.parent.is_dir():
        raise StoreError(f"there is no folder {path.parent} for the store: install the package arenad first")
    with alone(path.parent):
        full = as_owner(path.parent, lambda: _is_full(path)) == "full"
        if full and not wish.replace:
            raise Refusal(
                f"the store {path} has holders or tokens: with --replace it is kept aside, and the backup takes its place"
            )
        try:
            with wish.file.open("rb") as file:
                found = json.loads(as_owner(path.parent, lambda: _unpack(file, wish, path, passphrase)))
        except OSError as error:
            raise Refusal(f"{wish.file}: {error.strerror}") from None
        try:
            return _put_in_place(wish, found, path, place, full)
        finally:
            as_owner(path.parent, lambda: _clear(path))


def _staging(path: Path) -> Path:
    return path.with_name(f"{path.name}.restore")


def _clear(path: Path) -> str:
    shutil.rmtree(_staging(path), ignore_errors=True)
    return ""


def _is_full(path: Path) -> str:
    """Whether a store has anything to lose; one that cannot be read has."""
    if not path.exists():
        return ""
    try:
        with read_only(open_store(f"sqlite:///{path}")) as connection:
            counted = count_people(connection)
    except ArenaError:
        return "full"
    return "full" if counted.holders or counted.tokens else ""


def _unpack(file: BinaryIO, wish: Wish, path: Path, passphrase: Secret) -> str:
    """Open a backup into a folder beside the store, and make its store ready; what root needs of it, as JSON."""
    _clear(path)
    folder = _staging(path)
    folder.mkdir(mode=0o700)
    try:
        name = str(wish.file)
        parts = _read_parts(SealedReader(file, name, passphrase), name, folder / STORE)
        about, master = json.loads(parts.pop(ABOUT)[1]), Secret(parts.pop(KEY)[1])
        if about["format"] != FORMAT:
            raise VaultError(f"{name}: is of a later release, {about['release']}: restore it with that release")
        if wish.now < about["made_at"]:
            made = datetime.datetime.fromtimestamp(about["made_at"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            raise Refusal(f"{name}: was made at {made}, and this host's clock is behind that: set the clock first")
        code = _code(parts, wish, folder, path)
        ended = _prepare(folder / STORE, about, master, wish, code)
        key = base64.b64encode(master.reveal()).decode()
        config = {name: [mode, base64.b64encode(content).decode()] for name, (mode, content) in parts.items()}
        return json.dumps({"about": about, "key": key, "config": config, "ended": ended})
    except BaseException:
        _clear(path)
        raise


def _read_parts(reader: SealedReader, name: str, store: Path) -> dict[str, tuple[int, bytes]]:
    """The small parts, by name: mode and content; the store goes to a file. All of the backup is known to be good then."""
    parts: dict[str, tuple[int, bytes]] = {}
    try:
        with tarfile.open(fileobj=reader, mode="r|") as archive:  # type: ignore[call-overload] # it reads alone
            for entry in archive:
                content = archive.extractfile(entry)
                known = entry.name in (ABOUT, KEY, STORE) or _is_config(entry.name)
                if content is None or not known or entry.name in parts or len(parts) > _MOST:
                    raise VaultError(f"{name}: holds {entry.name!r}, which no backup of this release does")
                if entry.name == STORE:
                    with os.fdopen(os.open(store, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                        shutil.copyfileobj(content, out, CHUNK)
                elif entry.size > _SMALL:
                    raise VaultError(f"{name}: {entry.name} has {entry.size} bytes: more than any that arenactl saves")
                else:
                    parts[entry.name] = (entry.mode & 0o777, content.read())
    except tarfile.TarError as error:
        raise VaultError(f"{name}: cannot be unpacked: {error}") from None
    reader.finish()
    if missing := [part for part in (ABOUT, KEY) if part not in parts] + ([] if store.exists() else [STORE]):
        raise VaultError(f"{name}: has no {missing[0]}: it is no backup of arenactl")
    return parts


def _is_config(name: str) -> bool:
    """Whether a name is one of the configuration, and leads nowhere else."""
    path = PurePosixPath(name)
    inside = name.startswith(CONFIG) and ".." not in path.parts and str(path) == name
    return inside and (len(path.parts) == 2 or path.parts[1] in ("arena.toml.d", "mail")) and len(path.parts) < 6


def _code(parts: dict[str, tuple[int, bytes]], wish: Wish, folder: Path, path: Path) -> Code:
    """[code] of the configuration that will be in force, which has to be a good one, and to name this store."""
    if wish.keep_config:
        return load(wish.config_path).code
    for name, (_, content) in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    config = load(folder / CONFIG / "arena.toml")
    if store_path(config.store.url) != path:
        raise Refusal(
            f"the backup's configuration keeps the store at {store_path(config.store.url)}, and this host's at {path}:"
            " make them the same, or leave this host's as it is with --keep-config"
        )
    return config.code


def _prepare(store: Path, about: dict[str, Any], master: Secret, wish: Wish, code: Code) -> dict[str, Any]:
    """Bring the copy to this release's schema, and end what may have been used since."""
    url = f"sqlite:///{store}"
    make_whole(store)
    migrate(url)
    key_id = Vault(master).key_id
    if (noted := noted_key(url)) != key_id:
        raise VaultError(f"{wish.file}: its store was made under master key {noted}, and its key is {key_id}")
    made = datetime.datetime.fromtimestamp(about["made_at"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    with open_store(url).begin() as connection:
        head = read_head(connection)
        ended = end_what_was_used(connection, wish.now, code.window)
        counts = f"{ended.by_counter} tokens by counter wait for a resync, {ended.codes} codes and {ended.grants} grants ended"
        detail = f"backup of {made}: {counts}"
        append(connection, wish.now, Event("restore", actor=wish.actor, service="arenactl", detail=detail))
        (told,) = take_noted(connection)
    make_whole(store)
    with store.open("rb") as file:
        os.fsync(file.fileno())
    steps = code.window + code.next_code_reach
    counted = {"by_counter": ended.by_counter, "codes": ended.codes, "grants": ended.grants}
    return {**counted, "detail": detail, "row": str(Link(told.row, told.hash)), "head": str(head), "steps": steps}


def _put_in_place(wish: Wish, found: dict[str, Any], path: Path, place: Place, full: bool) -> dict[str, Any]:
    """Stage all that root has to put in place; then stop, rename, start."""
    stamp = datetime.datetime.fromtimestamp(wish.now, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = _free_name(path, stamp)
    master = Secret(base64.b64decode(found["key"]))
    changes: list[tuple[Path | None, Path]] = []  # what is to be where; None: nothing
    staged: list[Path] = []
    try:
        if place.key_id() != Vault(master).key_id:
            staged.append(place.stage_key(master))
            changes.append((staged[-1], place.key_path()))
        if not wish.keep_config:
            changes += _stage_config(found["config"], wish.config_path, staged)
        ended = found["ended"]
        lost = LostTime(Link.read(ended["head"]), wish.now, ended["steps"])

        def tell() -> None:
            row = Link.read(ended["row"])
            event = Event("restore", actor=wish.actor, service="arenactl", detail=ended["detail"])
            Journal(wish.journal, "arenactl", Vault(master).key_id, sentence).tell([Noted(wish.now, event, row.id, row.hash)])

        moved, opens = _change_places(place, (path, aside if full else None, lost), changes, stamp, tell)
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    finally:
        for one in staged:
            one.unlink(missing_ok=True)
    return {
        "store": str(path),
        "made_at": found["about"]["made_at"],
        "holders": found["about"]["holders"],
        "tokens": found["about"]["tokens"],
        "keys_by_time_work_at": opens,
        "wait_for_resync": ended["by_counter"],
        "codes_ended": ended["codes"],
        "grants_ended": ended["grants"],
        "kept_aside": moved,
    }


def _change_places(
    place: Place,
    store: tuple[Path, Path | None, LostTime],
    changes: list[tuple[Path | None, Path]],
    stamp: str,
    tell: Callable[[], None],
) -> tuple[list[str], int | None]:
    """While nothing runs: the store first, by which all else goes.

    Returns the names of what is kept aside, and when all keys by time work, in seconds since 1970 UTC.
    """
    path, aside, lost = store
    kept: list[str] = []
    try:
        place.stop()
        opens: int | None = json.loads(as_owner(path.parent, lambda: _swap(path, aside, lost)))
        tell()  # before anything that comes after it in the journal: `audit verify` goes by that
        kept += [str(aside)] if aside is not None else []
        kept += [one for one in (_move(new, where, stamp) for new, where in changes) if one]
    except BaseException:
        place.start()
        raise
    try:
        place.start()
    except ArenaError as error:
        where = f"; what was there is kept: {', '.join(kept)}" if kept else ""
        raise ServiceDown(f"the backup is in place{where}; but {error}") from None
    return kept, opens


def _free_name(path: Path, stamp: str) -> Path:
    """A name for what is kept of a file, that nothing has yet."""
    names = (path.with_name(f"{path.name}.before-{stamp}{more}") for more in ("", *(f"-{n}" for n in range(2, _MOST))))
    return next(name for name in names if not os.path.lexists(name))


def _swap(path: Path, aside: Path | None, lost: LostTime) -> str:
    """The prepared store in the place of the old one, whose last writes are brought into its one file first.

    Returns when all keys by time work, as JSON.
    """
    fresh, opens, told = _staging(path) / STORE, None, False
    if path.exists():
        for name in path.parent.glob(f"{path.name}.before-*"):
            if name.samefile(path):  # of a restore that was killed here
                name.unlink()
        try:
            make_whole(path, check=False)  # that would take seconds, and it is going to be put aside
            opens, told = carry_over(fresh, path, lost), True
        except InUse:
            raise
        except StoreError:
            if aside is None:
                raise
            for side in _SIDES:  # a damaged one is kept as it is, with what lies beside it
                if (beside := path.with_name(path.name + side)).exists():
                    os.rename(beside, aside.with_name(aside.name + side))
        if aside is not None:
            os.link(path, aside)
    if not told:
        opens = carry_over(fresh, None, lost)
    for side in _SIDES:  # SQLite would take the old store's log for the new one's
        path.with_name(path.name + side).unlink(missing_ok=True)
    sync_folder(path.parent)
    os.rename(fresh, path)
    sync_folder(path.parent)
    return json.dumps(opens)


def _stage_config(parts: dict[str, Any], config_path: Path, staged: list[Path]) -> list[tuple[Path | None, Path]]:
    """Write the files of the configuration beside where they go; what is there and not in the backup is to go aside."""
    changes: list[tuple[Path | None, Path]] = []
    wanted = {}
    for name, (mode, content) in parts.items():
        inner = name.removeprefix(CONFIG)
        where = config_path if inner == "arena.toml" else config_path.parent / inner
        wanted[where] = (mode, base64.b64decode(content))
    for where, (mode, content) in wanted.items():
        if where.is_file() and where.read_bytes() == content:
            continue
        where.parent.mkdir(parents=True, exist_ok=True)
        fresh = where.with_name(f"{where.name}.restore")
        fresh.unlink(missing_ok=True)
        staged.append(fresh)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        changes.append((fresh, where))
    changes += [(None, path) for path in config_files(config_path) if path not in wanted]
    return changes


def _move(new: Path | None, where: Path, stamp: str) -> str | None:
    """Put a file in place, and what was there aside, under a name that nothing reads; returns that name."""
    kept = None
    if where.exists():
        kept = _free_name(where, stamp)
        os.link(where, kept)
        if new is None:
            where.unlink()
    if new is not None:
        os.rename(new, where)
    sync_folder(where.parent)
    return None if kept is None else str(kept)
