"""arenactl pam: have a service ask for codes, and take it back before anybody is locked out.

What is enabled stays only if it is confirmed from a second session; a timer of systemd, and after a reboot
arena-pam-revert.service, take it back otherwise, whether or not this command is still there.
"""

import datetime
import difflib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pam_arena.errors import ArenaError, Refusal

from .codes import show_codes
from .desk_client import DeskClient, Failure
from .group import Group
from .host.configuration import read_configuration
from .host.findings import Severity, run
from .host.pam_change import (
    SSHD_DROP_IN,
    Change,
    Manifest,
    apply,
    confirm,
    keep,
    load,
    load_all,
    locked,
    plan,
    undo,
)
from .host.pam_files import PAM_FOLDER, asking, read_stack, services
from .host.pam_judge import find_bypasses
from .host.pam_report import what_is_asked
from .host.rehearsal import Outcome, rehearse
from .host.session import read_session, what_is_shared
from .host.sshd_report import connection_of, judge_sshd, read_settings
from .host.sudoers import is_sudoer
from .host.timer import cancel, schedule
from .output import Output, format_option
from .pam_notes import begin, came_in, moment, note
from .trial import hold_trial

_WITHIN = 300  # seconds to confirm
_USUAL = ("login", "sshd", "su", "sudo")
_COLUMNS = ("service", "asks", "how", "since", "login")


@click.group(cls=Group)
def pam() -> None:
    """PAM's files: which service asks for codes."""


@pam.command("status")
@format_option
def pam_status(output: Output) -> None:
    """Which service asks, by what, and since when."""
    try:
        found, files = asking(), services()
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    changes = {manifest.service: manifest for manifest in load_all()} if os.geteuid() == 0 else {}
    config = read_configuration()
    rows = []
    for service in sorted({*found, *(name for name in _USUAL if name in files), *changes}):
        stack, manifest = found.get(service), changes.get(service)
        line = next((entry for entry in stack.entries if entry.is_arena), None) if stack else None
        how = f"{line.file}:{line.number}" if line else ""
        if manifest:
            how = f"pam enable, {manifest.stack}" + (" (not confirmed yet)" if manifest.pending else "")
        rows.append(
            {
                "service": service,
                "asks": stack is not None,
                "how": how,
                "since": _day(manifest.at) if manifest else "",
                "login": what_is_asked(stack, config).removeprefix("a login asks: ") if stack else "",
            }
        )
    output.table(rows, _COLUMNS[:4] if output.is_table else _COLUMNS)


@pam.command("enable")
@click.argument("service")
@click.option("--arena-first", is_flag=True, help="PIN and code before the password; without it, after the password.")
@click.option("--user", metavar="USER", help="Who shows that the door still opens; without it, a sudoer who can.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--within", type=click.IntRange(5, 3600), metavar="SECONDS", default=_WITHIN, help="Time to confirm (300).")
@format_option
def pam_enable(service: str, arena_first: bool, user: str | None, yes: bool, within: int, output: Output) -> None:
    """Have SERVICE ask for a code, try it, and take it back unless `pam confirm` comes from a second session."""
    _be_root()
    with _refusals():
        if load(service) is not None:
            raise Refusal(f"{service} is enabled already: arenactl pam status; arenactl pam disable {service}")
        changes = plan(service, arena_first=arena_first)
        _check_stack(service, changes)
        person = _find_person(service, user)
        _show(changes)
        _ask(f"Change these files? {person['name']} will be asked to log in once", yes)
        stack = "arena-first" if arena_first else "password-first"
        manifest = Manifest(service, stack, int(time.time()), True, read_session(), person["name"])
        begin(service, f"enable, {stack}")
        manifest = _change(manifest, changes, within)
        try:
            tried = _try_out(manifest)
            schedule(service, within)
            _still_there(manifest)
        except BaseException:
            left = _take_back(service, "pam-revert", only_pending=True)
            click.echo("\n".join(left) or f"everything was put back: {service} is as it was", err=True)
            raise
        note(service, "pam-enable", f"{stack}, shown by {person['name']}")
        if not person["codes_left"]:
            _give_codes(person["name"])
    output.record(
        {
            "service": service,
            "stack": stack,
            "tried": tried,
            "taken back at": moment(time.time() + within),
            "unless": f"arenactl pam confirm {service}    from a second session, within {within} s",
        }
    )


