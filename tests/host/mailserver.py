"""A mail server on a host's loopback, and what it has accepted."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import cast

from hosts import Host

PORT = 2525
MAILBOX = "var/tmp/mailbox"


def start_server(host: Host) -> None:
    listening = f"python3 -m aiosmtpd --nosetuid --listen 127.0.0.1:{PORT} --class aiosmtpd.handlers.Mailbox /{MAILBOX}"
    host.shell(f"systemd-run --quiet --unit=mail-server {listening}")
    wait_until(host, f": </dev/tcp/127.0.0.1/{PORT}")


def stop_server(host: Host) -> None:
    host.run("systemctl", "stop", "mail-server")


def wait_until(host: Host, condition: str, seconds: int = 20) -> None:
    """Wait for a shell's condition."""
    waiting = f"for _ in {{1..{seconds * 10}}}; do if ( {condition} ) 2>/dev/null; then exit 0; fi; sleep 0.1; done; exit 1"
    assert host.shell(waiting, check=False).returncode == 0, f"never: {condition}\n{host.journal('arena-mail')}"


def mails_to(host: Host, address: str) -> list[EmailMessage]:
    """What the server accepted for an address, in the order of its coming."""
    files = sorted((host.root / MAILBOX / "new").glob("*"), key=lambda file: file.stat().st_mtime_ns)
    mails = [cast(EmailMessage, message_from_bytes(file.read_bytes(), policy=modern)) for file in files]
    return [mail for mail in mails if mail["To"] == address]


def mailed_code(host: Host, address: str, number: int = 1) -> str:
    """The code in the mail of that number to an address: waits for it."""
    wait_until(host, f"[ $(grep -l '^X-RcptTo: {address}$' /{MAILBOX}/new/* | wc -l) -ge {number} ]")
    found = re.search(r"\b\w{5}-\w{5}\b", mails_to(host, address)[number - 1].get_content())
    assert found
    return found[0]
