"""What arenad allows a peer: datagrams that keep the rules, in turn, in time, and not too many at once."""

import os
import socket
import time

import pytest
from arena import Service

from pam_arena.protocol import Operation
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

START = encode(Start(Operation.AUTHENTICATE, "login", "alice"))
PAM_PERM_DENIED, PAM_IGNORE, PAM_SYSTEM_ERR = 6, 25, 4


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


def test_an_operation_of_a_later_release_is_refused(service: Service) -> None:
    with connect(service) as line:
        line.send(encode(Start(Operation.STATUS, "arena-key", "root")))
        assert decode(line.recv(4097)) == Done(PAM_SYSTEM_ERR)


def test_account_ignores_those_without_a_key(service: Service) -> None:
    with connect(service) as line:
        line.send(encode(Start(Operation.ACCOUNT, "sshd", "bob")))
        assert decode(line.recv(4097)) == Done(PAM_IGNORE)


def test_an_ordinary_user_holds_four_conversations_and_only_for_itself(service: Service) -> None:
    for folder in (service.folder, *service.folder.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(1)
        os.setuid(1)
        lines = [connect(service) for _ in range(5)]
        for line in lines[:4]:
            line.send(encode(Start(Operation.AUTHENTICATE, "screen", "daemon")))
        kinds = [type(decode(line.recv(4097))).__name__ for line in lines[:4]]
        fifth = lines[4].recv(4097)
        lines[0].close()
        time.sleep(0.2)
        with connect(service) as other:
            other.send(encode(Start(Operation.AUTHENTICATE, "screen", "alice")))
            refused = decode(other.recv(4097))
        os.write(writer, repr((kinds, fifth, refused)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read() == repr((["Prompt"] * 4, b"", Done(PAM_PERM_DENIED)))
    os.waitpid(child, 0)
