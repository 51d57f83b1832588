"""A stage for the module: real libpam on one side, and on the socket a peer that follows a script.

A script is a list of lines for one connection: a message or bytes to send, HEAR to receive a message, LEFT to see the
module close. When the script ends, the peer closes. What is not played out by the time of `finish` fails the test.
"""

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from pam_arena.wire import Answer, Done, Message, Prompt, Start, decode, encode

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "pam_arena/security/pam_arena.so"
UNAVAILABLE = "OTP unavailable / OTP indisponible"

SUCCESS, SYSTEM_ERR, BUF_ERR, PERM_DENIED, AUTH_ERR, AUTHINFO_UNAVAIL = 0, 4, 5, 6, 7, 9
MAXTRIES, ACCT_EXPIRED, CRED_UNAVAIL, CONV_ERR, AUTHTOK_ERR, AUTHTOK_RECOVERY_ERR, TRY_AGAIN, IGNORE = (
    11,
    13,
    15,
    19,
    20,
    21,
    24,
    25,
)
TTY, RHOST, RUSER = 3, 4, 8
HIDDEN, SHOWN, ERROR, INFO = 1, 2, 3, 4  # PAM's styles
SILENT = 0x8000
PREPARE = 0x4000  # PAM_PRELIM_CHECK
UPDATE = 0x2000  # PAM_UPDATE_AUTHTOK
OPERATIONS = ["authenticate", "acct_mgmt", "chauthtok"]

HEAR, LEFT = "hear", "left"
Line = str | bytes | Start | Prompt | Answer | Done
Script = Sequence[Line]
_SECONDS = 30


