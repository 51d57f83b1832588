"""Requests at the desk: by ticket, approved, rejected; the mails that go, and those that a crash may not lose."""

import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.schema import audit, request, token
from desk_service import DeskService
from dialogues import AGAIN, ASK_CODE, ASK_PIN, CHOOSE, NEW, PIN, Holder, grant
from holders_desk import CONFIG, Counter, mails_in, text_of

LETTERS = Path(__file__).parents[2] / "daemon/letters"
CRASH = Path(__file__).with_name("crash.c")


@pytest.fixture(scope="module")
def counter() -> Iterator[Counter]:
    one = Counter()
    yield one
    one.close()


def test_a_ticket_is_entered_and_approved_for_one_who_cannot_log_in_yet(counter: Counter) -> None:
    counter.stock("T-1")
    day = datetime.date.today() + datetime.timedelta(days=365)
    until = int(datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time()).astimezone().timestamp())
    entered = counter.desk.do("/requests/T-1", {"holder": "games", "ticket": "INC-77", "until": "365d"})
    assert (entered["proven"], entered["ticket"], entered["state"]) == (False, "INC-77", "open")
    assert counter.state("T-1") == "requested"
    answer = counter.desk.do(f"/requests/{entered['id']}/approve")
    assert (answer["decided_by"], answer["valid_until"], answer["mail"]) == ("uid:0", until, "games@school.example")
    shown = counter.desk.get("/tokens/T-1")
    assert (shown["state"], shown["holder"], shown["valid_until"]) == ("active", "games", until)
    assert abs(answer["new_pin_until"] - time.time() - 14 * 86400) < 60
    said = [event["what"] for event in counter.desk.get("/holders/games")["events"]]
    assert said[:2] == ["mail left: activated to games@school.example", "request for key T-1 approved: ticket INC-77"]
    assert counter.desk.get("/requests") == []
    assert [one["id"] for one in counter.desk.get("/requests?state=approved")] == [entered["id"]]


def test_who_has_a_pin_gets_the_mail_that_says_so(counter: Counter) -> None:
    Holder(counter.service, "man")
    counter.stock("T-second")
    counter.desk.do("/requests/T-second", {"holder": "man", "ticket": "INC-1"})
    assert counter.desk.do("/requests/T-second/approve")["new_pin_until"] is None
    [mail] = counter.mails("man")
    assert mail["Subject"] == "Your key T-second is activated"
    assert "It works with the PIN that you have\nalready" in text_of(mail)
    assert PIN not in mail.as_string()


def test_a_rejection_is_told_with_its_reason_and_the_key_stays_in_the_stock(counter: Counter) -> None:
    counter.stock("T-no")
    counter.desk.do("/requests/T-no", {"holder": "lp", "ticket": "INC-2"})
    assert "why: wanted" in counter.desk.refuse("/requests/T-no/reject", {"why": " "})
    answer = counter.desk.do("/requests/T-no/reject", {"why": "Come to room 12 with your badge."})
    assert (answer["state"], answer["mail"], counter.state("T-no")) == ("rejected", "lp@school.example", "stock")
    [mail] = counter.mails("lp")
    assert "  Come to room 12 with your badge.\n" in text_of(mail)
    assert "already" not in str(mail["Subject"])
    refused = counter.desk.refuse(f"/requests/{answer['id']}/approve")
    assert refused == f"request {answer['id']} was rejected by uid:0: arenactl request list --state all"
    counter.desk.do("/requests/T-no", {"holder": "mail", "ticket": "INC-3"})


def test_the_mail_of_a_reset_pin_tells_how_to_choose_a_new_one(counter: Counter) -> None:
    Holder(counter.service, "news")
    answer = counter.desk.do("/holders/news/pin/reset")
    assert answer["mail"] == "news@school.example"
    [mail] = counter.mails("news")
    assert mail["Subject"] == "Your PIN is reset: choose a new one"
    assert "Choose a PIN of 4 to 6 digits" in text_of(mail)
    assert "the service desk (7890)" in text_of(mail)


def test_address_and_language_are_those_that_the_desk_noted(counter: Counter) -> None:
    Holder(counter.service, "proxy")
    counter.desk.do("/holders/proxy", {"mail": "pia@elsewhere.example", "language": "fr"})
    assert counter.desk.do("/holders/proxy/pin/reset")["mail"] == "pia@elsewhere.example"
    [mail] = mails_in(counter.service.spool, "pia@elsewhere.example")
    assert mail["Subject"] == "Votre code PIN est réinitialisé\u00a0: choisissez-en un nouveau"


