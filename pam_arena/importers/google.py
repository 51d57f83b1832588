"""google-authenticator's file of one person: the seed, lines that begin with `" ` for settings, and scratch codes.

TIME_SKEW is what is called drift here. DISALLOW_REUSE lists the steps of codes that were used. Scratch codes go over, as
recovery codes. WINDOW_SIZE does not: arenad learns each key's drift by itself, and so has one window for all.
"""

import re
from typing import BinaryIO

from ..errors import BadImport
from ..otp import PERIOD_SECONDS, Algorithm, Kind
from ..secret import Secret
from .record import Record, mechanism_of, number_of, refuse, seed_of, serial_for, whole

_SCRATCH = re.compile(r"[0-9]{8}")
_OWN_WINDOW = 3  # steps, as google-authenticator counts them: one either side
_DRIFT_MOST = 10**6  # steps


def read_google(source: BinaryIO, user: str) -> Record:
    """The key of a file that belongs to `user`. Raises BadImport."""
    try:
        lines = whole(source).decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise BadImport("the file is no text: google-authenticator writes ASCII alone") from None
    if not lines or not user:
        raise BadImport("the file is empty" if user else "nobody knows whose key this is: give --user USER")
    serial = serial_for("google", user, 1)
    settings: dict[str, list[str]] = {}
    scratch: list[Secret] = []
    for number, line in enumerate(lines[1:], 2):
        if line.startswith('" '):
            name, *values = line[2:].split() or [""]
            settings[name] = values
        elif _SCRATCH.fullmatch(line.strip()):
            scratch.append(Secret(line.strip().encode()))
        elif line.strip():
            refuse(f"line {number}", serial, "is neither a setting nor a scratch code of 8 digits")
    seed = seed_of("line 1", serial, lines[0])
    counts = "HOTP_COUNTER" in settings
    period = 30 if counts else _number(settings, "STEP_SIZE", serial, 30, PERIOD_SECONDS[1])
    mechanism = mechanism_of("STEP_SIZE", serial, Kind.HOTP if counts else Kind.TOTP, Algorithm.SHA1, 6, period)
    notes = []
    if (window := _number(settings, "WINDOW_SIZE", serial, _OWN_WINDOW, 1000)) > _OWN_WINDOW:
        notes.append(f"WINDOW_SIZE {window} does not go over: a key that is off is asked for two codes, and so learnt")
    if counts:
        last_step, drift = _number(settings, "HOTP_COUNTER", serial, 1) - 1, 0
    else:
        used = [number_of("DISALLOW_REUSE", serial, "a step", one) for one in settings.get("DISALLOW_REUSE", [])]
        last_step, drift = max(used, default=-1), _skew(settings, serial)
    return Record("line 1", serial, seed, mechanism, last_step, drift, user, scratch=tuple(scratch), notes=tuple(notes))


def _number(settings: dict[str, list[str]], name: str, serial: str, default: int, most: int = 2**62) -> int:
    values = settings.get(name)
    return number_of(name, serial, "its value", values[0] if values else "", most) if values is not None else default


def _skew(settings: dict[str, list[str]], serial: str) -> int:
    spelled = (settings.get("TIME_SKEW") or ["0"])[0]
    amount = number_of("TIME_SKEW", serial, "its value", spelled.removeprefix("-"), _DRIFT_MOST)
    return -amount if spelled.startswith("-") else amount
