"""An attempt and the equal work that is done for it (design section 5): what it finds is judged elsewhere.

Whatever the name and whatever was typed: one read of the account (three token slots, decoys where the holder has
fewer), 3 x 21 codes compared without an early exit, one look for a recovery code, exactly one argon2id.
"""

import sqlalchemy as sa
from attrs import frozen

from pam_arena import pin, recovery
from pam_arena.otp import Kind, find_step
from pam_arena.secret import Secret

from ..config import Code
from ..store.accounts import Account, Slot, read_account
from ..store.recovery import Code as RecoveryCode
from ..store.recovery import find_code
from ..store.schema import State
from ..vault import Vault
from .throttle import Origin
from .turns import Lane

REACH = 10  # steps either side that are compared
LOOK_AHEAD = 10  # steps that a HOTP token may be ahead (RFC 4226 section 7.4)
# Some code is that of two steps within reach, once in fifty thousand logins. The nearest counts: it is compared last.
_AROUND = tuple(sorted(range(-REACH, REACH + 1), key=lambda offset: -abs(offset)))
_ONWARD = tuple(range(REACH, -REACH - 1, -1))


@frozen
class GrantTerms:
    """What a success is to leave behind: a session grant for this SSH key, for so many seconds."""

    key_hash: bytes
    seconds: float


@frozen
class Attempt:
    """What is to be verified, and what the audit is to say of it.

    known_name: NSS knows the name; else it may be a password, typed at `login:`. lane: where it waits for its turn.
    at and prompted_at are wall time in seconds: when the answer came, and when its prompt went out. observe: nothing is
    enforced, so nothing is counted. forward: `second` is a password, then PIN and code. pin_alone: it is a PIN without a code.
    """

    name: str
    known_name: bool
    origin: Origin
    lane: Lane
    service: str
    address: str
    actor: str
    policy: pin.Policy
    first: Secret | None
    second: Secret
    at: float
    prompted_at: float
    forward: bool = False
    pin_alone: bool = False
    observe: bool = False
    grant: GrantTerms | None = None


@frozen
class Match:
    """What was found of one token. step None: no step compared has this code.

    offset: steps from the token's own now. near: in the window, or on the display when the prompt appeared; of a next
    code, that it is the very next. far: beyond it, but within reach. ahead: a code was used that the display cannot have
    shown yet, so that no other works before its time: the clock was ahead then, and is right now, or the reverse.
    """

    slot: Slot
    step: int | None
    offset: int
    learnt: int
    near: bool
    far: bool
    ahead: bool = False


@frozen(repr=False)
class Finding:
    """What the equal work found out."""

    account: Account
    match: Match
    recovery: RecoveryCode | None
    typed: pin.Passcode
    password: Secret | None
    pin_right: bool
    is_recovery: bool
    well_formed: bool


def examine(connection: sa.engine.Connection, vault: Vault, code: Code, attempt: Attempt) -> Finding:
    """Do the equal work. Raises VaultError where a sealed value of the account does not open."""
    origin = attempt.origin
    account = read_account(connection, attempt.name, attempt.at, origin.kind, origin.key)
    pin_length = vault.open_pin_length(account.pin_length, account.owner) if account.pin_length else attempt.policy.shortest
    typing = _Typing(attempt, pin_length if account.has_pin else 0)
    match = max((_match(slot, vault, code, attempt, typing) for slot in account.slots), key=_rank)
    rescue = None if attempt.forward or attempt.pin_alone else recovery.find(attempt.first, attempt.second, attempt.policy)
    passcode, password = typing.split(match.slot.mechanism.digits)
    # A scratch code that an import brought has eight digits: what ends in so many is looked for, whoever has none.
    asked = rescue if rescue is not None else typing.split(recovery.SCRATCH_DIGITS)[0]
    found = find_code(connection, account.holder_id, vault.digest_code(asked.code, attempt.name))
    if found is not None and not (match.near or match.far or attempt.forward or attempt.pin_alone):
        rescue = asked
    typed = passcode if rescue is None else rescue
    pin_right = pin.verify(vault.open_pin(account.pin, account.owner), typed.pin)
    return Finding(
        account,
        match,
        found if rescue is not None else None,
        typed,
        password,
        pin_right,
        rescue is not None,
        typing.well_formed,
    )


