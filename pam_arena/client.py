"""A blocking client of auth.sock, with which Python programs ask for a passcode in their own words.

    with_words = lambda style, text: Secret(getpass(text).encode())
    if Client().authenticate("alice", "door", with_words): ...

The same rules as the PAM module: nothing is sent before the socket's peer is seen to be root, and every wait for the
daemon ends. Whatever goes wrong raises; True means that the daemon said success.
"""

import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from . import protocol
from .errors import LocalProtocolError, RemoteProtocolError, ServiceDown
from .protocol import Operation, Style
from .secret import Secret
from .wire import Answer, Done, Prompt, Start, decode, encode

Ask = Callable[[Style, str], Secret | None]
_UCRED = struct.Struct("3i")
_RETRY_SECONDS = 0.02  # between tries to connect while the queue is full


class Client:
    """One socket path; a connection is made for each conversation. timeout: seconds without a word from the daemon."""

    def __init__(self, path: str = protocol.SOCKET, timeout: float = protocol.REPLY_TIMEOUT_MS / 1000) -> None:
        self._path, self._timeout = path, timeout

    def authenticate(self, user: str, service: str, ask: Ask, *, rhost: str = "", passcode: Secret | None = None) -> bool:
        """Whether `user` gets in. `ask` answers hidden and shown prompts, and is called for messages too."""
        start = Start(Operation.AUTHENTICATE, service, user, rhost=rhost, uid=os.getuid(), passcode=passcode)
        return self.converse(start, ask).code == 0

    def converse(self, start: Start, ask: Ask) -> Done:
        """Hold one conversation. Raises ServiceDown, RemoteProtocolError or LocalProtocolError."""
        with self._connect() as line:
            line.send(encode(start))
            while True:
                message = self._receive(line)
                if isinstance(message, Done):
                    return message
                if not isinstance(message, Prompt):
                    raise RemoteProtocolError(f"{type(message).__name__} out of turn")
                answer = ask(message.style, message.text)
                if message.style in (Style.HIDDEN, Style.SHOWN):
                    self._answer(line, answer)

    def _answer(self, line: socket.socket, answer: Secret | None) -> None:
        if answer is None:
            raise LocalProtocolError("a prompt was not answered")
        with suppress(OSError):  # closed meanwhile: a verdict may still be in the queue, and is read next
            line.send(encode(Answer(answer)))

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

    def _receive(self, line: socket.socket) -> object:
        try:
            datagram = line.recv(protocol.DATAGRAM_MAX + 1)
        except OSError as error:
            raise ServiceDown(f"{self._path}: no answer: {error}") from None
        if not datagram:
            raise ServiceDown(f"{self._path}: closed without a verdict")
        return decode(datagram)
