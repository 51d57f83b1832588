"""One mail, from its file to the mail server (RFC 5321), and what the server said to it."""

import re
import smtplib
import stat
from contextlib import suppress
from email.parser import BytesHeaderParser
from enum import Enum
from pathlib import Path

from attrs import frozen

from pam_arena.errors import ArenaError

from ..spool import EXPIRES, is_address

# Seconds that the server has for each answer: to the greeting, and to the mail (RFC 5321 section 4.5.3.2: a server that
# accepted a mail and says so too late gets it again).
GREETING_TIMEOUT, ANSWER_TIMEOUT = 30.0, 300.0


class NoMail(ArenaError):
    """A file of the spool is not one that spool.put wrote."""


class Outcome(Enum):
    """What became of an attempt."""

    SENT = "sent"
    LATER = "later"
    NEVER = "never"


@frozen
class Reply:
    """The server's word on one mail; `said` is its answer, or what was seen instead of one."""

    outcome: Outcome
    said: str


@frozen
class Letter:
    """A mail as its file holds it. written: when, in seconds since the epoch; lasts: seconds, None: as long as any."""

    sender: str
    to: str
    message_id: str
    written: float
    lasts: int | None
    content: bytes


def read_letter(path: Path) -> Letter:
    """Read a file of the spool. Raises NoMail with the reason, and FileNotFoundError if it is gone."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise NoMail("it is no file")
    try:
        content = path.read_bytes()
    except PermissionError:
        raise NoMail("it may not be read") from None
    headers = BytesHeaderParser().parsebytes(content)
    sender, to, lasts = (str(headers[name] or "") for name in ("From", "To", EXPIRES))
    if not (is_address(sender) and is_address(to) and re.fullmatch(r"\d{0,9}", lasts, re.ASCII)):
        raise NoMail("it is no mail of arenad")
    return Letter(sender, to, str(headers["Message-ID"]), found.st_mtime, int(lasts) if lasts else None, content)


class Server:
    """The mail server, during one round: one that did not answer once is not asked again."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._host, self._port = host.removeprefix("[").removesuffix("]"), int(port)
        self._absent: Reply | None = None

    def deliver(self, letter: Letter) -> Reply:
        """Try to hand over one mail. A connection each: nothing of one mail's trouble is left for the next."""
        if self._absent is not None:
            return self._absent
        try:
            connection = self._connect()
        except OSError as error:  # every smtplib.SMTPException is one
            self._absent = Reply(Outcome.LATER, f"the server {self.address} cannot be used: {_words(error)}")
            return self._absent
        try:
            connection.sendmail(letter.sender, [letter.to], letter.content)
        except smtplib.SMTPRecipientsRefused as refused:
            return _judge(*refused.recipients[letter.to])
        except smtplib.SMTPResponseException as refused:
            return _judge(refused.smtp_code, refused.smtp_error)
        except OSError as error:
            return Reply(Outcome.LATER, _words(error))
        finally:
            # Whatever comes of the farewell, the server has answered for the mail.
            with suppress(OSError):
                connection.quit()
            connection.close()
        return Reply(Outcome.SENT, "accepted")

    def _connect(self) -> smtplib.SMTP:
        connection = smtplib.SMTP(self._host, self._port, timeout=GREETING_TIMEOUT)
        try:
            connection.ehlo_or_helo_if_needed()
            if connection.has_extn("starttls"):
                connection.starttls()  # RFC 7435: against listeners; whoever sits between may offer none at all
            if connection.sock is not None:
                connection.sock.settimeout(ANSWER_TIMEOUT)
        except BaseException:
            connection.close()
            raise
        return connection


def _judge(code: int, said: bytes | str) -> Reply:
    """RFC 5321 section 4.2.1: 5yz is for ever, anything else is for now."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return Reply(Outcome.NEVER if code // 100 == 5 else Outcome.LATER, f"{code} {text}")


def _words(error: OSError) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _judge(error.smtp_code, error.smtp_error).said
    return error.strerror or str(error) or type(error).__name__
