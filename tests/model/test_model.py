"""Holders, strangers, thieves, clocks and restarts at random, against the real session, verifier and store.

Whatever happens: no step opens twice; nothing opens without PIN and fresh code; no origin has more guesses tested than the
throttle allows; and a holder at the console with both gets in. ARENA_MODEL_EXAMPLES=1000 looks longer,
elsewhere each time, and makes what it finds short.
"""

import os
import shutil
import tempfile
from pathlib import Path

from arenad.audit import STRANGERS
from arenad.config import Code, Config, Lock, Login, Mail, Pin, Service
from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from person import AUTH_ERR, MAILING, OBSERVED, SUCCESS, UNAVAIL, start
from reference import CONSOLE, DAY, LOCAL, REMOTE, YEAR, YEARLY, Fate, Recovery
from world import FOLDER, WRONG, World

EXAMPLES = int(os.environ.get("ARENA_MODEL_EXAMPLES", "0"))
ORIGINS = [(CONSOLE, ""), *((REMOTE, f"192.0.2.{n}") for n in (1, 2, 3)), (LOCAL, "1001"), (LOCAL, "1002")]
OWNED = ([60], [30], [None], [60, 60], [60, 30, None], [])  # periods of a holder's tokens, in seconds; None: HOTP
SPELLINGS = ("apart", "second", "twice", "first")
SERVICES = {
    "default": Service(deadline=0),
    OBSERVED: Service(deadline=0, mode="observe"),
    MAILING: Service(deadline=0, mail_codes=True),
}
BASE = Config(login=Login(deny_after=0), services=SERVICES, mail=Mail(sender="arena@school.example", domain="school.example"))
STRICT = Lock(after=2, wait=30, wait_max=200, close_after=6, wrong_pin_disables=3)


