"""From the number on a key's back to its first login, on a real host: arena-key as alice, arenactl as root, a mail between."""

import base64
from collections.abc import Iterator

import pytest
from holders import AGAIN, ASK_CODE, ASK_PIN, CHOOSE, NEW, PIN, SHELL, password, play
from hosts import Fob, Host
from mailserver import PORT, mails_to, start_server, stop_server, wait_until

FIRST, SECOND = "The code on the key now: ", "the next code: "


@pytest.fixture(scope="module")
def school(host: Host) -> Iterator[Host]:
    """The host with a mail server on its loopback, and a configuration that names it."""
    host.password_first()
    host.install("python3-aiosmtpd")
    mail = f'[mail]\nsmtp = "127.0.0.1:{PORT}"\nfrom = "arena@school.example"\ndomain = "school.example"\n'
    start_server(host)
    with host.configured(f'help = "7890"\n{mail}'):
        host.run("systemctl", "stop", "arena-desk.service")  # it reads its configuration when it starts
        yield host
    host.run("systemctl", "stop", "arena-desk.service")
    stop_server(host)


def stock(host: Host, serial: str) -> Fob:
    """A key in the stock, and in somebody's hand."""
    fob = Fob(serial)
    seed = base64.b32encode(fob.seed).decode() + "\n"
    host.arenactl("token", "add", "--serial", serial, "--period", str(fob.period), "--seed-file", "-", input=seed)
    return fob


def text_to(host: Host, address: str, number: int) -> tuple[str, str]:
    """Subject and text of the mail of that number to an address: waits for it."""
    wait_until(host, f"[ $(grep -l '^X-RcptTo: {address}$' /var/tmp/mailbox/new/* | wc -l) -ge {number} ]")
    mail = mails_to(host, address)[number - 1]
    return str(mail["Subject"]), str(mail.get_content())


def test_alice_asks_root_approves_a_mail_arrives_and_alice_logs_in(school: Host) -> None:
    school.add_user("alina")
    fob = stock(school, "00912345")
    with school.dialogue(["arena-key", "request", "00912345"], "alina") as terminal:
        terminal.expect(FIRST)
        terminal.send(fob.fresh)
        terminal.expect(SECOND)
        terminal.send(fob.fresh)
        assert terminal.end(30) == 0
    assert "Key 00912345 requested. You will get a mail." in terminal.transcript
    listed = school.arenactl("request", "list").stdout
    assert "alina" in listed and "two codes" in listed
    assert "no_mail" in school.arenactl("request", "approve", "00912345", "-o", "json").stdout
    subject, text = text_to(school, "alina@school.example", 1)
    assert subject == "Your key 00912345 is activated: choose a PIN"
    assert f"Log in to {school.run('uname', '-n').stdout.strip()} as alina." in text
    first = [(ASK_PIN, "", ""), (ASK_CODE, fob.fresh, "code"), (CHOOSE, PIN, "PIN"), (AGAIN, PIN, "PIN")]
    last = (NEW, lambda: PIN + fob.fresh(), "PIN + new code")
    assert SHELL in play(school.ssh("alina", "echo arena-in"), [password(), *first, last], SHELL)
    subject, _ = text_to(school, "alina@school.example", 2)
    assert subject == "A PIN was created for your key"
    status = school.run("runuser", "-u", "alina", "--", "arena-key", "status").stdout
    assert status.startswith("Key 00912345: active\nPIN: yes, since ")


def test_a_lost_key_opens_nothing_from_the_moment_that_its_holder_says_so(school: Host) -> None:
    done = school.run("runuser", "-u", "alina", "--", "arena-key", "lost", "--yes")
    assert done.stdout == "Key 00912345 disabled as lost. Help: 7890\n"
    subject, text = text_to(school, "alina@school.example", 3)
    assert (subject, "the service desk (7890)" in text) == ("Your key 00912345 is disabled as lost", True)
    refused = school.run("runuser", "-u", "alina", "--", "arena-key", "codes", check=False)
    assert (refused.returncode, refused.stderr) == (1, "No key of yours works: no new codes. Help: 7890\n")


def test_a_test_mail_goes_the_whole_way(school: Host) -> None:
    done = school.arenactl("mail", "test", "boss@school.example")
    assert "the server took it" in done.stdout and "accepted" not in done.stderr
    assert "Test of the mails" in text_to(school, "boss@school.example", 1)[0]
    stop_server(school)
    try:
        failed = school.arenactl("mail", "test", "late@school.example", check=False)
        assert (failed.returncode, "Connection refused" in failed.stdout) == (1, True)
        assert "late@school.example" in school.arenactl("mail", "list").stdout
    finally:
        start_server(school)


def test_a_template_of_the_administrators_is_used_and_survives_a_slip(school: Host) -> None:
    template = school.root / "etc/arena/mail/rejected.en.txt"
    shipped = template.read_text()
    try:
        template.write_text("Subject: No, {name}\n\nBecause: {why}\n")
        stock(school, "00912399")
        school.arenactl("request", "add", "00912399", "alina", "--ticket", "INC-1")
        school.arenactl("request", "reject", "00912399", "--why", "Come in person.")
        assert text_to(school, "alina@school.example", 4) == ("No, alina", "Because: Come in person.\n")
        template.write_text("Subject: No\n\n{reason}\n")
        checked = school.arenactl("config", "check", check=False)
        assert "/etc/arena/mail/rejected.en.txt: {reason} is unknown" in checked.stderr
        school.arenactl("request", "add", "00912399", "alina", "--ticket", "INC-2")
        school.arenactl("request", "reject", "00912399", "--why", "Come in person.")
        assert text_to(school, "alina@school.example", 5)[0] == "Your key 00912399 is not activated"
        assert "{reason} is unknown" in school.journal("arena-desk")
    finally:
        template.write_text(shipped)
