"""What both daemons do with the sockets that systemd listens on."""

import os
import socket
import struct

from pam_arena.errors import ArenaError

_LISTEN_FD = 3  # sd_listen_fds(3)
_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def activated_socket(kind: socket.SocketKind, part: str, units: str) -> socket.socket:
    """The one listening socket that systemd passed. Raises ArenaError with the command that starts `units`."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise ArenaError(f"{part} takes its socket from systemd: systemctl start {units}")
    listening = socket.socket(fileno=_LISTEN_FD)
    if (listening.family, listening.type) != (socket.AF_UNIX, kind):
        raise ArenaError(f"the socket passed to {part} is no Unix socket of kind {kind.name}: see {units.split()[0]}")
    listening.set_inheritable(False)
    return listening


def peer_uid(connection: socket.socket) -> int:
    """The uid of whoever connected, from the kernel (SO_PEERCRED)."""
    return peer_of(connection)[1]


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """(pid, uid) of whoever connected, from the kernel; the pid is 0 if it cannot be seen from here."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(credentials)
    return int(pid), int(uid)
