"""Ways in without the key: emergency and temporary codes, and codes by mail; each works once, and only with the PIN."""

import re
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path

import pytest
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.recovery import add_codes
from arenad.store.schema import CodeKind, audit, failure, holder, recovery, session_grant, stranger
from arenad.vault import Vault
from dialogues import ASK_CODE, ASK_PIN, CHOOSE, JOINED, MAILED, PIN, Holder, change, converse, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Option
from pam_arena.secret import Secret

HOTP = Mechanism(kind=Kind.HOTP)
CODES = ("ABCDE-FGH23", "00000-11111", "ZZZZZ-ZZZZ9")


def give_codes(alice: Holder, kind: CodeKind = CodeKind.EMERGENCY, seconds: int | None = None) -> None:
    """Codes as the desk gives them."""
    now, vault = int(time.time()), Vault(Secret(alice.service.key))
    whose = next(row["id"] for row in alice.service.rows(holder) if row["name"] == alice.name)
    digests = [vault.digest_code(code, alice.name) for code in CODES]
    with make_engine(alice.service.url).begin() as connection:
        add_codes(connection, whose, kind, digests, now, None if seconds is None else now + seconds)


@pytest.fixture
def alice(service: Service) -> Holder:
    return Holder(service, mechanism=HOTP)


@pytest.mark.parametrize("typed", ["ABCDE-FGH23", "abcde-fgh23", PIN + "ABCDE-FGH23", PIN + " abcde-fgh23 "])
def test_an_emergency_code_opens_once_and_tells_how_many_are_left(service: Service, alice: Holder, typed: str) -> None:
    give_codes(alice)
    grant(service, "alice", [*split(PIN, typed), ("Emergency codes left: 2", None)])
    assert last(service)["reason"] == "recovery-code"
    deny(service, "alice", split(PIN, typed))
    assert last(service)["reason"] == "recovery-code-used"


def test_letters_that_look_like_digits_read_as_digits(service: Service, alice: Holder) -> None:
    give_codes(alice)
    grant(service, "alice", [(JOINED, PIN + "ooOO0-ilIL1"), ("Emergency codes left: 2", None)], options=Option.JOINED)


def test_a_code_with_a_wrong_pin_is_spent(service: Service, alice: Holder) -> None:
    give_codes(alice)
    deny(service, "alice", split("2847", CODES[0]))
    assert last(service)["reason"] == "wrong-pin"
    deny(service, "alice", split(PIN, CODES[0]))


def test_nobody_elses_code_opens(service: Service, alice: Holder) -> None:
    give_codes(alice)
    Holder(service, "bob", HOTP)
    deny(service, "bob", split(PIN, CODES[0]))
    assert last(service)["reason"] == "recovery-code-wrong"
    deny(service, "nobody-here", split(PIN, CODES[0]))
    grant(service, "alice", [*split(PIN, CODES[0]), ("Emergency codes left: 2", None)])


def test_temporary_codes_work_until_their_day(service: Service, alice: Holder) -> None:
    give_codes(alice, CodeKind.TEMPORARY, 3600)
    grant(service, "alice", [*split(PIN, CODES[0]), ("Emergency codes left: 2", None)])
    change(service, recovery, valid_until=int(time.time()) - 1)
    deny(service, "alice", split(PIN, CODES[1]))
    assert last(service)["reason"] == "recovery-code-over"


def test_a_holder_without_a_pin_begins_with_an_emergency_code(service: Service) -> None:
    bob = Holder(service, "bob", HOTP, pin=None)
    give_codes(bob)
    script = [*split("", CODES[0]), (CHOOSE, PIN), ("Same PIN again: ", PIN), ("PIN + new code: ", PIN + CODES[1])]
    grant(service, "bob", [*script, ("Emergency codes left: 1", None)])


def test_no_code_is_kept_in_clear(service: Service, alice: Holder) -> None:
    give_codes(alice)
    kept = (service.folder / "arena.db").read_bytes() + (service.folder / "arena.db-wal").read_bytes()
    assert not any(code.encode() in kept for code in CODES)


# --- codes by mail ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mailing(tmp_path: Path) -> Iterator[Service]:
    extra = '[login]\ndeny_after = "0"\n[service.default]\nmail_codes = true\ndeadline = "0"\n'
    service = Service(tmp_path, extra + '[mail]\nfrom = "arena@school.example"\ndomain = "school.example"\n')
    service.start()
    yield service
    service.close()


