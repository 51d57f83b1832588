"""The states of an account whose denials are timed: who is in them, what is typed, and how the store is put back.

Runs outside over a store of its own, and inside a guest beside its arenad.
"""

import hashlib
import hmac
import os
import sqlite3
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

import sqlalchemy as sa
from arenad.store.inventory import NewToken, add_holder, add_token
from arenad.store.schema import NOBODY, State
from arenad.store.schema import token as token_table
from arenad.vault import Vault
from attrs import field, frozen

from pam_arena.otp import Kind, Mechanism
from pam_arena.pin import Hasher
from pam_arena.secret import Secret

PIN, WRONG_PIN = "2846", "2847"
DAY = 86400
REACH = 10  # steps either side that arenad compares
LONG_AGO = 100  # steps before now up to which all is spent
ORIGIN = "remote"
AGED = 12_000  # rows that the audit has, and more than the ring of strangers keeps: a host that has seen something


@frozen
class Case:
    """A state, and the denial that is timed in it. reason: what the audit says of it."""

    what: str
    name: str
    reason: str
    pin: str = PIN
    code: str = "wrong"  # right, wrong, or what is typed
    tokens: int = 1
    kind: Kind = Kind.TOTP
    state: State = State.ACTIVE
    holder: bool = True
    has_pin: bool = True
    waits: bool = False
    closed: bool = False
    spent: bool = False


REFERENCE = Case("wrong PIN", "t-wrong-pin", "wrong-pin", WRONG_PIN, "right")
CASES = (
    REFERENCE,
    # The same once more: what a name and the place of its rows alone make.
    Case("wrong PIN, another holder", "t-another", "wrong-pin", WRONG_PIN, "right"),
    Case("unknown user", "t-unknown", "unknown-name", holder=False),
    Case("no token", "t-no-token", "no-token", tokens=0),
    Case("HOTP token", "t-hotp", "wrong-code", kind=Kind.HOTP),
    Case("three tokens", "t-three", "wrong-code", tokens=3),
    Case("new-PIN state", "t-new-pin", "wrong-code", pin="", has_pin=False),
    Case("wrong code", "t-wrong-code", "wrong-code"),
    Case("both wrong", "t-both", "wrong-pin-and-code", WRONG_PIN),
    Case("used code", "t-used", "used-code-again", code="right", spent=True),
    Case("waiting", "t-waiting", "waiting", code="right", waits=True),
    Case("closed", "t-closed", "closed", code="right", waits=True, closed=True),
    Case("expired", "t-expired", "expired", code="right", state=State.EXPIRED),
    Case("disabled", "t-disabled", "disabled", code="right", state=State.DISABLED),
    Case("malformed", "t-malformed", "malformed", pin="-?", code="no code"),
)


def by_name(*names: str) -> tuple[Case, ...]:
    """Cases by what they are, the reference first."""
    return (REFERENCE, *(case for case in CASES if case.what in names))


@frozen
class Person:
    """A case with the seeds of its tokens."""

    case: Case
    seeds: tuple[bytes, ...]
    mechanism: Mechanism = field(factory=Mechanism)

    def typed(self, now: float) -> tuple[str, str]:
        """PIN and passcode at a time. All that a case may need is worked out in every case."""
        codes = [self._codes(seed, self._middle(now)) for seed in self.seeds or (b"-" * 20,)]
        shown = {code for some in codes for code in some}
        wrong = next(code for code in (f"{n:06}" for n in range(731, 10**6)) if code not in shown)
        right = codes[0][REACH + 1 if self.case.kind is Kind.TOTP else 2]
        return self.case.pin, {"right": right, "wrong": wrong}.get(self.case.code, self.case.code)

    def _middle(self, now: float) -> int:
        return self.mechanism.step_at(now) if self.case.kind is Kind.TOTP else REACH

    @staticmethod
    def _codes(seed: bytes, middle: int) -> list[str]:
        """The codes of the steps compared, and of one more either side."""
        return [_code(seed, max(step, 0)) for step in range(middle - REACH - 1, middle + REACH + 2)]


def _code(seed: bytes, step: int) -> str:
    """RFC 4226 section 5.3, with SHA-1 and 6 digits: not by arenad's own generator."""
    digest = hmac.digest(seed, struct.pack(">Q", step), hashlib.sha1)
    number: int = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
    return f"{number % 10**6:06}"


def make_people(cases: Iterable[Case]) -> list[Person]:
    """Everyone, with random seeds."""
    return [Person(case, tuple(os.urandom(20) for _ in range(case.tokens)), Mechanism(case.kind)) for case in cases]


