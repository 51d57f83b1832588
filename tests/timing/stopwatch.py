"""The stopwatch at the socket: from the last ANSWER to DONE, of logins that are drawn at random, one after another.

The store is put back before each, outside of what is timed.
"""

import gc
import os
import random
import re
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from arena import Service
from arenad.store.engine import make_engine, store_path
from arenad.vault import Vault
from cases import Case, Person, Restorer, enrol, make_people

from pam_arena import protocol
from pam_arena.pin import Hasher
from pam_arena.protocol import Operation
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

PLANTED = str(Path(__file__).with_name("planted_arenad.py"))
UNIT = Path(__file__).parents[2] / "packaging/debian/arenad.service"
CHEAP = Hasher(time_cost=1, memory_kib=8)
ADDRESS = "192.0.2.7"
SECONDS = 60  # that a verdict may take
AT_ONCE = 8  # of a burst
DENIED = 7  # PAM_AUTH_ERR
REF = re.compile(r"\(ref ([0-9A-Z]{8})\)")
WARM = 3  # rounds that are not looked at
# Nothing is held back, and no failure leads to a wait or to a second code but where a case says so.
SETTINGS = '[login]\ndeny_after = "0"\n'

Samples = dict[str, list[float]]  # milliseconds, by what the case is


class Stopwatch:
    """Times an arenad that is running. Every denial must read the same, and be of its case's own reason."""

    def __init__(self, service: Service, cases: Sequence[Case], seed: int, hasher: Hasher | None = None) -> None:
        self._service, self._path = service, service.socket_path
        self._people = make_people(cases)
        with make_engine(service.url).begin() as connection:
            enrol(connection, Vault(Secret(service.key)), self._people, hasher)
        self._restorer = Restorer(str(store_path(service.url)), self._people)
        self._random = random.Random(seed)
        self._said: set[str] = set()
        self._reasons: dict[str, str] = {}  # by reference

    def logins(self, count: int) -> Samples:
        """So many of each case: in each round every case once, in an order drawn anew."""
        taken: Samples = defaultdict(list)
        with quiet():
            for one in self._drawn(WARM):
                self._login(one)
            for one in self._drawn(count):
                taken[one.case.what].append(self._login(one))
        self._check()
        return taken

    def bursts(self, count: int) -> Samples:
        """So many bursts of each case: eight logins of one name at once, from the first answer to the last DONE."""
        taken: Samples = defaultdict(list)
        with quiet():
            for one in self._drawn(count):
                taken[one.case.what].append(self._burst(one))
        assert len(self._said) == 1, self._said
        return taken

    def attempt(self, case: Case, *, restored: bool = True) -> None:
        """One login of a case that nobody times; restored: the store is put back before it."""
        if restored:
            self._restorer.restore(time.time())
        line, answer = self._open(next(one for one in self._people if one.case is case))
        with line:
            line.send(answer)
            self._note(line.recv(protocol.DATAGRAM_MAX), line.recv(protocol.DATAGRAM_MAX))

    def _drawn(self, rounds: int) -> Iterator[Person]:
        for _ in range(rounds):
            self._restorer.checkpoint()
            self._service.hear()
            yield from self._random.sample(self._people, len(self._people))

    def _login(self, one: Person) -> float:
        self._restorer.restore(time.time())
        line, answer = self._open(one)
        with line:
            begun = time.perf_counter_ns()
            line.send(answer)
            told = line.recv(protocol.DATAGRAM_MAX)
            done = line.recv(protocol.DATAGRAM_MAX)
            ended = time.perf_counter_ns()
        self._reasons[self._note(told, done)] = one.case.reason
        return (ended - begun) / 1e6

    def _burst(self, one: Person) -> float:
        self._restorer.restore(time.time())
        led = [self._open(one) for _ in range(AT_ONCE)]
        ends = []
        begun = time.perf_counter_ns()
        for line, answer in led:
            line.send(answer)
        for line, _ in led:
            ends.append((line.recv(protocol.DATAGRAM_MAX), line.recv(protocol.DATAGRAM_MAX)))
        ended = time.perf_counter_ns()
        for line, _ in led:
            line.close()
        for told, done in ends:
            self._note(told, done)
        return (ended - begun) / 1e6

    def _open(self, one: Person) -> tuple[socket.socket, bytes]:
        """A login that stands at its last prompt, and the answer to that."""
        first, second = one.typed(time.time())
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(SECONDS)
        line.connect(self._path)
        line.send(encode(Start(Operation.AUTHENTICATE, "sshd", one.case.name, rhost=ADDRESS)))
        assert isinstance(decode(line.recv(protocol.DATAGRAM_MAX)), Prompt)
        line.send(encode(Answer(Secret(first.encode()))))
        assert isinstance(decode(line.recv(protocol.DATAGRAM_MAX)), Prompt)
        return line, encode(Answer(Secret(second.encode())))

    def _note(self, told: bytes, done: bytes) -> str:
        """Hold a denial to the words of all others; returns its reference."""
        prompt, end = decode(told), decode(done)
        assert isinstance(prompt, Prompt) and isinstance(end, Done) and end.code == DENIED, (prompt, end)
        found = REF.search(prompt.text)
        assert found, prompt.text
        self._said.add(f"{prompt.style} {REF.sub('REF', prompt.text)}")
        return found[1]

    def _check(self) -> None:
        assert len(self._said) == 1, self._said
        noted = self._restorer.reasons()
        wrong = {(wanted, noted.get(ref)) for ref, wanted in self._reasons.items() if noted.get(ref, wanted) != wanted}
        assert not wrong, f"cases that were not what they should be: {wrong}"
        assert self._reasons.keys() & noted.keys()


def urgent() -> None:
    """Have this process and its children go before all others: what else runs here is no part of the time. Root's right."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))


@contextmanager
def started(folder: Path, *plants: str) -> Iterator[Service]:
    """An arenad under the settings of its unit, with what is to be planted in it."""
    folder.mkdir(parents=True)
    service = Service(folder, SETTINGS)
    service.environment |= unit_environment()
    if plants:
        service.program = (PLANTED, ",".join(plants))
    service.start()
    try:
        yield service
    finally:
        service.close()


def unit_environment() -> dict[str, str]:
    """What arenad.service sets: how argon2's memory is got is a part of its time."""
    lines = [line.removeprefix("Environment=") for line in UNIT.read_text().splitlines() if line.startswith("Environment=")]
    return dict(word.split("=", 1) for line in lines for word in line.split())


@contextmanager
def quiet() -> Iterator[None]:
    """No collection of garbage, and one core, while it lasts."""
    cores = os.sched_getaffinity(0)
    gc.collect()
    gc.disable()
    with suppress(OSError):
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, cores)
        gc.enable()
