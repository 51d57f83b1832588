"""The spool: mails as files of one folder, left there by arenad and the desk, sent by arena-mail.

Those who write have no network, and the one who sends has no store: this folder is all that they share. A file is one
mail in the form of RFC 5322, whole and synced before it gets the name that arena-mail looks for. When the file was
written is the mail's date, and what its age is counted from. How often it was tried and when it is due next stand in its
name (ID.mail, then ID.TRIES.DUE.mail). A mail may be held first, until it is known whether it is to go (outbox.py).
"""

import hashlib
import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from pathlib import Path

from attrs import field, frozen

from pam_arena.errors import Refusal, StoreError

SUFFIX = ".mail"  # arena-mail.path waits for it
HELD = ".held"
EXPIRES = "X-Arena-Expires"  # seconds, from when the file was written, after which the mail is worthless
_MODE = 0o640  # the folder's group is arena-mail's
_LONGEST_HEAD = 16384  # bytes that are looked at
_LONGEST_ADDRESS = 254  # RFC 5321 section 4.5.3.1.3
_NAME = re.compile(rf"(?P<id>.+?)(\.(?P<tries>\d{{1,6}})\.(?P<due>\d{{1,12}}))?{re.escape(SUFFIX)}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@frozen
class Mail:
    """One mail to one holder. The body may hold a one-time code; lasts: seconds until it is dropped, None: days."""

    to: str
    subject: str
    body: str = field(repr=False)
    message_id: str
    lasts: int | None = None


def is_address(text: str) -> bool:
    """Whether this is one bare ASCII mail address (RFC 5321's Mailbox, without quotes and comments)."""
    return len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def make_message_id(domain: str) -> str:
    """A new Message-ID in a domain, or in the domain of an address. A mail keeps it whenever it is sent."""
    return f"<{secrets.token_hex(16)}@{domain.rpartition('@')[2]}>"


def put(folder: Path, sender: str, mail: Mail) -> None:
    """Leave a mail in the spool, durably.

    Raises Refusal for an address, a subject or a text that no mail can have, and StoreError naming the folder if the
    mail cannot be left there.
    """
    _write(folder, sender, mail, hashlib.sha256(mail.message_id.encode("utf-8", "replace")).hexdigest()[:32] + SUFFIX)


def hold(folder: Path, sender: str, mail: Mail, ref: str) -> None:
    """Leave a mail in the spool, durably, but not to be sent before it is freed by its reference. Raises as `put` does."""
    _write(folder, sender, mail, _held(ref))


def free(folder: Path, ref: str) -> None:
    """Let a held mail go, not durably; one that was freed or removed is left alone. Raises StoreError naming the folder."""
    _end(folder, lambda: (folder / _held(ref)).rename(folder / f"{ref}{SUFFIX}"))


def drop(folder: Path, ref: str) -> None:
    """Remove a held mail, if it is there. Raises StoreError naming the folder."""
    _end(folder, (folder / _held(ref)).unlink)


def held(folder: Path) -> list[str]:
    """The references of the mails that are held; none where there is no spool. Raises StoreError naming it."""
    try:
        return sorted(name[1 : -len(HELD)] for name in os.listdir(folder) if name.startswith(".") and name.endswith(HELD))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"the spool {folder} cannot be read: {error.strerror}") from None


def _held(ref: str) -> str:
    return f".{ref}{HELD}"


def _end(folder: Path, step: Callable[[], object]) -> None:
    try:
        step()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{folder}: a mail cannot be set free or removed there: {error.strerror}") from None


@frozen
class Posted:
    """What the name of a file of the spool says. due: seconds since 1970."""

    id: str
    tries: int = 0
    due: int = 0

    @classmethod
    def read(cls, name: str) -> "Posted | None":
        """None for a name that arena-mail does not look for."""
        found = None if name.startswith(".") else _NAME.fullmatch(name)
        return None if found is None else cls(found["id"], int(found["tries"] or 0), int(found["due"] or 0))

    def next(self, due: int) -> str:
        """The name after one more try."""
        return f"{self.id}.{self.tries + 1}.{due}{SUFFIX}"


def recipient_of(file: Path) -> str:
    """Whom a file of the spool is for, from its header alone; `?` if it cannot be told. Raises FileNotFoundError."""
    try:
        with file.open("rb") as content:
            head = content.read(_LONGEST_HEAD).partition(b"\r\n\r\n")[0]
    except FileNotFoundError:
        raise
    except OSError:
        return "?"
    to = str(BytesHeaderParser().parsebytes(head)["To"] or "")
    return to if is_address(to) else "?"


def _write(folder: Path, sender: str, mail: Mail, name: str) -> None:
    message = _compose(sender, mail)
    try:
        handle, unfinished = tempfile.mkstemp(prefix=".", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, _MODE)
                message["Date"] = datetime.fromtimestamp(os.fstat(handle).st_mtime, UTC)
                file.write(message.as_bytes())
                file.flush()
                os.fsync(handle)
            os.rename(unfinished, folder / name)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        _sync(folder)
    except OSError as error:
        raise StoreError(f"{folder}: a mail cannot be left there: {error.strerror}") from None


def _compose(sender: str, mail: Mail) -> EmailMessage:
    for address in (sender, mail.to):
        if not is_address(address):
            raise Refusal(f"{address!r} is no mail address")
    for line in (mail.subject, mail.message_id):
        # C: control characters, Zl and Zp: line ends. Either would begin another header.
        if any(unicodedata.category(one) in ("Zl", "Zp") or unicodedata.category(one)[0] == "C" for one in line):
            raise Refusal(f"{line!r} cannot stand in a mail's header")
    message = EmailMessage(policy.SMTP)
    try:
        message["From"], message["To"], message["Subject"] = sender, mail.to, mail.subject
        message["Message-ID"] = mail.message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is reported to it
        if mail.lasts is not None:
            message[EXPIRES] = str(mail.lasts)
        message.set_content(mail.body, cte="quoted-printable")  # 7 bits, whatever the server can do
    except ValueError:
        raise Refusal(f"the mail to {mail.to} holds what no mail can hold") from None
    return message


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
