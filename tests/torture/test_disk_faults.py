"""The disk fails under arenad's feet: each call on the store's files in turn, once or from then on, and heals again.

Whatever fails, and however it is told: nobody learns a verdict that was not kept, everybody else learns that there is
none, the journal says why, and the next login after the fault goes through, without a hand being lent.
"""

import errno
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from arena import Service
from arenad.store.engine import open_store, read_only
from attrs import define, field
from crowd import HOTP, LONG, PIN, REF, Person, broken_rows, cheap_service, enrol, make_people, uncounted
from desk_service import DeskService
from diskfault import KINDS, Faults
from disks import tmpfs

from pam_arena.errors import ServiceDown
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Start

SUCCESS, DENIED, UNAVAILABLE = 0, 7, 9
TURNS = 25  # cases of one holder: a year's failures have an end, and so has a drawer
STEP = 1 if LONG else 16  # every how manyth call fails
PAGES = "4"  # SQLite moves its log into the store after so many: all its calls come within a few logins
# SQLite calls a page that the disk does not give malformed, too.
SAID = "disk I/O error|database or disk is full|attempt to write a readonly|unable to open|database disk image is malformed"
WHY = re.compile(f"no verdict: the store cannot be (read|written): ({SAID})")


@define(eq=False)
class Guest:
    """Logs in as holders do, one after another, and holds arenad to what it says."""

    service: Service
    people: list[Person]
    newcomers: list[Person]
    said: Counter[int] = field(factory=Counter)
    refs: set[str] = field(factory=set)
    wrong: list[str] = field(factory=list)
    opened: list[tuple[Person, str]] = field(factory=list)
    cases: int = 0
    _step: int = 0
    _created: bool = False

    @property
    def person(self) -> Person:
        return self.people[self.cases // TURNS]

    @property
    def newcomer(self) -> Person:
        """Somebody without a PIN: another one in each case."""
        return self.newcomers[self.cases]

    def next_case(self) -> None:
        """The next holder, when it is time."""
        self.cases += 1
        self._step = 0 if self.cases % TURNS == 0 else self._step

    def fresh(self) -> str:
        """A code that was never typed."""
        self._step += 1
        return self.person.code(self._step - 1)

    def log_in(self, one: Person, *answers: str) -> int:
        """PAM's code. What opened must not open again; who is asked for more than this goes away."""
        left, text = list(answers), []

        def ask(style: Style, said: str) -> Secret | None:
            text.append(said)
            self._created = self._created or said.endswith("PIN + new code: ")
            if style not in (Style.HIDDEN, Style.SHOWN):
                return None
            if not left:
                raise ServiceDown("the guest went away")
            return Secret(left.pop(0).encode())

        done = self.service.client().converse(Start(Operation.AUTHENTICATE, "login", one.name), ask).code
        self.said[done] += 1
        self.refs.update(REF.findall("".join(text)))
        code = answers[-1].removeprefix(PIN if len(answers[-1]) == len(PIN) + 6 else "")
        if done == SUCCESS and (one, code) in self.opened:
            self.wrong.append(f"a code of {one.name} opened twice")
        elif done == SUCCESS:
            self.opened.append((one, code))
        if done not in (SUCCESS, DENIED, UNAVAILABLE):
            self.wrong.append(f"PAM's code was {done}")
        return done

    def try_everything(self) -> bool:
        """A right code, a wrong one, a wrong PIN, one from the drawer, a first login; whether one was without a verdict."""
        one, new = self.person, self.newcomer
        typed = [(PIN, self.fresh()), (PIN, one.wrong_code()), ("7391", self.fresh()), (PIN, one.emergency.pop())]
        self._created = False
        found = [self.log_in(one, *answers) for answers in typed]
        return UNAVAILABLE in [*found, self.log_in(new, "", new.code(0), PIN, PIN, PIN + new.code(1))]

    def after_the_fault(self) -> None:
        """All that opened does not; a fresh code does, and a PIN that was created."""
        for one, code in self.opened[-4:]:
            if one in (self.person, self.newcomer) and self.log_in(one, PIN, code) != DENIED:
                self.wrong.append(f"a code of {one.name} that opened is not refused")
        if self.log_in(self.person, PIN, self.fresh()) != SUCCESS:
            self.wrong.append(f"{self.person.name} does not get in once the fault is over")
        new, before = self.newcomer, self._created
        try:
            if self.log_in(new, PIN, new.code(2)) == SUCCESS:
                return
        except ServiceDown:
            pass
        # Nobody told them that a PIN was stored: they begin again.
        if before or self.log_in(new, "", new.code(3), PIN, PIN, PIN + new.code(4)) != SUCCESS:
            self.wrong.append(f"the PIN of {new.name} is gone, or no new one can be made")


def without_their_pin(people: list[Person]) -> list[Person]:
    """Those whose codes do not show the PIN: it would be refused as too easy."""
    return [one for one in people if not any(PIN in one.code(step) for step in range(6))]


def faulty_service(folder: Path, count: int, **environment: str) -> tuple[Guest, Faults]:
    """An arenad whose disk can be ordered to fail, and its guest."""
    service = cheap_service(folder / "store")
    faults = Faults(folder, service.folder)
    service.environment = {**faults.environment, "ARENA_CHECKPOINT_PAGES": PAGES, **environment}
    people = make_people("h", count, HOTP, TURNS + 8)
    newcomers = without_their_pin(make_people("new", count * TURNS, HOTP))
    enrol(service, people)
    enrol(service, newcomers, None)
    service.start()
    return Guest(service, people, newcomers), faults


def calls_of_a_case(guest: Guest, faults: Faults, kinds: int) -> int:
    """How many calls everything takes: the most of some tries, because the log is not moved each time."""
    most = 0
    for _ in range(4):
        faults.watch(kinds)
        guest.try_everything()
        most = max(most, faults.seen())
        guest.next_case()
    return most


def fail(guest: Guest, faults: Faults, failure: int, cases: Sequence[tuple[int, bool]]) -> int:
    """Run the cases: (number of the call that fails, whether those after it do too). How many calls failed."""
    failed = 0
    for number, lasting in cases:
        before = len(guest.service.journal.read_text())
        faults.arm(number, failure, lasting=lasting)
        without = guest.try_everything()
        failed += faults.disarm()
        told = guest.service.journal.read_text()[before:]
        if without and not WHY.search(told):
            guest.wrong.append(f"the journal does not say why: {told}")
        guest.after_the_fault()
        guest.service.hear()
        guest.next_case()
    return failed


def kept(guest: Guest) -> list[str]:
    """What the store does not have of what was said."""
    with read_only(open_store(guest.service.url)) as connection:
        return [*broken_rows(connection), *uncounted(connection, guest.refs)]


@pytest.mark.parametrize("failure", KINDS, ids=errno.errorcode.get)
def test_no_verdict_is_told_that_a_failing_disk_did_not_keep(
    fast_folder: Path, failure: int, count: Callable[[str], None]
) -> None:
    guest, faults = faulty_service(fast_folder, 40 if LONG else 6)
    try:
        most = calls_of_a_case(guest, faults, KINDS[failure])
        cases = [(number, lasting) for number in range(1, most + 1, STEP) for lasting in (False, True)]
        failed = fail(guest, faults, failure, cases)
        assert guest.wrong == []
        assert failed > len(cases) / 2
        assert guest.service.stop() == 0
        guest.service.start()
        guest.try_everything()
        guest.after_the_fault()
        assert guest.wrong == []
        assert kept(guest) == []
    finally:
        guest.service.close()
    said = guest.said
    count(
        f"{errno.errorcode[failure]}, {len(cases)} times, at one of {most} calls or from it on ({failed} calls failed):"
        f" {said[SUCCESS]} successes, none undone; {said[DENIED]} denials, all kept; {said[UNAVAILABLE]} without a verdict, the"
        " cause said"
    )


def test_verdicts_that_do_not_wait_for_the_disk_are_caught(fast_folder: Path, count: Callable[[str], None]) -> None:
    guest, faults = faulty_service(fast_folder, 2, ARENA_HASTY="1")
    cases = [(number, True) for number in range(1, 41, 4)]
    try:
        fail(guest, faults, errno.ENOSPC, cases)
        caught = [*guest.wrong, *kept(guest)]
        assert [one for one in caught if "that opened is not refused" in one or "opened twice" in one]
        assert [one for one in caught if "no row in the audit" in one]
    finally:
        guest.service.close()
    count(
        f"{len(cases)} full disks under an arenad that tells verdicts without their commit: {len(caught)} broken promises found"
    )


@pytest.fixture
def disk(fast_folder: Path) -> Iterator[Path]:
    """A disk of its own, that can be made read-only."""
    with tmpfs(fast_folder / "disk", "8m") as disk:
        yield disk


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


@pytest.fixture
def alice(disk: Path) -> Iterator[Guest]:
    """A guest who used her first code, and whose arenad tells what happens on another disk."""
    service = cheap_service(disk / "store")
    service.journal = disk.with_name("journal")
    people = make_people("alice", 1)
    enrol(service, people)
    service.start()
    guest = Guest(service, people, [])
    assert guest.log_in(guest.person, PIN, guest.fresh()) == SUCCESS
    yield guest
    service.close()


def test_a_read_only_disk_gives_no_verdict_is_named_and_leaves_nothing_behind(disk: Path, alice: Guest) -> None:
    service, one = alice.service, alice.person
    desk = DeskService(service, disk.with_name("desk-journal"))
    desk.get("/status")
    service.kill()  # the store can be read: SQLite's shared memory is there
    desk.process.kill()
    desk.process.wait()
    remount(disk, "ro")
    service.environment["WATCHDOG_USEC"] = "1000000"  # it looks twice in that time
    service.start()
    desk.start()
    assert alice.log_in(one, PIN, one.code(1)) == UNAVAILABLE
    told = service.journal.read_text()
    assert "its disk is mounted read-only" in told
    assert "attempt to write a readonly database" in told
    found = {one["found"]: one["severity"] for one in desk.get("/doctor")["findings"]}
    assert found[f"the store {service.folder}/arena.db cannot be written to: its disk is mounted read-only"] == "problem"
    remount(disk, "rw")
    assert service.process is not None
    assert (service.process.wait(10), desk.process.wait(20)) == (0, 0)  # systemd starts both anew
    service.start()
    desk.start()
    assert alice.log_in(one, PIN, one.code(0)) == DENIED
    assert alice.log_in(one, PIN, one.code(1)) == SUCCESS
    desk.do(f"/holders/{one.serial}/unlock")
    desk.close()


def test_a_read_only_disk_without_shared_memory_is_named_until_it_is_none(disk: Path, alice: Guest) -> None:
    service, one = alice.service, alice.person
    service.stop()
    remount(disk, "ro")
    with pytest.raises(AssertionError, match=r"the store .* unable to open database file"):
        service.start()
    assert service.process is not None
    assert service.process.wait(10) == 1  # systemd tries again, each second
    remount(disk, "rw")
    service.start()
    assert alice.log_in(one, PIN, one.code(0)) == DENIED
    assert alice.log_in(one, PIN, one.code(1)) == SUCCESS
