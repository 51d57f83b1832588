"""Hostile local users: swarms of connections to auth.sock from processes of ordinary uids, and root's logins meanwhile.

A swarm is one process of one uid that holds so many connections open in one way: silent, half a START, no answer, slow
ones, broken datagrams, guesses for itself, and more (WAYS); what arenad closes it opens again at once. What is measured
is what others get: how long root's logins take, and what of arenad grows.
"""

import array
import errno
import json
import os
import random
import resource
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from arena import Service
from arenad.store.engine import open_store, read_only
from arenad.store.schema import audit, failure, origin, stranger
from attrs import define, field, frozen
from crowd import PIN, Person
from people import become

from pam_arena.errors import ServiceDown
from pam_arena.pin import Hasher
from pam_arena.protocol import DATAGRAM_MAX, Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

LAUNCHER = str(Path(__file__).with_name("hostile_arenad.py"))
FIRST_UID = 61_000
TABLES = (audit, stranger, origin, failure)
PASSED = 8  # descriptors that go with a message
# On a host the service has a slice of the processor, however many processes others run: here it and root's logins have this.
SLICE = -10  # as nice(2)
SLOW = 1.0  # seconds between the answers of one who is slow
WRONG = encode(Answer(Secret(b"000000")))
_FULL = 0.001  # seconds before a queue that was full is tried again


class OneHash(Hasher):
    """argon2id as shipped, computed once for all holders: they have one PIN, and one salt."""

    def hash(self, pin: str, salt: bytes) -> bytes:
        """Of the PIN, under a salt of its own."""
        return _hash_once(self, pin)


@cache
def _hash_once(hasher: Hasher, pin: str) -> bytes:
    return Hasher.hash(hasher, pin, bytes(16))


def hostile_service(folder: Path, users: Sequence[tuple[str, int]], extra: str = "") -> Service:
    """An arenad as shipped, not started yet, for which these users exist beside this machine's own."""
    service = Service(folder, extra)
    passwd = folder / "passwd"
    write_users(passwd, users)
    service.environment["ARENA_PASSWD"] = str(passwd)
    service.environment["ARENA_NICE"] = str(SLICE)
    service.program = (LAUNCHER,)
    return service


def write_users(passwd: Path, users: Sequence[tuple[str, int]]) -> None:
    """Have these users exist, in the same file: a mount shows the file that it was given."""
    lines = [f"{name}:x:{uid}:65534::/nonexistent:/usr/sbin/nologin\n" for name, uid in users]
    passwd.write_text(Path("/etc/passwd").read_text() + "".join(lines))


@frozen
class Way:
    """How a swarm behaves. opening: what is sent at once; reply: to each question, so many seconds later.

    stays: keeps the connection until arenad closes it, else it closes at once; leaves: after so many answers.
    """

    opening: Callable[[str, random.Random], Sequence[bytes]]
    reply: bytes | None = None
    after: float = 0.0
    stays: bool = True
    leaves: int = 0
    deaf: bool = False
    passes: bool = False


def _start(name: str, operation: Operation = Operation.AUTHENTICATE, **more: str) -> bytes:
    return encode(Start(operation, more.pop("service", "screen"), name, **more))  # type: ignore[arg-type]  # of any kind


def _broken(name: str, chance: random.Random) -> Sequence[bytes]:
    start = _start(name)
    return chance.choice(
        [
            [start + bytes(DATAGRAM_MAX + 1 - len(start))],
            [start + bytes(60_000)],
            [b"AR"],
            [start[:-1]],
            [start, start],
            [WRONG],
            [chance.randbytes(200)],
        ]
    )


def _own_keys(name: str, chance: random.Random) -> Sequence[bytes]:
    operation = chance.choice([Operation.REQUEST, Operation.STATUS, Operation.LOST, Operation.CODES])
    serial = {"serial": f"K-{chance.randrange(10**6)}"} if operation in (Operation.REQUEST, Operation.LOST) else {}
    return [_start(name, operation, service="arena-key", **serial)]


def _somebody(_name: str, chance: random.Random) -> Sequence[bytes]:
    name = chance.choice(["root", "r0", "r1", "no-such-user", f"made-up-{chance.randrange(10**6)}"])
    return [_start(name, chance.choice(list(Operation)[:3]), service=f"s{chance.randrange(10**6)}\n<0>")]


