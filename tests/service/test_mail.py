"""Mails from the spool to a real SMTP server (aiosmtpd): sent once if all is well, kept if not, and never lost silently."""

import email
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from arenad import config
from arenad.mail.service import Postman
from arenad.spool import Mail, make_message_id, put
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pam_arena.errors import Refusal, StoreError

SENDER = "arena@school.example"
MINUTE, HOUR, DAY = 60, 3600, 86400


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
        self.stop = threading.Event()
        self.settings = config.Mail(f"127.0.0.1:{post.port}", SENDER)
        self.hire()

    def hire(self) -> None:
        """A postman who knows nothing yet, as after a restart."""
        self.postman = Postman(self.spool, self.clock, self.stop)

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


@pytest.fixture
def post() -> Iterator[Post]:
    one = Post()
    yield one
    one.close()


@pytest.fixture
def office(tmp_path: Path, post: Post, caplog: pytest.LogCaptureFixture) -> Office:
    caplog.set_level(logging.INFO, "arenad")
    return Office(tmp_path, post)


def test_a_mail_arrives_as_it_was_written_and_leaves_the_spool(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    body = "Bonjour,\n\n.\nC’est prêt\u00a0: « 123456 »\n" + "long " * 300 + "\n"
    mail = office.leave(body=body)
    assert not office.round()
    assert (office.waiting(), office.given_up()) == ([], [])
    [got] = office.post.accepted
    assert (got["From"], got["To"], got["Subject"], got["Message-ID"]) == (SENDER, mail.to, mail.subject, mail.message_id)
    assert got.get_content().replace("\r\n", "\n") == body
    assert got["Auto-Submitted"] == "auto-generated"
    assert abs(got["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert f"mail to {mail.to} {mail.message_id}: sent" in caplog.text
    assert "123456" not in caplog.text + repr(mail)


def test_a_file_of_the_spool_is_for_its_owner_and_group_alone(office: Office) -> None:
    before = os.umask(0o077)  # arenad.service's
    try:
        office.leave()
    finally:
        os.umask(before)
    [name] = office.waiting()
    assert name.endswith(".mail")
    assert (office.spool / name).stat().st_mode & 0o7777 == 0o640


def test_a_mail_that_is_refused_for_now_is_kept_and_tried_again_with_growing_waits(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.post.to_recipient["alice@school.example"] = "450 4.2.0 greylisted"
    mail = office.leave()
    assert office.round()
    for wait in (MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE, 32 * MINUTE, HOUR, HOUR):
        assert f"mail to {mail.to} {mail.message_id}: tried again in {wait} s: 450 4.2.0 greylisted" in caplog.text
        caplog.clear()
        assert office.round(wait - 2)
        assert caplog.text == ""
        assert office.round(2)
    office.post.to_recipient.clear()
    office.hire()  # a restart forgets neither the mail nor its wait
    assert office.round(HOUR - 2)
    assert office.post.accepted == []
    assert not office.round(2)
    assert [got["Message-ID"] for got in office.post.accepted] == [mail.message_id]


def test_a_mail_that_is_refused_for_ever_is_set_aside_with_the_reply(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.post.to_recipient["nobody@school.example"] = "550 5.1.1 no such user"
    office.leave("nobody@school.example")
    other = office.leave("bob@school.example")
    assert not office.round()
    assert [got["To"] for got in office.post.accepted] == [other.to]
    assert len(office.given_up()) == 1
    assert "mail to nobody@school.example" in caplog.text
    assert "given up: refused: 550 5.1.1 no such user" in caplog.text


def test_a_mail_whose_content_is_refused_for_ever_is_set_aside(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.post.to_mail = "554 5.7.1 looks like spam"
    office.leave()
    assert not office.round()
    assert len(office.given_up()) == 1
    assert "given up: refused: 554 5.7.1 looks like spam" in caplog.text


def test_without_a_server_every_mail_waits_and_a_new_one_is_tried_at_once(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.post.close()
    mails = [office.leave(f"user{number}@school.example") for number in range(3)]
    assert office.round()
    assert caplog.text.count(f"the server 127.0.0.1:{office.post.port} cannot be used: Connection refused") == 3
    office.post = Post()
    office.settings = config.Mail(f"127.0.0.1:{office.post.port}", SENDER)
    fresh = office.leave("fresh@school.example")
    assert office.round(MINUTE / 2)
    assert [got["To"] for got in office.post.accepted] == [fresh.to]
    assert not office.round(MINUTE / 2)
    assert {got["To"] for got in office.post.accepted} == {fresh.to, *(mail.to for mail in mails)}
    office.post.close()


@pytest.mark.parametrize(
    ("greeting", "told"),
    [(b"554 5.3.2 closed today\r\n", "554 5.3.2 closed today"), (b"SSH-2.0-what\r\n", "cannot be used"), (b"", "closed")],
)
def test_a_server_that_speaks_to_nobody_costs_no_mail(
    office: Office, caplog: pytest.LogCaptureFixture, greeting: bytes, told: str
) -> None:
    office.leave()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        office.settings = config.Mail(f"127.0.0.1:{listening.getsockname()[1]}", SENDER)

        def greet() -> None:
            with listening.accept()[0] as connection:
                connection.sendall(greeting)

        greeter = threading.Thread(target=greet)
        greeter.start()
        assert office.round()
        greeter.join()
    assert told in caplog.text
    assert len(office.waiting()) == 1


def test_a_server_that_hangs_up_at_one_mail_keeps_no_other_waiting(office: Office) -> None:
    office.post.to_recipient["alice@school.example"] = "421 4.7.0 too many of these"
    office.leave()
    other = office.leave("bob@school.example")
    assert office.round()
    assert [got["To"] for got in office.post.accepted] == [other.to]
    assert len(office.waiting()) == 1


def test_a_mail_that_nobody_takes_for_five_days_is_set_aside(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.post.to_mail = "451 4.3.0 later"
    office.leave()
    assert office.round()
    assert office.round(5 * DAY - HOUR)
    assert office.given_up() == []
    assert not office.round(2 * HOUR)
    assert len(office.given_up()) == 1
    assert "given up: not accepted for 5 days" in caplog.text


def test_a_mail_with_a_code_is_dropped_when_the_code_is_worthless(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.post.to_mail = "451 4.3.0 later"
    mail = office.leave(lasts=600, body="Code: 123456\n")
    assert office.round()
    assert office.round(9 * MINUTE)
    office.post.to_mail = ""
    assert not office.round(HOUR)
    assert (office.post.accepted, office.given_up()) == ([], [])
    assert f"mail to {mail.to} {mail.message_id}: dropped: it was of use for 600 s" in caplog.text
    assert "123456" not in caplog.text


def test_a_mail_with_a_code_that_is_refused_for_ever_is_not_kept(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.post.to_mail = "554 5.7.1 no"
    office.leave(lasts=600)
    assert not office.round()
    assert office.given_up() == []
    assert "given up: refused: 554 5.7.1 no" in caplog.text


def test_no_mail_is_sent_when_there_is_no_sender(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.leave()
    office.settings = config.Mail(office.settings.smtp, "")
    assert not office.round()
    assert (office.post.accepted, len(office.given_up())) == ([], 1)
    assert "[mail] from is empty" in caplog.text


def test_a_clock_that_was_wrong_holds_no_mail_for_ever(office: Office) -> None:
    office.post.to_mail = "451 4.3.0 later"
    office.leave()
    office.clock.time += 30 * DAY  # before the mail is old: its file is of today
    os.utime(office.spool / office.waiting()[0], (office.clock.time, office.clock.time))
    assert office.round()
    office.post.to_mail = ""
    assert not office.round(-30 * DAY)
    assert len(office.post.accepted) == 1


def test_a_server_that_can_encrypt_is_spoken_to_encrypted(tmp_path: Path) -> None:
    post = Post(server_context(tmp_path))
    try:
        office = Office(tmp_path, post)
        office.leave()
        assert not office.round()
        assert post.encrypted == [True]
    finally:
        post.close()


def server_context(folder: Path) -> ssl.SSLContext:
    """What a mail server on Debian has: a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.school.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    ).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


# What is no mail


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xff\xfe\x00 nothing like a mail",
        b"From: arena@school.example\r\n\r\nto nobody",
        b"From: arena@school.example\r\nTo: a@b.example, c@d.example\r\n\r\nto two",
        b"From: arena@school.example\r\nTo: a@b.example\r\nX-Arena-Expires: soon\r\n\r\n",
    ],
)
def test_junk_is_set_aside_and_named(office: Office, caplog: pytest.LogCaptureFixture, junk: bytes) -> None:
    (office.spool / "junk.mail").write_bytes(junk)
    mail = office.leave()
    assert not office.round()
    assert [got["To"] for got in office.post.accepted] == [mail.to]
    assert office.given_up() == ["junk.mail"]
    assert f"{office.spool}/junk.mail: it is no mail of arenad: moved to {office.failed}" in caplog.text


def test_what_is_no_file_is_set_aside_and_never_opened(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(office.spool / "pipe.mail")
    (office.spool / "link.mail").symlink_to("/etc/shadow")
    (office.spool / "folder.mail").mkdir()
    assert not office.round()
    assert office.given_up() == ["folder.mail", "link.mail", "pipe.mail"]
    assert caplog.text.count("it is no file") == 3


def test_what_has_another_name_is_left_alone(office: Office) -> None:
    (office.spool / ".half-written").write_text("From: ")
    (office.spool / "README").write_text("not ours")
    assert not office.round()
    assert office.waiting() == [".half-written", "README"]


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("alice@school.example\r\nBcc: eve@evil.example", "s"),
        ("alice@school.example, eve@evil.example", "s"),
        ("Alice <alice@school.example>", "s"),
        ("alice", "s"),
        ("", "s"),
        ("alice@school.example\n", "s"),
        ("élève@school.example", "s"),
        ("a" * 250 + "@school.example", "s"),
        ("alice@school.example", "s\r\nBcc: eve@evil.example"),
        ("alice@school.example", "s\nBcc: eve@evil.example"),
        ("alice@school.example", "s\u2028Bcc: eve@evil.example"),
        ("alice@school.example", "s\x00"),
        ("alice@school.example", "s\udc80"),
    ],
)
def test_a_header_cannot_be_smuggled_in(office: Office, to: str, subject: str) -> None:
    with pytest.raises(Refusal):
        put(office.spool, SENDER, Mail(to, subject, "", make_message_id(SENDER)))
    with pytest.raises(Refusal):
        put(office.spool, SENDER + "\r\nBcc: eve@evil.example", Mail("a@b.example", "s", "", make_message_id(SENDER)))
    with pytest.raises(Refusal):
        put(office.spool, SENDER, Mail("a@b.example", "s", "", "<1@b.example>\r\nBcc: eve@evil.example"))
    with pytest.raises(Refusal):
        put(office.spool, SENDER, Mail("a@b.example", "s", "\udc80", make_message_id(SENDER)))
    assert office.waiting() == []


def test_a_message_id_is_new_each_time_and_of_the_domain() -> None:
    ids = {make_message_id(domain) for domain in ("school.example", SENDER) for _ in range(100)}
    assert len(ids) == 200
    assert all(one.startswith("<") and one.endswith("@school.example>") for one in ids)


# Where there is no place for a mail


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_spool_is_named_and_holds_no_half_of_a_mail(small_disk: Path) -> None:
    mail = Mail("alice@school.example", "s", "x" * 100_000, make_message_id(SENDER))
    with pytest.raises(StoreError, match=f"{small_disk}: a mail cannot be left there: No space left on device"):
        put(small_disk, SENDER, mail)
    assert os.listdir(small_disk) == []


def test_a_spool_that_cannot_be_written_is_named_on_both_sides(small_disk: Path, tmp_path: Path, post: Post) -> None:
    mail = Mail("alice@school.example", "s", "", make_message_id(SENDER))
    with pytest.raises(StoreError, match="nowhere: a mail cannot be left there: No such file"):
        put(tmp_path / "nowhere", SENDER, mail)
    office = Office(small_disk, post)
    office.leave()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match=f"{small_disk}/out: a mail cannot be left there: Read-only file system"):
        put(office.spool, SENDER, mail)
    with pytest.raises(StoreError, match=f"the spool {small_disk}/out cannot be written"):
        office.round()
    assert post.accepted == []  # sent, it could not be taken out, and would be sent for ever


# The process


@pytest.fixture
def start(office: Office, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `arenad mail` over the office's spool."""
    file = tmp_path / "arena.toml"
    file.write_text(f'[mail]\nsmtp = "{office.settings.smtp}"\nfrom = "{SENDER}"\n')
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "arenad", "--config", str(file), "mail", "--spool", str(office.spool)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_process_sends_what_is_there_and_leaves(office: Office, start: Callable[[], subprocess.Popen[str]]) -> None:
    mails = [office.leave(f"user{number}@school.example") for number in range(20)]
    process = start()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert said.count(": sent\n") == len(mails)
    assert {got["Message-ID"] for got in office.post.accepted} == {mail.message_id for mail in mails}


def test_a_crash_between_sending_and_deleting_sends_twice_under_one_message_id(
    office: Office, start: Callable[[], subprocess.Popen[str]]
) -> None:
    mail = office.leave()
    process = start()
    office.post.before_answer = lambda: os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert len(office.waiting()) == 1
    office.post.before_answer = lambda: None
    assert start().wait(30) == 0
    assert [got["Message-ID"] for got in office.post.accepted] == [mail.message_id] * 2
    assert office.waiting() == []


def test_the_process_stays_while_something_waits_and_sends_what_comes_meanwhile(
    office: Office, start: Callable[[], subprocess.Popen[str]]
) -> None:
    office.post.to_recipient["alice@school.example"] = "450 4.2.0 greylisted"
    office.leave()
    process = start()
    assert process.stderr is not None
    assert "greylisted" in process.stderr.readline()
    office.leave("bob@school.example")
    assert "mail to bob@school.example" in process.stderr.readline()
    assert process.poll() is None
    process.terminate()
    assert process.wait(30) == 0
    assert len(office.waiting()) == 1


def test_a_termination_lets_the_mail_under_way_arrive_once(office: Office, start: Callable[[], subprocess.Popen[str]]) -> None:
    office.leave("alice@school.example")
    office.leave("bob@school.example")
    process = start()
    office.post.before_answer = process.terminate
    assert process.wait(30) == 0
    assert len(office.post.accepted) == len(office.waiting()) == 1


def test_a_spool_that_is_not_there_ends_the_process_with_its_name(
    office: Office, start: Callable[[], subprocess.Popen[str]]
) -> None:
    office.spool.rmdir()
    process = start()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"<2>the spool {office.spool} cannot be written" in said
