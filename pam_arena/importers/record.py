"""What every parser gives: one Record a key, and the checks and the wording that all of them share."""

import enum
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NoReturn

from attrs import frozen

from ..errors import BadImport, SeedError
from ..otp import COUNTER_MOST, DIGITS, PERIOD_SECONDS, Algorithm, Kind, Mechanism, read_seed
from ..secret import Secret

LARGEST = 64 * 1024 * 1024  # bytes of a file that is read as a whole
_LONGEST_LINE = 64 * 1024  # bytes
_SHOWABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,23}")  # longer ones may be a seed in the wrong column
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_BOM = "\ufeff"


@frozen
class Record:
    """One key of a file. `at` says where it stands, for people; `user` is empty where the file names none.

    last_step: no code of this step or an earlier one is to work; drift: steps that the key is known to be ahead;
    valid_until: seconds since 1970 UTC. scratch: the user's recovery codes of eight digits. notes: what of the record is
    left behind, for people.
    """

    at: str
    serial: str
    seed: Secret
    mechanism: Mechanism
    last_step: int = -1
    drift: int = 0
    user: str = ""
    pin: Secret | None = None
    valid_until: int | None = None
    scratch: tuple[Secret, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class Given:
    """What the person says of a file that does not say it itself. None: not said."""

    kind: Kind | None = None
    digits: int | None = None
    period: int | None = None
    algorithm: Algorithm | None = None
    user: str = ""


class Lock(enum.Enum):
    """What opens an encrypted file."""

    KEY = "key"
    PASSPHRASE = "passphrase"


Ask = Callable[[Lock], Secret]


def refuse(at: str, serial: str, why: str) -> NoReturn:
    """Raise BadImport with the place and the serial."""
    raise BadImport(f"{place(at, serial)}: {why}")


def place(at: str, serial: str) -> str:
    """Where a key stands, with its serial, unless that may be a seed that stands in the wrong column."""
    return f"{at}, serial {serial}" if _SHOWABLE.fullmatch(serial) else at


def check_serial(at: str, serial: str) -> str:
    """The serial as it may be stored. Raises BadImport."""
    if not _SERIAL.fullmatch(serial):
        refuse(at, "", "serial: allowed: 1 to 64 letters, digits and . _ : / -, beginning with a letter or digit")
    return serial


def serial_for(prefix: str, user: str, number: int) -> str:
    """A serial for a key that has none, the same at every import: by its user, and which of that user's keys it is."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", user)[:40]
    if plain != user:
        plain += "-" + hashlib.sha256(user.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{prefix}-{plain}" + (f"-{number}" if number > 1 else "")


def mechanism_of(at: str, serial: str, kind: Kind, algorithm: Algorithm, digits: int, period: int) -> Mechanism:
    """A mechanism that arenad can verify. Raises BadImport."""
    low, high = PERIOD_SECONDS
    if digits not in DIGITS:
        refuse(at, serial, "its codes have a length that is neither 6 nor 8")
    if not low <= period <= high:
        refuse(at, serial, f"its period is outside {low} to {high} seconds")
    return Mechanism(kind, algorithm, digits, period)


def seed_of(at: str, serial: str, text: str) -> Secret:
    """A seed as hex or base32. Raises BadImport."""
    if text[:8].lower() == "otpauth:":
        refuse(at, serial, "the seed is to be hex or base32 here")
    try:
        return read_seed(text, _ANY).seed
    except SeedError as error:
        refuse(at, serial, str(error))


_ANY = Mechanism()


def number_of(at: str, serial: str, name: str, text: str, most: int = COUNTER_MOST) -> int:
    """A whole number from 0 to most. Raises BadImport."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= most):
        refuse(at, serial, f"{name}: a whole number is expected")
    return int(text)


def lines_of(source: BinaryIO) -> Iterator[str]:
    """The lines of a text, with their ends. Raises BadImport for one that is too long or not UTF-8."""
    number = 0
    while line := source.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise BadImport(f"line {number}: is longer than {_LONGEST_LINE} bytes: no file of keys has such a line")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise BadImport(f"line {number}: is not UTF-8 text") from None
        yield text.removeprefix(_BOM) if number == 1 else text


def whole(source: BinaryIO) -> bytes:
    """All of a file. Raises BadImport for one that is too large to be read as a whole."""
    data = source.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise BadImport(f"the file is larger than {LARGEST // 1024 // 1024} MiB: split it, or have it written as CSV")
    return data
