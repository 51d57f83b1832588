"""The store's part of `arenactl doctor`, and what `arenactl pam` asks and notes: nothing here decides a login.

A finding has severity, thing, found and remedy, as those that arenactl makes of the host itself.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from pam_arena.errors import Refusal

from ..config import Config, check_groups
from ..store import doctor as store
from ..store.ahead import tokens_ahead
from ..store.ballast import logins_left, room_on
from ..store.engine import SCHEMA_VERSION, explain, peek, store_path, unwritable
from ..store.marks import KEY_EXPORTED, read_time
from ..store.schema import KEY_ID
from .caller import Caller, Connection, Result
from .words import show_time

_SHOWN = 5  # names in a sentence
_LEAST_FREE = 200 * 2**20  # bytes on the store's disk: below, a burst of audit rows may fill it
_LARGE_WAL = 256 * 2**20  # bytes: something holds a read open, or the disk is too slow for checkpoints
_CHANGES = ("pam-begin", "pam-enable", "pam-confirm", "pam-disable", "pam-revert")
_SECONDS = re.compile(r"[0-9]{1,12}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def examine(connection: Connection, caller: Caller) -> Result:
    """Everything that only the service can see: key, store, holders, groups, modes. It only reads."""
    parts = (
        lambda: _key(connection, caller),
        lambda: _store(connection, caller.config),
        lambda: _sealed(connection, caller),
        lambda: _holders(connection, caller.now),
        lambda: _clock(connection, caller.now),
        lambda: _policy(caller.config),
    )
    return {"findings": [finding for part in parts for finding in _as_far_as_it_goes(part)]}


def _as_far_as_it_goes(part: Callable[[], Iterator[Result]]) -> Iterator[Result]:
    """A part's findings; a damaged page, which ends it, is one too."""
    try:
        yield from part()
    except DBAPIError as error:
        yield _finding("problem", "store", f"is damaged: {explain(error)}", "arenactl restore FILE")


def list_entered(connection: Connection, caller: Caller) -> list[Result]:
    """Who has finished a first login: holders with a PIN whose code opened a door, the latest first."""
    return [
        {"name": row.holder, "at": row.at, "codes_left": row.codes_left}
        for row in store.entered(connection, caller.now, store.MOST_PEOPLE)
    ]


def list_granted(connection: Connection, caller: Caller, service: str | None, since: str | None) -> list[Result]:
    """The logins at a service that a code opened since a time: who, and when."""
    if since is None or not _SECONDS.fullmatch(since):
        raise Refusal("since: seconds since 1970 are expected")
    return [{"name": row.holder, "at": row.at} for row in store.granted(connection, service or "", int(since))]


def note_change(connection: Connection, caller: Caller, service: str, wanted: dict[str, Any]) -> Result:
    """Leave the row of the audit that PAM's files of a service were changed."""
    event, detail = str(wanted.get("event", "")), str(wanted.get("detail", ""))
    if event not in _CHANGES or not _SERVICE.fullmatch(service):
        raise Refusal(f"event: allowed: {', '.join(_CHANGES)}; service: the name of a file in /etc/pam.d")
    caller.note(connection, event, detail=f"{service} {detail}".strip()[:200])
    return {"service": service, "noted": event}


def _finding(severity: str, thing: str, found: str, remedy: str = "") -> Result:
    return {"severity": severity, "thing": thing, "found": found, "remedy": remedy}


def _key(connection: Connection, caller: Caller) -> Iterator[Result]:
    noted, mine = store.read_meta(connection, KEY_ID), caller.vault.key_id
    if noted != mine:
        yield _finding("problem", "key", f"is {mine}; the store was made under {noted}", "arenactl key import FILE")
    else:
        yield _finding("good", "key", f"{mine}, as the store's")
    if read_time(connection, KEY_EXPORTED) is None:
        yield _finding("warning", "key", "the master key was never exported", "arenactl key export FILE")
    else:
        yield _finding("good", "key", "was exported")


