"""arena-key against a real arenad, run by users of this machine: a request, a loss, codes, and a look at what one has."""

import base64
import re
import time
from collections.abc import Iterator

import pyotp
import pytest
from arena import Service, Token
from arenad.store.schema import audit, request, session_grant, stranger
from dialogues import AGAIN, ASK_CODE, ASK_PIN, CHOOSE, NEW, PIN, deny, grant, last, split
from holders_desk import HELP, Counter, text_of, uid_of

from pam_arena.client import Client
from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Operation
from pam_arena.recovery import ALPHABET
from pam_arena.wire import Start

DONE, REFUSED = 0, 1
FIRST, SECOND = "The code on the key now: ", "Wait until it changes; the next code: "
REFUSAL = re.compile(r"Access denied\. Wait for a new code, then retry\. \(ref [0-9A-Z]{8}\)")
CODE = re.compile(rf"\b[{ALPHABET}]{{5}}-[{ALPHABET}]{{5}}\b")
CURRENT = "Current passcode (PIN + code): "


@pytest.fixture(scope="module")
def counter() -> Iterator[Counter]:
    one = Counter()
    yield one
    one.close()


def enter(service: Service, name: str, fob: Token, ahead: int = 2) -> None:
    """The first login with a key of which two codes were shown."""
    chosen = [(CHOOSE, PIN), (AGAIN, PIN), (NEW, PIN + fob.code(ahead + 1))]
    grant(service, name, [(ASK_PIN, ""), (ASK_CODE, fob.code(ahead)), *chosen])


def test_from_the_number_on_the_back_to_the_first_login(counter: Counter) -> None:
    fob = counter.stock("00912345")
    asked = counter.request("games", "00912345", fob.code(), fob.code(1))
    assert (asked.returncode, asked.stdout) == (DONE, "Key 00912345 requested. You will get a mail.\n")
    assert asked.stderr.splitlines() == [FIRST, SECOND]
    assert counter.state("00912345") == "requested"
    [row] = counter.desk.get("/requests")
    assert (row["holder"], row["proven"], row["actor"], row["ticket"]) == ("games", True, f"uid:{uid_of('games')}", "")
    shown = counter.key("games", "status").stdout
    assert shown.startswith("Key 00912345: requested, waits for the service desk\nPIN: none yet\nRequest of ")
    deny(counter.service, "games", [(ASK_PIN, ""), (ASK_CODE, fob.code(2))])
    answer = counter.desk.do("/requests/00912345/approve")
    assert (answer["state"], answer["mail"], answer["no_mail"]) == ("approved", "games@school.example", "")
    [mail] = counter.mails("games")
    assert mail["Subject"] == "Your key 00912345 is activated: choose a PIN"
    enter(counter.service, "games", fob, 3)
    _, created = counter.mails("games")
    assert created["Subject"] == "A PIN was created for your key"
    assert PIN not in created.as_string() and "00912345" in text_of(created)
    rows = [row for row in counter.service.rows(audit) if row["holder"] == "games" and row["event"] not in ("login", "mail")]
    assert [row["event"] for row in rows] == ["key-request", "token-assign", "request-approve", "pin-create"]
    lines = counter.key("games", "status").stdout.splitlines()
    assert lines[0] == "Key 00912345: active"
    assert lines[1] == f"PIN: yes, since {time.strftime('%Y-%m-%d')}"
    assert lines[2].endswith("for key 00912345: approved")
    assert lines[3] == "Emergency codes left: 0"


def test_whatever_is_wrong_with_a_request_the_answer_is_one(counter: Counter) -> None:
    mine, other = counter.stock("K-mine"), counter.activate("man", "K-mans")
    now, following = mine.code(), mine.code(1)
    tries = [
        ("K-none", now, following, "request-unknown-key"),
        ("~decoy0", now, following, "request-unknown-key"),
        ("K-mans", now, following, "request-wrong-codes"),
        ("K-mine", now, now, "request-wrong-codes"),
        ("K-mine", following, now, "request-wrong-codes"),
        ("K-mine", now + following[0], following[1:], "request-wrong-codes"),
        ("K-mine", "", "", "request-wrong-codes"),
        ("K-mans", other.code(3), other.code(4), "request-key-taken"),
    ]
    for serial, first, second, reason in tries:
        refused = counter.request("lp", serial, first, second)
        said = refused.stderr.splitlines()
        assert (refused.returncode, refused.stdout, said[:2], len(said)) == (REFUSED, "", [FIRST, SECOND], 3)
        assert REFUSAL.fullmatch(said[2])
        row = last(counter.service)
        assert (row["reason"], row["outcome"], row["holder"], row["serial"]) == (reason, "denied", "lp", serial)
        told = counter.desk.get(f"/why/{row['ref']}")
        assert told["what"].startswith(("a key was asked for", "three keys"))
    assert [counter.state(serial) for serial in ("K-mine", "K-mans")] == ["stock", "active"]
    assert not [row for row in counter.service.rows(request) if row["holder"] == "lp"]


