"""auth.sock: accepts login processes, holds each to the limits, and passes datagrams between them and their sessions.

systemd listens, this only accepts. A small class on `loop.add_reader` over SEQPACKET: one datagram is one message, so
there is nothing to frame and nothing to buffer.
"""

import asyncio
import logging
import socket
from collections import Counter
from contextlib import suppress

from pam_arena.errors import ProtocolError
from pam_arena.protocol import VERSION
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode, version_of

from ..config import Config
from ..sockets import peer_of, peer_uid
from .policy import peer_uids
from .session import Desk, Session, under_way

log = logging.getLogger(__name__)

START_WITHIN = 5.0  # seconds after the connection
PER_USER = 4  # open conversations of a uid other than root; a configured peer may have a quarter of all slots
DATAGRAM_ROOM = 4097  # one byte more than the wire allows, so that a longer one shows
GRACE = 3.0  # seconds that a person gets at each prompt when the service stops
# Seconds in which those prompts must be over: two of them, as a login has. Who comes meanwhile waits in the socket's
# queue, and the module waits for no more than 10 s: this, a verdict and a start must fit into them.
LAST = 6.0
BURST, PACE = 20, 4.0  # conversations that an ordinary user may begin within so many seconds, however soon they are over
AT_ONCE = 256  # connections that are accepted before the loop goes on: a queue full of strangers' must not keep root out
QUEUE = 4096  # connections that systemd's socket holds at most (Backlog=)


class Listener:
    """Accepts on the listening socket until `stop`. slots: connections at most; a quarter of them is root's alone."""

    def __init__(self, listening: socket.socket, desk: Desk, slots: int) -> None:
        self._socket, self._desk, self._slots = listening, desk, slots
        self._open: set[Connection] = set()
        self._silent: dict[Connection, None] = {}  # of others than root, the oldest first: no START came yet
        self._per_uid: Counter[int] = Counter()  # open conversations
        self._lately: Counter[int] = Counter()  # begun within PACE, by ordinary users
        self._emptied = asyncio.Event()
        self.stopping = False
        self._peers_of: Config | None = None
        self._peers: frozenset[int] = frozenset()
        listening.setblocking(False)

    def start(self) -> None:
        """Begin to accept."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)

    @property
    def conversations(self) -> int:
        """How many are open."""
        return len(self._open)

    async def stop(self) -> None:
        """Accept no more, let verdicts finish, give people their grace at each prompt, then close what is left.

        Whoever is in the queue already is served: their time may have begun before this very start.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        for _ in range(QUEUE // AT_ONCE):  # no more: a storm of connections must not keep the service from ending
            if not self._accept():
                break
        self.stopping = True
        self._emptied.clear()
        for connection in self._open:
            connection.hasten()
        if self._open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), LAST)
        for connection in [c for c in self._open if not c.working]:
            connection.close()
        while tasks := under_way():
            await asyncio.wait(tasks)
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> bool:
        """Take those in the queue, AT_ONCE at most; whether there may be more."""
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:
                return False
            except OSError as error:  # out of descriptors: those waiting stay in the socket's queue
                log.error("cannot accept: %s", error.strerror)
                return False
            self._take(accepted, peer_uid(accepted))
        return True

    def _take(self, accepted: socket.socket, uid: int) -> None:
        """Hold a conversation with a caller, or hang up before a word is read."""
        if not self._has_room(uid):
            accepted.close()
            return
        accepted.setblocking(False)
        self._per_uid[uid] += 1
        if uid != 0 and not self._is_peer(uid):
            self._lately[uid] += 1
            asyncio.get_running_loop().call_later(PACE, _take_one, self._lately, uid)
        connection = Connection(self, accepted, uid, self._desk)
        self._open.add(connection)
        if uid != 0:
            self._silent[connection] = None

    def _has_room(self, uid: int) -> bool:
        if uid == 0:
            return len(self._open) < self._slots
        most = self._slots // 4 if self._is_peer(uid) else PER_USER
        if self._per_uid[uid] >= most or self._lately[uid] >= BURST:
            return False
        if len(self._open) >= self._slots * 3 // 4 and self._silent:
            # One person can have thousands of uids (subuid(5)), none of which may say a START that is admitted.
            next(iter(self._silent)).close()
        return len(self._open) < self._slots * 3 // 4

    def _is_peer(self, uid: int) -> bool:
        """Whether the configuration names this uid as a peer. Looked up once a configuration: NSS may be slow."""
        config = self._desk.config()
        if config is not self._peers_of:
            self._peers_of, self._peers = config, peer_uids(config)
        return uid in self._peers

    def heard(self, connection: "Connection") -> None:
        """A START came."""
        self._silent.pop(connection, None)

    def forget(self, connection: "Connection", uid: int) -> None:
        """A connection was closed, and nothing is under way for it any more."""
        self._open.discard(connection)
        self._silent.pop(connection, None)
        if not self._open:
            self._emptied.set()
        _take_one(self._per_uid, uid)