def _store(connection: Connection, config: Config) -> Iterator[Result]:
    path = store_path(config.store.url)
    if said := store.check(connection):
        yield _finding("problem", "store", f"{path} is damaged: {said}", "arenactl restore FILE")
    else:
        yield _finding("good", "store", f"{path}: whole")
    if said := unwritable(path):
        yield _finding("problem", "store", said, f"findmnt -T {path}; ls -l {path}")
    found = peek(path)
    if found == SCHEMA_VERSION:
        yield _finding("good", "store", f"schema {found}")
    else:
        yield _finding("warning", "store", f"schema {found}, and this release's is {SCHEMA_VERSION}", "arenactl migrate")
    wal = _size(path.with_name(path.name + "-wal"))
    if wal > _LARGE_WAL:
        yield _finding("warning", "store", f"its log of changes has {wal >> 20} MiB", "systemctl restart arenad arena-desk")
    yield from _ballast(path, config.store.ballast)
    free = room_on(path.parent)
    if free < _LEAST_FREE:
        yield _finding(
            "problem", "store", f"{free >> 20} MiB are left on its disk: no verdict without room", f"df -h {path.parent}"
        )
    else:
        yield _finding("good", "store", f"{free >> 20} MiB free on its disk, log of changes {wal >> 10} KiB")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _ballast(path: Path, wanted: int) -> Iterator[Result]:
    if not wanted:
        yield _finding("warning", "store", "no ballast: nobody can log in while its disk is full", "ballast in [store]")
    elif (left := logins_left(path, wanted)) == wanted:
        yield _finding("good", "store", f"ballast for {wanted} logins once its disk is full")
    else:
        # Whoever is to make room must still be able to log in: this is as urgent as it gets.
        found = f"the ballast is in use, or was never whole: about {left} logins left, of {wanted}, once its disk is full"
        yield _finding("problem", "store", found, f"make room: df -h {path.parent}; journalctl -u arenad ARENA_EVENT=disk-full")


def _sealed(connection: Connection, caller: Caller) -> Iterator[Result]:
    """Whether everything that is sealed opens: SQLite's own check does not see a row that was changed or moved."""
    broken = list(store.unopened(connection, caller.vault))
    if broken:
        found = f"sealed values that do not open, so that nobody gets in by them: {_names(broken)}"
        yield _finding("problem", "store", found, "arenactl restore FILE; or arenactl pin reset WHO, token replace OLD NEW")
    else:
        yield _finding("good", "store", "all seeds and PINs open under the key")


def _holders(connection: Connection, now: int) -> Iterator[Result]:
    lapsed, waiting = store.without_pin(connection, now)
    if lapsed:
        remedy = f"arenactl pin reset {lapsed[0]}"
        yield _finding("warning", "holders", f"time to create a PIN is over: {_names(lapsed)}", remedy)
    if waiting:
        yield _finding(
            "note",
            "holders",
            f"no PIN yet: {_names(waiting)}",
            "have them log in: PIN empty, then the code, then choose a PIN",
        )
    if not lapsed and not waiting:
        yield _finding("good", "holders", "all have a PIN")


def _clock(connection: Connection, now: int) -> Iterator[Result]:
    number, first = tokens_ahead(connection, now, _SHOWN)
    if number:
        more = f" and {number - _SHOWN} more" if number > _SHOWN else ""
        listed = ", ".join(f"{one.serial} until {show_time(one.until)}" for one in first) + more
        told = f"{number} keys showed codes while it was ahead, and none of theirs works: {listed}"
        yield _finding("problem", "clock", told, f"timedatectl; then arenactl token resync {first[0].serial}")


def _names(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return f"{len(names)}: {', '.join(names[:_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def _policy(config: Config) -> Iterator[Result]:
    unknown = check_groups(config)
    for sentence in unknown:
        group = sentence.rpartition(" ")[2]
        remedy = f"addgroup {group}, or correct /etc/arena/arena.toml.d, then systemctl reload arenad"
        yield _finding("problem", "groups", sentence, remedy)
    if not unknown:
        yield _finding("good", "groups", "all that the configuration names exist")
    for name, service in config.services.items():
        if service.mode == "observe":
            yield _finding(
                "warning",
                f"service {name}",
                "mode is observe: nothing is enforced",
                'mode = "enforce", when all are ready: arenactl report observe',
            )
        elif service.mode == "off":
            yield _finding("warning", f"service {name}", "mode is off: nobody is asked", 'mode = "enforce" in arena.toml.d')