class Peer:
    """Plays one script for each connection, in order."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.heard: list[Message] = []
        self.played = threading.Event()  # all scripts are over
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(path)
        self._socket.listen(16)
        self._socket.settimeout(_SECONDS)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def play(self, *scripts: Script) -> None:
        self.played.clear()
        self.heard.clear()
        self._thread = threading.Thread(target=self._run, args=(scripts,), daemon=True)
        self._thread.start()

    @property
    def start(self) -> Start:
        """The first message that it heard, which must be a START."""
        first = self.heard[0]
        assert isinstance(first, Start)
        return first

    def finish(self) -> None:
        """Raises what the peer ran into: a script left over, or a message that it did not expect."""
        if self._thread is not None:
            self._thread.join(_SECONDS + 5)
            assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure
        self.nobody_waits()

    def nobody_waits(self) -> None:
        """That nobody connected beyond the scripts."""
        self._socket.settimeout(0)
        try:
            self._socket.accept()
        except BlockingIOError:
            return
        finally:
            self._socket.settimeout(_SECONDS)
        raise AssertionError("a connection that no script foresaw")

    def close(self) -> None:
        self._socket.close()

    def _run(self, scripts: Sequence[Script]) -> None:
        try:
            for script in scripts:
                connection, _ = self._socket.accept()
                with connection:
                    connection.settimeout(_SECONDS)
                    for line in script:
                        self._say(connection, line)
        except Exception as failure:
            self._failure = failure
        finally:
            self.played.set()

    def _say(self, connection: socket.socket, line: Line) -> None:
        if line == HEAR:
            self.heard.append(decode(connection.recv(8192)))
        elif line == LEFT:
            rest = connection.recv(8192)
            assert not rest, f"{len(rest)} bytes instead of the end"
        else:
            assert not isinstance(line, str)
            connection.send(line if isinstance(line, bytes) else encode(line))


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("unused", ctypes.c_int))


_MESSAGES, _RESPONSES = ctypes.POINTER(ctypes.POINTER(_Message)), ctypes.POINTER(ctypes.POINTER(_Response))
_CONVERSE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, _MESSAGES, _RESPONSES, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("function", _CONVERSE), ("data", ctypes.c_void_p))


_libc = ctypes.CDLL("libc.so.6")
_libc.calloc.restype = ctypes.POINTER(_Response)
_libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
_libc.strdup.restype = ctypes.c_void_p
_libc.strdup.argtypes = (ctypes.c_char_p,)
_libpam = ctypes.CDLL("libpam.so.0")
_HANDLE = ctypes.c_void_p
_libpam.pam_start_confdir.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_libpam.pam_end.argtypes = (_HANDLE, ctypes.c_int)
_libpam.pam_set_item.argtypes = (_HANDLE, ctypes.c_int, ctypes.c_char_p)
_libpam.pam_putenv.argtypes = (_HANDLE, ctypes.c_char_p)
for _name in ("authenticate", "acct_mgmt", "chauthtok", "setcred"):
    getattr(_libpam, f"pam_{_name}").argtypes = (_HANDLE, ctypes.c_int)

# What a conversation answers a prompt with: text, nothing at all, a failure, or what a function returns.
Reply = bytes | None | int | Callable[[], bytes]


class Login:
    """One handle of libpam. `replies` answer the prompts in order; those left over fail at the end of the block."""

    def __init__(
        self, confdir: Path, service: str = "arena", user: bytes | None = b"alice", replies: Sequence[Reply] = ()
    ) -> None:
        self.shown: list[tuple[int, str]] = []
        self._replies = list(replies)
        self._function = _CONVERSE(self._converse)
        self._conversation = _Conversation(self._function, None)
        self._handle = ctypes.c_void_p()
        where, what = os.fsencode(confdir), service.encode()
        started = _libpam.pam_start_confdir(what, user, ctypes.byref(self._conversation), where, ctypes.byref(self._handle))
        assert started == SUCCESS

    def __enter__(self) -> "Login":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _libpam.pam_end(self._handle, 0)
        if error is None:
            assert not self._replies, f"{len(self._replies)} replies were not asked for"

    def call(self, operation: str, flags: int = 0) -> int:
        """authenticate, acct_mgmt, chauthtok or setcred."""
        result: int = getattr(_libpam, f"pam_{operation}")(self._handle, flags)
        return result

    def set_item(self, item: int, value: bytes) -> None:
        assert _libpam.pam_set_item(self._handle, item, value) == SUCCESS

    def putenv(self, setting: bytes) -> None:
        assert _libpam.pam_putenv(self._handle, setting) == SUCCESS

    def _converse(
        self,
        count: int,
        messages: "ctypes._Pointer[ctypes._Pointer[_Message]]",
        responses: "ctypes._Pointer[ctypes._Pointer[_Response]]",
        data: object,
    ) -> int:
        message = messages[0].contents
        self.shown.append((message.style, message.text.decode()))
        if message.style not in (HIDDEN, SHOWN):
            return SUCCESS
        if not self._replies:
            self.shown.append((0, "and no reply was left"))
            return CONV_ERR
        reply = self._replies.pop(0)
        if callable(reply):
            reply = reply()
        if isinstance(reply, int):
            return reply
        response = _libc.calloc(count, ctypes.sizeof(_Response))
        if reply is not None:
            response[0].text = _libc.strdup(reply)
        responses[0] = response
        return SUCCESS


class Stage:
    """A folder with a service of libpam and the socket of a peer."""

    def __init__(self, folder: Path, module: Path = MODULE) -> None:
        self.folder = folder
        self.socket_path = str(folder / "auth.sock")
        self._module = module
        self.configure()

    def configure(self, options: str = "", service: str = "arena", socket_path: str | None = None) -> None:
        """Write the service. Its result is the module's own; IGNORE is told by CRED_UNAVAIL, which the module never says."""
        module = f"{self._module} socket={socket_path or self.socket_path} {options}"
        lines = []
        for kind in ("auth", "account", "password"):
            lines.append(f"{kind} [success=done ignore=ignore default=die] {module}")
            lines.append(f"{kind} required pam_debug.so auth=cred_unavail acct=cred_unavail chauthtok=cred_unavail")
        (self.folder / service).write_text("\n".join(lines) + "\n")

    def login(self, *replies: Reply, user: bytes | None = b"alice", service: str = "arena") -> Login:
        return Login(self.folder, service, user, replies)


def connections(operation: str, script: Script) -> list[Script]:
    """The scripts of a call: PAM asks a changer of PINs first whether it is ready, which connects and sends nothing."""
    return [[LEFT], script] if operation == "chauthtok" else [script]


def hold(
    stage: Stage, peer: Peer, operation: str, script: Script, *replies: bytes | int | None, flags: int = 0
) -> tuple[int, Login]:
    """One call against one script."""
    peer.play(*connections(operation, script))
    with stage.login(*replies) as login:
        result = login.call(operation, flags)
    peer.finish()
    return result, login
