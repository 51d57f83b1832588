"""PINs: what a holder may choose, how one is hashed, and how what was typed falls apart into PIN and tokencode.

The rule for what was typed (design section 4): a passcode is PIN + tokencode, end to end. The last characters are the
tokencode, all before them is the PIN. It may come in one field or in two, and the second alone may hold all of it.
"""

import enum
import unicodedata
from itertools import pairwise

from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret
from attrs import frozen

from .secret import Secret

# The unshifted digit row of an AZERTY keyboard, then what people put between PIN and code.
_TYPED_AS_DIGITS = str.maketrans(dict(zip("&é\"'(-è_çà", "1234567890", strict=True)) | {" ": "", "\u00a0": "", "+": ""})
_KEYPAD_COLUMNS = ("147", "258", "369", "2580", "0852", "741", "963", "852")


@frozen
class Policy:
    """What a PIN may be: length in characters, both ends included."""

    shortest: int = 4
    longest: int = 6
    digits_only: bool = True


class PinChoice(enum.StrEnum):
    """Who chooses a PIN: the holder, the system, or whichever the holder likes."""

    HOLDER = "holder"
    SYSTEM = "system"
    EITHER = "either"


class Flaw(enum.Enum):
    """Why a PIN is refused."""

    LENGTH = "length"
    EASY = "easy"


def normalise(typed: Secret, policy: Policy) -> str:
    """What was typed, as text; with digit PINs, spaces and `+` are dropped and an AZERTY digit row reads as digits."""
    text = unicodedata.normalize("NFC", typed.reveal().decode("utf-8", "surrogateescape"))
    return text.translate(_TYPED_AS_DIGITS) if policy.digits_only else text


@frozen(repr=False)
class Passcode:
    """What was typed, taken apart for a token of a given number of digits.

    consistent is False where a PIN was typed twice and the two differ.
    """

    pin: str
    code: str
    consistent: bool


def split(first: str, second: str, digits: int) -> Passcode:
    """Take apart what was typed into one field (`first` empty) or two, for codes of `digits` digits."""
    if len(second) > digits:
        pin = second[:-digits]
        return Passcode(pin, second[-digits:], first in ("", pin))
    whole = first + second
    return Passcode(whole[:-digits], whole[-digits:], True)


def well_formed(first: str, second: str, policy: Policy) -> bool:
    """Whether this can be a passcode of anyone at all: a code, after a PIN or none. It depends on the typing alone.

    A PIN of a length that the policy no longer allows is one all the same: it may be older than the policy.
    """

    def fits(digits: int) -> bool:
        typed = split(first, second, digits)
        pin_fits = _all_digits(typed.pin) or not typed.pin or not policy.digits_only
        return len(typed.code) == digits and _all_digits(typed.code) and pin_fits

    return fits(6) or fits(8)


def _all_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def find_flaw(pin: str, policy: Policy, serial: str = "", code: str = "") -> Flaw | None:
    """Why `pin` may not be chosen by the holder of token `serial` who just typed `code`; None if it may."""
    if not policy.shortest <= len(pin) <= policy.longest or (policy.digits_only and not _all_digits(pin)):
        return Flaw.LENGTH
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(pin)}
    repeats_or_runs = len(steps) == 1 and steps <= {0, 1, -1}
    circular = pin in "01234567890" or pin in "09876543210"
    on_keypad = any(pin == (column * 2)[: len(pin)] or pin == column for column in _KEYPAD_COLUMNS)
    shown = pin in code or pin in "".join(filter(str.isdigit, serial))
    return Flaw.EASY if repeats_or_runs or circular or on_keypad or shown else None


@frozen
class Hasher:
    """argon2id (RFC 9106). memory_kib in KiB. A cheaper one serves tests alone."""

    time_cost: int = 2
    memory_kib: int = 19 * 1024
    parallelism: int = 1

    def hash(self, pin: str, salt: bytes) -> str:
        """The PHC string of a PIN under a salt of 16 bytes."""
        hashed: bytes = hash_secret(_octets(pin), salt, self.time_cost, self.memory_kib, self.parallelism, 32, Type.ID)
        return hashed.decode()


def verify(hashed: str, pin: str) -> bool:
    """Whether `pin` has this hash: one argon2id at the cost that the hash names. Raises ValueError if it is no hash."""
    try:
        verify_secret(hashed.encode(), _octets(pin), Type.ID)
    except VerifyMismatchError:
        return False
    except VerificationError:
        raise ValueError("a stored PIN hash is no argon2id hash") from None
    return True


def _octets(pin: str) -> bytes:
    return pin.encode("utf-8", "surrogateescape")
