"""The world around the service: holders with fobs, what they type, what the desk does; and the model of all of it."""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any

from arenad.config import Config
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
from person import UNTESTED, Person, Typist, gone, press_on, spell, start
from reference import DAY, REMOTE, Fob, Holder, Recovery, Reference, Typed, Witness
from sqlalchemy.engine import Connection

from pam_arena.otp import Kind, Mechanism
from pam_arena.secret import Secret

FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a store that no disk slows down
FOLDER = tempfile.TemporaryDirectory(prefix="arena-model-", dir=FAST)
PINS = ("2846", "7193", "50382", "918273")
WRONG, EASY = "6042", "1234"


@lru_cache
def template() -> Path:
    """A store to copy."""
    path = Path(FOLDER.name, "template.db")
    make_template(path)
    return path


class World:
    """What a state machine acts on."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.house = House(folder, template(), config)
        self.reference, self.witness = Reference(config), Witness(config)
        self.holders: list[Holder] = []

    def enrol(self, name: str, periods: list[int | None], pinned: bool, failed: int) -> None:
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

    def holder(self, who: int) -> Holder:
        return self.holders[who % len(self.holders)]

    def pin(self, holder: Holder, kind: str) -> str:
        return {"right": holder.pin or "", "wrong": WRONG, "none": "", "odd": "12ab"}[kind]

    def works(self, fob: Fob) -> bool:
        """Whether the next code that nobody typed will be within reach."""
        shown = max(fob.shows(self.house.clock.now()), fob.floor + 1)
        off = fob.shows(self.house.clock.now()) - fob.expected(self.house.clock.now())
        return fob.active and (abs(off) < 9 if fob.period is not None else shown - fob.floor <= 9)

    def passcode(self, holder: Holder, pin: str, kind: str, which: int, number: int) -> Typed:
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
            fob, step = (
                person.pending.fob,
                {"late": person.pending.wanted + 1, "again": person.pending.step}.get(then, person.pending.wanted),
            )
            if then in ("wrong", "junk"):
                return self.passcode(person.holder, "", then, 0, 3)
            press_on(fob, step, self.house)
            if then == "reset":
                at = int(self.house.clock.now())
                self.house.do(lambda connection: self.desk(connection, person.holder, "reset", 0, at))
            return (
                Typed("", fob.code(step), fob, step) if self._meanings(person.holder, fob.code(step)) <= {(fob, step)} else None
            )

        return gone if then == "gone" else typist

    def _new_code(self, then: str, which: int) -> Typist:
        """What is typed where PIN + new code is wanted."""
        pins = {"wrong": WRONG}

        def typist(person: Person) -> Typed | None:
            kind = "shown" if then == "same" else "fresh"
            return self.passcode(person.holder, pins.get(then, person.choice), kind, which, 0)

        return gone if then == "gone" else typist

    def converse(
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
            then == "overtaken",
        )
        login = self.house.converse(start(holder.name, origin, service, joined), person.answer)
        talk, *others = self.house.run(login, *crowd)
        person.end(talk.code, talk.said)
        return talk.code, [other.code for other in others]

    @contextmanager
    def flood(self, holder: Holder, strangers: int) -> Iterator[list[Coroutine[Any, Any, Talk]]]:
        """So many wrong guesses from elsewhere; how many were tested is read from the store, because some came too many."""
        origin, guess = (REMOTE, "198.51.100.9"), self.passcode(holder, WRONG, "wrong", 0, 1)
        answers = {"PIN (first login: leave empty): ": guess.pin, "Passcode (the code on your key): ": guess.code}
        with self.witnessing(holder, origin):
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
    def witnessing(self, holder: Holder, origin: tuple[str, str], fob: Fob | None = None) -> Iterator[None]:
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

    def desk(self, connection: Connection, holder: Holder, what: str, which: int, at: int) -> None:
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
                update_token(
                    connection,
                    find_token(connection, fob.serial, int(self.house.clock.now())).id,
                    state=state.value,
                    wrong_pins=fob.wrong_pins,
                )
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