def examine_next(connection: sa.engine.Connection, vault: Vault, attempt: Attempt, first: Match) -> Finding:
    """Look for the step after `first` in what was typed, a code alone: `near` says that it is this one. Raises VaultError."""
    origin = attempt.origin
    account = read_account(connection, attempt.name, attempt.at, origin.kind, origin.key)
    slot = next((one for one in account.slots if one.id == first.slot.id), None)
    code = pin.normalise(attempt.second, attempt.policy)
    typed = pin.Passcode("", code, True)
    fits = pin.well_formed("", code, attempt.policy)
    if slot is None or first.step is None:  # taken away meanwhile
        return Finding(account, Match(first.slot, None, 0, 0, False, False), None, typed, None, False, False, fits)
    # Who typed slowly sees a later code by now than the one after theirs: then the one on the display is the next for them.
    very_next = max(first.step + 1, first.step - first.offset + first.learnt)
    with vault.open_seed(slot.seed, slot.serial, slot.seed_version) as seed:
        # Later ones are found too, to be spent; the nearest comes last, and so goes before them.
        step = find_step(seed, slot.mechanism, code, range(first.step + REACH, first.step, -1))
    return Finding(account, Match(slot, step, 0, 0, step == very_next, False), None, typed, None, False, False, fits)


class _Typing:
    """What was typed, to be taken apart for tokens of any number of digits."""

    def __init__(self, attempt: Attempt, pin_length: int) -> None:
        self._attempt, self._pin_length = attempt, pin_length
        policy = attempt.policy
        self._first = pin.normalise(attempt.first, policy) if attempt.first is not None else ""
        self._second = pin.normalise(attempt.second, policy)
        if attempt.pin_alone:
            self.well_formed = self._second != "" and pin.is_typable(self._second, policy)
        elif attempt.forward:
            self.well_formed = pin.forwarded_well_formed(attempt.second, policy)
        else:
            self.well_formed = recovery.well_formed(attempt.first, attempt.second, policy)

    def split(self, digits: int) -> tuple[pin.Passcode, Secret | None]:
        """The passcode, and the password before it where there is one."""
        if self._attempt.pin_alone:
            return pin.Passcode(self._second, "", True), None
        if not self._attempt.forward:
            return pin.split(self._first, self._second, digits), None
        password, passcode = pin.split_forwarded(self._attempt.second, self._pin_length, digits, self._attempt.policy)
        return passcode, password


def _match(slot: Slot, vault: Vault, code: Code, attempt: Attempt, typing: _Typing) -> Match:
    mechanism = slot.mechanism
    totp = mechanism.kind is Kind.TOTP
    middle = mechanism.step_at(attempt.at) + slot.drift if totp else slot.last_step + REACH
    steps = [middle + offset for offset in (_AROUND if totp else _ONWARD)]
    with vault.open_seed(slot.seed, slot.serial, slot.seed_version) as seed:
        step = find_step(seed, mechanism, typing.split(mechanism.digits)[0].code, steps)
    if step is None or not slot.real:
        return Match(slot, None, 0, 0, False, False)
    if not totp:
        return Match(slot, step, step - slot.last_step, 0, step - slot.last_step <= LOOK_AHEAD, False)
    prompted = mechanism.step_at(min(attempt.prompted_at, attempt.at)) + slot.drift
    slowest = mechanism.step_at(attempt.at - code.slow_typing) + slot.drift
    earliest = min(middle, max(prompted, slowest)) - code.window
    near = earliest <= step <= middle + code.window
    # A code that was on the display at any time since the prompt tells nothing of a drift.
    learnt = min(step - prompted, 0) if step < middle else step - middle
    far = not near and abs(step - middle) <= code.next_code_reach
    # Not below the floor, and yet it may not be fresh: it was used while the clock was ahead (store/ahead.py).
    ahead = slot.last_step > max(middle + code.window, step) or step > slot.last_step
    return Match(slot, step, step - middle, learnt, near, far, ahead)


def _rank(match: Match) -> tuple[bool, bool, bool]:
    """The token whose code was typed; a decoy or a far step never hides a right code."""
    return match.near, match.step is not None, match.slot.state is State.ACTIVE
