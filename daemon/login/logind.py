"""What systemd-logind knows of a process: whose session it is in, and from where that came. By libsystemd.

The process is the one that the kernel names as the socket's peer, root's, and still waiting for its answer; logind finds
its session by its cgroup, and had the session's user and address from sshd. Nothing here is told by the user. The terminal
would not do: Debian 13's logind knows none of sshd's, and an editor's terminal belongs to no session anywhere.
"""

import ctypes
from functools import cache

from attrs import frozen

_LIBRARY = "libsystemd.so.0"
_SERVICE, _OBJECT, _INTERFACE = b"org.freedesktop.login1", b"/org/freedesktop/login1", b"org.freedesktop.login1.Manager"
_WITHIN = 2_000_000  # microseconds: PAM's module waits 9.8 s


@frozen
class RemoteSession:
    """A session that came over the network. address: as sshd told it."""

    uid: int
    address: str


@cache
def _library() -> "tuple[ctypes.CDLL, ctypes.CDLL] | None":
    try:
        systemd, libc = ctypes.CDLL(_LIBRARY), ctypes.CDLL(None)
    except OSError:
        return None
    for free in (systemd.sd_bus_message_unref, systemd.sd_bus_flush_close_unref, libc.free):
        free.argtypes, free.restype = [ctypes.c_void_p], None
    systemd.sd_bus_set_method_call_timeout.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    return systemd, libc


def remote_session(pid: int) -> RemoteSession | None:
    """The remote session that a process is in; None if it is in none, in one that is over, or there is no logind.

    Blocks for 2 s at most. pid: 0, of a process that cannot be seen from here, is in none.
    """
    loaded = _library()
    if loaded is None or pid <= 0:
        return None
    systemd, libc = loaded
    session = _session_of(systemd, libc, pid)
    if session is None or systemd.sd_session_is_remote(session) <= 0:
        return None
    uid = ctypes.c_uint32()
    address = _text(systemd.sd_session_get_remote_host, libc, session)
    state = _text(systemd.sd_session_get_state, libc, session)
    if address is None or state in (None, "closing") or systemd.sd_session_get_uid(session, ctypes.byref(uid)) < 0:
        return None
    return RemoteSession(uid.value, address)


def _session_of(systemd: ctypes.CDLL, libc: ctypes.CDLL, pid: int) -> bytes | None:
    """The session's name. Asked over D-Bus, because arenad sees no other user's /proc."""
    bus, reply, path = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_char_p()
    if systemd.sd_bus_open_system(ctypes.byref(bus)) < 0:
        return None
    try:
        systemd.sd_bus_set_method_call_timeout(bus, _WITHIN)
        method, argument = (_SERVICE, _OBJECT, _INTERFACE, b"GetSessionByPID"), (b"u", ctypes.c_uint32(pid))
        if systemd.sd_bus_call_method(bus, *method, None, ctypes.byref(reply), *argument) < 0:
            return None
        if systemd.sd_bus_message_read(reply, b"o", ctypes.byref(path)) <= 0:
            return None
        name = ctypes.c_void_p()
        if systemd.sd_bus_path_decode(path, _OBJECT + b"/session", ctypes.byref(name)) <= 0 or not name.value:
            return None
        return _taken(libc, name)
    finally:
        systemd.sd_bus_message_unref(reply)
        systemd.sd_bus_flush_close_unref(bus)


def _text(function: "ctypes._NamedFuncPointer", libc: ctypes.CDLL, session: bytes) -> str | None:
    value = ctypes.c_void_p()
    if function(session, ctypes.byref(value)) < 0 or not value.value:
        return None
    return _taken(libc, value).decode("utf-8", "surrogateescape")


def _taken(libc: ctypes.CDLL, value: ctypes.c_void_p) -> bytes:
    """A string that libsystemd gave away."""
    assert value.value
    text = ctypes.string_at(value.value)
    libc.free(value)
    return text
