"""Holders, strangers, thieves, clocks and restarts at random, against the real session, verifier and store.

Whatever happens: no step opens twice; nothing opens without PIN and fresh code; no origin has more guesses tested than the
throttle allows; and a holder at the console with both gets in. ARENA_MODEL_EXAMPLES=1000 looks longer, and elsewhere
each time.
"""

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any

from arenad.audit import STRANGERS
from arenad.config import Code, Config, Lock, Login, Mail, Pin, Service
from arenad.store.accounts import count_failures
from arenad.store.inventory import (
    NewToken,
    add_holder,
    add_token,
    clear_waits,
    find_holder,
    find_token,
    update_holder,
    update_token,
)
from arenad.store.recovery import add_codes
from arenad.store.schema import CodeKind, State
from house import BEGINNING, CHEAP, House, Talk, make_template
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from person import AUTH_ERR, MAILING, OBSERVED, SUCCESS, UNAVAIL, UNTESTED, Person, Typist, gone, press_on, spell
from reference import CONSOLE, DAY, LOCAL, REMOTE, YEARLY, Fate, Fob, Holder, Recovery, Reference, Typed, Witness
from sqlalchemy.engine import Connection

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import Operation, Option
from pam_arena.secret import Secret
from pam_arena.wire import Start

EXAMPLES = int(os.environ.get("ARENA_MODEL_EXAMPLES", "0"))
FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a store that no disk slows down
FOLDER = tempfile.TemporaryDirectory(prefix="arena-model-", dir=FAST)
PINS = ("2846", "7193", "50382", "918273")
WRONG, EASY = "6042", "1234"
ORIGINS = [(CONSOLE, ""), *((REMOTE, f"192.0.2.{n}") for n in (1, 2, 3)), (LOCAL, "1001"), (LOCAL, "1002")]
SPELLINGS = ("apart", "second", "twice", "first")
SERVICES = {
    "default": Service(deadline=0),
    OBSERVED: Service(deadline=0, mode="observe"),
    MAILING: Service(deadline=0, mail_codes=True),
}
BASE = Config(login=Login(deny_after=0), services=SERVICES, mail=Mail(sender="arena@school.example", domain="school.example"))
STRICT = Lock(after=2, wait=30, wait_max=200, close_after=6, wrong_pin_disables=3)


@lru_cache
def template() -> Path:
    """A store to copy."""
    path = Path(FOLDER.name, "template.db")
    make_template(path)
    return path


def start(name: str, origin: tuple[str, str], service: str = "sshd", joined: bool = False) -> Start:
    """A login as the module reports it."""
    kind, key = origin
    return Start(
        Operation.AUTHENTICATE,
        service,
        name,
        ruser="bob" if kind == LOCAL else "",
        rhost=key if kind == REMOTE else "",
        uid=int(key) if kind == LOCAL else 0,
        options=Option.JOINED if joined else Option.SPLIT,
    )


