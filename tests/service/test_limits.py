"""What arenad allows a peer: datagrams that keep the rules, in turn, in time, and not too many at once."""

import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from arena import Service

from pam_arena.protocol import Operation
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

START = encode(Start(Operation.AUTHENTICATE, "login", "alice"))
PAM_PERM_DENIED, PAM_IGNORE = 6, 25
SPARE_FDS = 64  # descriptors that arenad keeps for other things than conversations


def connect(service: Service) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(8)
    line.connect(service.socket_path)
    return line


@pytest.mark.parametrize(
    "datagrams",
    [
        [b"AR"],
        [b"XX" + START[2:]],
        [START + b"\x03\x00\x01a"],
        [START[:-1]],
        [START + bytes(4097 - len(START))],
        [encode(Answer(Secret(b"1")))],
        [START, START],
        [encode(Done(0))],
    ],
    ids=["short", "magic", "repeated", "truncated", "oversized", "answer-first", "start-twice", "done"],
)
def test_a_datagram_that_breaks_a_rule_ends_the_connection(service: Service, datagrams: list[bytes]) -> None:
    with connect(service) as line:
        for datagram in datagrams:
            line.send(datagram)
        said = [line.recv(4097)]
        while said[-1]:
            said.append(line.recv(4097))
    assert all(isinstance(decode(one), Prompt) for one in said[:-1])
    assert "connection dropped" in service.journal.read_text()


def test_nothing_said_for_five_seconds_ends_the_connection(service: Service) -> None:
    begun = time.monotonic()
    with connect(service) as line:
        assert line.recv(4097) == b""
    assert 4 < time.monotonic() - begun < 7


def test_account_ignores_those_without_a_key(service: Service) -> None:
    with connect(service) as line:
        line.send(encode(Start(Operation.ACCOUNT, "sshd", "bob")))
        assert decode(line.recv(4097)) == Done(PAM_IGNORE)


def as_user(service: Service, uid: int, talk: Callable[[], object]) -> str:
    """What `talk` returns in a process of this uid, as text."""
    for folder in (service.folder, *service.folder.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writer, repr(talk()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answer = said.read()
    os.waitpid(child, 0)
    return answer


def test_an_ordinary_user_holds_four_conversations_and_only_for_itself(service: Service) -> None:
    def talk() -> object:
        lines = [connect(service) for _ in range(5)]
        for line in lines[:4]:
            line.send(encode(Start(Operation.AUTHENTICATE, "screen", "daemon")))
        kinds = [type(decode(line.recv(4097))).__name__ for line in lines[:4]]
        fifth = lines[4].recv(4097)
        lines[0].close()
        for _ in range(10):  # until that was noticed
            with connect(service) as other, suppress(BrokenPipeError):
                other.send(encode(Start(Operation.AUTHENTICATE, "screen", "alice")))
                if answer := other.recv(4097):
                    return kinds, fifth, decode(answer)
            time.sleep(0.1)
        return kinds, fifth

    assert as_user(service, 1, talk) == repr((["Prompt"] * 4, b"", Done(PAM_PERM_DENIED)))


def answer_to(line: socket.socket, name: str, user: str) -> object:
    """What arenad says to a START: Done with its code, or the kind of message; b"" where it has hung up."""
    with suppress(BrokenPipeError):
        line.send(encode(Start(Operation.AUTHENTICATE, name, user, rhost="192.0.2.7")))
    datagram = line.recv(4097)
    answer = decode(datagram) if datagram else datagram
    return answer if isinstance(answer, Done | bytes) else type(answer).__name__


def test_a_configured_peer_converses_for_anyone_at_its_services_alone(tmp_path: Path) -> None:
    service = Service(tmp_path, '[[peer]]\nuser = "daemon"\nservices = ["httpd"]\n')

    def talk() -> object:
        starts = [("httpd", "alice"), ("httpd", "no-such-user"), ("sshd", "daemon"), ("sshd", "alice")]
        answers = []
        for name, user in starts:
            with connect(service) as line:
                answers.append(answer_to(line, name, user))
        return answers

    try:
        service.start()
        assert as_user(service, 1, talk) == repr(["Prompt", "Prompt", "Prompt", Done(PAM_PERM_DENIED)])
    finally:
        service.close()


def test_a_configured_peer_holds_a_quarter_of_the_slots_and_others_four(tmp_path: Path) -> None:
    service = Service(tmp_path, '[[peer]]\nuser = 1\nservices = ["httpd"]\n')
    descriptors, slots = resource.getrlimit(resource.RLIMIT_NOFILE), 40

    def talk(user: str) -> object:
        lines = [connect(service) for _ in range(slots // 4 + 1)]
        return [answer_to(line, "httpd", user) for line in lines]

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE_FDS + slots, descriptors[1]))
        service.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
        assert as_user(service, 1, lambda: talk("alice")) == repr(["Prompt"] * 10 + [b""])
        assert as_user(service, 2, lambda: talk("bin")) == repr(["Prompt"] * 4 + [b""] * 7)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
        service.close()