class Model(RuleBasedStateMachine):
    """What may happen, and what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=FOLDER.name))

    @initialize(
        strict=st.booleans(),
        ageing=st.booleans(),
        fobs=st.lists(st.sampled_from(OWNED), min_size=1, max_size=2),
        pinned=st.booleans(),
        failed=st.sampled_from([0, 0, 150, 196, 201]),
    )
    def open(self, strict: bool, ageing: bool, fobs: list[list[int | None]], pinned: bool, failed: int) -> None:
        """A store with holders."""
        config = evolve(
            BASE,
            lock=STRICT if strict else Lock(),
            code=Code(next_code_after=2 if strict else 3),
            pin=Pin(history=2, expires=90 * DAY) if ageing else Pin(),
        )
        self.world = World(self.folder, config)
        self.house, self.clock = self.world.house, self.world.house.clock
        for number, periods in enumerate(fobs):
            self.world.enrol(f"holder{number}", periods, pinned, failed if number == 0 else 0)

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.house.close()
        shutil.rmtree(self.folder)

    # What people do

    @rule(
        who=st.integers(0, 1),
        origin=st.sampled_from(ORIGINS),
        pin=st.sampled_from(["right", "right", "right", "wrong", "none", "odd"]),
        code=st.sampled_from(["fresh", "fresh", "shown", "off", "wrong", "recovery", "wrong-recovery", "junk"]),
        which=st.integers(0, 2),
        number=st.integers(-13, 13),
        delay=st.sampled_from([0, 0, 20, 100]),
        how=st.sampled_from(SPELLINGS),
        then=st.sampled_from(["right", "right", "overtaken", "reset", "late", "same", "wrong", "junk", "gone"]),
        joined=st.booleans(),
        service=st.sampled_from(["sshd", "sshd", OBSERVED]),
    )
    def log_in(
        self,
        who: int,
        origin: tuple[str, str],
        pin: str,
        code: str,
        which: int,
        number: int,
        delay: int,
        how: str,
        then: str,
        joined: bool,
        service: str,
    ) -> None:
        """Anybody types anything."""
        holder = self.world.holder(who)
        typed = self.world.passcode(holder, self.world.pin(holder, pin), code, which, number)
        self.world.converse(holder, origin, typed, how, joined, service, delay, then)

    @rule(
        who=st.integers(0, 1),
        origin=st.sampled_from(ORIGINS),
        pin=st.sampled_from(["right", "right", "wrong", "none"]),
        code=st.sampled_from(["fresh", "wrong", "recovery"]),
        joined=st.booleans(),
    )
    def ask_for_a_code_by_mail(self, who: int, origin: tuple[str, str], pin: str, code: str, joined: bool) -> None:
        """PIN, then nothing, then whatever is at hand; a code that came by mail is tried later, as any recovery code."""
        holder = self.world.holder(who)
        typed = self.world.passcode(holder, self.world.pin(holder, pin), code, 0, 1)
        before, at = len(self.house.mails), int(self.clock.now())
        self.world.converse(holder, origin, typed, "apart", joined, MAILING, 0, "gone", mail_pin=typed.pin)
        for order in self.house.mails[before:]:
            holder.recovery[order.code] = Recovery(at + 600)

    @rule(who=st.integers(0, 1), origin=st.sampled_from(ORIGINS), times=st.integers(2, 60), patient=st.booleans())
    def guess(self, who: int, origin: tuple[str, str], times: int, patient: bool) -> None:
        """Somebody who knows the PIN guesses codes, and may have the patience to wait for each try."""
        holder = self.world.holder(who)
        for _ in range(times):
            wait = holder.wait(holder.bucket(*origin, self.clock.now()))
            if patient and not wait.closed:
                self.clock.pass_by(max(0.0, wait.until - self.clock.now()))
            self.world.converse(holder, origin, self.world.passcode(holder, self.world.pin(holder, "right"), "wrong", 0, 5))
            if self.world.reference.waits(wait, self.clock.now()) and (wait.closed or not patient):
                break  # more of the same changes nothing

    @rule(who=st.integers(0, 1), which=st.integers(0, 2), origin=st.sampled_from(ORIGINS), times=st.integers(1, 12))
    def steal_a_key_and_guess_its_pin(self, who: int, which: int, origin: tuple[str, str], times: int) -> None:
        """Right codes, one after another, with wrong PINs, as fast as the throttle lets them."""
        holder = self.world.holder(who)
        for _ in range(times):
            wait = holder.wait(holder.bucket(*origin, self.clock.now()))
            self.clock.pass_by(max(0.0, wait.until - self.clock.now()))
            self.world.converse(holder, origin, self.world.passcode(holder, WRONG, "fresh", which, 0))

    @rule(
        names=st.lists(st.text(min_size=1, max_size=8).filter(lambda name: "\0" not in name), min_size=1, max_size=5),
        origin=st.sampled_from(ORIGINS),
    )
    def try_names_of_nobody(self, names: list[str], origin: tuple[str, str]) -> None:
        """Made-up names, and what a person may type at `login:` by mistake."""
        for name in names:
            login = self.house.converse(start(f"~{name}", origin), lambda text: "" if text.startswith("PIN") else "123456")
            assert self.house.run(login)[0].code == AUTH_ERR

    @rule(who=st.integers(0, 1), which=st.integers(0, 2), origin=st.sampled_from(ORIGINS), times=st.integers(2, 8))
    def type_one_code_many_times_at_once(self, who: int, which: int, origin: tuple[str, str], times: int) -> None:
        """Parallel sessions with one passcode: one of them at most gets anywhere."""
        holder = self.world.holder(who)
        at = self.clock.now()
        if self.world.reference.wants_next(holder, holder.wait(holder.bucket(*origin, at)), at):
            return
        typed = self.world.passcode(holder, holder.pin or "", "fresh", which, 0)
        at = self.clock.now()
        answers = {"PIN (first login: leave empty): ": typed.pin, "Passcode (the code on your key): ": typed.code}
        with self.world.witnessing(holder, origin, typed.fob):
            logins = [self.house.converse(start(holder.name, origin), answers.get) for _ in range(times)]
            talks = self.house.run(*logins)
        fates = [self.world.reference.passcode(holder, origin, typed, at, at)[0] for _ in range(times)]
        comes_in = None if self.world.reference.expired(holder, at) else SUCCESS
        expected = {Fate.OUT: AUTH_ERR, Fate.IN: comes_in, Fate.CHOOSE: None, Fate.NEXT: None}
        assert sorted(map(str, (talk.code for talk in talks))) == sorted(str(expected[fate]) for fate in fates)
        assert sum(fate is not Fate.OUT for fate in fates) <= 1

    @rule(who=st.integers(0, 1), strangers=st.sampled_from([0, 0, 40]), joined=st.booleans())
    def the_holder_gets_in_at_the_console(self, who: int, strangers: int, joined: bool) -> None:
        """Whatever happened, and however many guess at this moment: PIN and fresh code open, with the next one if wanted."""
        holder = self.world.holder(who)
        wait, clock = holder.wait((CONSOLE, "")), self.clock
        clock.pass_by(max(0.0, wait.until - clock.now() + 1))  # for what was typed at the console itself
        fobs = [number for number, fob in enumerate(holder.fobs) if self.world.works(fob)]
        if wait.closed or not fobs or (holder.pin is None and clock.now() + 3600 >= holder.new_pin_until):
            return
        typed = self.world.passcode(holder, holder.pin or "", "fresh", fobs[0], 0)
        if typed.fob is None:
            return  # two steps have the same code
        if YEARLY - strangers < holder.year(clock.now()) <= YEARLY:
            strangers = 0  # whether the next code is wanted would depend on who comes first
        with self.world.flood(holder, strangers) as crowd:
            code, others = self.world.converse(holder, (CONSOLE, ""), typed, "apart", joined, crowd=crowd)
        assert code == SUCCESS
        assert set(others) <= {AUTH_ERR, UNAVAIL}

    # What becomes of the house and the tokens

    @rule(seconds=st.sampled_from([1, 29, 61, 300, 901, 3600, DAY, 31 * DAY, 100 * DAY, 366 * DAY]))
    def let_time_go_by(self, seconds: int) -> None:
        self.clock.pass_by(seconds)

    @rule(seconds=st.integers(1, 90))
    def set_the_clock_back(self, seconds: int) -> None:
        self.clock.set_back(seconds)

    @rule()
    def restart(self) -> None:
        self.house.restart()

    @rule(who=st.integers(0, 1), which=st.integers(0, 2), seconds=st.integers(-150, 150), presses=st.integers(1, 12))
    def let_a_token_drift(self, who: int, which: int, seconds: int, presses: int) -> None:
        """A token's quartz is no atomic clock, and its button is pressed in a pocket."""
        for fob in self.world.holder(who).fobs[which : which + 1]:
            fob.skew += seconds if fob.period else 0
            fob.pressed += 0 if fob.period else presses

    @rule(
        who=st.integers(0, 1),
        what=st.sampled_from(["unlock", "enable", "disable", "reset", "codes", "lapse"]),
        which=st.integers(0, 2),
    )
    def ask_the_desk(self, who: int, what: str, which: int) -> None:
        """What the desk does to a holder, by the store's own functions."""
        holder, at = self.world.holder(who), int(self.clock.now())
        self.house.do(lambda connection: self.world.desk(connection, holder, what, which, at))

    # What must hold between any two of these

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        at = self.clock.now()
        for holder in self.world.holders:
            name, mine = holder.name, "JOIN holder h ON h.id = holder_id WHERE name = ?"
            ((failures,),) = self.house.look(
                f"SELECT total(count) FROM failure {mine} AND day > ?", name, int(at) // DAY - YEAR
            )
            assert failures == holder.year(at)
            rows = self.house.look(f"SELECT kind, key, failures, wait_until, closed FROM origin {mine} AND failures > 0", name)
            waits = {(*key, one.failures, one.until, int(one.closed)) for key, one in holder.waits.items() if one.failures}
            assert set(rows) == waits, self.house.look("SELECT * FROM audit ORDER BY id DESC LIMIT 9")
            tokens = self.house.look(f"SELECT serial, state = 'active', last_step, drift, wrong_pins FROM token {mine}", name)
            assert set(tokens) == {(fob.serial, int(fob.active), fob.floor, fob.learnt, fob.wrong_pins) for fob in holder.fobs}

    @invariant()
    def names_of_nobody_fill_no_table(self) -> None:
        assert self.house.look("SELECT count(*) FROM stranger")[0][0] <= STRANGERS
        assert self.house.look("SELECT count(*) FROM origin WHERE holder_id = 0")[0][0] <= 3
        assert self.house.look("SELECT count(*) FROM failure WHERE holder_id = 0")[0][0] <= 366
        assert self.house.look("SELECT count(*) FROM recovery WHERE holder_id = 0")[0][0] <= 1
        assert not self.house.look("SELECT 1 FROM audit WHERE holder LIKE '~%'")


Model.TestCase.settings = settings(
    max_examples=EXAMPLES or 300,
    stateful_step_count=30,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],  # which may take minutes
)
TestModel = Model.TestCase
