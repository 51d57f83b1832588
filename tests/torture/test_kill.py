"""arenad is killed at random moments under load: what it said before stays true.

Clients log in, fail, and open with codes from the drawer, while `kill -9` comes at any moment: at a prompt, in the hash,
around the commit, while arenad starts. After each, every client first types its last code that opened, and then the one
whose fate it never learnt.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from arena import Service
from arenad.store.engine import open_store, read_only
from arenad.store.schema import audit
from attrs import define, field
from crowd import HOTP, LONG, PIN, REF, Person, broken_rows, cheap_service, enrol, make_people, uncounted

from pam_arena.errors import ServiceDown
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

KILLS = 1000 if LONG else 24
CLIENTS = 8
GENERATION = 25  # kills, before the clients become other holders: a year's failures and a drawer have an end
DRAWER = 40  # codes of each holder
LATEST = 0.3  # seconds of load before a kill
EARLY = 0.25  # share of the kills that come while arenad starts


@define(eq=False)
class Client:
    """One holder at a prompt, again and again. What arenad said is kept; a code without a verdict is typed again."""

    service: Service
    person: Person
    chance: random.Random
    stop: threading.Event
    replay: str | None = None  # a code that opened before a kill
    granted: list[str] = field(factory=list)
    refs: set[str] = field(factory=set)
    lost: int = 0
    replayed: int = 0
    failure: Exception | None = None
    _step: int = 0
    _unknown: str | None = None

    def run(self) -> None:
        """Log in until it is to stop."""
        try:
            while not self.stop.is_set():
                self._one()
        except Exception as failure:
            self.failure = failure

    def after_a_kill(self) -> None:
        """Begin with what opened last."""
        if self.granted:
            self.replay = self.granted[-1]

    def _one(self) -> None:
        if self.replay is not None:
            if self._log_in(self.replay) is not None:
                self.replay = None
                self.replayed += 1
        elif self._unknown is not None:
            self._log_in(self._unknown)
        else:
            self._log_in(self._choose())

    def _choose(self) -> str:
        dice = self.chance.random()
        if dice < 0.3:
            return self.person.wrong_code()
        if dice < 0.4 and self.person.emergency:
            return self.person.emergency.pop()
        self._step += 1
        return self.person.code(self._step - 1)

    def _log_in(self, code: str) -> bool | None:
        """Whether it opened; None without a verdict."""
        said: list[str] = []

        def ask(style: Style, text: str) -> Secret | None:
            if style in (Style.HIDDEN, Style.SHOWN):
                assert "next code" not in text and "Choose" not in text, text
                return Secret(PIN.encode() if text.startswith("PIN") else code.encode())
            said.append(text)
            return None

        again = code in self.granted
        try:
            done = self.service.client().converse(Start(Operation.AUTHENTICATE, "login", self.person.name), ask)
        except ServiceDown:
            self.lost += 1
            self._unknown = None if again else code
            done = None
        for ref in REF.findall("".join(said)):  # the sentence may be out, and its DONE not
            self.refs.add(ref)
        if done is None:
            return None
        self._unknown = None if code == self._unknown else self._unknown
        if done.code == 0:
            assert not again, f"a code of {self.person.name} opened twice"
            self.granted.append(code)
        else:
            assert done.code == 7, f"{done.code}: {said}"
        return done.code == 0


def kill_while_it_starts(service: Service, after: float) -> None:
    """Start arenad, and kill it so many seconds later, READY or not."""
    timer = threading.Timer(after, lambda: service.process is not None and service.process.kill())
    timer.start()
    with suppress(AssertionError):  # it never says READY
        service.start()
    timer.join()
    service.kill()  # the timer may have come before there was anything to kill


def kill_once(service: Service, chance: random.Random) -> None:
    """At a random moment under load, or else while it starts again."""
    if chance.random() < EARLY:
        service.kill()
        kill_while_it_starts(service, chance.random())
    else:
        time.sleep(chance.random() * LATEST)  # the random moment
        service.kill()


def one_generation(service: Service, number: int, kills: int, chance: random.Random) -> list[Client]:
    """New holders, and so many kills while they log in. Leaves arenad running, and looked at."""
    people = make_people(f"g{number}n", CLIENTS, HOTP, DRAWER)
    enrol(service, people)
    stop = threading.Event()
    clients = [Client(service, one, random.Random(chance.random()), stop) for one in people]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            kill_once(service, chance)
            for client in clients:
                client.after_a_kill()
            service.start()
        wait_for_replays(clients)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    for client in clients:
        if client.failure is not None:
            raise client.failure
    return clients


def wait_for_replays(clients: list[Client]) -> None:
    """Let each client type its last code once more."""
    end = time.monotonic() + 60
    while any(client.replay is not None and client.failure is None for client in clients):
        assert time.monotonic() < end
        time.sleep(0.01)


def look(service: Service, clients: list[Client]) -> None:
    """Hold the store against what the clients were told."""
    with read_only(open_store(service.url)) as connection:
        assert list(broken_rows(connection)) == []
        assert list(uncounted(connection, set().union(*(client.refs for client in clients)))) == []
        query = sa.select(sa.func.count()).where(audit.c.outcome == "granted", audit.c.holder == sa.bindparam("name"))
        for client in clients:
            opened = connection.execute(query, {"name": client.person.name}).scalar()
            assert opened is not None
            assert len(client.granted) == len(set(client.granted)) <= opened


def test_what_arenad_said_before_a_kill_stays_true(tmp_path: Path, seeded: random.Random, count: Callable[[str], None]) -> None:
    began = time.monotonic()
    service = cheap_service(tmp_path / "one")
    everyone: list[Client] = []
    try:
        service.start()
        for number, done in enumerate(range(0, KILLS, GENERATION)):
            clients = one_generation(service, number, min(GENERATION, KILLS - done), seeded)
            look(service, clients)
            everyone += clients
    finally:
        service.close()
    granted, denied = (sum(len(x) for x in kind) for kind in zip(*((c.granted, c.refs) for c in everyone), strict=True))
    lost, again = (sum(x) for x in zip(*((c.lost, c.replayed) for c in everyone), strict=True))
    assert granted and denied and lost and again
    count(
        f"{KILLS} kills: {granted} successes sent, none of their codes worked again ({again} were typed again at once);"
        f" {denied} denials sent, all in the audit and counted; {lost} logins cut off; {time.monotonic() - began:.0f} s"
    )
