"""A blocking client of auth.sock, with which Python programs ask for a passcode in their own words.

    with_words = lambda style, text: Secret(getpass(text).encode())
    if Client().authenticate("alice", "door", with_words): ...

The same rules as the PAM module: nothing is sent before the socket's peer is seen to be root, and every wait for the
daemon ends. Whatever goes wrong raises; True means that the daemon said success, and nothing else does.
"""

import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import closing, suppress

from . import protocol
from .errors import LocalProtocolError, ServiceDown
from .protocol import Operation, Style
from .secret import Secret
from .wire import Answer, Done, Prompt, Start, decode, encode

Ask = Callable[[Style, str], Secret | str | None]
_UCRED = struct.Struct("3i")
_RETRY_SECONDS = 0.02  # between tries to connect while the queue is full


class Client:
    """One socket path; a connection is made for each conversation. timeout: seconds without a word from the daemon."""

    def __init__(self, path: str = protocol.SOCKET, timeout: float = protocol.REPLY_TIMEOUT_MS / 1000) -> None:
        self._path, self._timeout = path, timeout

    def authenticate(
        self,
        user: str,
        service: str,
        ask: Ask,
        *,
        rhost: str = "",
        ruser: str = "",
        tty: str = "",
        passcode: Secret | None = None,
    ) -> bool:
        """Whether `user` gets in, by the rules of `service` in arena.toml; False also where it does not ask this user.

        `ask` answers hidden and shown prompts, and is called for messages too. Raises as `converse` does.
        """
        uid = os.getuid()
        start = Start(Operation.AUTHENTICATE, service, user, ruser, rhost, tty, uid=uid, passcode=passcode)
        return self.converse(start, ask).code == 0

    def converse(self, start: Start, ask: Ask) -> Done:
        """Hold one conversation.

        Raises ServiceDown if no verdict comes, RemoteProtocolError if the other side breaks the protocol, and
        LocalProtocolError if `start` or an answer does not fit it, or a prompt is not answered.
        """
        opening = encode(start)
        with closing(self._connect()) as line:
            self._send(line, opening)
            while True:
                message = self._receive(line)
                if isinstance(message, Done):
                    return message
                answer = ask(message.style, message.text)
                if message.style in (Style.HIDDEN, Style.SHOWN):
                    self._answer(line, answer)

    def _answer(self, line: socket.socket, answer: Secret | str | None) -> None:
        if answer is None:
            raise LocalProtocolError("a prompt was not answered")
        if isinstance(answer, str):
            answer = Secret(answer.encode("utf-8", "surrogateescape"))
        self._send(line, encode(Answer(answer)))

    def _send(self, line: socket.socket, datagram: bytes) -> None:
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # closed: its verdict may be there, and is read next
                line.send(datagram)
        except OSError as error:
            raise ServiceDown(f"{self._path}: cannot send: {error}") from None

    def _connect(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end = time.monotonic() + self._timeout
        try:
            line.settimeout(0)
            while True:
                try:
                    line.connect(self._path)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise
                    time.sleep(_RETRY_SECONDS)
            line.settimeout(self._timeout)
            uid = _UCRED.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
        except OSError as error:
            line.close()
            raise ServiceDown(f"{self._path}: {error.strerror}: systemctl start arenad.socket arenad.service") from None
        if uid != 0:
            line.close()
            raise ServiceDown(f"{self._path} belongs to uid {uid}, not to root: nothing was sent")
        return line

    def _receive(self, line: socket.socket) -> Prompt | Done:
        try:
            try:
                datagram = line.recv(protocol.DATAGRAM_MAX + 1)
            except ConnectionResetError:  # comes once, before what is queued: it closed with an answer unread
                datagram = line.recv(protocol.DATAGRAM_MAX + 1)
        except OSError as error:
            raise ServiceDown(f"{self._path}: no answer: {error}") from None
        if not datagram:
            raise ServiceDown(f"{self._path}: closed without a verdict")
        message = decode(datagram, Prompt, Done)
        assert isinstance(message, Prompt | Done)
        return message
