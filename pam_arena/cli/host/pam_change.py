"""Changing PAM's and sshd's files so that every byte comes back: what is changed is first kept in /var/backups/arena-pam.

A change is pending until it is confirmed. Its folder has manifest.json and one copy a file. The manifest is on the disk
before the first file is touched, and every file is replaced by a rename, so that whatever dies in the middle, undo() finds
its way from the manifest alone.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from pam_arena.errors import NotFound, Refusal

from .pam_files import MODULE, OWN_FILE, PAM_FOLDER, asking
from .session import Session

STATE = Path("/var/backups/arena-pam")
EXAMPLE = Path("/usr/share/doc/libpam-arena/examples/sshd_config.d/arena.conf")
SSHD_DROP_IN = Path("/etc/ssh/sshd_config.d/00-arena.conf")  # sshd takes the first value that it reads
OWN_TEXT = f"""# Made by `arenactl pam enable`, and included by the services that ask for PIN and one-time code. Taken away by
# `arenactl pam disable SERVICE`, with the last of them.
auth	requisite	{MODULE}
"""
LINE = f"@include {OWN_FILE}\n"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ANCHOR = re.compile(
    rb"^@include[ \t]+common-auth[ \t]*(#.*)?$|^auth[ \t]+(include|substack)[ \t]+common-auth\b.*$", re.MULTILINE
)
_TWINS = {"sudo": ("sudo-i",)}  # what would be a way round


@frozen
class Change:
    """One file as it is (None: not there) and as it is to be."""

    path: Path
    before: bytes | None
    after: bytes


@frozen
class Kept:
    """What the manifest knows of one file. line: whether our line is all that was changed in it."""

    path: str
    before: str | None  # SHA-256; None: it was not there
    after: str
    copy: str  # the name of its copy
    line: bool
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0


@frozen
class Manifest:
    """One service's change. Times in seconds since 1970."""

    service: str
    stack: str
    at: int
    pending: bool
    by: Session
    user: str  # who shows that the door still opens
    files: tuple[Kept, ...] = field(factory=tuple)

    def as_json(self) -> str:
        """The text of manifest.json."""
        values: dict[str, Any] = {name: getattr(self, name) for name in ("service", "stack", "at", "pending", "user")}
        values["by"] = self.by.as_values()
        values["files"] = [{name: getattr(kept, name) for name in Kept.__annotations__} for kept in self.files]
        return json.dumps(values, indent=1) + "\n"


def plan(service: str, *, arena_first: bool, folder: Path = PAM_FOLDER) -> list[Change]:
    """The files to be changed for a service. Raises Refusal, or NotFound."""
    if not NAME.fullmatch(service) or not (folder / service).is_file():
        raise NotFound(f"there is no service {service!r}: ls {folder}")
    if service.startswith("common-") or service in (OWN_FILE, "other"):
        raise Refusal(f"{service} is no service of its own: for all services at once, see pam-auth-update --enable arena")
    if (folder / service).is_symlink():
        raise Refusal(f"{folder / service} is a link: enable what it leads to, {(folder / service).resolve()}")
    if service in (found := asking(folder)):
        where = next(entry.where for entry in found[service].entries if entry.is_arena)
        raise Refusal(f"{service} asks for a code already, by {folder}/{where.replace(':', ' line ')}")
    changes = [_own_file(folder)]
    for name in (service, *(twin for twin in _TWINS.get(service, ()) if (folder / twin).is_file())):
        if name not in found and not (folder / name).is_symlink() and not _includes(folder / name, service):
            changes.append(_service_file(folder / name, arena_first))
    if service == "sshd":
        changes.append(_drop_in())
    return [change for change in changes if change.before != change.after]


def _own_file(folder: Path) -> Change:
    path = folder / OWN_FILE
    change = Change(path, _read(path), OWN_TEXT.encode())
    if change.before not in (None, change.after):
        raise Refusal(f"{path} is there, and is not what arenactl writes: move it away")
    return change


def _service_file(path: Path, arena_first: bool) -> Change:
    before = path.read_bytes()
    anchor = _ANCHOR.search(before)
    if anchor is None:
        raise Refusal(f"{path} does not include common-auth: write `@include {OWN_FILE}` into it by hand, see README.Debian")
    if arena_first:
        return Change(path, before, before[: anchor.start()] + LINE.encode() + before[anchor.start() :])
    end = before.find(b"\n", anchor.end())
    head = before + b"\n" if end < 0 else before[: end + 1]
    return Change(path, before, head + LINE.encode() + before[len(head) :])


def _includes(path: Path, service: str) -> bool:
    """Whether a file takes its auth lines from the service's."""
    words = rf"^(@include|auth\s+(include|substack))\s+{re.escape(service)}\s*$"
    return re.search(words, path.read_text("utf-8", "replace"), re.MULTILINE) is not None


