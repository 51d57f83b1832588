"""arena-mail as the packages install it: mails of arenad arrive at a real SMTP server, and nothing else is within reach."""

import re
from collections.abc import Iterator

import pytest
from hosts import Host
from mailserver import PORT, start_server, stop_server, wait_until

OUT, FAILED = "/var/spool/arena/out", "/var/spool/arena/failed"
EXPOSURE = 11  # tenths: what `systemd-analyze security` measures
PUT = """
import sys
sys.path.insert(0, "/usr/share/arenad")
from arenad.config import SPOOL
from arenad.spool import Mail, make_message_id, put
mail = Mail(sys.argv[1], "Votre clé\u00a0: activée", "Voilà.\\n", make_message_id("school.example"))
put(SPOOL, "arena@school.example", mail)
print(mail.message_id)
"""


@pytest.fixture(scope="module")
def mailer(host: Host) -> Iterator[Host]:
    """The host with a mail server on its loopback, and a configuration that names it."""
    host.install("python3-aiosmtpd")
    (host.root / "etc/arena/arena.toml.d/mail.toml").write_text(
        f'[mail]\nsmtp = "127.0.0.1:{PORT}"\nfrom = "arena@school.example"\n'
    )
    start_server(host)
    yield host
    stop_server(host)
    (host.root / "etc/arena/arena.toml.d/mail.toml").unlink()


def put(host: Host, to: str, unit: str = "arenad.service") -> str:
    """Leave a mail as a service does: its user, its umask, and what its sandbox lets it see; returns the Message-ID."""
    main = host.run("systemctl", "show", "-P", "MainPID", unit).stdout.strip()
    inside = ["nsenter", "--mount", "--target", main, "setpriv", "--reuid=_arena", "--regid=_arena", "--clear-groups"]
    return host.run(*inside, "bash", "-c", 'umask 077; exec python3 -c "$0" "$1"', PUT, to).stdout.strip()


def mailbox(host: Host) -> str:
    """All that the server accepted."""
    return host.shell("cat /var/tmp/mailbox/new/* 2>/dev/null || true").stdout


def has_left(host: Host) -> None:
    wait_until(host, 'test "$(systemctl is-active arena-mail.service)" = inactive')


def test_a_mail_of_the_login_service_arrives_and_the_sender_leaves(mailer: Host) -> None:
    message_id = put(mailer, "alice@school.example")
    wait_until(mailer, f"grep -q '{message_id}' /var/tmp/mailbox/new/*")
    has_left(mailer)
    assert mailer.run("ls", "-A", OUT).stdout == ""
    assert "X-RcptTo: alice@school.example" in mailbox(mailer)
    assert f"mail to alice@school.example {message_id}: sent" in mailer.journal("arena-mail")
    assert mailer.run("systemctl", "is-active", "arena-mail.path").stdout == "active\n"


def test_a_mail_of_the_desk_arrives(mailer: Host) -> None:
    mailer.arenactl("status")  # starts it
    message_id = put(mailer, "desk@school.example", "arena-desk.service")
    wait_until(mailer, f"grep -q '{message_id}' /var/tmp/mailbox/new/*")
    has_left(mailer)


def test_a_mail_waits_for_the_server_and_goes_when_it_is_there(mailer: Host) -> None:
    stop_server(mailer)
    message_id = put(mailer, "bob@school.example")
    wait_until(mailer, f"journalctl -u arena-mail | grep -q '{message_id}: tried again in 60 s'")
    assert mailer.run("systemctl", "is-active", "arena-mail.service").stdout == "active\n"
    waiting = mailer.run("ls", OUT).stdout
    mailer.run("systemctl", "stop", "arena-mail.path")
    assert mailer.run("systemctl", "is-active", "arena-mail.service", check=False).stdout == "inactive\n"
    assert mailer.run("ls", OUT).stdout == waiting
    start_server(mailer)
    mailer.shell(f"cd {OUT} && mv {waiting.strip()} now.mail")  # its minute is over
    mailer.run("systemctl", "start", "arena-mail.path")
    wait_until(mailer, f"grep -q '{message_id}' /var/tmp/mailbox/new/*")
    has_left(mailer)


def test_what_the_sender_may_not_read_is_set_aside_and_stops_nothing(mailer: Host) -> None:
    mailer.shell(f"touch {OUT}/.secret; chmod 600 {OUT}/.secret; mv {OUT}/.secret {OUT}/secret.mail; mkdir {OUT}/folder.mail")
    message_id = put(mailer, "carol@school.example")
    wait_until(mailer, f"grep -q '{message_id}' /var/tmp/mailbox/new/*")
    said = mailer.journal("arena-mail")
    assert f"{OUT}/secret.mail: it may not be read: moved to {FAILED}" in said
    assert f"{OUT}/folder.mail: Permission denied: looked at again in an hour" in said
    assert mailer.run("ls", FAILED).stdout == "secret.mail\n"
    mailer.shell(f"rmdir {OUT}/folder.mail; rm {FAILED}/secret.mail")
    has_left(mailer)


def test_a_bad_configuration_is_named_and_the_mail_goes_once_it_is_good(mailer: Host) -> None:
    bad = mailer.root / "etc/arena/arena.toml.d/typo.toml"
    bad.write_text("[mail]\nsmpt = 1\n")
    message_id = put(mailer, "dave@school.example")
    wait_until(mailer, "journalctl -u arena-mail | grep -q \"typo.toml: unknown key 'mail.smpt'\"")
    bad.unlink()
    mailer.run("systemctl", "restart", "arena-mail.service")  # or in a minute, by itself
    wait_until(mailer, f"grep -q '{message_id}' /var/tmp/mailbox/new/*")
    has_left(mailer)


def test_the_sender_sees_neither_store_nor_key_nor_sockets(mailer: Host) -> None:
    """Looked at from inside the unit, as its user and as a root without capabilities."""
    hidden = ("/var/lib/arena", "/run/arena", "/etc/credstore.encrypted")
    drop_in = mailer.root / "run/systemd/system/arena-mail.service.d/look.conf"
    drop_in.parent.mkdir(parents=True)
    looks = [f"ExecStartPre=-{who}/usr/bin/ls -A {path}" for who in ("", "!") for path in hidden]
    drop_in.write_text("\n".join(["[Service]", *looks, "ExecStartPre=/usr/bin/touch /var/spool/arena/out/.looked", ""]))
    mailer.shell("systemctl daemon-reload; systemctl start arena-mail.service; rm /var/spool/arena/out/.looked")
    drop_in.unlink()
    mailer.run("systemctl", "daemon-reload")
    said = mailer.journal("arena-mail")
    for path in hidden:
        assert said.count(f"cannot open directory '{path}': Permission denied") == 2, said
    assert "arena.db" not in said


def test_the_sender_is_exposed_no_more_than_its_network_makes_it(mailer: Host) -> None:
    done = mailer.run("systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE}", "arena-mail.service", check=False)
    found = re.search(r"Overall exposure level for arena-mail.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    print(f"{mailer.suite}: {found[1]}")
    assert done.returncode == 0, done.stdout
