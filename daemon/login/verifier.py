"""Equal work, then one verdict (design section 5).

Each attempt, whatever the name and whatever was typed: one read of the account (three token slots, decoys where the
holder has fewer), 3 x 21 codes compared without an early exit, exactly one argon2id, and one durable transaction with
the marks and the audit row. Only then is it decided, in `_judge`, and only there does a success come into being.

Attempts for one name, existing or not, run one after another.
"""

import asyncio
import pwd
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import sqlalchemy as sa
from attrs import evolve, frozen
from sqlalchemy.exc import SQLAlchemyError

from pam_arena import pin
from pam_arena.conversation import Outcome, Verdict
from pam_arena.errors import ArenaError, StoreError
from pam_arena.otp import Kind, find_step
from pam_arena.secret import Secret

from ..audit import Event, Reason, append, new_ref
from ..clock import Clock
from ..config import Config
from ..store.accounts import Account, Slot, Standing, mark, read_account, set_pin, spend, write_standing
from ..store.engine import explain, read_only
from ..store.schema import State
from ..store.writer import Writer
from ..vault import Vault
from .throttle import REMOTE, Origin, after_failure, after_success, is_waiting, standing_of

REACH = 10  # steps either side that are compared: those outside the window only tell the desk of a drift
LOOK_AHEAD = 10  # steps that a HOTP token may be ahead (RFC 4226 section 7.4)
QUEUE = 64  # attempts that may wait for a core
LANE = 16  # attempts that may wait for one name
NOT_COUNTED = frozenset({Reason.MALFORMED, Reason.USED_AGAIN, Reason.WAITING, Reason.CLOSED})


class Busy(ArenaError):
    """More attempts wait than will be verified in good time."""


@frozen
class Attempt:
    """What is to be verified, and what the audit is to say of it. at is wall time in seconds."""

    name: str
    origin: Origin
    service: str
    address: str
    actor: str
    policy: pin.Policy
    first: Secret | None
    second: Secret
    at: float


@frozen
class Subject:
    """Whom a right code belongs to: needed to give them a PIN."""

    holder_id: int
    name: str
    slot: Slot
    had_pin: bool


@frozen
class _Finding:
    """What the equal work found out. offset is in steps from the token's own now; None: no step matched."""

    account: Account
    slot: Slot
    step: int | None
    offset: int
    in_window: bool
    typed: pin.Passcode
    pin_right: bool
    well_formed: bool
    known_name: bool = False


