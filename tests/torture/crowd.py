"""Holders by the hundred with cheap PINs, and what must hold of the store after any accident.

Two statements: no code whose success was sent works again, and every denial that was sent is counted, with its row in the
audit. Beside them: SQLite finds nothing to complain of, and the audit's chain is whole.
"""

import hashlib
import hmac
import os
import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa
from arena import Service
from arenad.audit import _COLUMNS, Reason, chain
from arenad.login.judge import NOT_COUNTED
from arenad.store.audits import read_anchor
from arenad.store.engine import make_engine
from arenad.store.inventory import NewToken, add_holder, add_token, update_holder
from arenad.store.recovery import add_codes
from arenad.store.schema import CodeKind, State, audit, failure, holder, stranger
from arenad.vault import Vault
from attrs import define, field

from pam_arena.otp import Kind, Mechanism
from pam_arena.pin import Hasher
from pam_arena.recovery import make
from pam_arena.secret import Secret

LONG = bool(os.environ.get("ARENA_LONG"))  # `make torture`
PIN = "2846"
CHEAP = Hasher(time_cost=1, memory_kib=8)
AGES = 10**9  # seconds: a display that does not change while the longest test runs
HOTP, TOTP = Mechanism(Kind.HOTP), Mechanism(Kind.TOTP, period=AGES)
LAUNCHER = str(Path(__file__).with_name("cheap_arenad.py"))
# Nobody waits and nobody is asked for a second code, so that every attempt is looked at and counted.
PATIENT = '[login]\ndeny_after = "0"\n[lock]\nafter = 100\nclose_after = 10000\n[code]\nnext_code_after = 1000\n'
REF = re.compile(r"\(ref ([0-9A-Z]{8})\)")


def cheap_service(folder: Path, extra: str = PATIENT, ballast: int = 0) -> Service:
    """An arenad, not started yet, in which argon2id costs next to nothing."""
    folder.mkdir(exist_ok=True)
    service = Service(folder, extra, ballast)
    service.program = (LAUNCHER,)
    return service


@define(eq=False)
class Person:
    """A holder with a PIN, a token, and recovery codes in the drawer."""

    name: str
    mechanism: Mechanism
    seed: bytes
    emergency: list[str] = field(factory=list)
    _steps: dict[str, int] = field(factory=dict, init=False)

    @property
    def serial(self) -> str:
        return f"K-{self.name}"

    def code(self, step: int) -> str:
        """RFC 4226 section 5.3, with SHA-1 and 6 digits: not by arenad's own generator."""
        digest = hmac.digest(self.seed, struct.pack(">Q", step), hashlib.sha1)
        number: int = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
        return f"{number % 10**6:06}"

    def steps(self, count: int) -> list[int]:
        """So many steps whose codes work, one after another; of a TOTP token, three at most."""
        first = 0 if self.mechanism.kind is Kind.HOTP else int(time.time()) // self.mechanism.period - 1
        return list(range(first, first + count))

    def step_of(self, typed: str) -> int | None:
        """The step of what was typed, with the PIN before it or without; None if it is no code of this token."""
        if not self._steps:
            self._steps = {self.code(step): step for step in range(200)}
        return self._steps.get(typed.removeprefix(PIN) if len(typed) > 6 else typed)

    def wrong_code(self) -> str:
        """A code that is none of this token's, of all that are ever looked at."""
        shown = {self.code(step) for step in range(400)}
        return next(code for code in (f"{n:06}" for n in range(10**6)) if code not in shown)


def make_people(prefix: str, count: int, mechanism: Mechanism = HOTP, emergency: int = 0) -> list[Person]:
    """Holders whose codes, as far as any test goes, all differ."""
    people = []
    while len(people) < count:
        one = Person(f"{prefix}{len(people)}", mechanism, os.urandom(20), [make() for _ in range(emergency)])
        codes = [one.code(step) for step in range(200)]
        if len(set(codes)) == len(codes):
            people.append(one)
    return people


def enrol(service: Service, people: Sequence[Person], hasher: Hasher | None = CHEAP) -> None:
    """Put holders into the store, through its own functions, in one transaction; without a hasher they have no PIN yet."""
    vault, now = Vault(Secret(service.key)), int(time.time())
    with make_engine(service.url).begin() as connection:
        for one in people:
            whose = add_holder(connection, one.name, now, new_pin_until=now + 86400)
            if hasher is not None:
                sealed = vault.seal_pin(hasher.hash(PIN, os.urandom(16)), one.name)
                length = vault.seal_pin_length(len(PIN), one.name)
                update_holder(connection, whose, pin=sealed, pin_length=length, pin_set_at=now, new_pin_until=None)
            seed = vault.seal_seed(Secret(one.seed), one.serial, 1)
            add_token(connection, NewToken(one.serial, one.mechanism, seed), now, State.ACTIVE, whose)
            digests = [vault.digest_code(code, one.name) for code in one.emergency]
            if digests:
                add_codes(connection, whose, CodeKind.EMERGENCY, digests, now, None)


def run_together(run: Callable[[int], None], count: int) -> None:
    """Call it with each number below count, all at once; raises what one of them raised, when all have ended."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


def broken_rows(connection: sa.engine.Connection) -> Iterator[str]:
    """What SQLite and the audit's chain say is wrong with a store."""
    for (complaint,) in connection.exec_driver_sql("PRAGMA quick_check"):
        if complaint != "ok":
            yield f"quick_check: {complaint}"
    if lost := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        yield f"foreign_key_check: {lost}"
    previous = read_anchor(connection).hash  # of a row that was dropped: written by a clock that stood at 1970
    for row in connection.execute(sa.select(audit).order_by(audit.c.id)):
        values = {name: getattr(row, name) for name in _COLUMNS} | {"at": row.at}
        previous = chain(previous, values)
        if previous != row.hash:
            yield f"audit: row {row.id} does not follow the one before it"
            return


def uncounted(connection: sa.engine.Connection, refs: set[str]) -> Iterator[str]:
    """Denials of which no row, or no count, tells: refs are those that were sent."""
    noted = {  # what is no guess goes to the ring of strangers when a holder has many rows
        ref: (name, reason)
        for table in (audit, stranger)
        for ref, name, reason in connection.execute(sa.select(table.c.ref, table.c.holder, table.c.reason))
    }
    for ref in refs - set(noted):
        yield f"denial {ref} has no row in the audit"
    expected = Counter(name for ref, (name, reason) in noted.items() if ref is not None and Reason(reason) not in NOT_COUNTED)
    joined = sa.select(holder.c.name, sa.func.sum(failure.c.count)).join(failure, failure.c.holder_id == holder.c.id)
    counts = dict(connection.execute(joined.group_by(holder.c.name)).all())
    for name, wanted in expected.items():
        if counts.get(name, 0) != wanted:
            yield f"{name}: {counts.get(name, 0)} failures are counted, and {wanted} were denied"
