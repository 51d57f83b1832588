"""Reading /etc/pam.d as libpam does (pam.conf(5)): lines, includes, and the stack of a service that they make."""

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

PAM_FOLDER = Path("/etc/pam.d")
TYPES = ("auth", "account", "password", "session")
MODULE = "pam_arena.so"
OWN_FILE = "arena-auth"  # what `arenactl pam enable` has services include
_MODULE_FOLDERS = ("usr/lib/*/security", "lib/*/security", "usr/lib/security", "lib/security")
_MOST_DEPTH = 32  # libpam's limit of nested includes
_LINE = re.compile(r"(-?)(\w+)\s+(\[[^\]]*\]|\S+)\s+(\S+)\s*(.*)")
_ARGUMENT = re.compile(r"\[((?:[^\]\\]|\\.)*)\]|(\S+)")

# What each keyword stands for (pam.conf(5)).
_KEYWORDS = {
    "required": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "bad"},
    "requisite": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "die"},
    "sufficient": {"success": "done", "new_authtok_reqd": "done", "default": "ignore"},
    "optional": {"success": "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}


@frozen
class Entry:
    """One line of a stack, where it stands, and how deep in substacks it is."""

    file: str
    number: int
    kind: str
    control: str
    module: str
    arguments: tuple[str, ...]
    level: int = 0
    may_miss: bool = False  # `-auth`: a missing module is passed over

    @property
    def where(self) -> str:
        """FILE:LINE, without the folder."""
        return f"{self.file}:{self.number}"

    @property
    def name(self) -> str:
        """The module without its folder and ending."""
        return self.module.rsplit("/", 1)[-1].removesuffix(".so")

    @property
    def is_module(self) -> bool:
        """Whether it calls a module, or only says that a substack begins."""
        return self.control != "substack"

    @property
    def is_arena(self) -> bool:
        """Whether it is the line of pam_arena."""
        return self.is_module and self.name == "pam_arena"

    def action(self, code: str) -> str:
        """What libpam does when the module returns `code` (success, auth_err, …): ok, die, a number to skip, …"""
        table = _KEYWORDS.get(self.control) or _table(self.control)
        return table.get(code, table.get("default", "bad"))


@frozen
class Flaw:
    """What libpam stumbles over: where, and what."""

    where: str
    what: str


@frozen
class Stack:
    """The lines of one type for a service, includes followed, and what is wrong with the files."""

    service: str
    entries: tuple[Entry, ...]
    flaws: tuple[Flaw, ...]


def _table(control: str) -> dict[str, str]:
    """The actions of a control in brackets."""
    words = (word.partition("=") for word in control.strip("[]").split())
    return {code: action for code, equals, action in words if equals}


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a file that say something, continued ones joined, with the number of their first. Raises OSError."""
    lines: list[tuple[int, str]] = []
    held, start = "", 0
    for number, raw in enumerate(path.read_text("utf-8", "surrogateescape").splitlines(), 1):
        start = start if held else number
        text = raw.partition("#")[0].rstrip()
        if text.endswith("\\"):
            held += text[:-1] + " "
            continue
        if said := (held + text).strip():
            lines.append((start, said))
        held = ""
    if held.strip():
        lines.append((start, held.strip()))
    return lines


def read_stack(service: str, kind: str = "auth", folder: Path = PAM_FOLDER) -> Stack:
    """The stack of a service; that of `other` if it has no file. Raises FileNotFoundError if neither is there."""
    flaws: list[Flaw] = []
    name = service if (folder / service).is_file() else "other"
    if not (folder / name).is_file():
        raise FileNotFoundError(folder / service)
    entries = tuple(_follow(folder, name, kind, 0, 0, flaws))
    return Stack(service, entries, tuple(dict.fromkeys(flaws)))


def _follow(folder: Path, name: str, kind: str, level: int, depth: int, flaws: list[Flaw]) -> Iterator[Entry]:
    try:
        lines = read_lines(folder / name)
    except OSError as error:
        flaws.append(Flaw(name, f"{folder / name}: {error.strerror}"))
        return
    if depth > _MOST_DEPTH:
        flaws.append(Flaw(name, "its includes go round in a circle"))
        return
    for number, line in lines:
        where = f"{name}:{number}"
        if line.startswith("@include"):
            target = line.removeprefix("@include").strip()
            yield from _included(folder, target, where, kind, level, depth, flaws)
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[2].lower() not in TYPES:
            flaws.append(Flaw(where, f"no line of PAM: {line}"))
            continue
        if found[2].lower() != kind:
            continue
        control = found[3].lower()
        if control in ("include", "substack"):
            deeper = level + (control == "substack")
            if control == "substack":  # libpam counts it as one line in jumps
                yield Entry(name, number, kind, control, found[4], (), level)
            yield from _included(folder, found[4], where, kind, deeper, depth, flaws)
            continue
        if control not in _KEYWORDS and not control.startswith("["):
            flaws.append(Flaw(where, f"unknown control {found[3]!r}: PAM refuses every login here"))
        arguments = tuple(one[1] or one[2] for one in _ARGUMENT.finditer(found[5]))
        yield Entry(name, number, kind, control, found[4], arguments, level, bool(found[1]))


def _included(folder: Path, target: str, where: str, kind: str, level: int, depth: int, flaws: list[Flaw]) -> Iterator[Entry]:
    if not (folder / target).is_file():
        flaws.append(Flaw(where, f"includes {target}, which is not there: PAM refuses every login here"))
        return
    yield from _follow(folder, target, kind, level, depth + 1, flaws)


def services(folder: Path = PAM_FOLDER) -> list[str]:
    """The services that have a file, without what is only included and what packages left behind."""
    names = (path.name for path in folder.iterdir() if path.is_file())
    included = ("common-", ".", OWN_FILE)
    return sorted(name for name in names if not name.startswith(included) and not name.endswith((".dpkg-old", "~")))


def asking(folder: Path = PAM_FOLDER) -> dict[str, Stack]:
    """The services whose auth lines name pam_arena, be it through includes. Raises OSError."""
    found = {}
    for service in services(folder):
        stack = read_stack(service, "auth", folder)
        if any(entry.is_arena for entry in stack.entries):
            found[service] = stack
    return found


def module_path(module: str, root: Path = Path("/")) -> Path | None:
    """Where a module lies; None if it is nowhere."""
    if module.startswith("/"):
        path = root / module[1:]
        return path if path.is_file() else None
    found = (path for pattern in _MODULE_FOLDERS for path in root.glob(f"{pattern}/{module}"))
    return next(found, None)
