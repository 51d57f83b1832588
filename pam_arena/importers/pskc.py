"""PSKC, the XML of key makers (RFC 6030), read by python-pskc behind three guards of our own.

1. A document type is refused before anything is parsed: entities are how XML bombs and readers of foreign files are built.
   The tree is always built by Python's own parser, whatever else is installed.
2. A value that was encrypted by CBC must have a MAC, as section 6.1.1 says: CBC alone lets anyone change what it hides.
3. Work that the file asks for has a bound: a count of iterations is a number that anybody can write.
"""

import datetime
import warnings
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from pskc import PSKC
from pskc.exceptions import PSKCError
from pskc.key import EncryptedValue
from pskc.parser import PSKCParser

from ..errors import BadImport
from ..otp import COUNTER_MOST, SEED_BYTES, Algorithm, Kind, Mechanism
from ..secret import Secret
from .record import Ask, Lock, Record, check_serial, mechanism_of, refuse, whole

_ITERATIONS_MOST = 10_000_000
_DERIVED_BYTES_MOST = 64
_DEPTH_MOST = 64  # elements inside one another; a PSKC file has a dozen
_DRIFT_MOST = 10**6  # steps
_KINDS = {"totp": Kind.TOTP, "hotp": Kind.HOTP}
_PERIOD = 30  # seconds, where a TOTP key names none (RFC 6238 section 4.1)
_CUT = "the file is no PSKC, or it is cut short or damaged"


def read_pskc(source: BinaryIO, ask: Ask, now: float) -> Iterator[Record]:
    """The keys of a PSKC file; `ask` gives what opens it, and is called at most once. Raises BadImport."""
    container = _container(_tree(whole(source)))
    if _is_locked(container):
        _unlock(container, ask)
    when = datetime.datetime.fromtimestamp(now, datetime.UTC)
    for number, key in enumerate(container.keys, 1):
        yield _record(f"key {number}", key, when)