class Model(RuleBasedStateMachine):
    """The world around the service."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=FOLDER.name))
        self.holders: list[Holder] = []

    @initialize(
        strict=st.booleans(),
        ageing=st.booleans(),
        fobs=st.lists(st.lists(st.sampled_from([60, 30, None]), max_size=3), min_size=1, max_size=2),
        pinned=st.booleans(),
        failed=st.sampled_from([0, 0, 150, 196, 201]),
    )
    def open(self, strict: bool, ageing: bool, fobs: list[list[int | None]], pinned: bool, failed: int) -> None:
        """A store with holders."""
        pin = Pin(history=2, expires=90 * DAY) if ageing else Pin()
        config = Config(
            **{
                **{name: getattr(BASE, name) for name in ("login", "services", "mail")},
                "lock": STRICT if strict else Lock(),
                "code": Code(next_code_after=2 if strict else 3),
                "pin": pin,
            }
        )
        self.house = House(self.folder, template(), config)
        self.reference, self.witness = Reference(config), Witness(config)
        for number, periods in enumerate(fobs):
            self._enrol(f"holder{number}", periods, pinned, failed if number == 0 else 0)

    def _enrol(self, name: str, periods: list[int | None], pinned: bool, failed: int) -> None:
        at, vault = int(BEGINNING), self.house.vault
        made = [
            Fob(f"F{name[-1]}-{n}", hashlib.sha256(f"{name} {n}".encode()).digest()[:20], period)
            for n, period in enumerate(periods)
        ]
        holder = Holder(name, made, new_pin_until=at + 14 * DAY)

        def job(connection: Connection) -> None:
            whose = add_holder(connection, name, at, new_pin_until=at + 14 * DAY)
            for fob in made:
                kind = Kind.TOTP if fob.period else Kind.HOTP
                mechanism = Mechanism(kind, period=fob.period or 60)
                add_token(
                    connection,
                    NewToken(fob.serial, mechanism, vault.seal_seed(Secret(fob.seed), fob.serial, 1)),
                    at,
                    State.ACTIVE,
                    whose,
                )
            if pinned:
                sealed = vault.seal_pin(CHEAP.hash(PINS[0], bytes(16)), name)
                length = vault.seal_pin_length(len(PINS[0]), name)
                update_holder(connection, whose, pin=sealed, pin_length=length, pin_set_at=at, new_pin_until=None)
            if failed:
                count_failures(connection, whose, at - 30 * DAY, failed)

        self.house.do(job)
        if pinned:
            holder.pin, holder.pin_set_at = PINS[0], at
        holder.failures[(at - 30 * DAY) // DAY] += failed
        self.holders.append(holder)

    def teardown(self) -> None:
        if self.holders:
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
        then=st.sampled_from(["right", "right", "right", "late", "same", "wrong", "junk", "gone"]),
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
        holder = self._holder(who)
        typed = self._type(holder, self._pin(holder, pin), code, which, number)
        self._converse(holder, origin, typed, how, joined, service, delay, then)

    @rule(
        who=st.integers(0, 1),
        origin=st.sampled_from(ORIGINS),
        pin=st.sampled_from(["right", "right", "wrong", "none"]),
        code=st.sampled_from(["fresh", "wrong", "recovery"]),
        joined=st.booleans(),
    )
    def ask_for_a_code_by_mail(self, who: int, origin: tuple[str, str], pin: str, code: str, joined: bool) -> None:
        """PIN, then nothing, then whatever is at hand; a code that came by mail is tried later, as any recovery code."""
        holder = self._holder(who)
        typed = self._type(holder, self._pin(holder, pin), code, 0, 1)
        before, at = len(self.house.mails), int(self.house.clock.now())
        self._converse(holder, origin, typed, "apart", joined, MAILING, 0, "gone", mail_pin=typed.pin)
        for order in self.house.mails[before:]:
            holder.recovery[order.code] = Recovery(at + 600)

    @rule(who=st.integers(0, 1), origin=st.sampled_from(ORIGINS), times=st.integers(2, 60), patient=st.booleans())
    def guess(self, who: int, origin: tuple[str, str], times: int, patient: bool) -> None:
        """Somebody who knows the PIN guesses codes, and may have the patience to wait for each try."""
        holder = self._holder(who)
        for _ in range(times):
            wait = holder.wait(holder.bucket(*origin, self.house.clock.now()))
            if patient and not wait.closed:
                self.house.clock.pass_by(max(0.0, wait.until - self.house.clock.now()))
            self._converse(holder, origin, self._type(holder, self._pin(holder, "right"), "wrong", 0, 5))
            if self.reference.waits(wait, self.house.clock.now()) and (wait.closed or not patient):
                break  # more of the same changes nothing

    @rule(who=st.integers(0, 1), which=st.integers(0, 2), origin=st.sampled_from(ORIGINS), times=st.integers(1, 12))
    def steal_a_key_and_guess_its_pin(self, who: int, which: int, origin: tuple[str, str], times: int) -> None:
        """Right codes, one after another, with wrong PINs, as fast as the throttle lets them."""
        holder = self._holder(who)
        for _ in range(times):
            wait = holder.wait(holder.bucket(*origin, self.house.clock.now()))
            self.house.clock.pass_by(max(0.0, wait.until - self.house.clock.now()))
            self._converse(holder, origin, self._type(holder, WRONG, "fresh", which, 0))

    @rule(
        names=st.lists(st.text(min_size=1, max_size=8).filter(lambda name: "\0" not in name), min_size=1, max_size=5),
        origin=st.sampled_from(ORIGINS),
    )
    def try_names_of_nobody(self, names: list[str], origin: tuple[str, str]) -> None:
        """Made-up names, and what a person may type at `login:` by mistake."""
        for name in names:
            begun = start(f"~{name}", origin)
            (talk,) = self.house.run(self.house.converse(begun, lambda text: PINS[0] if text.startswith("PIN") else "123456"))
            assert talk.code == AUTH_ERR

    @rule(who=st.integers(0, 1), which=st.integers(0, 2), origin=st.sampled_from(ORIGINS), times=st.integers(2, 8))
    def type_one_code_many_times_at_once(self, who: int, which: int, origin: tuple[str, str], times: int) -> None:
        """Parallel sessions with one passcode: one of them at most gets anywhere."""
        holder = self._holder(who)
        at = self.house.clock.now()
        if self.reference.wants_next(holder, holder.wait(holder.bucket(*origin, at)), at):
            return
        typed = self._type(holder, holder.pin or "", "fresh", which, 0)
        at = self.house.clock.now()
        answers = {"PIN (first login: leave empty): ": typed.pin, "Passcode (the code on your key): ": typed.code}
        with self._witnessing(holder, origin, typed.fob):
            talks = self.house.run(*(self.house.converse(start(holder.name, origin), answers.get) for _ in range(times)))
        fates = [self.reference.passcode(holder, origin, typed, at, at)[0] for _ in range(times)]
        comes_in = None if self.reference.expired(holder, at) else SUCCESS
        expected = {Fate.OUT: AUTH_ERR, Fate.IN: comes_in, Fate.CHOOSE: None, Fate.NEXT: None}
        assert sorted(map(str, (talk.code for talk in talks))) == sorted(str(expected[fate]) for fate in fates)
        assert sum(fate is not Fate.OUT for fate in fates) <= 1

    @rule(who=st.integers(0, 1), strangers=st.sampled_from([0, 0, 40]), joined=st.booleans())
    def the_holder_gets_in_at_the_console(self, who: int, strangers: int, joined: bool) -> None:
        """Whatever happened, and however many guess at the same moment: PIN and fresh code open, with the next one if wanted."""
        holder = self._holder(who)
        wait, clock = holder.wait((CONSOLE, "")), self.house.clock
        clock.pass_by(max(0.0, wait.until - clock.now() + 1))  # for what was typed at the console itself
        fobs = [number for number, fob in enumerate(holder.fobs) if self._works(fob)]
        if wait.closed or not fobs or (holder.pin is None and clock.now() + 3600 >= holder.new_pin_until):
            return
        typed = self._type(holder, holder.pin or "", "fresh", fobs[0], 0)
        if typed.fob is None:
            return  # two steps have the same code
        if YEARLY - strangers < holder.year(clock.now()) <= YEARLY:
            strangers = 0  # whether the next code is wanted would depend on who comes first
        with self._flood(holder, strangers) as crowd:
            code, others = self._converse(holder, (CONSOLE, ""), typed, "apart", joined, crowd=crowd)
        assert code == SUCCESS
        assert set(others) <= {AUTH_ERR, UNAVAIL}

    # What becomes of the house and the tokens

    @rule(seconds=st.sampled_from([1, 29, 61, 300, 901, 3600, DAY, 31 * DAY, 100 * DAY, 366 * DAY]))
    def let_time_go_by(self, seconds: int) -> None:
        self.house.clock.pass_by(seconds)

    @rule(seconds=st.integers(1, 90))
    def set_the_clock_back(self, seconds: int) -> None:
        self.house.clock.set_back(seconds)

    @rule()
    def restart(self) -> None:
        self.house.restart()

    @rule(who=st.integers(0, 1), which=st.integers(0, 2), seconds=st.integers(-150, 150), presses=st.integers(1, 12))
    def let_a_token_drift(self, who: int, which: int, seconds: int, presses: int) -> None:
        """A token's quartz is no atomic clock, and its button is pressed in a pocket."""
        for fob in self._holder(who).fobs[which : which + 1]:
            fob.skew += seconds if fob.period else 0
            fob.pressed += 0 if fob.period else presses

    @rule(
        who=st.integers(0, 1),
        what=st.sampled_from(["unlock", "enable", "disable", "reset", "codes", "lapse"]),
        which=st.integers(0, 2),
    )
    def ask_the_desk(self, who: int, what: str, which: int) -> None:
        """What the desk does to a holder, by the store's own functions."""
        holder, at = self._holder(who), int(self.house.clock.now())
        self.house.do(lambda connection: self._desk(connection, holder, what, which, at))

    # What must hold between any two of these

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        at = self.house.clock.now()
        for holder in self.holders:
            counted = self.house.look(
                "SELECT count FROM failure f JOIN holder h ON h.id = holder_id WHERE name = ?", holder.name
            )
            assert sum(row[0] for row in counted) >= holder.year(at)
            rows = self.house.look(
                "SELECT kind, key, failures, wait_until, closed FROM origin JOIN holder h ON h.id = holder_id"
                " WHERE name = ? AND failures > 0",
                holder.name,
            )
            waits = {(*key, one.failures, one.until, int(one.closed)) for key, one in holder.waits.items() if one.failures}
            assert set(rows) == waits, self.house.look(
                "SELECT at, event, outcome, reason, address, actor FROM audit ORDER BY id DESC LIMIT 9"
            )
            states = self.house.look(
                "SELECT serial, state = 'active', last_step FROM token JOIN holder h ON h.id = holder_id WHERE name = ?",
                holder.name,
            )
            assert set(states) == {(fob.serial, int(fob.active), fob.floor) for fob in holder.fobs}

    @invariant()
    def names_of_nobody_fill_no_table(self) -> None:
        assert self.house.look("SELECT count(*) FROM stranger")[0][0] <= STRANGERS
        assert self.house.look("SELECT count(*) FROM origin WHERE holder_id = 0")[0][0] <= 3
        assert self.house.look("SELECT count(*) FROM failure WHERE holder_id = 0")[0][0] <= 366
        assert self.house.look("SELECT count(*) FROM recovery WHERE holder_id = 0")[0][0] <= 1
        assert not self.house.look("SELECT 1 FROM audit WHERE holder LIKE '~%'")

    # How it is done

    def _holder(self, who: int) -> Holder:
        return self.holders[who % len(self.holders)]

    def _pin(self, holder: Holder, kind: str) -> str:
        return {"right": holder.pin or "", "wrong": WRONG, "none": "", "odd": "12ab"}[kind]

    def _works(self, fob: Fob) -> bool:
        """Whether the next code that nobody typed will be within reach."""
        shown = max(fob.shows(self.house.clock.now()), fob.floor + 1)
        off = fob.shows(self.house.clock.now()) - fob.expected(self.house.clock.now())
        return fob.active and (abs(off) < 9 if fob.period is not None else shown - fob.floor <= 9)

    def _type(self, holder: Holder, pin: str, kind: str, which: int, number: int) -> Typed:
        """A passcode, and what it is in truth. A code that two steps have in common is not used."""
        well_formed = pin.isdigit() or not pin
        codes = list(holder.recovery)
        if kind == "recovery" and codes:
            return Typed(pin, codes[number % len(codes)], recovery=True, well_formed=well_formed)
        if kind in ("recovery", "wrong-recovery"):
            return Typed(pin, "ABCDE-12345", recovery=True, well_formed=well_formed)
        if kind == "junk":
            return Typed(pin, "\b\n\r\x7fINCORRECT", well_formed=False)
        if kind != "wrong" and holder.fobs:
            fob = holder.fobs[which % len(holder.fobs)]
            if kind == "fresh":
                press_on(fob, fob.floor + 1, self.house)
            step = fob.shows(self.house.clock.now()) + (number if kind == "off" else 0)
            if step >= 0 and self._meanings(holder, fob.code(step)) <= {(fob, step)}:
                return Typed(pin, fob.code(step), fob, step, well_formed=well_formed)
        guesses = (f"{(abs(number) * 7919 + n) % 10**6:06}" for n in range(100))
        return Typed(pin, next(guess for guess in guesses if not self._meanings(holder, guess)), well_formed=well_formed)

    def _meanings(self, holder: Holder, code: str) -> set[tuple[Fob, int]]:
        """The steps around now, of any of the holder's tokens, that have this code."""
        now = self.house.clock.now()
        return {
            (fob, step)
            for fob in holder.fobs
            for step in range(fob.expected(now) - 40, fob.expected(now) + 40)
            if step >= 0 and fob.code(step) == code
        }

    def _next_code(self, then: str) -> Typist:
        """What is typed where the next code is wanted."""

        def typist(person: Person) -> Typed | None:
            assert person.pending is not None
            fob, step = person.pending.fob, person.pending.step + {"right": 1, "late": 2}.get(then, 0)
            if then in ("wrong", "junk"):
                return self._type(person.holder, "", then, 0, 3)
            press_on(fob, step, self.house)
            return (
                Typed("", fob.code(step), fob, step) if self._meanings(person.holder, fob.code(step)) <= {(fob, step)} else None
            )

        return gone if then == "gone" else typist

    def _new_code(self, then: str, which: int) -> Typist:
        """What is typed where PIN + new code is wanted."""
        pins = {"wrong": WRONG}

        def typist(person: Person) -> Typed | None:
            kind = "shown" if then == "same" else "fresh"
            return self._type(person.holder, pins.get(then, person.choice), kind, which, 0)

        return gone if then == "gone" else typist

    def _converse(
        self,
        holder: Holder,
        origin: tuple[str, str],
        typed: Typed,
        how: str = "apart",
        joined: bool = False,
        service: str = "sshd",
        delay: float = 0,
        then: str = "right",
        mail_pin: str | None = None,
        crowd: Sequence[Coroutine[Any, Any, Talk]] = (),
    ) -> tuple[int | None, list[int | None]]:
        """Hold one login, and others beside it; returns PAM's codes."""
        first, second = spell(typed.pin, typed.code, how)
        which = holder.fobs.index(typed.fob) if typed.fob is not None else 0
        person = Person(
            self.house,
            self.reference,
            self.witness,
            holder,
            origin,
            typed,
            first,
            second,
            delay,
            service,
            self._next_code(then),
            self._new_code(then, which),
            cycle((EASY, *PINS)),
            mail_pin,
        )
        login = self.house.converse(start(holder.name, origin, service, joined), person.answer)
        talk, *others = self.house.run(login, *crowd)
        person.end(talk.code, talk.said)
        return talk.code, [other.code for other in others]

    @contextmanager
    def _flood(self, holder: Holder, strangers: int) -> Iterator[list[Coroutine[Any, Any, Talk]]]:
        """So many wrong guesses from elsewhere; how many were tested is read from the store, because some came too many."""
        origin, guess = (REMOTE, "198.51.100.9"), self._type(holder, WRONG, "wrong", 0, 1)
        answers = {"PIN (first login: leave empty): ": guess.pin, "Passcode (the code on your key): ": guess.code}
        with self._witnessing(holder, origin):
            yield [self.house.converse(start(holder.name, origin), answers.get) for _ in range(strangers)]
        if not strangers:
            return
        query = "FROM {} JOIN holder h ON h.id = holder_id WHERE name = ?"
        rows = self.house.look(
            f"SELECT failures, wait_until, closed {query.format('origin')} AND kind = 'remote' AND key = ''", holder.name
        )
        wait = holder.wait((REMOTE, ""))
        wait.failures, wait.until, wait.closed = rows[0][0], rows[0][1], bool(rows[0][2])
        holder.failures = Counter(dict(self.house.look(f"SELECT day, count {query.format('failure')}", holder.name)))

    @contextmanager
    def _witnessing(self, holder: Holder, origin: tuple[str, str], fob: Fob | None = None) -> Iterator[None]:
        """Tell the witness what the audit notes meanwhile of this origin."""
        bucket, address = holder.bucket(*origin, self.house.clock.now()), origin[1] if origin[0] == REMOTE else ""
        ((before,),) = self.house.look("SELECT coalesce(max(id), 0) FROM audit")
        yield
        query = "SELECT at, outcome, reason FROM audit WHERE id > ? AND address = ? ORDER BY id"
        for at, outcome, reason in self.house.look(query, before, address):
            if reason not in UNTESTED:
                self.witness.tested(holder.name, bucket, at, outcome == "denied")
            if outcome == "granted":
                self.witness.forgive(holder.name, bucket, fob)
                bucket = origin  # an address that opened the door is one of its own
                self.witness.forgive(holder.name, bucket)

    def _desk(self, connection: Connection, holder: Holder, what: str, which: int, at: int) -> None:
        whose = find_holder(connection, holder.name).id
        fobs = holder.fobs[which : which + 1]
        if what == "unlock":
            clear_waits(connection, whose)
            for wait in holder.waits.values():
                wait.failures, wait.until, wait.closed = 0, 0, False
            self.witness.unlock(holder)
        elif what in ("enable", "disable"):
            for fob in fobs:
                fob.active = what == "enable"
                fob.wrong_pins = 0 if fob.active else fob.wrong_pins
                state = State.ACTIVE if fob.active else State.DISABLED
                update_token(connection, find_token(connection, fob.serial).id, state=state.value, wrong_pins=fob.wrong_pins)
                if fob.active:
                    self.witness.forgive(holder.name, None, fob)
        elif what == "codes":
            code = f"7{at % 1000:04}-{len(holder.recovery):05}"
            add_codes(connection, whose, CodeKind.TEMPORARY, [self.house.vault.digest_code(code, holder.name)], at, at + DAY)
            holder.recovery[code] = Recovery(at + DAY)
        else:
            holder.new_pin_until = at + (14 * DAY if what == "reset" else -1)
            update_holder(connection, whose, pin=None, pin_set_at=None, new_pin_until=holder.new_pin_until)
            holder.pin = None


Model.TestCase.settings = settings(
    max_examples=EXAMPLES or 60,
    stateful_step_count=30,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[p for p in Phase if p is not Phase.shrink],
)
TestModel = Model.TestCase
