"""Which format a file has, by what its first lines look like, and reading it."""

import enum
import re
from collections.abc import Iterator
from typing import BinaryIO

from attrs import frozen

from ..errors import BadImport
from .google import read_google
from .oath_csv import read_csv
from .otpauth import read_otpauth
from .pskc import read_pskc
from .record import Ask, Given, Record
from .users_oath import read_users_oath

HEAD = 64 * 1024  # bytes that tell the format
_OATH = re.compile(r"HOTP(/[A-Z0-9/]+)?[ \t]+\S+[ \t]+\S+[ \t]+[0-9A-Fa-f]+")
_GOOGLE_SEED = re.compile(r"[A-Z2-7]{8,}={0,6}")


class Format(enum.StrEnum):
    """The formats that can be read."""

    PSKC = "pskc"
    CSV = "csv"
    OATH = "users.oath"
    GOOGLE = "google-authenticator"
    OTPAUTH = "otpauth"


@frozen
class Surroundings:
    """What a parser needs besides the file. now: seconds since 1970 UTC; owner: the user whose file it is."""

    ask: Ask
    now: float
    given: Given
    owner: str = ""


def recognise(head: bytes) -> Format:
    """The format of a file that begins with `head`. Raises BadImport for none that is known."""
    if b"\0" in head[:2] or head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return Format.PSKC  # with NULs: XML in UTF-16
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise BadImport("the file has no key in it")
    if lines[0].lower().startswith(("otpauth:", "otpauth-migration:")):
        return Format.OTPAUTH
    if _OATH.match(lines[0]):
        return Format.OATH
    if _GOOGLE_SEED.fullmatch(lines[0]) and (len(lines) == 1 or lines[1].startswith('" ')):
        return Format.GOOGLE
    if any(delimiter in lines[0] for delimiter in ",;\t"):
        return Format.CSV
    raise BadImport(f"the file has none of the formats that are known: {', '.join(Format)}")


def read(form: Format, source: BinaryIO, about: Surroundings) -> Iterator[Record]:
    """The keys of a file. Raises BadImport, at once or at any of them."""
    if form is Format.PSKC:
        return read_pskc(source, about.ask, about.now)
    if form is Format.OATH:
        return read_users_oath(source)
    if form is Format.GOOGLE:
        return iter([read_google(source, about.given.user or about.owner)])
    if form is Format.OTPAUTH:
        return read_otpauth(source, about.given)
    return read_csv(source, about.given)
