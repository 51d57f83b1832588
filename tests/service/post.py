"""A real SMTP server (aiosmtpd), and a spool with the postman who goes to it."""

import email
import os
import socket
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from arenad import config
from arenad.mail.service import Postman
from arenad.spool import Mail, make_message_id, put

SENDER = "arena@school.example"


class Post:
    """A mail server: what it accepted, and what it says (to the recipient, then to the mail) instead of 250."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.accepted: list[EmailMessage] = []
        self.encrypted: list[bool] = []
        self.to_recipient: dict[str, str] = {}
        self.to_mail = ""
        self.before_answer: Callable[[], object] = lambda: None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, tls_context=context)
        self._controller.start()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 aiosmtpd's name
        if address not in self.to_recipient:
            envelope.rcpt_tos.append(address)
        return self.to_recipient.get(address, "250 OK")

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        if not self.to_mail:
            self.accepted.append(email.message_from_bytes(envelope.content, EmailMessage, policy=modern))
            self.encrypted.append(session.ssl is not None)
        self.before_answer()
        return self.to_mail or "250 OK"

    def close(self) -> None:
        """Stop listening."""
        if self._controller.loop.is_running():
            self._controller.stop()


class HandClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = time.time()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Office:
    """A spool, its postman, and the server that he goes to."""

    def __init__(self, folder: Path, post: Post) -> None:
        self.spool, self.failed, self.post, self.clock = folder / "out", folder / "failed", post, HandClock()
        self.spool.mkdir()
        self.failed.mkdir()
        self.settings = config.Mail(f"127.0.0.1:{post.port}", SENDER)
        self.hire()

    def hire(self) -> None:
        """A postman who knows nothing yet, as after a restart."""
        self.postman = Postman(self.spool, self.clock, lambda: False)

    def leave(self, to: str = "alice@school.example", lasts: int | None = None, body: str = "Voilà.\n") -> Mail:
        mail = Mail(to, "Votre clé\u00a0: activée", body, make_message_id(SENDER), lasts)
        put(self.spool, SENDER, mail)
        return mail

    def round(self, later: float = 0) -> bool:
        """Another round, so many seconds later; whether mails wait."""
        self.clock.time += later
        return self.postman.round(self.settings)

    def waiting(self) -> list[str]:
        return sorted(os.listdir(self.spool))

    def given_up(self) -> list[str]:
        return sorted(os.listdir(self.failed))
