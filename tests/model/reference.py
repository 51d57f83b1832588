"""The rules of design section 5 once more, as a model: plain lists and sets, no SQL, no crypto but the codes themselves.

Nothing of daemon/ is used here but the configuration's numbers. `Reference` says what an attempt must come to; `Witness`
believes nobody and counts what was tested.
"""

import enum
import hashlib
import hmac
import struct
from collections import Counter

from arenad.config import Config
from attrs import define, field, frozen

REACH, AHEAD = 10, 10  # steps: either side for TOTP, ahead for HOTP
DAY, KNOWN_FOR, YEAR, YEARLY = 86400, 30 * 86400, 365, 200
MAILS, HOUR = 5, 3600
CONSOLE, REMOTE, LOCAL = "console", "remote", "local"


class Fate(enum.Enum):
    """What an attempt comes to, in the audit's words."""

    IN = "granted"
    CHOOSE = "new-pin"
    NEXT = "next-code"
    OUT = "denied"


@define(eq=False)
class Fob:
    """A token: what its holder sees, and what the system has learnt of it. skew: seconds that its clock is ahead."""

    serial: str
    seed: bytes
    period: int | None = 60  # None: HOTP, moved on by its button
    skew: int = 0
    pressed: int = 0
    floor: int = -1
    granted: int = -1
    learnt: int = 0
    wrong_pins: int = 0
    active: bool = True
    typed: set[int] = field(factory=set)  # steps whose codes somebody typed while they could have worked

    def shows(self, now: float) -> int:
        """The step on the display."""
        return self.pressed if self.period is None else int((now + self.skew) // self.period)

    def code(self, step: int) -> str:
        """RFC 4226 section 5.3, with SHA-1 and 6 digits."""
        digest = hmac.digest(self.seed, struct.pack(">Q", max(step, 0)), hashlib.sha1)
        number = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
        return str(number % 10**6).zfill(6)

    def expected(self, now: float) -> int:
        """The step that the system thinks is on the display; of a HOTP token, the next."""
        return self.floor + 1 if self.period is None else int(now // self.period) + self.learnt


@frozen(eq=False)
class Typed:
    """What was typed as a passcode, in truth: the token and step of the code, a recovery code, or neither."""

    pin: str
    code: str
    fob: Fob | None = None
    step: int = -1
    recovery: bool = False
    well_formed: bool = True


@define
class Recovery:
    """A recovery code of a holder; until in seconds since 1970, None: until used."""

    until: float | None = None
    used: bool = False


@define
class Wait:
    """How an origin stands."""

    failures: int = 0
    until: int = 0
    closed: bool = False
    granted_at: float = float("-inf")


@define(eq=False)
class Holder:
    """A person with up to three fobs."""

    name: str
    fobs: list[Fob]
    pin: str | None = None
    pin_set_at: float = 0
    new_pin_until: float = 0
    earlier: list[str] = field(factory=list)
    recovery: dict[str, Recovery] = field(factory=dict)
    failures: Counter[int] = field(factory=Counter)  # by day
    waits: dict[tuple[str, str], Wait] = field(factory=dict)
    mails: list[float] = field(factory=list)

    def year(self, now: float) -> int:
        """Failures of 365 days."""
        return sum(count for day, count in self.failures.items() if day > int(now) // DAY - YEAR)

    def bucket(self, kind: str, key: str, now: float) -> tuple[str, str]:
        """The origin that an attempt is counted with."""
        own = self.waits.get((kind, key))
        if kind == REMOTE and (own is None or own.granted_at <= now - KNOWN_FOR):
            return REMOTE, ""
        return kind, key

    def wait(self, bucket: tuple[str, str]) -> Wait:
        """How an origin stands."""
        return self.waits.setdefault(bucket, Wait())


@frozen(eq=False)
class Pending:
    """A passcode that was right, and waits for the next code, that of step `wanted`.

    learn: steps of drift that both codes prove.
    """

    fob: Fob
    step: int
    wanted: int
    learn: int
    pin: str | None


class Reference:
    """Says what attempts come to. Each method moves the model on. Where `at` is given: wall time in seconds."""

    def __init__(self, config: Config) -> None:
        self._code, self._lock, self._pin = config.code, config.lock, config.pin

    def waits(self, wait: Wait, at: float) -> bool:
        """Whether an origin is to wait, for a time or for the desk."""
        return wait.closed or wait.until > at

    def wants_next(self, holder: Holder, wait: Wait, at: float) -> bool:
        """Whether a right passcode leads to the next code."""
        return wait.failures >= self._code.next_code_after or holder.year(at) > YEARLY

    def passcode(
        self, holder: Holder, origin: tuple[str, str], typed: Typed, prompted: float, at: float, observed: bool = False
    ) -> tuple[Fate, Pending | None]:
        """What a passcode comes to."""
        wait = holder.wait(holder.bucket(*origin, at))
        near, reached, learn = self._place(typed, min(prompted, at), at)
        ahead = self._is_ahead(typed, at)
        fresh = self._spend(typed.fob, typed.step) and typed.fob.active if reached else self._use(holder, typed, at)
        if not typed.well_formed or (self.waits(wait, at) and not observed):
            return Fate.OUT, None
        right_pin = holder.pin is not None and typed.pin == holder.pin
        first = holder.pin is None and typed.pin == ""
        if not fresh or not (right_pin or first):
            if fresh and typed.fob is not None and holder.pin is not None:
                self._count_wrong_pin(typed.fob)
            fob = typed.fob
            used = reached and not fresh and fob and fob.active
            no_guess = used and ((right_pin and fob and typed.step == fob.granted) or ((right_pin or first) and ahead))
            if not no_guess and not observed:
                self._fail(holder, wait, at)
            return Fate.OUT, None
        if first and at >= holder.new_pin_until:
            if not observed:
                self._fail(holder, wait, at)
            return Fate.OUT, None
        if typed.fob is not None and (not near or self.wants_next(holder, wait, at)):
            wanted = max(typed.step + 1, self._displayed(typed, min(prompted, at), at))
            return Fate.NEXT, Pending(typed.fob, typed.step, wanted, learn, holder.pin)
        return self._accept(holder, origin, wait, typed.fob, typed.step, learn, at, observed), None

    def next_code(
        self, holder: Holder, origin: tuple[str, str], pending: Pending, typed: Typed, at: float, observed: bool = False
    ) -> Fate:
        """What the next code, alone, comes to."""
        wait = holder.wait(holder.bucket(*origin, at))
        fob = pending.fob
        within = typed.fob is fob and pending.step < typed.step <= pending.step + REACH
        fresh = within and self._spend(fob, typed.step) and fob.active
        if not typed.well_formed or (self.waits(wait, at) and not observed):
            return Fate.OUT
        very_next = fresh and typed.step == pending.wanted and holder.pin == pending.pin
        if not very_next or (holder.pin is None and at >= holder.new_pin_until):
            if not observed:
                self._fail(holder, wait, at)
            return Fate.OUT
        return self._accept(holder, origin, wait, fob, typed.step, pending.learn, at, observed)

    def mail(self, holder: Holder, origin: tuple[str, str], pin: str, at: float) -> bool:
        """Whether a code is mailed."""
        wait = holder.wait(holder.bucket(*origin, at))
        if not pin or self.waits(wait, at):
            return False
        if holder.pin is None or pin != holder.pin:
            self._fail(holder, wait, at)
            return False
        if sum(int(at) - HOUR < one for one in holder.mails) >= MAILS:
            return False
        holder.mails.append(int(at))
        return True

    def choose_pin(self, holder: Holder, pin: str, at: float) -> bool:
        """Whether a PIN is stored; False for an earlier one."""
        kept = self._pin.history
        if kept and pin in holder.earlier[-kept:]:
            return False
        holder.earlier.append(pin)
        holder.pin, holder.pin_set_at = pin, int(at)
        return True

    def expired(self, holder: Holder, at: float) -> bool:
        """Whether a new PIN is wanted after a success."""
        return bool(self._pin.expires) and holder.pin_set_at + self._pin.expires <= at

    def _place(self, typed: Typed, prompted: float, at: float) -> tuple[bool, bool, int]:
        """Of the code of a token: whether it is near, whether it is within reach at all, and the drift it shows."""
        fob = typed.fob
        if fob is None:
            return False, False, 0
        off = typed.step - fob.expected(at)
        if fob.period is None:
            return -1 <= off < AHEAD, -1 <= off < AHEAD, 0  # -1: the last one, once more
        ago = typed.step - fob.expected(prompted)  # against the display when the prompt appeared
        longest = typed.step - fob.expected(max(prompted, at - self._code.slow_typing))
        near = -REACH <= off <= self._code.window and longest >= -self._code.window
        most = self._code.drift_per_login
        if not near:
            return False, abs(off) <= self._code.next_code_reach, off
        return True, True, max(-most, min(most, off if off > 0 else min(ago, 0)))

    def _is_ahead(self, typed: Typed, at: float) -> bool:
        """Whether a code was used that the fob cannot show yet: the clock went back."""
        fob = typed.fob
        if fob is None or fob.period is None:
            return False
        return fob.floor > max(fob.expected(at) + self._code.window, typed.step)

    def _displayed(self, typed: Typed, prompted: float, at: float) -> int:
        """What the fob shows by now, if the code was on its display when the prompt appeared."""
        assert typed.fob is not None
        if typed.fob.period is None or typed.step >= typed.fob.expected(at):
            return typed.step
        return typed.fob.expected(at) + min(typed.step - typed.fob.expected(prompted), 0)

    def _spend(self, fob: Fob | None, step: int) -> bool:
        assert fob is not None
        fob.typed.add(step)
        fresh = step > fob.floor
        fob.floor = max(fob.floor, step)
        return fresh

    def _use(self, holder: Holder, typed: Typed, at: float) -> bool:
        """Use a recovery code up, if it is one."""
        code = holder.recovery.get(typed.code) if typed.recovery else None
        if code is None or code.used or (code.until is not None and int(at) >= code.until):
            return False
        code.used = True
        return True

    def _count_wrong_pin(self, fob: Fob) -> None:
        fob.wrong_pins += 1
        fob.active = fob.wrong_pins < self._lock.wrong_pin_disables

    def _fail(self, holder: Holder, wait: Wait, at: float) -> None:
        wait.failures += 1
        holder.failures[int(at) // DAY] += 1
        over = wait.failures - self._lock.after
        if over >= 0:
            wait.until = int(at + min(self._lock.wait * 2**over, self._lock.wait_max))
        wait.closed = wait.failures >= self._lock.close_after

    def _accept(
        self,
        holder: Holder,
        origin: tuple[str, str],
        wait: Wait,
        fob: Fob | None,
        step: int,
        learn: int,
        at: float,
        observed: bool,
    ) -> Fate:
        if holder.pin is None:
            return Fate.CHOOSE
        if fob is not None:
            fob.granted, fob.wrong_pins = step, 0
            fob.learnt += learn if fob.period is not None else 0
        if not observed:
            wait.failures, wait.until, wait.closed = 0, 0, False
        if origin[0] == REMOTE:
            holder.waits = {
                key: one
                for key, one in holder.waits.items()
                if key[0] != REMOTE or not key[1] or one.granted_at > at - KNOWN_FOR
            }
            holder.wait(origin).granted_at = int(at)
        return Fate.IN


class Witness:
    """Counts what was tested, origin by origin and token by token, and holds it against the throttle's own numbers."""

    def __init__(self, config: Config) -> None:
        self._lock = config.lock
        self._tested: dict[tuple[str, tuple[str, str]], list[float]] = {}
        self._wrong_pins: Counter[str] = Counter()

    def tested(self, name: str, bucket: tuple[str, str], at: float, denied: bool) -> None:
        """A guess was looked at: the origin must have been allowed one."""
        times, lock = self._tested.setdefault((name, bucket), []), self._lock
        assert len(times) < lock.close_after, f"{name}, {bucket}: {len(times)} guesses were tested, and one more"
        if len(times) >= lock.after:
            wait = min(lock.wait * 2 ** (len(times) - lock.after), lock.wait_max)
            assert at > times[-1] + wait - 1, f"{name}, {bucket}: guess {len(times) + 1} came before its wait was over"
        if denied:
            times.append(at)

    def wrong_pin(self, serial: str) -> None:
        """A right code came with a wrong PIN, and the PIN was looked at."""
        self._wrong_pins[serial] += 1
        assert self._wrong_pins[serial] <= self._lock.wrong_pin_disables, f"one PIN too many was tested with {serial}"

    def forgive(self, name: str, bucket: tuple[str, str] | None, fob: Fob | None = None) -> None:
        """A success ends the count of its origin, if that is enforced, and of its token."""
        self._tested.pop((name, bucket or ("", "")), None)
        if fob is not None:
            self._wrong_pins.pop(fob.serial, None)

    def unlock(self, holder: Holder) -> None:
        """The desk opens all origins of a holder."""
        for key in [one for one in self._tested if one[0] == holder.name]:
            del self._tested[key]
