"""PINs: what a holder may choose, how one is hashed, and how what was typed falls apart into PIN and tokencode.

The rule for what was typed (design section 4): a passcode is PIN + tokencode, end to end. The last characters are the
tokencode, all before them is the PIN. It may come in one field or in two, and the second alone may hold all of it.
"""

import enum
import secrets
import unicodedata
from collections.abc import Callable
from itertools import pairwise

from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret
from attrs import frozen

from .secret import Secret

# The unshifted digit row of an AZERTY keyboard, and what people put between PIN and code.
_AZERTY = str.maketrans("&é\"'(-è_çà", "1234567890")
_BETWEEN = str.maketrans("", "", " \u00a0+")
_KEYPAD_COLUMNS = ("147", "258", "369", "2580", "0852", "741", "963", "852")
_SHOWN = 4  # digits of a serial or a code in a row that a PIN may not have
_LONG = 8  # characters from which on a pair repeated is too easy


@frozen
class Policy:
    """What a PIN may be: length in characters, both ends included."""

    shortest: int = 4
    longest: int = 6
    digits_only: bool = True


_DEFAULT = Policy()


class PinChoice(enum.StrEnum):
    """Who chooses a PIN: the holder, the system, or whichever the holder likes."""

    HOLDER = "holder"
    SYSTEM = "system"
    EITHER = "either"


class Flaw(enum.Enum):
    """Why a PIN is refused."""

    LENGTH = "length"
    EASY = "easy"
    USED = "used"  # the holder has or had this PIN: told by the store, or by what they just typed


def text_of(typed: Secret) -> str:
    """What was typed, as text; bytes that are no UTF-8 survive in it."""
    return typed.reveal().decode("utf-8", "surrogateescape")


def secret_of(text: str) -> Secret:
    """The way back from `text_of`."""
    return Secret(_octets(text))


def normalise(typed: Secret, policy: Policy) -> str:
    """What was typed, as text; with digit PINs, spaces and `+` are dropped and an AZERTY digit row reads as digits."""
    return normalise_text(text_of(typed), policy)


def normalise_text(text: str, policy: Policy) -> str:
    """`normalise`, for a part of what was typed."""
    text = unicodedata.normalize("NFC", text)
    return text.translate(_AZERTY).translate(_BETWEEN) if policy.digits_only else text


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
        return len(typed.code) == digits and _all_digits(typed.code) and may_precede_a_code(typed.pin, policy)

    return fits(6) or fits(8)


def may_precede_a_code(pin: str, policy: Policy) -> bool:
    """Whether this can be anyone's PIN, or none."""
    return _all_digits(pin) or not pin or not policy.digits_only


def split_forwarded(second: Secret, pin_length: int, digits: int, policy: Policy) -> tuple[Secret, Passcode]:
    """Take apart password + PIN + code, typed into one field: the password's bytes as they were typed, and the passcode.

    Only the lengths tell where the password ends, so nothing is dropped: a space belongs to the password.
    """
    text = text_of(second)
    code_at = max(0, len(text) - digits)
    pin_at = max(0, code_at - pin_length)

    def read(part: str) -> str:
        part = unicodedata.normalize("NFC", part)
        return part.translate(_AZERTY) if policy.digits_only else part

    return secret_of(text[:pin_at]), Passcode(read(text[pin_at:code_at]), read(text[code_at:]), True)


def forwarded_well_formed(second: Secret, policy: Policy = _DEFAULT) -> bool:
    """Whether this can be password + PIN + code: a code stands at its end."""
    _, passcode = split_forwarded(second, 0, 6, policy)
    return len(passcode.code) == 6 and _all_digits(passcode.code)


def _all_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def find_flaw(pin: str, policy: Policy, serial: str = "", code: str = "") -> Flaw | None:
    """Why `pin` may not be chosen by the holder of token `serial` who just typed `code`; None if it may."""
    if not policy.shortest <= len(pin) <= policy.longest or not is_typable(pin, policy):
        return Flaw.LENGTH
    on_keypad = any(_repeats(pin, column) for column in _KEYPAD_COLUMNS)
    in_pairs = len(pin) >= _LONG and _repeats(pin, pin[:2])
    shown = _share_a_part(pin, "".join(filter(str.isdigit, serial))) or _share_a_part(pin, code)
    return Flaw.EASY if _is_run(pin) or on_keypad or in_pairs or shown else None


def is_typable(pin: str, policy: Policy) -> bool:
    """Whether a PIN will read the same whenever it is typed: no blank at an end, no control character, nothing but text."""
    if policy.digits_only:
        return _all_digits(pin)
    return pin == pin.strip() and not any(unicodedata.category(one) in ("Cc", "Cs") for one in pin)


def _is_run(pin: str) -> bool:
    """One character repeated, or a run, up or down; digits go round from 9 to 0."""
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(pin)}
    if _all_digits(pin):
        steps = {step % 10 for step in steps}
    return steps in ({0}, {1}, {-1}, {9})


def _repeats(pin: str, pattern: str) -> bool:
    return pin == (pattern * len(pin))[: len(pin)]


def _share_a_part(pin: str, shown: str) -> bool:
    """Whether so many characters of both are the same that who sees the one knows much of the other."""
    size = min(_SHOWN, len(pin))
    return any(pin[at : at + size] in shown for at in range(len(pin) - size + 1))


def generate(policy: Policy, serial: str, code: str, choose: Callable[[str], str] = secrets.choice) -> Secret:
    """A PIN without a flaw, of the shortest length that the policy allows. `choose` picks one character of a text."""
    while True:
        pin = "".join(choose("0123456789") for _ in range(policy.shortest))
        if find_flaw(pin, policy, serial, code) is None:
            return Secret(pin.encode())


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
