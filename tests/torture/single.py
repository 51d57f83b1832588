"""One connection to auth.sock at a time, by whoever it is to be."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from arena import Service
from people import run_as

from pam_arena.protocol import DATAGRAM_MAX, Operation, Style
from pam_arena.wire import Done, Prompt, Start, decode, encode


def as_uid(service: Service, uid: int, work: Callable[[], object]) -> str:
    """What `work` returns in a process of this uid, as text."""
    return run_as(service.folder, uid, lambda: repr(work()))


def connect(path: str, uid: int | None = None) -> socket.socket:
    """A connection, by this effective uid."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(15)
    if uid is None:
        line.connect(path)
        return line
    os.seteuid(uid)
    try:
        line.connect(path)
    finally:
        os.seteuid(0)
    return line


def hear(line: socket.socket) -> bytes:
    """A datagram, or none where arenad hung up."""
    try:
        return line.recv(DATAGRAM_MAX + 1)
    except ConnectionResetError:
        return b""


def start(user: str, operation: Operation = Operation.AUTHENTICATE, service: str = "screen", **more: object) -> bytes:
    """A START."""
    return encode(Start(operation, service, user, **more))  # type: ignore[arg-type]  # of any kind


def say(line: socket.socket, *datagrams: bytes) -> list[bytes]:
    """All that arenad says to these, each sent as an answer to a question, until it hangs up or has no answer."""
    left, said = list(datagrams), list[bytes]()
    while not said or _goes_on(said[-1], bool(left)):
        if not said or _asks(said[-1]):
            with suppress(BrokenPipeError):
                line.send(left.pop(0))
        said.append(hear(line))
    return [one for one in said if one]


def _asks(datagram: bytes) -> bool:
    message = decode(datagram)
    return isinstance(message, Prompt) and message.style in (Style.HIDDEN, Style.SHOWN)


def _goes_on(datagram: bytes, has_answer: bool) -> bool:
    return bool(datagram) and not isinstance(decode(datagram), Done) and (has_answer or not _asks(datagram))
