"""The spool as the desk sees it: what waits, what was given up, and a mail to try the way there. Never what a mail says."""

import os
from pathlib import Path

from pam_arena.errors import NotFound, Refusal, StoreError

from ..letters.templates import Kind
from ..outbox import Addressee
from ..spool import Posted, is_address, recipient_of
from .caller import Caller, Connection, Result

FAILED = "failed"  # beside the spool: what arena-mail gave up


def list_mails(spool: Path) -> list[Result]:
    """Every mail that waits or was given up, the oldest first; one that was sent has left."""
    found = [_shown(file, state) for folder, state in _folders(spool) for file in _files(folder)]
    return sorted((one for one in found if one is not None), key=lambda one: int(one["written_at"]))


def show_mail(spool: Path, number: str) -> Result:
    """What became of a mail: waiting, failed, or sent, which is nowhere any more."""
    for folder, state in _folders(spool):
        for file in _files(folder):
            posted = Posted.read(file.name)
            if posted is not None and posted.id == number and (shown := _shown(file, state)) is not None:
                return shown
    return {"id": number, "state": "sent"}


def send_test(connection: Connection, caller: Caller, to: str) -> Result:
    """Leave a test mail for an address; `id` finds it in the spool."""
    if not is_address(to):
        raise Refusal(f"{to!r} is no mail address")
    caller.note(connection, "mail-test", detail=f"to {to}")
    told = caller.tell_address(connection, Kind.TEST, Addressee("", to, caller.config.language))
    if told["mail"] is None:
        raise Refusal(str(told["no_mail"]))
    return {"id": caller.outbox.refs[0], "to": to, "server": caller.config.mail.smtp}


def _folders(spool: Path) -> tuple[tuple[Path, str], ...]:
    # In this order: a mail that moves meanwhile is seen at its end.
    return (spool, "waiting"), (spool.parent / FAILED, FAILED)


def _files(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if Posted.read(name) is not None]
    except FileNotFoundError:
        raise NotFound(f"there is no spool {folder}: run `systemd-tmpfiles --create arenad.conf`") from None
    except OSError as error:
        raise StoreError(f"the spool {folder} cannot be read: {error.strerror}") from None


def _shown(file: Path, state: str) -> Result | None:
    """None for one that has left meanwhile."""
    posted = Posted.read(file.name)
    assert posted is not None  # _files() looked
    try:
        written, to = file.stat().st_mtime, recipient_of(file)
    except FileNotFoundError:
        return None
    due = posted.due if state == "waiting" and posted.tries else None
    return {"id": posted.id, "state": state, "to": to, "written_at": int(written), "tries": posted.tries, "next_try_at": due}
