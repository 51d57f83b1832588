"""Many clients that answer at the same moment: all are led to their last prompt first, then all answers leave in a row."""

import socket
from collections.abc import Sequence

from attrs import frozen

from pam_arena import protocol
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Message, Prompt, Start, decode, encode

SECONDS = 60  # that a verdict may take


@frozen
class Runner:
    """A client: which socket, whose login, from which address ("": the console), and what is typed."""

    path: str
    user: str
    address: str
    pin: str
    code: str


def race(runners: Sequence[Runner]) -> list[int]:
    """PAM's code for each runner, in order."""
    lines = [_open(one) for one in runners]
    try:
        for line, one in zip(lines, runners, strict=True):
            assert isinstance(_hear(line), Prompt)
            line.send(encode(Answer(Secret(one.pin.encode()))))
        for line in lines:
            assert isinstance(_hear(line), Prompt)
        answers = [encode(Answer(Secret(one.code.encode()))) for one in runners]
        for line, answer in zip(lines, answers, strict=True):
            line.send(answer)
        return [_verdict(line) for line in lines]
    finally:
        for line in lines:
            line.close()


def _open(one: Runner) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(SECONDS)
    line.connect(one.path)
    line.send(encode(Start(Operation.AUTHENTICATE, "sshd" if one.address else "login", one.user, rhost=one.address)))
    return line


def _hear(line: socket.socket) -> Message:
    return decode(line.recv(protocol.DATAGRAM_MAX + 1))


def _verdict(line: socket.socket) -> int:
    while not isinstance(message := _hear(line), Done):
        assert isinstance(message, Prompt)
        assert message.style in (Style.INFO, Style.ERROR), f"a runner was asked for more: {message.text}"
    return message.code
