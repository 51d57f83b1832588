"""What may not be in the spool, and where there is no place for it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from arenad.spool import Mail, make_message_id, put
from disks import tmpfs
from post import SENDER, Office, Post

from pam_arena.errors import Refusal, StoreError

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
    with tmpfs(tmp_path / "small", "64k") as disk:
        yield disk


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