WAYS = {
    "silent": Way(lambda name, _: []),
    "half a START": Way(lambda name, _: [_start(name)[:-1]]),
    "no answer": Way(lambda name, _: [_start(name)]),
    "slow": Way(lambda name, _: [_start(name)], WRONG, after=SLOW),
    "broken": Way(_broken),
    "storm": Way(lambda name, _: [], stays=False),
    "gone after START": Way(lambda name, _: [_start(name)], stays=False),
    "guesses": Way(lambda name, _: [_start(name)], WRONG),
    "gone after a guess": Way(lambda name, _: [_start(name)], WRONG, leaves=2),
    "arena-key": Way(_own_keys, WRONG),
    "descriptors": Way(lambda name, _: [_start(name)], WRONG, passes=True),
    "deaf": Way(lambda name, _: [_start(name), WRONG, WRONG], deaf=True),
    "for others": Way(_somebody, WRONG),
}


class Swarm:
    """So many connections of one process, all in one way. `tally` is what came of them."""

    def __init__(self, path: str, users: Sequence[tuple[str, int]], way: Way, size: int) -> None:
        self._path, self._users, self._way, self._size = path, users, way, size
        self._next = 0
        self._chance = random.Random(os.getpid())
        self._poll = select.poll()
        self._lines: dict[int, socket.socket] = {}
        self._answers: Counter[int] = Counter()
        self._later: list[tuple[float, int, socket.socket]] = []
        self.tally: Counter[str] = Counter()

    def run(self, until: float) -> None:
        """Attack until this moment of the monotonic clock."""
        while time.monotonic() < until:
            full = self._fill()
            self._reply_later()
            wait = _FULL if full else 0.0 if len(self._lines) < self._size else 0.05
            for fd, _ in self._poll.poll(wait * 1000):
                self._hear(self._lines[fd])

    def _fill(self) -> bool:
        """Open what is missing, some at a time; whether the queue was full."""
        for _ in range(min(self._size - len(self._lines), 64)):
            name, uid = self._users[self._next % len(self._users)]
            self._next += 1
            line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            line.setblocking(False)
            try:
                self._connect_as(uid, line)
            except OSError as error:
                line.close()
                self.tally["full" if error.errno == errno.EAGAIN else f"connect: {error.strerror}"] += 1
                return True
            self.tally["connections"] += 1
            self._open(line, name)
        return False

    def _connect_as(self, uid: int, line: socket.socket) -> None:
        """Connect by this effective uid: the kernel takes that of the moment, whatever the process becomes."""
        if os.geteuid() == uid:
            return line.connect(self._path)
        os.seteuid(uid)
        try:
            line.connect(self._path)
        finally:
            os.seteuid(0)

    def _open(self, line: socket.socket, name: str) -> None:
        try:
            for datagram in self._way.opening(name, self._chance):
                self._send(line, datagram)
            if self._way.deaf:
                line.shutdown(socket.SHUT_RD)
        except OSError:
            self.tally["turned away"] += 1
            return line.close()
        if not self._way.stays:
            return line.close()
        self._lines[line.fileno()] = line
        self._poll.register(line, select.POLLHUP if self._way.deaf else select.POLLIN)

    def _send(self, line: socket.socket, datagram: bytes) -> None:
        if self._way.passes:
            held = array.array("i", [0] * PASSED)
            line.sendmsg([datagram], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, held)])
        else:
            line.send(datagram)

    def _hear(self, line: socket.socket) -> None:
        try:
            datagram = line.recv(DATAGRAM_MAX + 1)
        except BlockingIOError:
            return
        except OSError:
            datagram = b""
        message = decode(datagram) if datagram else None
        if not isinstance(message, Prompt):
            self.tally[f"ended with {message.code}" if isinstance(message, Done) else "turned away"] += 1
            return self._drop(line)
        self.tally["texts"] += 1
        if message.style in (Style.HIDDEN, Style.SHOWN) and self._way.reply is not None:
            if self._way.after:
                self._later.append((time.monotonic() + self._way.after, line.fileno(), line))
            else:
                self._answer(line)

    def _reply_later(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, fd, line = self._later.pop(0)
            if self._lines.get(fd) is line:
                self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        assert self._way.reply is not None
        try:
            self._send(line, self._way.reply)
        except OSError:
            return self._drop(line)
        self.tally["answers"] += 1
        self._answers[line.fileno()] += 1
        if self._answers[line.fileno()] == self._way.leaves:
            self._drop(line)

    def _drop(self, line: socket.socket) -> None:
        self._poll.unregister(line)
        self._answers.pop(line.fileno(), None)
        del self._lines[line.fileno()]
        line.close()


@define
class Attacker:
    """A process of an ordinary uid, and the pipes by which it is let loose, and tells what came of its swarm."""

    pid: int
    gate: int
    said: int

    def begin(self, until: float) -> None:
        """Have it attack until this moment of the monotonic clock."""
        os.write(self.gate, json.dumps(until).encode())
        os.close(self.gate)

    def end(self) -> Counter[str]:
        """Wait for its end."""
        with os.fdopen(self.said) as pipe:
            told = pipe.read()
        os.waitpid(self.pid, 0)
        assert told, "an attacker broke down"
        return Counter(json.loads(told))


def attacker(path: str, users: Sequence[tuple[str, int]], way: Way, size: int) -> Attacker:
    """Make ready a swarm: a process that becomes its user for good or, where there are several, each in turn to connect."""
    reader, writer = os.pipe()
    closed, gate = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.close(closed)
        return Attacker(child, gate, reader)
    try:
        os.close(gate)
        signal.alarm(300)  # whatever becomes of the test
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if len(users) == 1:
            become(users[0][1])
            assert os.getresuid() == (users[0][1],) * 3
        swarm = Swarm(path, users, way, size)
        swarm.run(json.loads(os.read(closed, 100)))
        os.write(writer, json.dumps(swarm.tally).encode())
    finally:
        os._exit(0)


@frozen
class Looked:
    """What there is of arenad: descriptors, threads, KiB of memory, rows, lines and bytes of its journal."""

    descriptors: int
    threads: int
    memory: int
    rows: dict[str, int]
    lines: int
    journal: int


def look(service: Service) -> Looked:
    """Now."""
    assert service.process is not None
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{service.process.pid}/status").read_text().splitlines() if ":" in line
    )
    with read_only(open_store(service.url)) as connection:
        rows = {table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0 for table in TABLES}
    said = service.journal.read_bytes()
    count = len(os.listdir(f"/proc/{service.process.pid}/fd"))
    return Looked(count, int(status["Threads"]), int(status["VmRSS"].split()[0]), rows, said.count(b"\n"), len(said))