def _take_one(counts: Counter[int], uid: int) -> None:
    counts[uid] -= 1
    if not counts[uid]:
        del counts[uid]


class Connection:
    """One login process. It is closed once, whoever ends it.

    Who hangs up while a verdict is under way keeps the place until it is reached, and a denial's delay is over: else an
    ordinary user could have any number of guesses hashed at once.
    """

    __slots__ = ("_desk", "_forgotten", "_listener", "_session", "_socket", "_timer", "_uid", "_version")

    def __init__(self, listener: Listener, accepted: socket.socket, uid: int, desk: Desk) -> None:
        self._listener, self._socket, self._uid, self._desk = listener, accepted, uid, desk
        self._session: Session | None = None
        self._version = VERSION  # the module's, once a START came
        self._forgotten = False
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = loop.call_later(START_WITHIN, self.close)
        loop.add_reader(accepted.fileno(), self._readable)

    @property
    def working(self) -> bool:
        """Whether a verdict is under way here."""
        return self._session is not None and self._session.working

    def send(self, message: Prompt | Done) -> None:
        """Send a message; to one who is gone it goes nowhere."""
        if self._socket.fileno() < 0:
            return
        try:
            self._socket.send(encode(message, self._version), socket.MSG_NOSIGNAL)
        except OSError:  # gone, or does not read: a prompt and its error text are all that is ever queued
            self.close()

    def expect_answer(self, seconds: float) -> None:
        """Give the person this long; one who is gone is given nothing."""
        if self._socket.fileno() < 0:
            return self._too_late()
        if self._listener.stopping:
            return self._close_after(GRACE)
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._too_late)

    def hasten(self) -> None:
        """The service stops: whoever is waited for here has this much time left."""
        if not self.working:
            self._close_after(GRACE)

    def close(self) -> None:
        """Close the connection, and forget it unless a verdict is under way."""
        if self._socket.fileno() >= 0:
            self._stop_timer()
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
        if not self.working and not self._forgotten:
            self._forgotten = True
            self._listener.forget(self, self._uid)

    def _close_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.close)

    def _too_late(self) -> None:
        if self._session is not None:
            self._session.timed_out()
        self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _readable(self) -> None:
        try:
            datagram = self._socket.recv(DATAGRAM_ROOM)
        except BlockingIOError:
            return
        except OSError:
            datagram = b""
        if not datagram:
            return self.close()
        try:
            message = decode(datagram)
        except ProtocolError as error:
            return self._drop(str(error))
        self._stop_timer()
        if self._session is None:
            self._version = version_of(datagram)
        elif version_of(datagram) != self._version:
            return self._drop(f"version {version_of(datagram)} in a conversation of version {self._version}")
        if isinstance(message, Start) and self._session is None:
            self._listener.heard(self)
            self._session = Session(self._desk, self, peer_of(self._socket), message)
            self._session.begin()
        elif not (isinstance(message, Answer) and self._session is not None and self._session.answered(message)):
            self._drop(f"{type(message).__name__} out of turn")

    def _drop(self, why: str) -> None:
        self._desk.complaints.say(self._uid, logging.WARNING, f"uid {self._uid}: connection dropped: {why}")
        self.close()