def enrol(connection: sa.engine.Connection, vault: Vault, people: Iterable[Person], hasher: Hasher | None = None) -> None:
    """Put everyone into the store, with PINs at the full price unless told otherwise, and fill the audit as years would."""
    now, hasher = int(time.time()), hasher or Hasher()
    for one in people:
        case = one.case
        if not case.holder:
            continue
        values = {"new_pin_until": now + DAY}
        if case.has_pin:
            sealed = vault.seal_pin(hasher.hash(PIN, os.urandom(16)), case.name)
            values = {"pin": sealed, "pin_length": vault.seal_pin_length(len(PIN), case.name), "pin_set_at": now}
        whose = add_holder(connection, case.name, now, **values)
        for number, seed in enumerate(one.seeds):
            serial = f"{case.name}-{number}"
            stored = State.ACTIVE if case.state is State.EXPIRED else case.state
            sealed = vault.seal_seed(Secret(seed), serial, 1)
            add_token(connection, NewToken(serial, one.mechanism, sealed), now, stored, whose)
            if case.state is State.EXPIRED:
                mine = sa.update(token_table).where(token_table.c.serial == serial)
                connection.execute(mine.values(valid_until=now - 1))
    _age(connection, now)


def _age(connection: sa.engine.Connection, now: int) -> None:
    """Denials of long ago, in both tables; the chain of the audit is not what is timed."""
    columns = "id, at, actor, service, address, event, holder, serial, outcome, reason, detail, ref"
    values = ":id, :at, 'uid:0', 'sshd', '192.0.2.7', 'login', :holder, '', 'denied', 'wrong-code', '', :ref"
    rows = [{"id": n + 1, "at": now, "holder": f"h{n % 400}", "ref": os.urandom(4).hex()[:8] + f"{n}"} for n in range(AGED)]
    connection.execute(sa.text(f"INSERT INTO stranger ({columns}) VALUES ({values})"), rows)
    for row in rows:
        row["id"] += AGED  # after what arenad wrote
    connection.execute(sa.text(f"INSERT INTO audit ({columns}, hash) VALUES ({values}, zeroblob(32))"), rows)


class Restorer:
    """Puts what attempts change back to what it was, for every case alike, whichever is timed next."""

    def __init__(self, path: str, people: Iterable[Person]) -> None:
        self._store = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._store.execute("PRAGMA synchronous = FULL")
        self._people = [(self._id_of(one), one) for one in people if one.case.holder]

    def _id_of(self, one: Person) -> int:
        return int(self._store.execute("SELECT id FROM holder WHERE name = ?", (one.case.name,)).fetchone()[0])

    def restore(self, now: float) -> None:
        """One transaction, of the same statements every time."""
        run = self._store.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM origin")
        run("DELETE FROM failure")
        for whose, one in self._people:
            case = one.case
            step = one.mechanism.step_at(now)
            # Spent: beyond what is typed, and it was the holder's own login that did it.
            last = (step + 1 if case.spent else step - LONG_AGO) if case.kind is Kind.TOTP else -1
            run(
                "UPDATE token SET last_step = ?, granted_step = ?, drift = 0, wrong_pins = 0, used_at = NULL, state = ?,"
                " why = '' WHERE holder_id = ?",
                (last, step if case.spent else -1, "disabled" if case.state is State.DISABLED else "active", whose),
            )
            if case.waits:
                self._stand(whose, 50, int(now) + DAY, case.closed)
        run("UPDATE token SET last_step = -1, used_at = NULL WHERE holder_id = ?", (NOBODY,))
        # Somebody always mistypes a name: nobody's rows are always there.
        self._stand(NOBODY, 3, 0, False)
        run("INSERT INTO failure VALUES (?, ?, 3)", (NOBODY, int(now) // DAY))
        run("COMMIT")

    def _stand(self, whose: int, failures: int, until: int, closed: bool) -> None:
        values = (whose, ORIGIN, "", failures, until, closed, 0)
        self._store.execute("INSERT INTO origin VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def checkpoint(self) -> None:
        """Move the log into the store now: arenad's own commits are to find no occasion for it."""
        self._store.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def reasons(self) -> dict[str, str]:
        """What the store says of each denial, by its reference."""
        both = "SELECT ref, reason FROM audit WHERE id > ? UNION ALL SELECT ref, reason FROM stranger"
        return dict(self._store.execute(both, (2 * AGED,)).fetchall())

    def reasons_by_name(self) -> dict[str, Counter[str]]:
        """How often each name was denied for what."""
        both = (
            "SELECT holder, reason FROM audit WHERE id > ? UNION ALL"
            " SELECT holder, reason FROM stranger WHERE holder NOT GLOB 'h[0-9]*'"
        )
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for name, reason in self._store.execute(both, (2 * AGED,)):
            found[name][reason] += 1
        return found