class Verifier:
    """Verifies attempts against the store; `cores` argon2id run at once."""

    def __init__(
        self,
        engine: sa.engine.Engine,
        writer: Writer,
        vault: Vault,
        clock: Clock,
        config: Config,
        hasher: pin.Hasher,
        cores: int,
    ) -> None:
        self._engine, self._writer, self._vault, self._clock = engine, writer, vault, clock
        self.config = config
        self._hasher = hasher
        self._cores = cores
        self._hashing = ThreadPoolExecutor(cores, "arena-hash")
        self._naming = ThreadPoolExecutor(2, "arena-nss")
        self._readers = threading.local()
        self._lanes: dict[str, tuple[asyncio.Lock, list[None]]] = {}
        self.pending = 0

    async def verify(self, attempt: Attempt) -> tuple[Verdict, Subject]:
        """The verdict on an attempt, durable before it is known. Raises Busy or StoreError: then nothing was decided."""
        loop = asyncio.get_running_loop()
        async with self._lane(attempt.name):
            if self.pending >= QUEUE + self._cores:
                raise Busy(f"{self.pending} attempts are waiting for {self._cores} cores")
            self.pending += 1
            try:
                known = loop.run_in_executor(self._naming, is_system_name, attempt.name)
                finding = await loop.run_in_executor(self._hashing, self._examine, attempt)
                finding = evolve(finding, known_name=await known)
            finally:
                self.pending -= 1
            return await asyncio.wrap_future(self._writer.submit(lambda connection: self._settle(connection, attempt, finding)))

    async def create_pin(self, attempt: Attempt, subject: Subject, chosen: Secret, salt: bytes) -> int:
        """Store the PIN that a holder confirmed; returns the seconds until their display changes."""
        loop = asyncio.get_running_loop()
        text = chosen.reveal().decode("utf-8", "surrogateescape")
        hashed = await loop.run_in_executor(self._hashing, self._hasher.hash, text, salt)
        sealed = self._vault.seal_pin(hashed, subject.name)
        now = self._clock.now()

        def store(connection: sa.engine.Connection) -> None:
            if not set_pin(connection, subject.holder_id, sealed, int(now), only_first=not subject.had_pin):
                raise StoreError(f"the PIN of {subject.name} changed meanwhile: theirs stays")
            event = "pin-change" if subject.had_pin else "pin-create"
            append(connection, now, _event(attempt, event, subject.name, subject.slot.serial))

        await asyncio.wrap_future(self._writer.submit(store))
        return subject.slot.mechanism.seconds_left(self._clock.now())

    async def give_up(self, attempt: Attempt, subject: Subject) -> Verdict:
        """Record a denial to a holder who did not manage to choose a PIN."""
        ref, now = new_ref(), self._clock.now()
        event = evolve(
            _event(attempt, "login", subject.name, subject.slot.serial), outcome="denied", reason=Reason.GAVE_UP, ref=ref
        )
        await asyncio.wrap_future(self._writer.submit(lambda connection: append(connection, now, event)))
        return Verdict(Outcome.DENIED, ref)

    def close(self) -> None:
        """End the threads; attempts under way are finished."""
        self._hashing.shutdown()
        self._naming.shutdown(wait=False)

    @asynccontextmanager
    async def _lane(self, name: str) -> AsyncIterator[None]:
        lock, queue = self._lanes.setdefault(name, (asyncio.Lock(), []))
        if len(queue) > LANE:
            raise Busy(f"{len(queue)} attempts are waiting for one name")
        queue.append(None)
        try:
            async with lock:
                yield
        finally:
            queue.pop()
            if not queue:
                del self._lanes[name]

    def _reader(self) -> sa.engine.Connection:
        if not hasattr(self._readers, "connection"):
            self._readers.connection = read_only(self._engine)
        connection: sa.engine.Connection = self._readers.connection
        return connection

    def _examine(self, attempt: Attempt) -> _Finding:
        try:
            account = read_account(self._reader(), attempt.name)
        except SQLAlchemyError as error:
            del self._readers.connection
            raise StoreError(f"the store cannot be read: {explain(error)}") from None
        first = pin.normalise(attempt.first, attempt.policy) if attempt.first is not None else ""
        second = pin.normalise(attempt.second, attempt.policy)
        matches = [self._match(slot, first, second, attempt.at) for slot in account.slots]
        # The slot whose code was typed; by rank, so that a decoy or a far step never hides a right code.
        slot, step, offset, in_window = max(matches, key=lambda m: (m[3], m[1] is not None, m[0].state is State.ACTIVE))
        typed = pin.split(first, second, slot.mechanism.digits)
        pin_right = pin.verify(self._vault.open_pin(account.pin, account.owner), typed.pin)
        fits = pin.well_formed(first, second, attempt.policy)
        return _Finding(account, slot, step, offset, in_window, typed, pin_right, fits)

    def _match(self, slot: Slot, first: str, second: str, at: float) -> tuple[Slot, int | None, int, bool]:
        window = self.config.code.window
        totp = slot.mechanism.kind is Kind.TOTP
        middle = slot.mechanism.step_at(at) + slot.drift if totp else slot.last_step + 1 + REACH
        typed = pin.split(first, second, slot.mechanism.digits)
        seed = self._vault.open_seed(slot.seed, slot.serial, slot.seed_version)
        with seed:
            step = find_step(seed, slot.mechanism, typed.code, range(middle - REACH, middle + REACH + 1))
        offset = 0 if step is None else step - middle
        near = abs(offset) <= window if totp else offset < LOOK_AHEAD - REACH
        return slot, step, offset, step is not None and near and slot.real

    def _settle(self, connection: sa.engine.Connection, attempt: Attempt, finding: _Finding) -> tuple[Verdict, Subject]:
        account, slot, now = finding.account, finding.slot, self._clock.now()
        standing = standing_of(account, attempt.origin, now)
        fresh = spend(connection, slot, finding.step if finding.step is not None and finding.in_window else -1)
        outcome, reason = _judge(finding, standing, fresh, now)
        granted = outcome is Outcome.GRANTED
        ref = new_ref() if outcome is Outcome.DENIED else None
        self._mark(connection, finding, granted, reason, int(now))
        if outcome is Outcome.DENIED and reason not in NOT_COUNTED:
            standing = after_failure(standing, self.config.lock, now)
        elif granted:
            standing = after_success(standing)
        write_standing(connection, account.holder_id, standing)
        if granted and attempt.origin.kind == REMOTE:
            own = Standing(REMOTE, attempt.origin.key, granted_at=int(now))
            write_standing(connection, account.holder_id, own)
        name = attempt.name if account.real or finding.known_name else self._vault.hide_name(attempt.name)
        event = _event(attempt, "login", name, slot.serial if slot.real and finding.step is not None else "")
        detail = _detail(finding, standing, reason)
        append(connection, now, evolve(event, outcome=outcome.value, reason=reason, detail=detail, ref=ref))
        verdict = Verdict(outcome, ref or "", slot.serial, slot.mechanism.digits)
        return verdict, Subject(account.holder_id, attempt.name, slot, account.has_pin)

    def _mark(self, connection: sa.engine.Connection, finding: _Finding, granted: bool, reason: Reason, now: int) -> None:
        slot, limit = finding.slot, self.config.lock.wrong_pin_disables
        learn = max(-self.config.code.drift_per_login, min(self.config.code.drift_per_login, finding.offset))
        totp = slot.mechanism.kind is Kind.TOTP
        wrong_pins = 0 if granted else slot.wrong_pins + (reason is Reason.WRONG_PIN)
        mark(
            connection,
            slot,
            granted_step=finding.step if granted and finding.step is not None else slot.granted_step,
            drift=slot.drift + (learn if granted and totp else 0),
            wrong_pins=wrong_pins,
            at=now,
            disable_because=f"{wrong_pins} right codes with a wrong PIN"
            if reason is Reason.WRONG_PIN and wrong_pins >= limit
            else "",
        )


