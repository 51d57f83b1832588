"""Session grants: one passcode covers further connections of the same user, address and SSH key, for a while."""

import base64
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.login.admission import ssh_key_hash
from arenad.login.logind import remote_session
from arenad.store.schema import State, audit, holder, session_grant
from arenad.store.schema import token as token_table
from dialogues import AGAIN, CHOOSE, PIN, Holder, change, converse, deny, grant, last, split

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Operation
from pam_arena.wire import Start, decode, encode

HOTP = Mechanism(kind=Kind.HOTP)
KEY = "publickey ssh-ed25519 " + base64.b64encode(b"key of alice's laptop").decode()
OTHER_KEY = "publickey ssh-ed25519 " + base64.b64encode(b"another key").decode()
SUCCESS = 0


@pytest.fixture
def granting(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, '[login]\ndeny_after = "0"\n[service.sshd]\ngrant = "8h"\n[service.sftp]\ngrant = "8h"\n')
    service.start()
    yield service
    service.close()


@pytest.fixture
def alice(granting: Service) -> Holder:
    """A holder who logged in once with a key."""
    one = Holder(granting, mechanism=HOTP)
    grant(granting, "alice", split(PIN, one.code(0)), auth_info=KEY)
    return one


def test_the_same_key_from_the_same_address_is_not_asked_again(granting: Service, alice: Holder) -> None:
    for _ in range(3):
        assert converse(granting, "alice", [], auth_info=KEY).code == SUCCESS
    assert (last(granting)["reason"], last(granting)["address"]) == ("session-grant", "192.0.2.7")


@pytest.mark.parametrize(
    "other",
    [
        {"auth_info": OTHER_KEY},
        {"auth_info": ""},
        {"auth_info": "keyboard-interactive"},
        {"auth_info": KEY, "rhost": "192.0.2.8"},
        {"auth_info": KEY, "rhost": ""},
        {"auth_info": KEY, "service": "sftp"},
        {"auth_info": KEY, "service": "login"},
        {"auth_info": KEY, "operation": Operation.CHANGE_PIN},
    ],
    ids=["key", "no-key", "no-publickey", "address", "no-address", "service", "no-grant-there", "change"],
)
def test_anything_else_is_asked(granting: Service, alice: Holder, other: dict[str, object]) -> None:
    asked: list[str] = []

    class Asked(Exception):
        pass

    def ask(style: object, text: str) -> None:
        asked.append(text)
        raise Asked

    words: dict[str, Any] = {"operation": Operation.AUTHENTICATE, "service": "sshd", "rhost": "192.0.2.7"} | other
    with pytest.raises(Asked):
        granting.client().converse(Start(user="alice", **words), ask)
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["bob", "alic\udce9", "a" * 300])
def test_a_name_without_the_grant_is_asked(granting: Service, alice: Holder, name: str) -> None:
    deny(granting, name, split(PIN, "000000"), auth_info=KEY)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (session_grant, {"valid_until": int(time.time()) - 1}),
        (session_grant, {"granted_at": int(time.time()) - 9 * 3600}),
        (token_table, {"state": State.DISABLED.value}),
        (holder, {"pin": None}),
    ],
    ids=["over", "shortened-since", "key-disabled", "pin-reset"],
)
def test_a_grant_ends(granting: Service, alice: Holder, table: sa.Table, values: dict[str, object]) -> None:
    change(granting, table, **values)
    deny(granting, "alice", split(PIN, "000000"), auth_info=KEY)


def test_a_denied_login_gives_no_grant(granting: Service) -> None:
    Holder(granting, mechanism=HOTP)
    deny(granting, "alice", split(PIN, "000000"), auth_info=KEY)
    assert granting.rows(session_grant) == []


def test_an_expired_pin_gives_its_grant_when_a_new_one_is_chosen_and_not_before(tmp_path: Path) -> None:
    service = Service(tmp_path, '[login]\ndeny_after = "0"\n[pin]\nexpires = "30d"\n[service.sshd]\ngrant = "8h"\n')
    service.start()
    try:
        alice = Holder(service, mechanism=HOTP)
        alice.set_pin(PIN, at=time.time() - 31 * 86400)
        expired, easy = f"PIN expired. Choose a new one.\n{CHOOSE}", f"Too easy to guess. Choose another.\n{CHOOSE}"
        given_up = [(expired, "1234"), *[(easy, "1234")] * 4]
        deny(service, "alice", [*split(PIN, alice.code(0)), *given_up], auth_info=KEY)
        chosen = [(expired, "7391"), (AGAIN, "7391"), ("PIN changed.", None)]
        grant(service, "alice", [*split(PIN, alice.code(1)), *chosen], auth_info=KEY)
        assert converse(service, "alice", [], auth_info=KEY).code == SUCCESS
    finally:
        service.close()


def test_one_row_a_key_and_the_newest_time(granting: Service, alice: Holder) -> None:
    change(granting, session_grant, valid_until=int(time.time()) - 1)
    grant(granting, "alice", split(PIN, alice.code(1)), auth_info=KEY)
    rows = granting.rows(session_grant)
    assert [row["key_hash"] for row in rows] == [ssh_key_hash(KEY)]
    assert rows[0]["valid_until"] > time.time() + 7 * 3600


def test_only_roots_word_counts(granting: Service, alice: Holder) -> None:
    """An ordinary user cannot claim sshd's word for a key, not even for itself."""
    for folder in (granting.folder, *granting.folder.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(1)
        os.setuid(1)
        try:
            start = Start(Operation.AUTHENTICATE, "sshd", "daemon", rhost="192.0.2.7", auth_info=KEY)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
                line.connect(granting.socket_path)
                line.send(encode(start))
                os.write(writer, type(decode(line.recv(4097))).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read() == "Prompt"
    os.waitpid(child, 0)


def test_every_use_is_in_the_audit(granting: Service, alice: Holder) -> None:
    before = len(granting.rows(audit))
    for _ in range(4):
        assert converse(granting, "alice", [], auth_info=KEY).code == SUCCESS
    assert len(granting.rows(audit)) == before + 4


@pytest.mark.parametrize(
    "auth_info", ["", "publickey", "publickey x", "publickey x !!!", "publickey x é", "password", "\n\n", "publickey  AAAA"]
)
def test_what_holds_no_key_is_none(auth_info: str) -> None:
    assert ssh_key_hash(auth_info) is None


def test_sudo_outside_of_a_remote_session_is_asked(tmp_path: Path) -> None:
    """Whatever terminal it names: this process is in no session that logind knows. tests/host has those that are."""
    service = Service(tmp_path, '[login]\ndeny_after = "0"\n[service.sshd]\ngrant = "8h"\n[service.sudo]\ngrant = "8h"\n')
    service.start()
    try:
        alice = Holder(service, mechanism=HOTP)
        grant(service, "alice", split(PIN, alice.code(0)), auth_info=KEY)
        for tty in ("/dev/pts/0", "pts/1", ""):
            deny(service, "alice", split(PIN, ""), service="sudo", tty=tty, ruser="alice", rhost="")
    finally:
        service.close()


def test_a_process_that_cannot_be_seen_is_in_no_session() -> None:
    assert remote_session(0) is None