@pytest.mark.parametrize(
    ("serial", "body", "told"),
    [
        ("T-none", {"holder": "root", "ticket": "1"}, "no token has the serial 'T-none'"),
        ("T-bad", {"holder": "no-such-user", "ticket": "1"}, "no user 'no-such-user' on this system"),
        ("T-bad", {"holder": "root"}, "ticket: wanted: a line of text"),
        ("T-bad", {"holder": "root", "ticket": "a\nb"}, "ticket: wanted: a line of text"),
        ("T-bad", {"holder": "root", "ticket": "1", "until": 5}, "until: text is expected"),
        ("T-bad", {"holder": "root", "ticket": "1", "until": "2020-01-01"}, "date '2020-01-01': that day is over"),
        ("T-own", {"holder": "root", "ticket": "1"}, "token T-own is root's and active"),
        ("T-full", {"holder": "sys", "ticket": "1"}, "sys has 3 tokens already"),
    ],
)
def test_a_bad_request_is_refused_by_name_and_changes_nothing(
    counter: Counter, serial: str, body: dict[str, object], told: str
) -> None:
    known = [row["serial"] for row in counter.service.rows(token)]
    if "T-bad" not in known:
        for one in ("T-bad", "T-own", "T-full", "T-s1", "T-s2", "T-s3"):
            counter.stock(one)
        for one, holder in (("T-own", "root"), ("T-s1", "sys"), ("T-s2", "sys"), ("T-s3", "sys")):
            counter.desk.do(f"/tokens/{one}/assign", {"holder": holder})
    before = (counter.service.rows(audit), counter.service.rows(request))
    assert told in counter.desk.refuse(f"/requests/{serial}", body)
    assert (counter.service.rows(audit), counter.service.rows(request)) == before


def test_an_approval_that_cannot_be_leaves_the_request_and_no_mail(counter: Counter) -> None:
    counter.stock("T-late")
    counter.desk.do("/requests/T-late", {"holder": "irc", "ticket": "INC-9"})
    for serial in ("T-i1", "T-i2", "T-i3"):
        counter.stock(serial)
        counter.desk.do(f"/tokens/{serial}/assign", {"holder": "irc"})
    assert "irc has 3 tokens already" in counter.desk.refuse("/requests/T-late/approve")
    assert (counter.state("T-late"), counter.mails("irc")) == ("requested", [])
    assert not list(counter.service.spool.glob(".*"))
    assert "T-late" in [one["serial"] for one in counter.desk.get("/requests")]
    assert counter.desk.ask("POST", "/requests/nowhere/approve").json()["exit"] == 4


def test_what_the_desk_did_with_a_key_meanwhile_is_not_undone(counter: Counter) -> None:
    counter.stock("T-retired")
    counter.desk.do("/requests/T-retired", {"holder": "backup", "ticket": "1"})
    with make_engine(counter.service.url).begin() as connection:
        connection.execute(sa.update(token).where(token.c.serial == "T-retired").values(state="retired"))
    assert "token T-retired is retired: it serves nobody any more" in counter.desk.refuse("/requests/T-retired/approve")
    counter.desk.do("/requests/T-retired/reject", {"why": "It is broken."})
    assert counter.state("T-retired") == "retired"


def test_a_number_that_is_an_id_and_a_serial_is_not_guessed_at(counter: Counter) -> None:
    counter.stock("A-key")
    number = str(counter.desk.do("/requests/A-key", {"holder": "uucp", "ticket": "1"})["id"])
    counter.stock(number)
    other = counter.desk.do(f"/requests/{number}", {"holder": "uucp", "ticket": "2"})["id"]
    refused = counter.desk.refuse(f"/requests/{number}/approve")
    assert refused == f"{number} is a request's id, and another's serial: say {other} or A-key"
    assert counter.desk.do(f"/requests/{other}/approve")["serial"] == number
    assert counter.desk.do(f"/requests/{number}/approve")["serial"] == "A-key"


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ('[mail]\nfrom = "arena@school.example"\n', "no mail address of games is known; note one: arenactl holder set games"),
        ('[mail]\ndomain = "school.example"\n', "no mail is sent, because [mail] from is empty"),
    ],
)
def test_without_an_address_the_approval_is_done_and_says_that_no_mail_went(extra: str, why: str) -> None:
    counter = Counter(extra)
    try:
        counter.stock("N-1")
        counter.desk.do("/requests/N-1", {"holder": "games", "ticket": "1"})
        answer = counter.desk.do("/requests/N-1/approve")
        assert (answer["state"], answer["mail"], answer["no_mail"].startswith(why)) == ("approved", None, True)
        assert (counter.state("N-1"), list(counter.service.spool.iterdir())) == ("active", [])
    finally:
        counter.close()


# What a crash, and a spool that takes no mail, may not do