def _drop_in() -> Change:
    """sshd's settings; a file of that name that is there already is the sysadmin's, and stays."""
    before = _read(SSHD_DROP_IN)
    if before is not None:
        return Change(SSHD_DROP_IN, before, before)
    text = _read(EXAMPLE)
    if text is None:
        raise Refusal(f"{EXAMPLE} is missing: apt install --reinstall libpam-arena, or write {SSHD_DROP_IN} by README.Debian")
    return Change(SSHD_DROP_IN, None, text)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def locked(state: Path = STATE) -> Iterator[None]:
    """One change of these files at a time: the timer that takes back, and who confirms, may come together."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(manifest: Manifest, changes: list[Change], state: Path = STATE) -> Manifest:
    """Keep what is to be changed, and say so in the manifest, durably. Returns it with its files. Raises OSError."""
    folder = state / manifest.service
    if folder.exists():
        raise Refusal(f"{folder} is there: arenactl pam disable {manifest.service} first")
    folder.mkdir(mode=0o700)
    files = []
    for number, change in enumerate(changes):
        kept = Kept(str(change.path), None, _digest(change.after), str(number), line=False)
        if change.before is not None:
            found = change.path.stat()
            _write(folder / kept.copy, change.before, 0o600)
            kept = evolve(
                kept,
                before=_digest(change.before),
                line=True,
                mode=stat.S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
                mtime_ns=found.st_mtime_ns,
            )
        files.append(kept)
    manifest = evolve(manifest, files=tuple(files))
    _write(folder / "manifest.json", manifest.as_json().encode(), 0o600)
    return manifest


def apply(manifest: Manifest, changes: list[Change]) -> None:
    """Write the changes. Raises Refusal if a file is no longer what was shown, OSError if it cannot be written."""
    for change, kept in zip(changes, manifest.files, strict=True):
        if _read(change.path) != change.before:
            raise Refusal(f"{change.path} was changed meanwhile: try again")
        _write(change.path, change.after, kept.mode, kept.uid, kept.gid)


def confirm(manifest: Manifest, state: Path = STATE) -> None:
    """Let a change stay."""
    _write(state / manifest.service / "manifest.json", evolve(manifest, pending=False).as_json().encode(), 0o600)


def undo(manifest: Manifest, state: Path = STATE) -> list[str]:
    """Put every file back as it was; returns a sentence for each thing that could not be undone. Raises OSError.

    A file that somebody changed since loses our line alone.
    """
    folder = state / manifest.service
    sentences = [said for kept in reversed(manifest.files) if (said := _put_back(kept, folder))]
    for pam_folder in {Path(kept.path).parent for kept in manifest.files if kept.line}:
        _drop_own_file(pam_folder)
    if sentences:
        aside = folder.with_name(f"{manifest.service}.{manifest.at}.kept")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        sentences.append(f"the files as they were before are in {aside}")
    else:
        (folder / "manifest.json").unlink()
        shutil.rmtree(folder)
    _sync(state)
    return sentences


def _drop_own_file(folder: Path) -> None:
    """Take our own file away, unless a service still includes it: without it PAM would refuse every login there."""
    own = folder / OWN_FILE
    users = (path for path in folder.iterdir() if path != own and path.is_file() and not path.name.startswith("."))
    if _read(own) == OWN_TEXT.encode() and not any(OWN_FILE.encode() in path.read_bytes() for path in users):
        own.unlink()
        _sync(folder)


def _put_back(kept: Kept, folder: Path) -> str:
    """Undo one file; returns what could not be undone."""
    path = Path(kept.path)
    now = _read(path)
    if kept.before is None:
        if now is None or path.name == OWN_FILE:
            return "" if now is None or _digest(now) == kept.after else f"{path} was changed since, and is left: rm {path}"
        if _digest(now) != kept.after:
            return f"{path} was changed since, and is left: rm {path}"
        path.unlink()
        _sync(path.parent)
        return ""
    if now is None:
        return f"{path} was removed since, and is left so"
    if _digest(now) == kept.before:
        return ""
    if _digest(now) == kept.after:
        _write(path, (folder / kept.copy).read_bytes(), kept.mode, kept.uid, kept.gid)
        os.utime(path, ns=(kept.mtime_ns, kept.mtime_ns))
        return ""
    lines = now.splitlines(keepends=True)
    rest = [line for line in lines if line.strip() != LINE.strip().encode()]
    if len(rest) == len(lines):
        return f"{path} was changed since, and has our line no more: left as it is"
    found = path.stat()
    _write(path, b"".join(rest), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    return f"{path} was changed since: only the line `{LINE.strip()}` was taken out"


def load(service: str, state: Path = STATE) -> Manifest | None:
    """The change of a service; None if there is none. Raises Refusal for a manifest that cannot be read."""
    path = state / service / "manifest.json"
    if not NAME.fullmatch(service) or not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        values["by"] = Session(**values["by"])
        values["files"] = tuple(Kept(**kept) for kept in values["files"])
        return Manifest(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise Refusal(f"{path} cannot be read ({error}): put the files back by hand, from {path.parent}") from None


def load_all(state: Path = STATE) -> list[Manifest]:
    """All changes that stand, by service."""
    if not state.is_dir():
        return []
    found = (load(path.parent.name, state) for path in sorted(state.glob("*/manifest.json")))
    return [manifest for manifest in found if manifest is not None]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Replace a file by a rename, with everything on the disk before and after it."""
    fresh = path.with_name(f".{path.name}.arena-new")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
            if os.geteuid() == 0:
                os.fchown(out.fileno(), uid, gid)
            os.fchmod(out.fileno(), mode)
            out.flush()
            os.fsync(out.fileno())
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