def _judge(finding: _Finding, standing: Standing, fresh: bool, now: float) -> tuple[Outcome, Reason]:
    """The verdict. `fresh`: the typed code is one of an active token, in its window, and was spent just now."""
    account, typed = finding.account, finding.typed
    code_right = finding.in_window and fresh and finding.slot.real and account.real
    pin_right = finding.pin_right and typed.consistent and account.has_pin and account.real
    if not finding.well_formed:
        return Outcome.DENIED, Reason.MALFORMED
    if is_waiting(standing, now):
        return Outcome.DENIED, Reason.CLOSED if standing.closed else Reason.WAITING
    if code_right and pin_right:
        return Outcome.GRANTED, Reason.RIGHT
    if code_right and not account.has_pin and typed.pin == "":
        in_time = now < account.new_pin_until
        return (Outcome.NEW_PIN, Reason.FIRST_CODE) if in_time else (Outcome.DENIED, Reason.LAPSED)
    return Outcome.DENIED, _why_denied(finding, code_right, pin_right)


def _why_denied(finding: _Finding, code_right: bool, pin_right: bool) -> Reason:
    account, slot = finding.account, finding.slot
    if not account.real:
        return Reason.UNKNOWN
    mine = [one for one in account.slots if one.real]
    if not mine:
        return Reason.NO_TOKEN
    if all(one.state is not State.ACTIVE for one in mine) or (finding.in_window and slot.state is not State.ACTIVE):
        return Reason.DISABLED
    if code_right:
        return Reason.WRONG_PIN if account.has_pin else Reason.NO_PIN_YET
    if finding.in_window:
        return Reason.USED_AGAIN if pin_right and finding.step == slot.granted_step else Reason.USED
    if slot.real and finding.step is not None:
        return Reason.DRIFTED
    return Reason.WRONG_CODE if pin_right or not account.has_pin else Reason.WRONG_BOTH


def _detail(finding: _Finding, standing: Standing, reason: Reason) -> str:
    """What `arenactl why` adds to the reason: steps of drift, or the end of a wait in seconds since 1970."""
    if reason is Reason.DRIFTED:
        return f"{finding.offset:+d}"
    return str(standing.wait_until) if reason is Reason.WAITING else ""


def _event(attempt: Attempt, event: str, holder: str, serial: str) -> Event:
    return Event(event, holder, serial, actor=attempt.actor, service=attempt.service, address=attempt.address)


def is_system_name(name: str) -> bool:
    """Whether NSS knows this name."""
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
