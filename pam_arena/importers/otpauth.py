"""otpauth URIs, one a line, and the otpauth-migration URIs that Google Authenticator exports as QR codes.

A migration URI carries a small Protocol Buffers message, which is decoded here: its few fields are not worth a library
and a compiler. The app knows codes of 30 seconds alone, so the message has no period.
"""

import base64
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from attrs import frozen

from ..errors import BadImport, SeedError
from ..otp import Algorithm, Kind, Mechanism, read_seed
from ..secret import Secret
from .record import Given, Record, lines_of, mechanism_of, refuse, seed_of, serial_for

MIGRATION = "otpauth-migration:"
_PERIOD = 30  # seconds
_ALGORITHMS = {0: Algorithm.SHA1, 1: Algorithm.SHA1, 2: Algorithm.SHA256, 3: Algorithm.SHA512}
_DIGITS = {0: 6, 1: 6, 2: 8}
_KINDS = {1: Kind.HOTP, 2: Kind.TOTP}
_SECRET, _NAME, _ALGORITHM, _LENGTH, _KIND, _COUNTER = 1, 2, 4, 5, 6, 7
_PARAMETERS = 1


def read_otpauth(source: BinaryIO, given: Given) -> Iterator[Record]:
    """The keys of a file of URIs; the user is the account that a label names, or who is given. Raises BadImport."""
    counted: dict[str, int] = {}
    for number, line in enumerate(lines_of(source), 1):
        at, text = f"line {number}", line.strip()
        if not text or text.startswith("#"):
            continue
        if text.lower().startswith(MIGRATION):
            found = [_of_migration(f"{at}, key {n}", one) for n, one in enumerate(_parameters(at, text), 1)]
        elif text.lower().startswith("otpauth:"):
            found = [_of_uri(at, text)]
        else:
            refuse(at, "", "is no otpauth URI")
        for one in found:
            name = given.user or one.account
            counted[one.account] = counted.get(one.account, 0) + 1
            serial = serial_for("otpauth", one.account or name or "key", counted[one.account])
            yield Record(one.at, serial, one.seed, one.mechanism, one.last_step, user=name)


@frozen
class _Found:
    at: str
    account: str
    seed: Secret
    mechanism: Mechanism
    last_step: int


def _of_uri(at: str, text: str) -> _Found:
    try:
        enrolment = read_seed(text, Mechanism())
    except SeedError as error:
        refuse(at, "", str(error))
    hotp = enrolment.mechanism.kind is Kind.HOTP
    return _Found(at, enrolment.serial, enrolment.seed, enrolment.mechanism, enrolment.counter - 1 if hotp else -1)


def _of_migration(at: str, message: bytes) -> _Found:
    fields = dict(_fields(at, message))
    kind, length, algorithm = (fields.get(name, 0) for name in (_KIND, _LENGTH, _ALGORITHM))
    if kind not in _KINDS or length not in _DIGITS or algorithm not in _ALGORITHMS:
        refuse(at, "", "its type, length or algorithm is one that arenad does not know")
    secret, name, counter = fields.get(_SECRET, b""), fields.get(_NAME, b""), fields.get(_COUNTER, 0)
    if not (isinstance(secret, bytes) and isinstance(name, bytes) and isinstance(counter, int) and counter < 2**63):
        refuse(at, "", "the export is malformed")
    mechanism = mechanism_of(at, "", _KINDS[kind], _ALGORITHMS[algorithm], _DIGITS[length], _PERIOD)
    account = name.decode("utf-8", "replace").rpartition(":")[2].strip()
    seed = seed_of(at, "", secret.hex())
    return _Found(at, account, seed, mechanism, counter - 1 if mechanism.kind is Kind.HOTP else -1)


def _parameters(at: str, text: str) -> Iterator[bytes]:
    """The messages of the keys in a migration URI."""
    try:
        data = parse_qs(urlsplit(text).query.replace("+", "%2B"), max_num_fields=10)["data"][0]
        message = base64.b64decode(data, validate=True)
    except (ValueError, KeyError):
        raise BadImport(f"{at}: the export has no data, or it is cut short") from None
    for number, value in _fields(at, message):
        if number == _PARAMETERS:
            if not isinstance(value, bytes):
                raise BadImport(f"{at}: the export is malformed")
            yield value


def _fields(at: str, message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a Protocol Buffers message: numbers (wire type 0) and bytes (wire type 2); others are stepped over."""
    place = 0
    while place < len(message):
        key, place = _varint(at, message, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(at, message, place)
            yield number, value
            continue
        size, place = (8, place) if wire == 1 else (4, place) if wire == 5 else _length(at, message, place, wire)
        if place + size > len(message):
            raise BadImport(f"{at}: the export is cut short")
        if wire == 2:
            yield number, message[place : place + size]
        place += size


def _length(at: str, message: bytes, place: int, wire: int) -> tuple[int, int]:
    if wire != 2:
        raise BadImport(f"{at}: the export is malformed")
    return _varint(at, message, place)


def _varint(at: str, message: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise BadImport(f"{at}: the export is cut short")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), place
    raise BadImport(f"{at}: the export is malformed")
