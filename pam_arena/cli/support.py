"""arenactl support: one file for whoever looks into a fault from afar, with nothing in it that opens a door.

What goes in is chosen one by one: no file is copied whole but PAM's, no environment, no row of the store. Every text is
scrubbed beside that.
"""

import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from .. import __version__
from .desk_client import DeskClient, Failure
from .output import Output, format_option
from .scrub import scrub_arguments, scrub_log, scrub_text

_ARENAD = "/usr/sbin/arenad"
_CONFIG, _PAM = Path("/etc/arena"), Path("/etc/pam.d")
_UNITS = (
    *("arenad.socket", "arenad.service", "arenad-key.service", "arena-desk.socket", "arena-desk.service"),
    *("arena-mail.path", "arena-mail.service"),
)
_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStatus", "StatusText", "NRestarts"),
    *("ActiveEnterTimestamp", "InactiveEnterTimestamp", "MemoryCurrent", "NeedDaemonReload", "FragmentPath", "DropInPaths"),
)
_PACKAGES = ("libpam-arena", "arenad", "python3-pam-arena", "systemd", "openssh-server", "python3-sqlalchemy", "libsqlite3-0")
_SSHD = {
    *("usepam", "kbdinteractiveauthentication", "passwordauthentication", "pubkeyauthentication", "authenticationmethods"),
    *("logingracetime", "maxstartups", "maxauthtries", "maxsessions", "permitrootlogin", "permitemptypasswords", "loglevel"),
    *("persourcepenalties", "persourcepenaltyexemptlist", "port"),
}
_JOURNAL_LINES = 1000
_SECONDS = 60.0  # for one command
_REFUSED = 1

Part = tuple[str, Callable[[], str]]  # its name in the bundle, and what makes it


class _Missing(Exception):
    """A part cannot be had; the text says why."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def support(file: Path, output: Output) -> None:
    """Write a bundle for whoever helps you to FILE (tar.gz): versions, settings, states and logs, without any secret."""
    if os.geteuid() != 0:
        raise Failure("support reads the journal and the host's settings: run it as root", _REFUSED)
    doctor = "doctor" in getattr(click.get_current_context().find_root().command, "commands", {})
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", _REFUSED) from None
    try:
        with os.fdopen(handle, "wb") as out:
            os.fchmod(handle, 0o600)
            packed, missing = _pack(out, [*_parts(), *([("doctor.txt", _doctor)] if doctor else [])])
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Failure(f"{file}: {error.strerror}: nothing was left there", _REFUSED) from None
        raise
    output.record(
        {"file": str(file), "parts": packed, "missing": missing, "before_you_send_it": "read it: tar xOzf FILE | less"}
    )


def _pack(out: Any, parts: list[Part]) -> tuple[list[str], list[str]]:
    packed, missing = [], []
    with tarfile.open(fileobj=out, mode="w:gz") as bundle:
        for name, make in parts:
            try:
                _add(bundle, name, make())
                packed.append(name)
            except _Missing as why:
                missing.append(scrub_text(f"{name}: {why}"))
        _add(bundle, "missing.txt", "".join(f"{line}\n" for line in missing))
    return packed, missing


def _add(bundle: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "replace")
    entry = tarfile.TarInfo(f"arena-support/{name}")
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
    bundle.addfile(entry, io.BytesIO(data))


def _parts() -> Iterator[Part]:
    yield "about.json", _about
    yield "os-release", lambda: _text(Path("/etc/os-release"))
    yield "config.json", lambda: scrub_text(_run(_ARENAD, "config", "show"))
    yield "config-check.txt", lambda: scrub_text(_run(_ARENAD, "config", "check", either=True))
    yield "config-files.txt", _config_files
    yield "units.txt", _units
    yield "journal.txt", _journal
    yield "store.json", lambda: _run(_ARENAD, "summary")
    yield "status.json", lambda: _asked("/status")
    yield "key.json", lambda: _asked("/key")
    yield "metrics.txt", lambda: _asked("/metrics")
    yield "clock.txt", lambda: scrub_text(_run("timedatectl", "show"))
    yield "sshd.txt", _sshd
    for file in sorted(_PAM.iterdir()) if _PAM.is_dir() else []:
        if file.is_file() and "pam_arena" in (text := file.read_text(errors="replace")):
            yield f"pam.d/{file.name}", lambda text=text: scrub_arguments(text)  # type: ignore[misc] # mypy: a default


def _about() -> str:
    versions = _run("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n", *_PACKAGES, either=True)
    about = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "pam_arena": __version__,
        "python": sys.version,
        "machine": list(platform.uname()[2:5]),
        "packages": versions.splitlines(),
    }
    return json.dumps(about, indent=1)


def _config_files() -> str:
    """The names alone: what they say comes from arenad, which knows what may be told."""
    files = [_CONFIG / "arena.toml", *sorted((_CONFIG / "arena.toml.d").glob("*"))]
    try:
        stats = [(file, file.stat()) for file in files]
    except OSError as error:
        raise _Missing(f"{error.filename}: {error.strerror}") from None
    return "".join(f"{stat.st_mode & 0o7777:04o} {stat.st_uid}:{stat.st_gid} {stat.st_size} {file}\n" for file, stat in stats)


def _units() -> str:
    """What systemd says of our units, property by property: `systemctl status` would show command lines of drop-ins."""
    properties = [word for name in _PROPERTIES for word in ("-p", name)]
    lines = (line.partition("=") for line in _run("systemctl", "show", *properties, *_UNITS).splitlines())
    return "".join(f"{name}{equals}{scrub_text(value)}\n" for name, equals, value in lines)


def _journal() -> str:
    units = [word for unit in _UNITS for word in ("-u", unit)]
    fields = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,PRIORITY,_PID"
    text = _run("journalctl", "--quiet", "--no-pager", "-n", str(_JOURNAL_LINES), "-o", "json", fields, *units)
    return "".join(map(_journal_line, text.splitlines()))


def _journal_line(line: str) -> str:
    entry = json.loads(line)
    at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1_000_000, UTC).isoformat(timespec="milliseconds")
    said = entry.get("MESSAGE")
    message = scrub_log(said) if isinstance(said, str) else "[no text]"
    return f"{at} {entry.get('SYSLOG_IDENTIFIER', '?')}[{entry.get('_PID', '?')}] <{entry.get('PRIORITY', '?')}> {message}\n"


def _sshd() -> str:
    lines = _run("sshd", "-T").splitlines()
    return "".join(f"{line}\n" for line in lines if line.partition(" ")[0].lower() in _SSHD)


def _doctor() -> str:
    return scrub_text(_run(sys.argv[0], "doctor", either=True))


def _asked(path: str) -> str:
    client = DeskClient()
    try:
        if path == "/metrics":
            return scrub_text(client.text(path, accept="text/plain"))
        return json.dumps(client.get(path), indent=1)
    except Failure as failure:
        raise _Missing(failure.message) from None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise _Missing(f"{file}: {error.strerror}") from None


def _run(*command: str, either: bool = False) -> str:
    """What a command prints; with `either`, also what it complains of, whatever its status."""
    stderr = subprocess.STDOUT if either else subprocess.PIPE
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Missing(f"{command[0]}: {getattr(error, 'strerror', None) or 'takes too long'}") from None
    if done.returncode and not either:
        said = (done.stderr or b"").decode(errors="replace").strip().splitlines()
        raise _Missing(f"{command[0]}: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout.decode(errors="replace")