@pam.command("confirm")
@click.argument("service", required=False)
@click.option("--yes", is_flag=True, help="Also where nobody logged in by a code since.")
@format_option
def pam_confirm(service: str | None, yes: bool, output: Output) -> None:
    """Let a change stay: from another session than the one that made it, so that a way in is proven."""
    _be_root()
    with _refusals():
        pending = [one for one in load_all() if one.pending and service in (None, one.service)]
        if not pending:
            raise Failure(f"nothing waits to be confirmed{f' for {service}' if service else ''}: arenactl pam status", 4)
        rows = []
        for manifest in pending:
            if shared := what_is_shared(manifest.by, read_session()):
                raise Refusal(f"this is the session that made the change ({shared}): log in anew, and confirm from there")
            came = came_in(manifest)
            if not came:
                _ask(f"Nobody came in at {manifest.service} by a code since. Confirm all the same?", yes)
            begin(manifest.service, "confirm")
            with locked():  # only now: while somebody thinks about the question, the timer must be able to take back
                _still_there(manifest)
                confirm(manifest)
                cancel(manifest.service)
            note(manifest.service, "pam-confirm", manifest.stack)
            rows.append({"service": manifest.service, "stays": True, "seen": came})
    output.table(rows, ("service", "stays", "seen"))


@pam.command("disable")
@click.argument("service", required=False)
@click.option("--revert", is_flag=True, help="Only what was not confirmed; without SERVICE all of it. For the timer.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def pam_disable(service: str | None, revert: bool, yes: bool, output: Output) -> None:
    """Put the files back, byte for byte, as they were before `pam enable`."""
    _be_root()
    if service is None and not revert:
        raise click.UsageError("which service? arenactl pam status")
    with _refusals():
        if revert:
            found = [one.service for one in load_all() if one.pending and service in (None, one.service)]
        else:
            found = [_known(str(service)).service]
            _ask(f"Put the files of {service} back as they were?", yes)
            begin(found[0], "disable", must=False)
        rows = [{"service": one, "left": _take_back(one, "pam-revert" if revert else "pam-disable", revert)} for one in found]
    output.table(rows, ("service", "left"))
    if any(row["left"] for row in rows):
        sys.exit(1)


def _known(service: str) -> Manifest:
    manifest = load(service)
    if manifest is not None:
        return manifest
    found = asking()
    if service in found:
        where = next(entry.where for entry in found[service].entries if entry.is_arena)
        by = (
            "pam-auth-update --disable arena"
            if where.startswith("common-")
            else f"take line {where} out of {PAM_FOLDER} by hand"
        )
        raise Refusal(f"{service} was not enabled by arenactl: {by}")
    raise Failure(f"{service} does not ask for codes: arenactl pam status", 4)


def _be_root() -> None:
    if os.geteuid() != 0:
        raise click.ClickException("only root may change PAM's files: sudo arenactl pam")


@contextmanager
def _refusals() -> Iterator[None]:
    """Our own errors, and those of files, as sentences."""
    try:
        yield
    except Refusal as refusal:
        raise Failure(str(refusal), refusal.exit) from None
    except ArenaError as error:
        raise Failure(str(error), 1) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", 1) from None


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked: --yes")
    click.confirm(question, abort=True, err=True)


def _check_stack(service: str, changes: list[Change]) -> None:
    """Refuse a stack that would let anybody in without a code, before any file is touched."""
    with tempfile.TemporaryDirectory() as copy:
        folder = Path(copy, "pam.d")
        shutil.copytree(PAM_FOLDER, folder)
        for change in changes:
            if change.path.parent == PAM_FOLDER:
                (folder / change.path.name).write_bytes(change.after)
        stack = read_stack(service, "auth", folder)
        for flaw in stack.flaws:
            raise Refusal(f"{PAM_FOLDER}/{flaw.where}: {flaw.what}")
        for bypass in find_bypasses(stack.entries):
            if bypass.by.name != "pam_rootok":
                raise Refusal(
                    f"{PAM_FOLDER}/{bypass.by.where}: the yes of {bypass.by.name} would open the door without a code:"
                    " change that line, or enable with --arena-first"
                )


def _find_person(service: str, user: str | None) -> dict[str, Any]:
    """A sudoer who has finished a first login, so that somebody surely gets in afterwards."""
    entered = DeskClient().get("/pam/entered")
    mine = user or os.environ.get("SUDO_USER")
    for one in sorted(entered, key=lambda one: one["name"] != mine):  # a wrong guess of ours costs nothing
        if user in (None, one["name"]) and is_sudoer(one["name"]):
            return dict(one)
    whom = user or "USER"
    raise Refusal(
        f"no sudoer{f' {user}' if user else ''} has finished a first login yet. Give one a key: arenactl token assign SERIAL"
        f" {whom}; then have them create their PIN: arenactl try --alone {service} {whom}"
    )


def _show(changes: list[Change]) -> None:
    for change in changes:
        before = [] if change.before is None else _lines(change.before)
        name = str(change.path)
        for line in difflib.unified_diff(before, _lines(change.after), name if before else "/dev/null", name, n=2):
            click.echo(line.rstrip("\n"), err=True)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines(keepends=True)


def _change(manifest: Manifest, changes: list[Change], within: int) -> Manifest:
    """Keep, arm the timer, write, and see that sshd takes it; or leave everything as it was."""
    with locked():
        manifest = keep(manifest, changes)
        try:
            schedule(manifest.service, within)
            apply(manifest, changes)
            if manifest.service == "sshd":
                _check_sshd(manifest.user)
                _reload_sshd()
        except BaseException:
            for sentence in undo(manifest):
                click.echo(sentence, err=True)
            cancel(manifest.service)
            raise
    return manifest


def _check_sshd(user: str) -> None:
    status, _, complaint = run("sshd", "-t")
    if status != 0:
        raise Refusal(f"sshd -t: {complaint.strip()}: nothing was changed")
    settings, complaint = read_settings(*connection_of(user))
    if not settings:
        raise Refusal(f"sshd -T: {complaint}: nothing was changed")
    for finding in judge_sshd(settings):
        if finding.severity is Severity.PROBLEM:
            raise Refusal(
                f"{finding.found}, in spite of {SSHD_DROP_IN}: does /etc/ssh/sshd_config include sshd_config.d before it says"
                " otherwise? Nothing was changed"
            )


def _reload_sshd() -> None:
    """Have a running sshd read its settings; one that its socket starts reads them anyhow."""
    status, _, complaint = run("systemctl", "try-reload-or-restart", "ssh.service")
    if status != 0:
        raise Refusal(f"systemctl reload ssh: {complaint.strip()}")


def _try_out(manifest: Manifest) -> str:
    """Have the person log in, for real. Raises Refusal unless the door opens, or, without a terminal, a question comes."""
    service, user = manifest.service, manifest.user
    at_terminal = sys.stdin.isatty()
    if service == "sshd":
        click.echo(f"Log in as {user}, through an sshd on a private port:", err=True)
        outcome, said = rehearse(user, at_terminal)
        if outcome is Outcome.REFUSED:
            raise Refusal(f"the login of {user} was refused: {said}")
        return f"{user} logged in by ssh" if outcome is Outcome.OPENED else said
    if not at_terminal:
        return "nobody was asked: there is no terminal"
    click.echo(f"Log in as {user}, as {service} would ask:", err=True)
    verdict = hold_trial(service, user, read_configuration(), alone=False)
    if not verdict.opened:
        why = f": arenactl why {verdict.ref}" if verdict.ref else f" ({verdict.words})"
        raise Refusal(f"the login of {user} was refused{why}")
    return f"{user} was let in"


def _still_there(manifest: Manifest) -> None:
    now = load(manifest.service)
    if now is None or now.at != manifest.at:
        raise Refusal("the time was over, and the files are as they were: try again, with a longer --within")


def _take_back(service: str, event: str, only_pending: bool = False) -> list[str]:
    """Undo a change if it still stands; returns what could not be undone."""
    with locked():
        manifest = load(service)
        if manifest is None or (only_pending and not manifest.pending):
            return []
        left = undo(manifest)
        if service == "sshd":
            status, _, complaint = run("sshd", "-t")
            if status == 0:
                # Without waiting: at boot this runs before sshd, which waits for it.
                run("systemctl", "--no-block", "try-reload-or-restart", "ssh.service")
            else:
                left.append(f"sshd was not reloaded, because of sshd -t: {complaint.strip()}")
        cancel(service)
    note(service, event, "; ".join(left))
    return left


def _give_codes(name: str) -> None:
    click.echo(f"Codes for {name}, in case of a lost key. They are shown this once; keep them off this host.", err=True)
    show_codes(DeskClient().post("/holders/", name, "/codes/emergency"), Output("table"), err=True)


def _day(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
