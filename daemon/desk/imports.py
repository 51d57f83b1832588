"""An import at the desk: rows are read and sealed outside of any transaction, then examined and staged in one of their own.

A row is refused by its place in the file and its serial; then nothing of the import takes effect. Seeds and PINs come in
clear over desk.sock, from arenactl, which has read the file, and leave here sealed alone.
"""

import os
from collections import Counter
from typing import Any

from attrs import define, evolve, field, frozen

from pam_arena import pin
from pam_arena.errors import Refusal, VaultError
from pam_arena.importers.record import place
from pam_arena.otp import COUNTER_MOST, DIGITS, PERIOD_SECONDS, SEED_BYTES, Algorithm, Kind, Mechanism
from pam_arena.recovery import SCRATCH_DIGITS
from pam_arena.secret import Secret

from ..store import imports as store
from ..store.accounts import SLOTS
from .caller import Caller, Connection, Result
from .enrol import SERIAL
from .pins import lapses
from .tokens import is_user

PROBLEMS = 10  # that are told at once
_LONGEST = 200  # characters of a text in a row
_SCRATCH_MOST = 100  # codes of a person
_PIN_LONGEST = 64  # characters
_DRIFT_MOST = 10**6  # steps
_HOW = ("type", "algorithm", "digits", "period")
_NAMES = {"at", "serial", "seed", *_HOW, "last_step", "drift", "valid_until", "user", "pin", "scratch"}


@define
class Import:
    """An import under way, of one caller. number: the batch in the store; 0: a dry run, which writes nothing there."""

    number: int
    actor: str
    source: str
    assign: bool
    keys: int = 0
    same: int = 0
    assigned: int = 0
    pins: int = 0
    scratch: int = 0
    kept: set[str] = field(factory=set)  # those whose own PIN and codes go before the file's
    owners: Counter[str] = field(factory=Counter)

    def copy(self) -> "Import":
        """One that may be changed while this one stays."""
        return evolve(self, kept=set(self.kept), owners=self.owners.copy())

    def result(self) -> Result:
        """What came of it, or would."""
        return {
            "source": self.source,
            "keys": self.keys,
            "stock": self.keys - self.assigned,
            "assigned": self.assigned,
            "people": len(self.owners),
            "pins": self.pins,
            "scratch_codes": self.scratch,
            "kept": len(self.kept),
            "same": self.same,
        }


@frozen(repr=False)
class Row:
    """One key of an import, sealed but for what an equal one in the store is to be compared with."""

    at: str
    serial: str
    mechanism: Mechanism
    seed: Secret
    sealed: bytes
    last_step: int
    drift: int
    valid_until: int | None
    user: str
    pin: str
    scratch: tuple[str, ...]


def read_rows(caller: Caller, rows: object, assign: bool) -> list[Row]:
    """The rows of a request, checked and sealed. Raises Refusal."""
    if not isinstance(rows, list) or not 0 < len(rows) <= store.ROWS:
        raise Refusal(f"rows: a list of 1 to {store.ROWS} is expected")
    mechanisms: dict[tuple[object, ...], Mechanism] = {}
    return [_read_row(caller, raw, assign, mechanisms) for raw in rows]


def _read_row(caller: Caller, raw: object, assign: bool, mechanisms: dict[tuple[object, ...], Mechanism]) -> Row:
    if not isinstance(raw, dict) or not raw.keys() <= _NAMES:
        raise Refusal(f"a row is an object with some of: {', '.join(sorted(_NAMES))}")
    at, serial, seed = _text(raw, "at"), _text(raw, "serial"), _text(raw, "seed", 2 * SEED_BYTES[1])
    if not SERIAL.fullmatch(serial):
        raise Refusal(f"{at}: serial: allowed: 1 to 64 letters, digits and . _ : / -, beginning with a letter or digit")
    spelled = (raw.get("type"), raw.get("algorithm"), raw.get("digits"), raw.get("period"))
    try:
        if spelled not in mechanisms:
            mechanisms[spelled] = _mechanism(*spelled)
        key = Secret(bytes.fromhex(seed))
    except (TypeError, ValueError):
        raise Refusal(f"{place(at, serial)}: seed, type, algorithm, digits or period is none") from None
    if not SEED_BYTES[0] <= len(key) <= SEED_BYTES[1]:
        raise Refusal(f"{place(at, serial)}: a seed has {SEED_BYTES[0] * 8} to {SEED_BYTES[1] * 8} bits")
    return Row(
        at,
        serial,
        mechanisms[spelled],
        key,
        caller.vault.seal_seed(key, serial, 1),
        _whole(raw, "last_step", -1, -1, COUNTER_MOST),
        _whole(raw, "drift", 0, -_DRIFT_MOST, _DRIFT_MOST),
        _whole(raw, "valid_until", 0, 0, COUNTER_MOST) or None,
        _text(raw, "user") if assign else "",
        _pin(caller, raw) if assign else "",
        _scratch(raw) if assign else (),
    )