def test_both_codes_are_spent_whosever_key_it_is(counter: Counter) -> None:
    fob = counter.activate("news", "K-news")
    enter(counter.service, "news", fob)
    before = counter.last_step("K-news")
    assert counter.request("uucp", "K-news", fob.code(4), fob.code(5)).returncode == REFUSED
    assert counter.last_step("K-news") == before + 2
    deny(counter.service, "news", split(PIN, fob.code(5)))
    assert counter.request("uucp", "K-news", fob.code(4), fob.code(5)).returncode == REFUSED
    assert last(counter.service)["reason"] == "request-used-codes"


def test_ten_refusals_in_an_hour_end_a_users_tries_over_a_restart_too(counter: Counter) -> None:
    fob = counter.stock("K-often")
    for _ in range(10):
        assert counter.request("proxy", "K-often", "000000", "000000").returncode == REFUSED
    counter.service.kill()
    counter.service.start()
    rows = len(counter.service.rows(audit))
    refused = counter.request("proxy", "K-often", fob.code(), fob.code(1))
    assert (refused.returncode, bool(REFUSAL.search(refused.stderr))) == (REFUSED, True)
    assert len(counter.service.rows(audit)) == rows
    ref = last(counter.service, stranger)["ref"]
    assert counter.desk.get(f"/why/{ref}")["what"].startswith("ten requests were denied within an hour")
    assert counter.state("K-often") == "stock"
    assert counter.request("backup", "K-often", fob.code(2), fob.code(3)).returncode == DONE


def test_nobody_has_more_than_three_requests_waiting(counter: Counter) -> None:
    fobs = {serial: counter.stock(serial) for serial in ("K-m1", "K-m2", "K-m3", "K-m4")}
    outcomes = [counter.request("list", serial, fob.code(), fob.code(1)).returncode for serial, fob in fobs.items()]
    assert outcomes == [DONE, DONE, DONE, REFUSED]
    assert last(counter.service)["reason"] == "request-too-many-open"
    again = counter.request("list", "K-m1", fobs["K-m1"].code(2), fobs["K-m1"].code(3))
    assert again.returncode == DONE  # the same request, proven once more
    assert len([row for row in counter.service.rows(request) if row["holder"] == "list"]) == 3


def test_a_key_that_counts_is_requested_by_two_presses_of_its_button(counter: Counter) -> None:
    fob = counter.stock("K-count", Mechanism(kind=Kind.HOTP))
    presses = pyotp.HOTP(base64.b32encode(fob.seed.reveal()).decode())
    assert counter.request("irc", "K-count", presses.at(31), presses.at(30)).returncode == REFUSED
    assert counter.request("irc", "K-count", presses.at(31), presses.at(32)).returncode == DONE
    assert counter.last_step("K-count") == 32


def test_a_ticket_of_the_desk_becomes_proven_when_its_holder_shows_the_key(counter: Counter) -> None:
    fob = counter.stock("K-ticket")
    counter.desk.do("/requests/K-ticket", {"holder": "mail", "ticket": "INC-1"})
    assert counter.request("sys", "K-ticket", fob.code(), fob.code(1)).returncode == REFUSED
    assert counter.request("mail", "K-ticket", fob.code(2), fob.code(3)).returncode == DONE
    [row] = [row for row in counter.service.rows(request) if row["holder"] == "mail"]
    assert (row["proven"], row["ticket"]) == (True, "INC-1")


def test_a_lost_key_is_disabled_at_once_by_its_holders_uid_alone(counter: Counter) -> None:
    fob = counter.activate("sync", "K-sync")
    enter(counter.service, "sync", fob)
    kept = counter.key("sync", "lost", "no", serial="K-sync")
    assert (kept.returncode, kept.stderr.splitlines()[-1], counter.state("K-sync")) == (
        REFUSED,
        "Nothing was changed.",
        "active",
    )
    done = counter.key("sync", "lost", "yes")  # the only one that there is
    assert (done.returncode, done.stdout) == (DONE, f"Key K-sync disabled as lost. Help: {HELP}\n")
    assert counter.state("K-sync") == "lost"
    assert last(counter.service)["event"] == "mail"
    assert counter.mails("sync")[-1]["Subject"] == "Your key K-sync is disabled as lost"
    deny(counter.service, "sync", split(PIN, fob.code(4)))
    assert counter.key("sync", "lost", yes=True, serial="K-sync").stdout == done.stdout  # as often as they like
    assert counter.key("sync", "lost", yes=True).stderr == "You have no key. Ask for it: arena-key request SERIAL\n"
    assert f"Key K-sync: lost, disabled. Help: {HELP}" in counter.key("sync", "status").stdout
    assert not counter.service.rows(session_grant)


