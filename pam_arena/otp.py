"""Tokencodes: TOTP (RFC 6238) and HOTP (RFC 4226) on pyotp, seeds in every spelling, and which step a code belongs to.

A *step* is an integer: for TOTP the number of periods since 1970 (RFC 6238 section 4.2), for HOTP the counter
(RFC 4226 section 5.1). Nothing here reads a clock; nothing stops early when a code matches.
"""

import base64
import enum
import hashlib
import hmac
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pyotp
from attrs import field, frozen

from .errors import SeedError
from .secret import Secret

SEED_BYTES = (16, 128)  # RFC 4226 section 4, R6: at least 128 bits; longer than a SHA-512 block gains nothing
COUNTER_MOST = 2**63 - 1  # RFC 4226 section 5.1 has 8 bytes; the store's integers are signed
DIGITS = (6, 8)
PERIOD_SECONDS = (1, 86400)


class Kind(enum.StrEnum):
    """What moves a token on: time or the press of its button."""

    TOTP = "totp"
    HOTP = "hotp"


class Algorithm(enum.StrEnum):
    """The hash under the HMAC (RFC 6238 section 1.2)."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"


@frozen
class Mechanism:
    """How a token makes its codes. period is in seconds, and means nothing for HOTP."""

    kind: Kind = Kind.TOTP
    algorithm: Algorithm = Algorithm.SHA1
    digits: int = 6
    period: int = 60

    def step_at(self, time: float) -> int:
        """The step that a TOTP token shows at `time`, in seconds since 1970 UTC (RFC 6238 section 4.2)."""
        return int(time // self.period)

    def seconds_left(self, time: float) -> int:
        """Seconds until the display changes, 1 to period; 0 for HOTP, whose next code is one press away."""
        return self.period - int(time) % self.period if self.kind is Kind.TOTP else 0


class _Generator(pyotp.HOTP):
    """pyotp's generator over raw bytes: the seed is never spelled as an immortal base32 string."""

    def __init__(self, seed: bytes, mechanism: Mechanism) -> None:
        super().__init__("", digits=mechanism.digits, digest=getattr(hashlib, mechanism.algorithm))
        self._seed = seed

    def byte_secret(self) -> bytes:
        return self._seed

    @staticmethod
    def int_to_bytestring(i: int, padding: int = 8) -> bytes:
        """The counter's 8 bytes (RFC 4226 section 5.2), made at once: a login has 63 of them."""
        return i.to_bytes(padding, "big")


def tokencode(seed: Secret, mechanism: Mechanism, step: int) -> str:
    """The code of one step (RFC 4226 section 5.3)."""
    return _Generator(seed.reveal(), mechanism).generate_otp(step)


def find_step(seed: Secret, mechanism: Mechanism, typed: str, steps: Iterable[int]) -> int | None:
    """The last of `steps` whose code was typed, or None. Every step is computed and compared, whatever came before."""
    generator = _Generator(seed.reveal(), mechanism)
    wanted = typed.encode("utf-8", "surrogateescape")
    found = None
    for step in steps:
        right = hmac.compare_digest(generator.generate_otp(max(step, 0)).encode(), wanted)
        found = step if right and step >= 0 else found
    return found


def find_consecutive(seed: Secret, mechanism: Mechanism, first: str, second: str, steps: range) -> int | None:
    """The step among `steps` that has the code `first` and is followed by `second`, or None. Each is computed."""
    generator = _Generator(seed.reveal(), mechanism)
    wanted = (first + second).encode("utf-8", "surrogateescape")
    found, shown = None, generator.generate_otp(max(steps.start, 0))
    for step in steps:
        following = generator.generate_otp(max(step + 1, 0))
        right = hmac.compare_digest((shown + following).encode(), wanted)
        found = step if right and step >= 0 else found
        shown = following
    return found


@frozen
class Enrolment:
    """A seed with all that is needed to make its codes, and the serial that an otpauth label carries."""

    seed: Secret
    mechanism: Mechanism
    serial: str = ""
    counter: int = field(default=0)


def _checked(seed: bytes) -> Secret:
    low, high = SEED_BYTES
    if not low <= len(seed) <= high:
        allowed = f"{low * 8} to {high * 8} are allowed (RFC 4226 section 4)"
        remedy = ": make a new key, arenactl token add --qr" if len(seed) < low else ""
        raise SeedError(f"the seed has {len(seed) * 8} bits; {allowed}{remedy}")
    return Secret(seed)


def read_seed(line: str, mechanism: Mechanism) -> Enrolment:
    """One line of hex, base32 or an otpauth URI (which brings its own mechanism). Raises SeedError, without the seed."""
    text = line.strip()
    if text.lower().startswith("otpauth:"):
        return _read_uri(text)
    text = re.sub(r"[\s-]", "", text)
    if len(text) % 2 == 0 and re.fullmatch(r"[0-9A-Fa-f]+", text):
        return Enrolment(_checked(bytes.fromhex(text)), mechanism)
    return Enrolment(_checked(_base32(text)), mechanism)


def _base32(text: str) -> bytes:
    bare = re.sub(r"[\s-]", "", text).rstrip("=").upper()
    if not bare:
        raise SeedError("the seed is empty: give one line of hex, base32 or an otpauth URI")
    try:
        return base64.b32decode(bare + "=" * (-len(bare) % 8))
    except ValueError:  # binascii.Error is one; text that is not ASCII is another
        raise SeedError("the seed is neither hex nor base32 nor an otpauth URI") from None


def _read_uri(text: str) -> Enrolment:
    try:
        uri = urlsplit(text)
        query = {name.lower(): values[-1] for name, values in parse_qs(uri.query, strict_parsing=True).items()}
        mechanism = Mechanism(
            Kind(uri.netloc.lower()),
            Algorithm(query.get("algorithm", "SHA1").lower().replace("-", "")),
            int(query.get("digits", "6")),
            int(query.get("period", "30")),
        )
        counter = int(query.get("counter", "0"))
    except ValueError:
        raise SeedError("the otpauth URI is malformed: type, algorithm, digits, period or counter") from None
    if (
        mechanism.digits not in DIGITS
        or not PERIOD_SECONDS[0] <= mechanism.period <= PERIOD_SECONDS[1]
        or not 0 <= counter <= COUNTER_MOST
    ):
        raise SeedError(
            "the otpauth URI asks for digits other than 6 or 8, a period outside 1 to 86400 s or a counter out of range"
        )
    label = unquote(uri.path.lstrip("/"))
    return Enrolment(_checked(_base32(query.get("secret", ""))), mechanism, label.rpartition(":")[2].strip(), counter)


def write_uri(enrolment: Enrolment, issuer: str) -> str:
    """The otpauth URI that phone apps scan. It holds the seed: show it once, store it nowhere."""
    mechanism = enrolment.mechanism
    secret = base64.b32encode(enrolment.seed.reveal()).decode().rstrip("=")
    query = {"secret": secret, "issuer": issuer, "algorithm": mechanism.algorithm.upper(), "digits": str(mechanism.digits)}
    if mechanism.kind is Kind.TOTP:
        query["period"] = str(mechanism.period)
    else:
        query["counter"] = str(enrolment.counter)
    return f"otpauth://{mechanism.kind}/{quote(issuer)}:{quote(enrolment.serial)}?{urlencode(query)}"
