"""Logins at a steady pace while arenad is restarted, as systemd would do it: the listening socket outlives the process.

A login starts every 50 ms, whatever becomes of the others. Some people think at a prompt, for less than 3 s or for more.
Who is refused must have stood at one prompt for longer than 3 s.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from queue import SimpleQueue

from arena import Service
from attrs import define, field
from crowd import PIN, Person

from pam_arena.errors import ArenaError
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

EVERY = 0.05  # seconds between the logins that arrive
GRACE = 3.0  # seconds that somebody at a prompt is promised
THINKS = 8  # one login of so many thinks, where people think
BRIEF, LONG_PAUSE = (0.2, 2.4), (3.4, 6.0)  # seconds at a prompt: on both sides of what is promised, clear of it
LATEST = 0.4  # seconds of service before a restart
GRANTED = 0
CUT_OFF = "cut off after more than 3 s at a prompt"


class Moment(Enum):
    """When a SIGTERM comes."""

    ANY = "at any moment"
    VERDICT = "within a verdict or its commit"
    READY = "at READY"
    START_UP = "within start-up"
    TWICE = "twice in a row"


MOMENTS = tuple(Moment)


@define(eq=False)
class Login:
    """One login: what it had to think, how far it came, and what became of it."""

    person: Person
    pauses: tuple[float, float]  # seconds at the question for the PIN, and for the code
    code: str
    began: float
    answered: int = 0
    ended: float = 0.0
    outcome: int | None = None  # PAM's code; None without a verdict
    complaint: str = ""

    @property
    def awaits_verdict(self) -> bool:
        """Whether all is typed, and nothing was heard of it."""
        return self.answered == 2 and not self.ended

    @property
    def stood(self) -> float:
        """Seconds at the prompt that it answered last, which is where somebody who thinks too long is cut off."""
        return self.pauses[self.answered - 1] if self.answered else 0.0

    def hold(self, service: Service, typed: "SimpleQueue[None]") -> None:
        """From START to whatever comes of it."""

        def ask(style: Style, text: str) -> Secret | None:
            if style not in (Style.HIDDEN, Style.SHOWN):
                self.complaint += text
                return None
            at = int(not text.startswith("PIN"))
            if self.pauses[at]:
                time.sleep(self.pauses[at])  # the thought
            self.answered = at + 1
            if at:
                typed.put(None)
            return Secret((self.code if at else PIN).encode())

        try:
            self.outcome = service.client().converse(Start(Operation.AUTHENTICATE, "login", self.person.name), ask).code
        except ArenaError as failure:
            self.complaint += str(failure)
        self.ended = time.monotonic()


class Crowd:
    """Holders who come one every 50 ms until `rest`. None of them is twice at a prompt at one time."""

    def __init__(self, service: Service, people: Sequence[Person], chance: random.Random) -> None:
        self.logins: list[Login] = []
        self.typed: SimpleQueue[None] = SimpleQueue()  # one for each passcode that was just typed to its end
        self.thoughtful = False
        self._service, self._chance = service, chance
        self._idle: SimpleQueue[tuple[Person, int]] = SimpleQueue()
        for one in people:
            self._idle.put((one, 0))
        self._stop = threading.Event()
        self._clock = threading.Thread(target=self._come)
        self._threads: list[threading.Thread] = []
        self._clock.start()

    def rest(self) -> None:
        """No more come; wait for those who are there."""
        self._stop.set()
        self._clock.join()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a login never ended"

    @property
    def waiting(self) -> int:
        """How many have typed all, and wait for the verdict."""
        return sum(one.awaits_verdict for one in self.logins[-400:])

    def _come(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            person, step = self._idle.get(timeout=30)
            login = Login(person, self._pauses(), person.code(step), time.monotonic())
            self.logins.append(login)
            thread = threading.Thread(target=self._one, args=(login, step))
            self._threads = [*(old for old in self._threads if old.is_alive()), thread]
            thread.start()
            due += EVERY
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _pauses(self) -> tuple[float, float]:
        if not self.thoughtful or self._chance.randrange(THINKS):
            return 0.0, 0.0
        kind = self._chance.randrange(4)
        if kind == 0:  # never long at one prompt, and longer than that in sum
            return self._chance.uniform(1.6, BRIEF[1]), self._chance.uniform(1.6, BRIEF[1])
        pause = self._chance.uniform(*(LONG_PAUSE if kind == 1 else BRIEF))
        return (pause, 0.0) if self._chance.random() < 0.5 else (0.0, pause)

    def _one(self, login: Login, step: int) -> None:
        login.hold(self._service, self.typed)
        # Whether arenad saw the code of one who was cut off, nobody knows here.
        self._idle.put((login.person, step + (login.answered == 2)))


@contextmanager
def crowd_at(service: Service, people: Sequence[Person], chance: random.Random) -> Iterator[Crowd]:
    """A crowd that comes as long as the block lasts."""
    crowd = Crowd(service, people, chance)
    try:
        yield crowd
    finally:
        crowd.rest()


@define
class Restarts:
    """Restarts one after another, and what they met."""

    service: Service
    crowd: Crowd
    chance: random.Random
    done: Counter[Moment] = field(factory=Counter)
    verdicts_met: int = 0
    down: list[tuple[float, float]] = field(factory=list)  # from SIGTERM to READY

    def one(self, moment: Moment) -> None:
        """Send SIGTERM at such a moment, and start arenad again at once, as systemd does."""
        process = self.service.process
        assert process is not None
        self._wait_for(moment)
        began = time.monotonic()
        self.verdicts_met += self.crowd.waiting
        process.send_signal(signal.SIGTERM)
        if moment is Moment.TWICE:
            time.sleep(self.chance.choice((0.0, 0.01, 0.1, 0.4)))  # any moment of its stopping
            process.send_signal(signal.SIGTERM)
        status, stopped = process.wait(15), time.monotonic()
        # The second signal may come when nothing is left to do but to end.
        assert status == 0 or (moment is Moment.TWICE and status == -signal.SIGTERM), f"arenad ended with {status}"
        if moment is Moment.START_UP:
            self._stop_while_it_starts()
        self.service.hear()
        self.service.start()
        self.down.append((began, time.monotonic()))
        print(f"{moment.value}: down for {self.down[-1][1] - began:.1f} s, of which {stopped - began:.1f} s to stop")
        self.done[moment] += 1

    def _wait_for(self, moment: Moment) -> None:
        if moment is Moment.READY:
            return
        time.sleep(self.chance.random() * LATEST)  # the random moment
        if moment is Moment.VERDICT:
            with suppress(Exception):
                while True:
                    self.crowd.typed.get_nowait()
            self.crowd.typed.get(timeout=30)
            time.sleep(self.chance.random() * 0.006)  # somewhere in hash, transaction and sync

    def _stop_while_it_starts(self) -> None:
        def stop() -> None:
            if self.service.process is not None:
                self.service.process.terminate()

        timer = threading.Timer(self.chance.random(), stop)
        timer.start()
        with suppress(AssertionError):  # it never says READY
            self.service.start()
        timer.join()
        self.service.stop()  # the timer may have come before there was anything to stop

    def came_while_down(self) -> int:
        """How many logins began while no arenad answered."""
        return sum(any(begin <= one.began < end for begin, end in self.down) for one in self.crowd.logins)


def judge(logins: Sequence[Login]) -> tuple[Counter[str], list[str]]:
    """What became of all logins, and what must not have: a sentence for each."""
    tally: Counter[str] = Counter()
    wrong = []
    for one in logins:
        if one.outcome == GRANTED:
            tally["successes"] += 1
        elif one.outcome is None and one.stood > GRACE:
            tally[CUT_OFF] += 1
        else:
            tally["refused"] += 1
            what = "no verdict" if one.outcome is None else f"PAM's code {one.outcome}"
            wrong.append(
                f"{one.person.name}: {what} after {one.ended - one.began:.1f} s, {one.answered} answers,"
                f" pauses of {one.pauses[0]:.1f} and {one.pauses[1]:.1f} s: {one.complaint}"
            )
    return tally, wrong