@pytest.fixture(scope="module")
def preload(tmp_path_factory: pytest.TempPathFactory) -> str:
    built = tmp_path_factory.mktemp("crash") / "crash.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", built, CRASH, "-ldl"], check=True)
    return str(built)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[DeskService]:
    """A desk with one request of daemon's for the key C-1."""
    service = Service(tmp_path, CONFIG)
    service.start()
    desk = DeskService(service)
    desk.do("/tokens", {"serial": "C-1", "seed": "31" * 20})
    desk.do("/requests/C-1", {"holder": "daemon", "ticket": "1"})
    yield desk
    desk.close()
    service.close()


def crash(desk: DeskService, preload: str, when: str) -> None:
    """Have the desk die at the mail of an approval."""
    desk.process.terminate()
    desk.process.wait(15)
    desk.start(LD_PRELOAD=preload, CRASH=when)
    with pytest.raises(httpx.HTTPError):
        desk.ask("POST", "/requests/C-1/approve")
    assert desk.process.wait(15) == -signal.SIGKILL
    assert len(list(desk.service.spool.glob(".*.held"))) == 1
    assert mails_in(desk.service.spool, "daemon@school.example") == []


def test_a_crash_before_the_commit_undoes_approval_and_mail_together(waiting: DeskService, preload: str) -> None:
    crash(waiting, preload, "held")
    waiting.start()
    assert waiting.get("/tokens/C-1")["state"] == "requested"
    assert list(waiting.service.spool.iterdir()) == []
    waiting.do("/requests/C-1/approve")
    assert len(mails_in(waiting.service.spool, "daemon@school.example")) == 1


@pytest.mark.parametrize("who", ["desk", "arenad"])
def test_a_crash_after_the_commit_loses_no_mail_whoever_starts_again(waiting: DeskService, preload: str, who: str) -> None:
    crash(waiting, preload, "free")
    if who == "arenad":  # the whole host was off, and nobody asked the desk yet
        waiting.service.stop()
        waiting.service.start()
        assert len(mails_in(waiting.service.spool, "daemon@school.example")) == 1
    waiting.start()
    assert waiting.get("/tokens/C-1")["state"] == "active"
    [mail] = mails_in(waiting.service.spool, "daemon@school.example")
    ref = waiting.service.rows(audit)[-1]["ref"]
    assert mail["Message-ID"] == f"<{ref.lower()}@school.example>"
    assert list(waiting.service.spool.glob(".*")) == []


def test_a_spool_that_takes_no_mail_refuses_the_approval_by_its_name(waiting: DeskService) -> None:
    spool = waiting.service.spool
    spool.rmdir()
    answer = waiting.ask("POST", "/requests/C-1/approve")
    assert (answer.status_code, answer.json()["exit"]) == (503, 3)
    assert answer.json()["error"] == f"{spool}: a mail cannot be left there: No such file or directory"
    assert waiting.get("/tokens/C-1")["state"] == "requested"
    spool.mkdir()
    assert waiting.do("/requests/C-1/approve")["mail"] == "daemon@school.example"


def test_a_template_with_a_slip_is_named_and_the_text_as_shipped_goes(waiting: DeskService, tmp_path: Path) -> None:
    templates = tmp_path / "mail"
    shutil.copytree(LETTERS, templates)
    template = templates / "rejected.en.txt"
    template.write_text(template.read_text().replace("{why}", "{reason}"))
    (templates / "activated.en.txt").write_text("Subject: Hi {name}\n\nYour key {serial}: {{desk}} is {help}.\n")
    command = [sys.executable, "-m", "arenad", "--config", str(waiting.service.config), "config", "check"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 1
    assert f"{template}: {{reason}} is unknown; this mail fills in {{date}}, {{desk}}" in checked.stderr
    waiting.do("/requests/C-1/reject", {"why": "Wrong room."})
    waiting.do("/requests/C-1", {"holder": "daemon", "ticket": "1"})
    waiting.do("/requests/C-1/approve")
    shipped, own = mails_in(waiting.service.spool, "daemon@school.example")
    assert "  Wrong room.\n" in text_of(shipped)
    assert (own["Subject"], text_of(own)) == ("Hi daemon", "Your key C-1: {desk} is 7890.\n")


def test_a_mail_that_cannot_be_left_keeps_nobody_from_their_first_login(waiting: DeskService) -> None:
    shutil.rmtree(waiting.service.spool)
    one = Holder(waiting.service, "bob", pin=None)
    chosen = [(CHOOSE, PIN), (AGAIN, PIN), (NEW, PIN + one.code(1))]
    grant(waiting.service, "bob", [(ASK_PIN, ""), (ASK_CODE, one.code(0)), *chosen])
    assert "bob was not told (pin-created)" in waiting.service.journal.read_text()
    os.mkdir(waiting.service.spool)
