"""Mails from the spool to a real SMTP server: sent once if all is well, kept if not, and never lost silently."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from arenad import config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from post import SENDER, Office, Post

MINUTE, HOUR, DAY = 60, 3600, 86400


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


# The process


@pytest.fixture
def start(office: Office, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `arenad mail` over the office's spool."""
    file = tmp_path / "arena.toml"
    file.write_text(f'[mail]\nsmtp = "{office.settings.smtp}"\nfrom = "{SENDER}"\n')
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "arenad", "--config", str(file), "--spool", str(office.spool), "mail"]
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