@define
class Logins:
    """Root's logins: holder after holder with PIN and a fresh code, at a steady pace, whatever becomes of the ones before.

    took: seconds from the moment that a login was due to its success; failed: what others ended in.
    """

    service: Service
    people: Sequence[Person]
    a_second: float
    took: list[float] = field(factory=list)
    failed: list[str] = field(factory=list)
    descriptors: int = 0
    _next: int = 0
    _first: int = 0

    @property
    def begun(self) -> int:
        """How many were due."""
        return self._next - self._first

    def begin(self) -> None:
        """Forget what was."""
        self.took, self.failed, self.descriptors, self._first = [], [], 0, self._next

    def run(self, until: float) -> None:
        """Log in until then."""
        assert self.service.process is not None
        fds = f"/proc/{self.service.process.pid}/fd"
        with ThreadPoolExecutor(64, initializer=os.setpriority, initargs=(os.PRIO_PROCESS, 0, SLICE)) as crowd:
            due = time.monotonic()
            while due < until:
                time.sleep(max(0.0, due - time.monotonic()))
                crowd.submit(self._one, due, self._next)
                self._next += 1
                self.descriptors = max(self.descriptors, len(os.listdir(fds)))
                due += 1 / self.a_second

    def _one(self, due: float, number: int) -> None:
        person, turn = self.people[number % len(self.people)], number // len(self.people)
        rhost = f"192.0.2.{number % 50}" if number % 2 else ""
        start = Start(Operation.AUTHENTICATE, "sshd" if rhost else "login", person.name, rhost=rhost)
        said: list[str] = []

        def ask(style: Style, text: str) -> Secret:
            said.append(text)
            return Secret((PIN if len(said) == 1 else person.code(turn)).encode())

        try:
            code = self.service.client().converse(start, ask).code
        except ServiceDown as down:
            self.failed.append(str(down))
            return
        if code == 0:
            self.took.append(time.monotonic() - due)
        else:
            self.failed.append(f"{code}: {said[2:]}")

    def percentile(self, share: float) -> float:
        """Seconds in which that share of the logins was over."""
        ranked = sorted(self.took)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
