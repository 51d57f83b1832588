"""A history of one host's clock, at random: what may happen to it, and its holders between.

After each event: no code opened twice (clocks.py), and every step of more than a minute was told, and nothing else. At the
end the clock is right again, and every holder comes in by what they and the desk are told to do.
"""

import random
from collections import Counter
from pathlib import Path

import sqlalchemy as sa
from arenad.store.engine import open_store, read_only
from arenad.store.schema import audit
from attrs import define, field
from clocks import PERIOD, STEP, Fob, Host, Verdict
from crowd import broken_rows, enrol, make_people
from desk_service import DeskService

from pam_arena.otp import Mechanism

PEOPLE = 4
HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
EDGES = (0, 1, -100_000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + YEAR, 2**33, 253402300799 // 30)
TOTP = Mechanism()


@define(eq=False)
class History:
    """One host, its holders, and what was done to its clock."""

    host: Host
    desk: DeskService
    chance: random.Random
    fobs: list[Fob]
    alarms: int = 0  # that must have been raised
    tally: Counter[str] = field(factory=Counter)

    def run(self, events: int) -> None:
        """So many things that happen, most of them logins; then truth again, and everybody is to come in."""
        for _ in range(events):
            self.chance.choice(WHAT_HAPPENS)(self)
            for fob in self.chance.sample(self.fobs, 2):
                self.attempt(fob)
            self.hold()
        self.step_to(self.host.clock.truth)
        for fob in self.fobs:
            self.come_in(fob)
        self.hold()

    def hold(self) -> None:
        """That every step was told, and nothing else was."""
        self.desk.get("/status")  # which leaves when nobody asks for a minute
        assert self.host.alarms == self.alarms, f"{self.host.alarms} alarms for {self.alarms} steps"

    def attempt(self, fob: Fob) -> Verdict:
        """What the display shows, what was typed before, or nonsense."""
        dice = self.chance.random()
        if dice < 0.1:
            verdict = self.host.log_in(fob, pin="9999")
        elif dice < 0.5 and fob.opened:
            # Those of around now first: they would work, were they not used.
            near = sorted(fob.opened, key=lambda step: abs(step * PERIOD - self.host.clock.wall))
            verdict = self.host.log_in(fob, self.chance.choice(near[:3]))
            self.tally["typed again"] += 1
        else:
            verdict = self.host.log_in(fob)
        self.tally["in" if verdict.granted else "out"] += 1
        return verdict

    def step(self, seconds: float) -> None:
        """Set the clock, and wait until arenad has looked."""
        self.host.clock.step(seconds)
        self.host.look()
        self.tally["steps"] += 1
        self.alarms += abs(seconds) > STEP

    def step_to(self, wall: float) -> None:
        """As `step`, to a time. What was not a step by itself may have become one with small ones before it."""
        self.step(-3 * HOUR)
        self.step(wall - self.host.clock.wall)

    def come_in(self, fob: Fob) -> None:
        """A person with key and PIN, whose host is right again, does what they are told until they are in."""
        clock, serial = self.host.clock, fob.person.serial
        self.desk.do(f"/holders/{fob.person.name}/unlock")  # for their own wrong PINs
        for _ in range(4):
            clock.pass_by(PERIOD)
            verdict = self.host.log_in(fob)
            if verdict.granted:
                self.tally["in at the end"] += 1
                return
        why = self.desk.get(f"/why/{verdict.ref}")
        # What was learnt of a key while the clock went away by steps of ten minutes may be out of reach now: a wrong code.
        assert why["reason"] in ("later-code-used", "wrong-code", "drifted", "disabled"), why
        if why["reason"] in ("later-code-used", "wrong-code"):
            assert f"arenactl token resync {serial}" in why["remedy"]
            told = [one["found"] for one in self.desk.get("/doctor")["findings"] if one["thing"] == "clock"]
            clock.pass_by(40 * PERIOD)  # the sysadmin comes
            if why["reason"] == "later-code-used" and not any(serial in one for one in told):
                # Doctor leaves out who used no later code than one that a login may: that time came meanwhile.
                assert self.host.log_in(fob).granted
                self.tally["in at the end"] += 1
                return
            shown = fob.shows(clock)
            answer = self.desk.ask(
                "POST", f"/tokens/{serial}/resync", {"codes": [fob.person.code(shown), fob.person.code(shown + 1)]}
            )
            if answer.is_success:
                clock.pass_by(2 * PERIOD)
                assert self.host.log_in(fob).granted
                self.tally["in after a resync"] += 1
                return
            assert "arenactl code temporary" in answer.json()["error"], answer.text
        (code, *_) = self.desk.do(f"/holders/{fob.person.name}/codes/temporary")["codes"]
        assert self.host.log_in(fob, code=code).granted
        self.tally["in by a temporary code"] += 1


def steps_forward_or_back(history: History) -> None:
    history.step(history.chance.choice((-1, 1)) * history.chance.choice((61, 90, 600, 3 * HOUR, DAY, 30 * DAY, 3 * YEAR)))


def is_set_right(history: History) -> None:
    history.step_to(history.host.clock.truth)


def goes_to_an_edge(history: History) -> None:
    history.step_to(history.chance.choice(EDGES))


def has_a_leap_second(history: History) -> None:
    """One is repeated, or skipped; what follows is small as well, and taken back."""
    for seconds in (-1, 1, 20, -20):
        history.host.clock.step(seconds)
        history.host.look()


def is_slewed(history: History) -> None:
    for _ in range(3):
        history.host.clock.pass_by(10, rate=history.chance.choice((-500e-6, 500e-6)))
        history.host.look()


def sleeps(history: History) -> None:
    history.host.clock.pass_by(history.chance.choice((9 * HOUR, 3 * DAY)))
    history.host.look()


def goes_on(history: History) -> None:
    history.host.clock.pass_by(history.chance.choice((PERIOD, 3 * PERIOD, 20 * PERIOD)))


def starts_anew(history: History) -> None:
    history.host.restart()
    history.alarms += newest(history.host) > history.host.clock.wall + STEP


def starts_without_a_clock(history: History) -> None:
    """A machine whose clock has no battery."""
    history.host.service.stop()
    history.host.clock.start_over()
    history.host.clock.set(history.chance.choice((0, 30)))
    history.alarms += newest(history.host) > history.host.clock.wall + STEP
    history.host.service.start()
    history.step_to(history.host.clock.truth)


WHAT_HAPPENS = (
    *(steps_forward_or_back,) * 2,
    *(is_set_right,) * 3,
    goes_to_an_edge,
    has_a_leap_second,
    is_slewed,
    sleeps,
    *(goes_on,) * 4,
    starts_anew,
    starts_without_a_clock,
)


def newest(host: Host) -> int:
    """The time of the audit's newest row."""
    with read_only(open_store(host.service.url)) as connection:
        found: int | None = connection.execute(sa.select(audit.c.at).order_by(audit.c.id.desc()).limit(1)).scalar()
    return -(2**60) if found is None else found


def people_of(host: Host, count: int) -> list[Fob]:
    """Holders with fobs that are right, a little off, or a phone that shows what the host's clock says."""
    people = make_people("root" if count == 1 else "p", count, TOTP)
    enrol(host.service, people)
    return [Fob(one, ahead=15.0 * (n - 1), follows=bool(n % 2)) for n, one in enumerate(people)]


def one_history(folder: Path, seed: int, events: int, fault: str = "none") -> Counter[str]:
    host = Host(folder, fault=fault)
    desk = DeskService(host.service)
    try:
        history = History(host, desk, random.Random(seed), people_of(host, PEOPLE))
        history.run(events)
        with read_only(open_store(host.service.url)) as connection:
            assert list(broken_rows(connection)) == []
        history.tally["alarms"] = history.alarms
        return history.tally
    finally:
        desk.close()
        host.close()
