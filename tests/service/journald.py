"""What stands in journald's place: its socket, and a reader of its native protocol."""

import socket
from pathlib import Path


class Journald:
    """Receives entries. It binds before the service starts, so that none is lost."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(10)

    def receive(self) -> dict[str, str]:
        """The next entry, by the names of its fields."""
        return parse(self._socket.recv(65536))

    def receive_row(self, event: str) -> dict[str, str]:
        """The next entry of an event."""
        while True:
            if (entry := self.receive())["ARENA_EVENT"] == event:
                return entry

    def close(self) -> None:
        self._socket.close()


def parse(datagram: bytes) -> dict[str, str]:
    """A datagram as journald takes it apart: NAME=value, or NAME, the length in 8 bytes, and the value."""
    found: dict[str, str] = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            datagram = rest
        else:
            length = int.from_bytes(rest[:8], "little")
            value, datagram = rest[8 : 8 + length], rest[8 + length + 1 :]
        assert name.decode() not in found
        found[name.decode()] = value.decode()
    return found
