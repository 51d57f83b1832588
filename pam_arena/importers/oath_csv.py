"""CSV, as makers of OATH keys and other servers write it.

Without a heading a row is: serial, seed, type, digits, period or counter, algorithm; all after the seed may be missing.
privacyIDEA's "# version: 2" puts user, resolver and realm before that. With a heading the columns are found by name,
in any order: makers', privacyIDEA's and Microsoft Entra's names are known. Fields are parted by comma, semicolon or tab.
What a file does not say is never guessed, because a wrong guess is a box of keys that do not work.
"""

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import BadImport
from ..otp import Algorithm, Kind, Mechanism
from ..secret import Secret
from .record import Given, Record, check_serial, lines_of, mechanism_of, number_of, refuse, seed_of

_NAMES = {
    "serial": ("serial", "serialnumber", "serialno", "sn", "tokenserial", "tokenserialnumber", "deviceserial"),
    "seed": ("seed", "secret", "secretkey", "key", "otpkey", "hmackey", "seedhex", "tokenseed"),
    "type": ("type", "tokentype", "oathtype", "otptype"),
    "digits": ("digits", "otplen", "otplength", "length", "codelength"),
    "period": ("period", "timestep", "timeinterval", "interval"),
    "counter": ("counter", "movingfactor", "eventcounter"),
    "algorithm": ("algorithm", "hash", "hashlib", "hashalgorithm"),
    "user": ("user", "username", "upn", "holder", "login"),
    "pin": ("pin",),
}
_COLUMN = {name: column for column, names in _NAMES.items() for name in names}
_POSITIONS = ("serial", "seed", "type", "digits", "moving", "algorithm")
_USER_FIRST = ("user", "resolver", "realm", *_POSITIONS)
_VERSION = re.compile(r"#\s*version:\s*(\d+)")
_ALGORITHMS = {spelled: one for one in Algorithm for spelled in (one.value, f"hmac{one.value}")}
_KINDS = {"totp": Kind.TOTP, "oathtotp": Kind.TOTP, "hotp": Kind.HOTP, "oathhotp": Kind.HOTP}


def read_csv(source: BinaryIO, given: Given) -> Iterator[Record]:
    """The keys of a CSV file, one at a time. Raises BadImport."""
    layout: _Layout | None = None
    version, delimiter = "", ","
    lines = _Numbered(lines_of(source))
    for first in lines:
        if comment := _VERSION.match(first):
            version = comment[1]
        if first.strip() and not first.startswith("#"):
            delimiter = max(",;\t", key=first.count)
            lines.push_back(first)
            break
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            raise BadImport(f"line {lines.number}: a field is longer than any of a key, or a quote is not closed") from None
        at = f"line {lines.number}"
        if not row or row[0].startswith("#") or not any(cell.strip() for cell in row):
            continue
        if layout is None:
            layout = _Layout.of(at, row, version, given)
            if layout.has_heading:
                continue
        yield layout.record(at, row)


class _Numbered:
    """Lines for csv.reader, which may take several for a row; `number` is that of the last one taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._again, self.number = lines, "", 0

    def __iter__(self) -> "_Numbered":
        return self

    def __next__(self) -> str:
        if self._again:
            line, self._again = self._again, ""
        else:
            line = next(self._lines)
        self.number += 1
        return line

    def push_back(self, line: str) -> None:
        self._again = line
        self.number -= 1


class _Layout:
    """Which column has what. Of a million rows most have the same mechanism: each is made once."""

    def __init__(self, columns: dict[str, int], given: Given, has_heading: bool) -> None:
        self._columns, self._given, self.has_heading = columns, given, has_heading
        self._kinds: dict[tuple[str, bool, bool], Kind] = {}
        self._mechanisms: dict[tuple[Kind, str, str, str], Mechanism] = {}

    @classmethod
    def of(cls, at: str, row: list[str], version: str, given: Given) -> "_Layout":
        """By the heading, if this first row is one."""
        named = [_COLUMN.get(_letters(cell)) for cell in row]
        known = [name for name in named if name is not None]
        if {"serial", "seed"} <= set(known):
            if len(set(known)) != len(known):
                raise BadImport(f"{at}: the heading has two columns of one meaning")
            return cls({name: index for index, name in enumerate(named) if name is not None}, given, True)
        if known:
            raise BadImport(f"{at}: the heading names no column `serial`, or no column `seed`")
        positions = _USER_FIRST if version == "2" else _POSITIONS
        return cls({name: index for index, name in enumerate(positions)}, given, False)

    def record(self, at: str, row: list[str]) -> Record:
        """The key of a row."""
        cell = self._cell
        serial = check_serial(at, cell(row, "serial"))
        seed = seed_of(at, serial, cell(row, "seed"))
        type_, period, counter, moving = (cell(row, name) for name in ("type", "period", "counter", "moving"))
        what = (type_, period != "", counter != "")
        if (kind := self._kinds.get(what)) is None:
            kind = self._kinds[what] = self._kind(at, serial, *what)
        last_step, seconds = -1, ""
        if kind is Kind.TOTP:
            seconds = period or moving
        elif count := counter or moving:
            last_step = number_of(at, serial, "counter", count) - 1
        how = (kind, cell(row, "digits"), seconds, cell(row, "algorithm"))
        if (mechanism := self._mechanisms.get(how)) is None:
            mechanism = self._mechanisms[how] = self._mechanism(at, serial, *how)
        pin = cell(row, "pin")
        known = Secret(pin.encode()) if pin else None
        return Record(at, serial, seed, mechanism, last_step, user=cell(row, "user") or self._given.user, pin=known)

    def _cell(self, row: list[str], name: str) -> str:
        index = self._columns.get(name)
        return row[index].strip() if index is not None and index < len(row) else ""

    def _kind(self, at: str, serial: str, type_: str, has_period: bool, has_counter: bool) -> Kind:
        if type_:
            if (named := _KINDS.get(_letters(type_))) is None:
                refuse(at, serial, "its type is neither totp nor hotp")
            return named
        if self._given.kind is not None:
            return self._given.kind
        if has_period != has_counter:
            return Kind.TOTP if has_period else Kind.HOTP
        refuse(at, serial, "the file does not say what moves its keys: give --type totp or --type hotp")

    def _mechanism(self, at: str, serial: str, kind: Kind, digits: str, seconds: str, algorithm: str) -> Mechanism:
        given = self._given
        hashed: Algorithm | None = given.algorithm or Algorithm.SHA1
        if algorithm and (hashed := _ALGORITHMS.get(algorithm.lower().replace("-", ""))) is None:
            refuse(at, serial, "its algorithm is none of sha1, sha256, sha512")
        assert hashed is not None
        length = number_of(at, serial, "digits", digits) if digits else given.digits or 6
        period = number_of(at, serial, "period", seconds) if seconds else given.period
        if kind is Kind.HOTP:
            period = Mechanism().period  # means nothing
        if period is None:
            refuse(at, serial, "the file does not say for how long a code is shown: give --period 30 or --period 60")
        return mechanism_of(at, serial, kind, hashed, length, period)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
