"""What systemd-logind knows of a terminal: whose session it is, and from where. By libsystemd, as sd-login(3) says.

The terminal's name comes from sudo, which has it from the kernel; the session's user and address come from logind,
which had them from sshd. Nothing here is told by the user.
"""

import ctypes
from functools import cache

from attrs import frozen

_LIBRARY = "libsystemd.so.0"


@frozen
class RemoteSession:
    """A session that came over the network. address: as sshd told it."""

    uid: int
    address: str


@cache
def _library() -> "tuple[ctypes.CDLL, ctypes.CDLL] | None":
    try:
        return ctypes.CDLL(_LIBRARY), ctypes.CDLL(None)
    except OSError:
        return None


def remote_session(tty: str) -> RemoteSession | None:
    """The remote session whose terminal this is; None if there is none, or more than one, or no logind."""
    loaded = _library()
    if loaded is None:
        return None
    systemd, libc = loaded
    libc.free.argtypes = [ctypes.c_void_p]
    names = ctypes.POINTER(ctypes.c_void_p)()
    count = systemd.sd_get_sessions(ctypes.byref(names))
    found = []
    for n in range(max(count, 0)):
        session = ctypes.string_at(names[n])
        if _text(systemd.sd_session_get_tty, libc, session) == tty.removeprefix("/dev/"):
            found.append(session)
        libc.free(names[n])
    if count >= 0:
        libc.free(names)
    if len(found) != 1 or systemd.sd_session_is_remote(found[0]) <= 0:
        return None
    uid = ctypes.c_uint32()
    address = _text(systemd.sd_session_get_remote_host, libc, found[0])
    if address is None or systemd.sd_session_get_uid(found[0], ctypes.byref(uid)) < 0:
        return None
    return RemoteSession(uid.value, address)


def _text(function: "ctypes._NamedFuncPointer", libc: ctypes.CDLL, session: bytes) -> str | None:
    value = ctypes.c_void_p()
    if function(session, ctypes.byref(value)) < 0 or not value.value:
        return None
    text = ctypes.string_at(value.value).decode("utf-8", "surrogateescape")
    libc.free(value)
    return text
