"""The Python client keeps the module's rules: True is a DONE message that says success, and all else raises or is False."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import AUTH_ERR, AUTHINFO_UNAVAIL, HEAR, IGNORE, LEFT, SUCCESS, Peer, Stage

from pam_arena.client import Client
from pam_arena.errors import ArenaError, LocalProtocolError, RemoteProtocolError, ServiceDown
from pam_arena.protocol import Operation, Option, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, encode

ASK = Prompt(Style.HIDDEN, "Passcode: ")
START = Start(Operation.AUTHENTICATE, "door", "alice")


class Person:
    """Answers what is asked, in order, and remembers all that was shown."""

    def __init__(self, *answers: Secret | str | None) -> None:
        self.shown: list[tuple[Style, str]] = []
        self._answers = list(answers)

    def __call__(self, style: Style, text: str) -> Secret | str | None:
        self.shown.append((style, text))
        return self._answers.pop(0) if style in (Style.HIDDEN, Style.SHOWN) else None


def test_success_and_the_dialogue_before_it(peer: Peer) -> None:
    person = Person(Secret(b"4719755224"), "é755225")
    hello = Prompt(Style.INFO, "Wait.")
    peer.play([HEAR, ASK, HEAR, hello, Prompt(Style.SHOWN, "Code: "), HEAR, Done(SUCCESS), LEFT])
    assert Client(peer.path).authenticate("alice", "door", person, rhost="192.0.2.7", ruser="bob", tty="tty1") is True
    peer.finish()
    assert person.shown == [(Style.HIDDEN, "Passcode: "), (Style.INFO, "Wait."), (Style.SHOWN, "Code: ")]
    assert peer.heard == [
        Start(Operation.AUTHENTICATE, "door", "alice", "bob", "192.0.2.7", "tty1", uid=os.getuid()),
        Answer(Secret(b"4719755224")),
        Answer(Secret("é755225".encode())),
    ]


@pytest.mark.parametrize("code", [AUTH_ERR, AUTHINFO_UNAVAIL, IGNORE, 255])
def test_any_other_verdict_is_no_success(peer: Peer, code: int) -> None:
    peer.play([HEAR, Done(code), LEFT])
    assert Client(peer.path).authenticate("alice", "door", Person()) is False
    peer.finish()


def test_a_whole_start_and_a_whole_verdict_pass(peer: Peer) -> None:
    start = Start(
        Operation.CHANGE_PIN, "door", "", flags=0x8000, auth_info="publickey", passcode=Secret(b"1"), options=Option.FIRST_PASS
    )
    done = Done(SUCCESS, Secret(b"hunter2"))
    peer.play([HEAR, done, LEFT])
    assert Client(peer.path).converse(start, Person()) == done
    peer.finish()
    assert peer.heard == [start]


@pytest.mark.parametrize(
    "datagram",
    [
        b"?",
        encode(START),
        encode(Answer(Secret(b"1"))),
        encode(Done(SUCCESS)) + b"\0",
        encode(Done(SUCCESS)).ljust(5000, b"\0"),
    ],
    ids=["garbage", "a START", "an ANSWER", "bytes left over", "oversize"],
)
def test_what_breaks_the_protocol_raises(peer: Peer, datagram: bytes) -> None:
    peer.play([HEAR, datagram, LEFT])
    with pytest.raises(RemoteProtocolError):
        Client(peer.path).authenticate("alice", "door", Person())
    peer.finish()


@pytest.mark.parametrize("lines", [[], [HEAR], [HEAR, ASK], [HEAR, ASK, HEAR]], ids=len)
def test_a_close_at_any_point_raises(peer: Peer, lines: list[str | Prompt]) -> None:
    peer.play(lines)
    with pytest.raises(ServiceDown, match="closed without a verdict"):
        Client(peer.path).authenticate("alice", "door", Person("1"))
    peer.finish()


def test_silence_raises_at_the_deadline(peer: Peer) -> None:
    peer.play([HEAR, LEFT])
    begin = time.monotonic()
    with pytest.raises(ServiceDown, match="timed out"):
        Client(peer.path, timeout=0.3).authenticate("alice", "door", Person())
    assert 0.3 <= time.monotonic() - begin < 2
    peer.finish()


def test_a_full_queue_raises_at_the_deadline(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as full,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one,
    ):
        full.bind(path)
        full.listen(0)
        one.connect(path)
        begin = time.monotonic()
        with pytest.raises(ServiceDown):
            Client(path, timeout=0.3).authenticate("alice", "door", Person())
        assert 0.3 <= time.monotonic() - begin < 2


def test_an_absent_socket_raises_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ServiceDown, match="No such file"):
        Client(str(tmp_path / "absent")).authenticate("alice", "door", Person())
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("start", [Start(Operation.AUTHENTICATE, "", "alice"), Start(Operation.AUTHENTICATE, "door", "a\0b")])
def test_a_start_that_does_not_fit_never_connects(peer: Peer, start: Start) -> None:
    with pytest.raises(LocalProtocolError):
        Client(peer.path).converse(start, Person())
    peer.nobody_waits()


@pytest.mark.parametrize("answer", [None, Secret(b"4719\x00"), "9" * 513], ids=["none", "a NUL", "too long"])
def test_an_answer_that_does_not_fit_ends_it_without_naming_it(peer: Peer, answer: Secret | str | None) -> None:
    peer.play([HEAR, ASK, LEFT])
    with pytest.raises(LocalProtocolError) as mistake:
        Client(peer.path).authenticate("alice", "door", Person(answer))
    assert "4719" not in str(mistake.value) and "999" not in str(mistake.value)
    peer.finish()


_FOREIGN = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listening.bind(sys.argv[1])
os.setuid(65534)
listening.listen()
print("ready", flush=True)
connection, _ = listening.accept()
connection.settimeout(20)
print(len(connection.recv(8192)), flush=True)
"""


def test_a_peer_that_is_not_root_gets_no_byte(tmp_path: Path) -> None:
    path = str(tmp_path / "foreign.sock")
    with subprocess.Popen([sys.executable, "-c", _FOREIGN, path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(ServiceDown, match="uid 65534"):
            Client(path).authenticate("alice", "door", Person())
        assert other.stdout.readline() == "0\n"


def by_client(stage: Stage, answer: Callable[[], bytes]) -> int:
    return Client(stage.socket_path).converse(START, lambda style, text: Secret(answer())).code


def by_module(stage: Stage, answer: Callable[[], bytes]) -> int:
    with stage.login(answer) as login:
        return login.call("authenticate")


@pytest.mark.parametrize("ask", [by_client, by_module])
def test_a_verdict_counts_that_was_sent_over_an_unread_answer(
    stage: Stage, ask: Callable[[Stage, Callable[[], bytes]], int]
) -> None:
    # The daemon gives a person up in the moment in which they press return: the kernel tells ECONNRESET first.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(stage.socket_path)
        listening.listen()
        listening.settimeout(20)
        codes: list[int | ArenaError] = []

        def caller() -> None:
            try:
                codes.append(ask(stage, lambda: b"4719755224"))
            except ArenaError as error:
                codes.append(error)

        login = threading.Thread(target=caller)
        login.start()
        connection, _ = listening.accept()
        connection.settimeout(20)
        connection.recv(8192)
        connection.send(encode(ASK))
        connection.recv(8192, socket.MSG_PEEK)  # the answer is there, and stays there
        connection.send(encode(Done(AUTH_ERR)))
        connection.close()
        login.join(20)
    assert codes == [AUTH_ERR]