def test_nobody_loses_another_ones_key(counter: Counter) -> None:
    counter.activate("bin", "K-bin")
    for serial in ("K-bin", "K-nowhere"):
        refused = counter.key("www-data", "lost", yes=True, serial=serial)
        assert (refused.returncode, refused.stderr) == (REFUSED, f"You have no key {serial}. See: arena-key status\n")
    assert counter.state("K-bin") == "active"
    assert counter.key("root", "lost", yes=True, serial="K-bin", user="bin").returncode == DONE
    assert counter.state("K-bin") == "lost"


def test_a_key_that_is_lost_before_the_desk_decided_is_not_activated(counter: Counter) -> None:
    fob = counter.stock("K-gone")
    counter.request("daemon", "K-gone", fob.code(), fob.code(1))
    assert counter.key("daemon", "lost", yes=True).returncode == DONE
    assert counter.state("K-gone") == "lost"
    assert counter.desk.refuse("/requests/K-gone/approve").endswith("of an open request: arenactl request list")


def test_emergency_codes_are_had_for_the_passcode_and_shown_once(counter: Counter) -> None:
    fob = counter.activate("nobody", "K-nobody")
    refused = counter.key("nobody", "codes", fob.code(2))
    assert refused.stderr.splitlines() == [CURRENT, "You have no PIN yet: log in, and choose one."]
    enter(counter.service, "nobody", fob, 3)
    assert counter.key("nobody", "codes", PIN + "000000").returncode == REFUSED
    old, new = (counter.key("nobody", "codes", PIN + fob.code(ahead)).stdout for ahead in (5, 6))
    assert new.startswith("Emergency codes for nobody; the older ones work no more:\n   1  ")
    codes = CODE.findall(new)
    assert len(set(codes)) == 10
    assert max(map(len, new.splitlines())) <= 80
    deny(counter.service, "nobody", split(PIN, CODE.findall(old)[0]))
    left = "Emergency codes left: 9"
    grant(counter.service, "nobody", [*split(PIN, codes[0]), (left, None)])
    assert left in counter.key("nobody", "status").stdout
    page = counter.key("nobody", "codes", PIN + codes[1])  # a page that was found is not to give the next one
    assert (page.returncode, page.stderr.splitlines()[-1]) == (REFUSED, f"Only the code on your key will do. Help: {HELP}")
    counter.key("nobody", "lost", yes=True)
    lost = counter.key("nobody", "codes", PIN + fob.code(7))
    assert (lost.returncode, lost.stderr) == (REFUSED, f"No key of yours works: no new codes. Help: {HELP}\n")


@pytest.mark.parametrize("operation", ["status", "request", "lost", "codes"])
def test_a_message_makes_nobody_another_one(counter: Counter, operation: str) -> None:
    """The user and the uid that a message names count for nothing beside the socket's."""
    refused = counter.key("nobody", operation, user="root")
    assert (refused.returncode, refused.stdout, refused.stderr) == (REFUSED, "", "Refused / Refusé\n")


def test_root_may_ask_for_anyone_and_the_audit_has_root(counter: Counter) -> None:
    fob = counter.stock("K-by-root")
    asked = counter.key("root", "request", fob.code(), fob.code(1), serial="K-by-root", user="games")
    assert asked.returncode == DONE
    row = last(counter.service)
    assert (row["holder"], row["actor"]) == ("games", "uid:0")
    unknown = counter.key("root", "status", user="no-such-user")
    assert (unknown.returncode, unknown.stderr) == (
        REFUSED,
        "user 'no-such-user' has no name on this system: getent passwd no-such-user\n",
    )


def test_a_request_of_a_name_that_no_longer_is_is_refused(counter: Counter) -> None:
    start = Start(Operation.REQUEST, "arena-key", "no-such-user", serial="K-1")
    assert Client(counter.service.socket_path).converse(start, lambda style, text: None).code == 6


def test_it_all_goes_on_where_no_code_is_asked_for_at_logins() -> None:
    counter = Counter('language = "fr"\n[login]\ndeny_after = "0"\n[service.default]\nmode = "off"\n')
    try:
        fob = counter.stock("00912345")
        assert counter.key("games", "status").stdout.splitlines() == [
            "Vous n’avez pas de clé. Demandez-la\u00a0: arena-key request NUMÉRO",
            "Code PIN\u00a0: pas encore",
            "Codes de secours restants\u00a0: 0",
        ]
        asked = counter.request("games", "00912345", fob.code(), fob.code(1))
        assert asked.stdout == "Activation de la clé 00912345 demandée. Vous serez prévenu par mel.\n"
        assert asked.stderr.splitlines() == [
            "Code affiché sur la clé\u00a0: ",
            "Attendez qu’il change\u00a0; code suivant\u00a0: ",
        ]
        assert counter.desk.do("/requests/1/approve")["no_mail"] == "no mail is sent, because [mail] from is empty"
        lost = counter.key("games", "lost", "oui")
        assert lost.stderr == "Désactiver la clé 00912345\u00a0? (oui/non)\u00a0: \n"
        assert lost.stdout == "Clé 00912345 désactivée (perte). Assistance\u00a0: l’assistance\n"
    finally:
        counter.close()