def _place(raw: dict[str, Any]) -> str:
    return place(_text(raw, "at"), _text(raw, "serial"))


def _mechanism(kind: Any, algorithm: Any, digits: object, period: object) -> Mechanism:
    if not isinstance(digits, int) or not isinstance(period, int) or digits not in DIGITS:
        raise ValueError("digits and period are numbers")
    if not PERIOD_SECONDS[0] <= period <= PERIOD_SECONDS[1]:
        raise ValueError("the period is out of range")
    return Mechanism(Kind(kind), Algorithm(algorithm), digits, period)


def _text(raw: dict[str, Any], name: str, longest: int = _LONGEST) -> str:
    value = raw.get(name, "")
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise Refusal(f"{name}: a text of at most {longest} characters is expected, without control characters")
    return value


def _whole(raw: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = raw.get(name)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise Refusal(f"{_place(raw)}: {name}: {low} to {high} is allowed")


def _scratch(raw: dict[str, Any]) -> tuple[str, ...]:
    codes = raw.get("scratch", [])
    if not isinstance(codes, list) or len(codes) > _SCRATCH_MOST:
        raise Refusal(f"{_place(raw)}: scratch: a list of at most {_SCRATCH_MOST} codes is expected")
    if not all(isinstance(one, str) and one.isascii() and one.isdigit() and len(one) == SCRATCH_DIGITS for one in codes):
        raise Refusal(f"{_place(raw)}: a scratch code has {SCRATCH_DIGITS} digits")
    return tuple(dict.fromkeys(codes))


def _pin(caller: Caller, raw: dict[str, Any]) -> str:
    value = _text(raw, "pin")
    if not value:
        return ""
    policy = caller.config.pin.policy
    if len(value) > _PIN_LONGEST or not pin.is_typable(value, policy):
        only = "digits" if policy.digits_only else f"at most {_PIN_LONGEST} characters and no blank at an end"
        raise Refusal(f"{_place(raw)}: its PIN is none that can be typed here ([pin] allows {only}): leave it out of the file")
    return pin.normalise_text(value, policy)


def seal_pins(caller: Caller, rows: list[Row], known: set[str], hasher: pin.Hasher) -> dict[str, dict[str, Any]]:
    """The columns of a PIN for each user of these rows who brings one and is not yet known: one argon2id each."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.pin and row.user not in known and row.user not in found:
            hashed = hasher.hash(row.pin, os.urandom(16))
            sealed, length = caller.vault.seal_pin(hashed, row.user), caller.vault.seal_pin_length(len(row.pin), row.user)
            found[row.user] = {"pin": sealed, "pin_length": length, "pin_set_at": caller.now}
    return found


def unknown_users(names: set[str]) -> set[str]:
    """Those that NSS does not know. Asked outside of a transaction: a directory may take its time."""
    return {name for name in names if not is_user(name)}


def examine(
    connection: Connection, caller: Caller, job: Import, rows: list[Row], unknown: set[str]
) -> tuple[list[Row], list[str]]:
    """The rows that are new, and what is wrong with the others; the import notes whom they would be given to."""
    taken = store.find_serials(connection, [row.serial for row in rows])
    holders = store.find_holders(connection, sorted({row.user for row in rows if row.user}))
    owned = store.count_owned(connection, [one.id for one in holders.values()], job.number)
    fresh: list[Row] = []
    problems: list[str] = []
    seen: set[str] = set()
    for row in rows:
        why, same = "", False
        if row.serial in seen:
            why = "the serial stands in this file before"
        elif row.serial in taken:
            why, same = _compare(caller, job, row, taken[row.serial])
        elif row.user:
            why = _why_not_theirs(job, row.user, unknown, holders, owned)
        seen.add(row.serial)
        if why:
            problems.append(f"{place(row.at, row.serial)}: {why}")
        elif same:
            job.same += 1
        else:
            fresh.append(row)
            job.keys += 1
            if row.user:
                job.assigned += 1
                job.owners[row.user] += 1
    return fresh, problems


def _compare(caller: Caller, job: Import, row: Row, old: Any) -> tuple[str, bool]:
    """Why a serial that is taken is refused, or that it is this very key."""
    if old.batch is not None and old.batch == job.number:
        return "the serial stands in this file before", False
    if old.done is not None and not old.done:
        return "the serial is part of another import under way: try again when that is over", False
    try:
        seed = caller.vault.open_seed(bytes(old.seed), row.serial, old.seed_version)
    except VaultError as error:
        return str(error), False
    how = row.mechanism
    if seed == row.seed and (old.kind, old.algorithm, old.digits) == (how.kind, how.algorithm, how.digits):
        return ("", True) if how.kind is Kind.HOTP or old.period == how.period else (_OTHER, False)
    return _OTHER, False


_OTHER = "exists already, with another seed or other codes: arenactl token show SERIAL"


def _why_not_theirs(job: Import, user: str, unknown: set[str], holders: dict[str, Any], owned: dict[int, int]) -> str:
    if user in unknown:
        return f"no user {user!r} on this system (getent passwd {user})"
    holder = holders.get(user)
    if holder is not None and holder.done is False and holder.batch != job.number:
        return f"another import under way brings {user}: try again when that is over"
    if (owned.get(holder.id, 0) if holder is not None else 0) + job.owners[user] >= SLOTS:
        return f"{user} would have more than {SLOTS} tokens"
    return ""


def stage(
    connection: Connection,
    caller: Caller,
    job: Import,
    rows: list[Row],
    unknown: set[str],
    pins: dict[str, dict[str, Any]],
) -> None:
    """Stage rows in the transaction of `connection`. Raises Refusal with the first problems."""
    fresh, problems = examine(connection, caller, job, rows, unknown)
    if problems:
        raise Refusal(tell(problems, len(problems)))
    holders = store.find_holders(connection, sorted({row.user for row in fresh if row.user}))
    added = []
    for name in dict.fromkeys(row.user for row in fresh if row.user and row.user not in holders):
        none = {"pin": None, "pin_length": None, "pin_set_at": None, "new_pin_until": lapses(caller)}
        added.append({"name": name, **none, **pins.get(name, {})})
    job.pins += sum(one["pin"] is not None for one in added)
    brings = [row for row in fresh if row.pin or row.scratch]
    job.kept |= {row.user for row in brings if row.user in holders and holders[row.user].batch != job.number}
    holders |= store.add_staged_holders(connection, job.number, caller.now, added)
    new = {row.user for row in brings if row.scratch} - job.kept
    for name in sorted(new):
        codes = {code for row in fresh if row.user == name for code in row.scratch}
        digests = [caller.vault.digest_code(code, name) for code in sorted(codes)]
        store.add_scratch_codes(connection, holders[name].id, caller.now, digests)
        job.scratch += len(digests)
    columns = [
        {
            "serial": row.serial,
            "kind": row.mechanism.kind.value,
            "algorithm": row.mechanism.algorithm.value,
            "digits": row.mechanism.digits,
            "period": row.mechanism.period,
            "seed": row.sealed,
            "valid_until": row.valid_until,
            "holder_id": holders[row.user].id if row.user else None,
            "last_step": row.last_step,
            "drift": row.drift,
        }
        for row in fresh
    ]
    if columns:
        store.add_staged(connection, job.number, caller.now, columns)


def flip(connection: Connection, caller: Caller, job: Import) -> Result:
    """Put an import in effect, with its row of the audit."""
    store.set_done(connection, job.number)
    if job.keys:
        detail = f"{job.source}: {job.keys} keys, {job.assigned} of them to {len(job.owners)} people"
        caller.note(connection, "token-import", detail=detail)
    return job.result()


def settle(connection: Connection, caller: Caller, number: int) -> bool:
    """Turn some staged rows of an import in effect into plain ones, with a row of the audit for each key of somebody."""
    assigned = store.settle_some(connection, number, lapses(caller))
    for row in assigned or ():
        caller.note(connection, "token-assign", row.holder, row.serial, "by an import")
    return assigned is not None


def tell(problems: list[str], count: int) -> str:
    """The first problems, one a line, and how many there are."""
    more = [f"and {count - PROBLEMS} more"] if count > PROBLEMS else []
    return "\n".join([*problems[:PROBLEMS], *more])
