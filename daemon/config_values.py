"""The values of arena.toml: one reader for each kind. A reader returns the value, or raises BadValue saying what is allowed.

What is wrong with a value has to show here, when the configuration is read, and never at somebody's prompt: text is one
line without control characters, of a length that what it is for can hold.
"""

import re
import string
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from pam_arena.conversation import PromptStyle
from pam_arena.pin import PinChoice
from pam_arena.texts import REPLACEABLE

UNITS = {"": 1.0, "ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31557600}
PROMPT_COLUMNS = 45  # a client puts `(user@host) ` before it, on a line of 80
SENTENCE_COLUMNS = 120  # two of them fit into one message of the wire, whatever their script
_LONGEST_LINE = 255  # characters of any text
_SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")
_SERVER = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")
_SIZE = re.compile(r"\s*(?P<number>[0-9]{1,15}(\.[0-9]{1,9})?)\s*((?P<unit>[KMGT])(i?B)?|B)?\s*")
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?P<domain>[^@]+)")

# What a text fills in at its longest: a prompt has to fit then too.
_FILLED_IN = {"ref": "XXXXXXXX", "min": "64", "max": "64", "n": "3600", "pin": "0" * 64}
_PROMPTS = {
    "joined",
    "pin",
    "passcode",
    "mail_code",
    "choose_pin",
    "same_pin",
    "new_passcode",
    "next_code",
    "current_passcode",
}
# Without these, the desk could not find out what was wrong, and nobody would learn a PIN that was made for them.
_NEEDED = {"denied": {"ref"}, "generated_pin": {"pin"}}


class BadValue(Exception):
    """A value is not allowed; the text says what is."""


Reader = Callable[[Any], Any]


def text(value: Any) -> str:
    """One line of text."""
    if not isinstance(value, str) or not _is_line(value) or len(value) > _LONGEST_LINE:
        raise BadValue(f"a line of text in quotes, of at most {_LONGEST_LINE} characters, none of them a control character")
    return value


def _is_line(value: str) -> bool:
    """Whether a terminal shows it in one line as it is; French has its no-break space before a colon."""
    return all(character.isprintable() or unicodedata.category(character) == "Zs" for character in value)


def one_of(*allowed: str) -> Reader:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in allowed or not isinstance(value, str):
            raise BadValue(" or ".join(f'"{name}"' for name in allowed))
        return value

    return read


def prompt(value: Any) -> PromptStyle:
    """How a passcode is asked for."""
    return PromptStyle(one_of(*PromptStyle)(value))


def pin_choice(value: Any) -> PinChoice:
    """Who chooses a PIN."""
    return PinChoice(one_of(*PinChoice)(value))


def whole(low: int, high: int) -> Reader:
    """A whole number, both ends included."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise BadValue(f"a whole number from {low} to {high}")
        return value

    return read


def share(value: Any) -> float:
    """A probability that is not zero."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise BadValue("a number above 0, up to 1")
    return float(value)


def truth(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise BadValue("true or false")
    return value


def seconds(text: str) -> float:
    """A time span as systemd.time(7) writes it ("1min 30s"), in seconds. Raises ValueError."""
    # There is one way to read any text: with two for each digit or blank, a wrong one takes twice as long with each more.
    part = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(?![0-9.])(?:\s*([a-z]+))?\s*"
    if not re.fullmatch(rf"\s*(?:{part})+", text):
        raise ValueError(text)
    try:
        return sum(float(number) * UNITS[unit] for number, unit in re.findall(part, text))
    except KeyError:
        raise ValueError(text) from None


def span(low: float, high: float, *, none: str | None = None) -> Reader:
    """A time span in seconds, both ends included; where `none` is how none is written, that or any 0 is none, and 0."""

    def read(value: Any) -> float:
        try:
            length = seconds(value) if isinstance(value, str) and value != none else -1
        except ValueError:
            length = -1
        if none is not None and (length == 0 or (value == none and isinstance(value, str))):
            return 0.0
        if not low <= length <= high:
            or_none = "" if none is None else f', or "{none}"'
            raise BadValue(f'a time such as "90s" or "15min", from {_readable(low)} to {_readable(high)}{or_none}')
        return length

    return read


def _readable(length: float) -> str:
    return f"{length / 86400:g} days" if length >= 7 * 86400 and length % 86400 == 0 else f"{length:g} s"


def names(value: Any) -> tuple[str, ...]:
    """A list of groups."""
    if not isinstance(value, list) or not all(isinstance(name, str) and _is_name(name) for name in value):
        raise BadValue('a list of names, such as ["staff"]')
    return tuple(value)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_LINE and name.isprintable() and not set(name) & set(":,") and name == name.strip()


def service_name(value: Any) -> str:
    """The name of a PAM service; libpam makes it lower case before any module sees it."""
    if not isinstance(value, str) or not _SERVICE_NAME.fullmatch(value):
        raise BadValue("names of PAM services, in lower case: files of /etc/pam.d")
    return value


def service_names(value: Any) -> tuple[str, ...]:
    """A list of PAM services, at least one."""
    if not isinstance(value, list) or not value:
        raise BadValue('a list of PAM services, such as ["httpd"]')
    return tuple(map(service_name, value))


def peer_user(value: Any) -> str | int:
    """A user's name or uid, other than root, who needs no permission."""
    number = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32 - 1
    if not number and not (isinstance(value, str) and _is_name(value) and value != "root" and not value.isdigit()):
        raise BadValue("a user's name in quotes, or a uid, such as \"www-data\" or 33, other than root's")
    assert isinstance(value, str | int)
    return value


def pin_length(value: Any) -> tuple[int, int]:
    """The shortest and the longest PIN."""
    low, high = value if isinstance(value, list) and len(value) == 2 else (0, 0)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in (low, high)) or not 4 <= low <= high <= 64:
        raise BadValue("[shortest, longest] with 4 <= shortest <= longest <= 64")
    return (low, high)