def spooled(service: Service, count: int) -> list[str]:
    """The codes in the spool's mails, once there are so many; in the order of their writing."""
    end = time.monotonic() + 5
    while len(files := sorted(service.spool.glob("*.mail"), key=lambda file: file.stat().st_mtime_ns)) < count:
        assert time.monotonic() < end, f"{len(files)} mails"
        time.sleep(0.01)
    assert len(files) == count
    return [re.findall(r"\b\w{5}-\w{5}\b", read_mail(file).get_content())[0] for file in files]


def read_mail(file: Path) -> EmailMessage:
    return message_from_bytes(file.read_bytes(), policy=modern)


SSHD_JUNK = "\b\n\r\x7f"  # what sshd says in the place of four characters that a forbidden user typed


def ask_for_mail(pin: str = PIN) -> list[tuple[str, str]]:
    return [(ASK_PIN, pin), (ASK_CODE, "")]


def test_pin_and_an_empty_passcode_bring_a_code_by_mail_that_opens_once(mailing: Service) -> None:
    Holder(mailing, mechanism=HOTP)
    grant(mailing, "alice", [*ask_for_mail(), (MAILED, lambda: spooled(mailing, 1)[0])])
    mail = read_mail(next(mailing.spool.glob("*.mail")))
    assert (mail["To"], mail["Subject"], mail["X-Arena-Expires"]) == ("alice@school.example", "Your login code", "600")
    deny(mailing, "alice", split(PIN, spooled(mailing, 1)[0]))


def test_joined_asks_for_mail_with_a_star(mailing: Service) -> None:
    Holder(mailing, mechanism=HOTP)
    script = [(JOINED, PIN + "*"), (MAILED, lambda: spooled(mailing, 1)[0])]
    grant(mailing, "alice", script, options=Option.JOINED)


def test_the_address_and_language_of_the_holder_come_first(mailing: Service) -> None:
    Holder(mailing, mechanism=HOTP)
    change(mailing, holder, mail="a.martin@lycee.example", language="fr")
    grant(mailing, "alice", [*ask_for_mail(), (MAILED, lambda: spooled(mailing, 1)[0])])
    mail = read_mail(next(mailing.spool.glob("*.mail")))
    assert (mail["To"], mail["Subject"]) == ("a.martin@lycee.example", "Votre code de connexion")


@pytest.mark.parametrize(("user", "pin"), [("alice", "2847"), ("alice", ""), ("no-such-name", PIN), ("keyless", PIN)])
def test_everyone_sees_the_same_and_no_mail_goes_without_the_pin(mailing: Service, user: str, pin: str) -> None:
    Holder(mailing, mechanism=HOTP)
    deny(mailing, user, [*ask_for_mail(pin), (MAILED, "ABCDE-FGH23")])
    assert list(mailing.spool.iterdir()) == []


def test_a_wrong_pin_counts_and_what_is_no_pin_does_not(mailing: Service) -> None:
    Holder(mailing, mechanism=HOTP)
    for pin in ("2847", "", SSHD_JUNK):
        deny(mailing, "alice", [*ask_for_mail(pin), (MAILED, "")])
    assert sum(row["count"] for row in mailing.rows(failure)) == 1
    assert mailing.rows(audit)[0]["reason"] == "mail-wrong-pin"


def test_at_most_five_mails_an_hour(mailing: Service) -> None:
    alice = Holder(mailing, mechanism=HOTP)
    for _ in range(6):
        deny(mailing, "alice", [*ask_for_mail(), (MAILED, "")])
    spooled(mailing, 5)
    assert [row["reason"] for row in mailing.rows(audit) if row["event"] == "mail-code"] == ["mailed"] * 5 + ["mail-too-many"]
    assert sum(row["count"] for row in mailing.rows(failure)) == 0
    grant(mailing, "alice", [*ask_for_mail(), (MAILED, alice.code(0))])  # the key's own code goes as well


def test_codes_for_nobody_leave_no_rows(mailing: Service) -> None:
    for _ in range(3):
        deny(mailing, "no-such-name", [*ask_for_mail(), (MAILED, "")])
    assert mailing.rows(recovery) == []
    assert len(mailing.rows(stranger)) == 6
    assert mailing.rows(session_grant) == []


def test_where_no_codes_are_mailed_an_empty_passcode_is_an_empty_passcode(service: Service, alice: Holder) -> None:
    assert converse(service, "alice", [*split(PIN, ""), ("Access denied.", None)]).code == 7
    assert last(service)["reason"] == "malformed"
