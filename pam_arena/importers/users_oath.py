"""pam_oath's users.oath: a key a line, as `type user PIN seed [counter [last code [its time]]]`, parted by blanks.

The counter is that of the last code used once there is one, and that of the first code before. PIN `-` is none, `+` one
that another module checks. The time is the host's local one. Lines of one user are keys of one person, who has one PIN.
"""

import datetime
import re
from collections.abc import Iterator
from typing import BinaryIO

from ..otp import Algorithm, Kind, Mechanism, find_step
from ..secret import Secret
from .record import Record, lines_of, mechanism_of, number_of, refuse, seed_of, serial_for

_TYPE = re.compile(r"HOTP(?:/(?P<moves>E|T(?P<period>[1-9][0-9]{0,4})))?(?:/(?P<digits>[0-9]))?")
_TIME = "%Y-%m-%dT%H:%M:%SL"
_REACH = 10  # steps either side of its time in which the last code is looked for
_NO_PIN = ("-", "+")


def read_users_oath(source: BinaryIO) -> Iterator[Record]:
    """The keys of a users.oath. Raises BadImport."""
    rows = [(f"line {n}", line.split()) for n, line in enumerate(lines_of(source), 1) if line.strip() and line[0] != "#"]
    pins: dict[str, str] = {}
    for at, fields in rows:
        if len(fields) < 4:
            refuse(at, "", "type, user, PIN and seed are expected")
        _, user, pin = fields[:3]
        if pin not in _NO_PIN and pins.setdefault(user, pin) != pin:
            refuse(at, "", f"{user} has another PIN on an earlier line: a person has one")
    counted: dict[str, int] = {}
    for at, fields in rows:
        counted[fields[1]] = counted.get(fields[1], 0) + 1
        yield _record(at, fields, counted[fields[1]], pins.get(fields[1]))


def _record(at: str, fields: list[str], number: int, pin: str | None) -> Record:
    spelled, user, _, hexed = fields[:4]
    serial = serial_for("oath", user, number)
    form = _TYPE.fullmatch(spelled)
    if form is None:
        refuse(at, serial, "its type is none of HOTP, HOTP/E, HOTP/T30, HOTP/T60, with /6 or /8 behind it")
    kind = Kind.TOTP if form["period"] else Kind.HOTP
    period = int(form["period"] or Mechanism().period)
    mechanism = mechanism_of(at, serial, kind, Algorithm.SHA1, int(form["digits"] or 6), period)
    seed = seed_of(at, serial, hexed)
    known = Secret(pin.encode()) if pin is not None else None
    last_code = fields[5] if len(fields) > 5 else ""
    if kind is Kind.HOTP:
        counter = number_of(at, serial, "counter", fields[4]) if len(fields) > 4 else 0
        return Record(at, serial, seed, mechanism, counter if last_code else counter - 1, user=user, pin=known)
    last_step, drift = _last_used(at, serial, seed, mechanism, last_code, fields[6]) if len(fields) > 6 else (-1, 0)
    return Record(at, serial, seed, mechanism, last_step, drift, user, known)


def _last_used(at: str, serial: str, seed: Secret, mechanism: Mechanism, code: str, time: str) -> tuple[int, int]:
    """The step of the code that was used last, and how far ahead of the clock the key was."""
    try:
        step = mechanism.step_at(datetime.datetime.strptime(time, _TIME).timestamp())
    except (ValueError, OverflowError, OSError):
        refuse(at, serial, "the time of the last code is none")
    if step < 0:
        return -1, 0
    found = find_step(seed, mechanism, code, range(step - _REACH, step + _REACH + 1))
    return (step, 0) if found is None else (found, found - step)