def store_url(value: Any) -> str:
    """Where the store is."""
    path = text(value).removeprefix("sqlite:///")
    if path == value or not PurePosixPath(path).is_absolute() or path.endswith("/") or set(path) & set("?#%"):
        raise BadValue('"sqlite:////absolute/path"')
    return text(value)


def server(value: Any) -> str:
    """A host and a port."""
    found = _SERVER.fullmatch(value) if isinstance(value, str) else None
    if not found or not 0 < int(found["port"]) < 65536:
        raise BadValue('"host:port", such as "localhost:25" or "[::1]:25"')
    if not found["host"].startswith("[") and not _HOST_NAME.fullmatch(found["host"]):
        raise BadValue('"host:port", such as "localhost:25" or "[::1]:25"')
    return found[0]


def mailbox(value: Any) -> str:
    """An address of mail, or nothing."""
    found = _MAILBOX.fullmatch(value) if isinstance(value, str) else None
    if value != "" and not (found and _HOST_NAME.fullmatch(found["domain"])):
        raise BadValue('an address such as "arena@example.org", or ""')
    return str(value)


def domain(value: Any) -> str:
    """A domain of mail, or nothing."""
    if not isinstance(value, str) or (value and not _HOST_NAME.fullmatch(value)):
        raise BadValue('a domain such as "example.org", or ""')
    return value


def size(low: int, high: int) -> Reader:
    """A size as systemd writes it ("1GiB", "500M"), in bytes, both ends included; "" is none, and 0."""

    def read(value: Any) -> int:
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if value == "" and isinstance(value, str):
            return 0
        length = int(float(found["number"]) * 1024 ** (" KMGT".index(found["unit"] or " "))) if found else -1
        if not low <= length <= high:
            raise BadValue(f'a size such as "500MiB" or "1GiB", from {low // 2**20}MiB to {high // 2**40}TiB, or ""')
        return length

    return read


def own_text(name: str) -> Reader:
    """A service's own words for one text: its placeholders alone, and within the columns that it has."""
    allowed, needed = sorted(REPLACEABLE[name]), _NEEDED.get(name, set())
    columns = PROMPT_COLUMNS if name in _PROMPTS else SENTENCE_COLUMNS
    rule = (
        f"a line of text in quotes, of at most {columns} columns, without control characters, with "
        + (", ".join(f"{{{key}}}" for key in allowed) or "no {placeholder}")
        + (", which must be there" if needed else "")
    )

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not _is_line(value):
            raise BadValue(rule)
        try:
            found = {key for _, key, form, conversion in string.Formatter().parse(value) if _is_plain(key, form, conversion)}
        except ValueError:
            raise BadValue(rule) from None
        if not needed <= found <= set(allowed) or _columns(value.format(**_FILLED_IN)) > columns:
            raise BadValue(rule)
        return value

    return read


def _is_plain(key: str | None, form: str | None, conversion: str | None) -> bool:
    """Whether a part of a template has a placeholder. Raises ValueError for one that does more than to fill in."""
    if form or conversion or (key is not None and not key.isidentifier()):
        raise ValueError(key)
    return key is not None


def _columns(line: str) -> int:
    """How wide a terminal shows a line."""
    line = unicodedata.normalize("NFC", line)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
    return len(line) + wide - sum(unicodedata.combining(character) > 0 for character in line)


OWN_TEXTS = {name: own_text(name) for name in REPLACEABLE}