def _tree(data: bytes) -> ElementTree.Element:
    """The parsed document, none of whose parts came from a document type."""
    depth = 0

    def refuse_doctype(*_: object) -> None:
        raise BadImport("the file has a document type (DOCTYPE), as XML bombs have and PSKC never: refused unread")

    def enter(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH_MOST:
            raise BadImport(f"{_CUT}: its elements stand more than {_DEPTH_MOST} deep")

    def leave(_: object) -> None:
        nonlocal depth
        depth -= 1

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse_doctype
    guard.StartElementHandler, guard.EndElementHandler = enter, leave
    try:
        guard.Parse(data, True)
        return ElementTree.fromstring(data)
    except expat.ExpatError as error:
        raise BadImport(f"line {error.lineno}: {_CUT}: {expat.errors.messages[error.code]}") from None
    except (ElementTree.ParseError, ValueError, LookupError):
        raise BadImport(_CUT) from None


def _container(tree: ElementTree.Element) -> Any:
    container = PSKC()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dates of unknown time zones
            PSKCParser.parse_document(container, tree)
    except Exception:  # a library that takes a file at its word: whatever it stumbles over, the file is bad
        raise BadImport(_CUT) from None
    if not container.keys:
        raise BadImport(f"{_CUT}: it has no key")
    return container


def _values(key: Any) -> Iterator[Any]:
    for name in ("secret", "counter", "time_interval", "time_drift"):
        yield getattr(key, f"_{name}", None)


def _is_locked(container: Any) -> bool:
    return any(isinstance(value, EncryptedValue) for key in container.keys for value in _values(key))


def _unlock(container: Any, ask: Ask) -> None:
    """Give the container its key. A wrong one shows when the first value is opened."""
    encryption = container.encryption
    derivation = encryption.derivation
    if derivation.algorithm is None:
        encryption.key = _key(ask(Lock.KEY).reveal(), encryption)
        return
    length = derivation.pbkdf2_key_length or 0
    if not 0 < length <= _DERIVED_BYTES_MOST:
        raise BadImport("the file does not say how long its derived key is, or it is too long")
    # Each 20 bytes of the key are as many iterations once more (RFC 8018 section 5.2, with SHA-1).
    if not 0 < (derivation.pbkdf2_iterations or 0) * -(-length // 20) <= _ITERATIONS_MOST:
        raise BadImport(f"the file asks for a key of none or more than {_ITERATIONS_MOST} iterations")
    try:
        encryption.derive_key(ask(Lock.PASSPHRASE).reveal())
    except (PSKCError, ValueError, OverflowError):
        raise BadImport("the file's key is derived in a way that is not known: PBKDF2 is (RFC 6030 section 6.2)") from None


def _key(typed: bytes, encryption: Any) -> bytes:
    """The pre-shared key as raw bytes, hex or base64: whichever has a length that the cipher takes."""
    try:
        lengths = encryption.algorithm_key_lengths
    except PSKCError:
        raise BadImport("the file is encrypted in a way that is not known: AES-128-CBC is (RFC 6030 section 6.1)") from None
    if len(typed) in lengths:
        return typed
    text = "".join(typed.decode("ascii", "replace").split())
    for read in (bytes.fromhex, lambda spelled: b64decode(spelled, validate=True)):
        try:
            key = read(text)
        except ValueError:
            continue
        if len(key) in lengths:
            return key
    raise BadImport(f"the key is wrong: {' or '.join(map(str, lengths))} bytes are expected, as hex, base64 or raw")


def _record(at: str, key: Any, when: datetime.datetime) -> Record:
    serial = str(key.serial or key.id or "")
    check_serial(at, serial)
    opened = _open(at, serial, key)
    if not _may_use(key, when):
        refuse(at, serial, "its policy does not allow it for one-time codes now (RFC 6030 section 5)")
    name = str(key.algorithm or "").rpartition(":")[2].rpartition("#")[2].lower()
    kind = _KINDS.get(name)
    if kind is None:
        refuse(at, serial, "it is neither a TOTP nor a HOTP key")
    if key.response_encoding not in (None, "DECIMAL") or key.response_check:
        refuse(at, serial, "its codes are not plain digits")
    suite = str(key.algorithm_suite or "sha1").lower().replace("hmac", "").replace("-", "").strip("_")
    if suite not in set(Algorithm):
        refuse(at, serial, "its algorithm is none of sha1, sha256, sha512")
    period = _PERIOD if opened.interval is None else opened.interval
    digits = 6 if key.response_length is None else int(key.response_length)
    mechanism = mechanism_of(at, serial, kind, Algorithm(suite), digits, period if kind is Kind.TOTP else Mechanism().period)
    until = key.policy.expiry_date
    return Record(
        at,
        serial,
        opened.seed,
        mechanism,
        opened.counter - 1 if kind is Kind.HOTP else -1,
        opened.drift if kind is Kind.TOTP else 0,
        _user(str(key.userid or "")),
        valid_until=_seconds(at, serial, until) if until is not None else None,
    )


class _Opened:
    """The values of a key, out of their encryption."""

    def __init__(self, at: str, serial: str, key: Any) -> None:
        seed = key.secret
        if not isinstance(seed, bytes) or not SEED_BYTES[0] <= len(seed) <= SEED_BYTES[1]:
            refuse(at, serial, f"its seed is missing, or not of {SEED_BYTES[0] * 8} to {SEED_BYTES[1] * 8} bits")
        self.seed = Secret(seed)
        self.counter = int(key.counter or 0)
        self.interval = None if key.time_interval is None else int(key.time_interval)
        self.drift = int(key.time_drift or 0)
        if not 0 <= self.counter <= COUNTER_MOST or abs(self.drift) > _DRIFT_MOST:
            refuse(at, serial, "its counter or its drift is out of range")


def _open(at: str, serial: str, key: Any) -> _Opened:
    algorithm = key.device.pskc.encryption.algorithm
    for value in _values(key):
        if isinstance(value, EncryptedValue) and not value.mac_value and "-cbc" in str(value.algorithm or algorithm):
            refuse(at, serial, "it is encrypted by CBC without a MAC (ValueMAC): anybody may have changed it")
    try:
        return _Opened(at, serial, key)
    except BadImport:
        raise
    except Exception:  # the library lets through what ciphers and converters raise
        refuse(at, serial, "it does not open: a wrong key or passphrase, or a MAC that does not match: the file was changed")


def _may_use(key: Any, when: datetime.datetime) -> bool:
    try:
        return bool(key.policy.may_use("OTP", when))
    except (TypeError, ValueError, OverflowError):
        return False


def _seconds(at: str, serial: str, until: datetime.datetime) -> int:
    try:
        return int((until if until.tzinfo else until.replace(tzinfo=datetime.UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        refuse(at, serial, "its date of expiry is none")


def _user(name: str) -> str:
    """The user of a distinguished name (RFC 6030 section 4.3.2), or a plain name."""
    for part in name.split(","):
        attribute, equals, value = part.partition("=")
        if equals and attribute.strip().lower() in ("uid", "cn"):
            return value.strip()
    return "" if "=" in name else name.strip()
