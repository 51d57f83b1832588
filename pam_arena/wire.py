"""Messages to datagrams and back (c_shim/protocol.h). Pure: no socket, no clock.

Theory: a message is a header and fields in any order. What a type may and must carry stands in `_LAYOUT`, once, for
both directions. Bytes that break a rule raise; nothing is guessed, mended or read in part. What C accepts
(c_shim/wire.c) is accepted here, and nothing else: a test mutates datagrams until the two would differ.
"""

from typing import Any

from attrs import field, frozen

from . import protocol
from .errors import LocalProtocolError, RemoteProtocolError
from .protocol import Operation, Option, Style, Tag, Type
from .secret import Secret


@frozen
class Start:
    """Who wants in, from where and through what. uid is the caller's real one, flags are PAM's, serial a key's."""

    operation: Operation
    service: str
    user: str
    ruser: str = ""
    rhost: str = ""
    tty: str = ""
    flags: int = 0
    uid: int = 0
    auth_info: str = field(default="", repr=False)
    passcode: Secret | None = None
    options: Option = Option(0)
    serial: str = ""


@frozen
class Prompt:
    """One thing to ask or to say."""

    style: Style
    text: str


@frozen
class Answer:
    """What was typed."""

    typed: Secret


@frozen
class Done:
    """The verdict: a PAM return code, and what to leave in PAM_AUTHTOK."""

    code: int
    authtok: Secret | None = None


Message = Start | Prompt | Answer | Done


@frozen
class _Field:
    """A field's place in its message. kind: int, an enum, str or Secret; size: bytes of a number, or the longest text."""

    tag: Tag
    name: str
    kind: Any
    size: int
    required: bool = True
    may_be_empty: bool = False


_LAYOUT: dict[Type, tuple[type[Any], tuple[_Field, ...]]] = {
    Type.START: (
        Start,
        (
            _Field(Tag.OPERATION, "operation", Operation, 1),
            _Field(Tag.SERVICE, "service", str, protocol.SERVICE_MAX),
            _Field(Tag.USER, "user", str, protocol.USER_MAX, may_be_empty=True),
            _Field(Tag.RUSER, "ruser", str, protocol.RUSER_MAX, required=False),
            _Field(Tag.RHOST, "rhost", str, protocol.RHOST_MAX, required=False),
            _Field(Tag.TTY, "tty", str, protocol.TTY_MAX, required=False),
            _Field(Tag.FLAGS, "flags", int, 4),
            _Field(Tag.UID, "uid", int, 4),
            _Field(Tag.AUTH_INFO, "auth_info", str, protocol.AUTH_INFO_MAX, required=False),
            _Field(Tag.PASSCODE, "passcode", Secret, protocol.SECRET_MAX, required=False),
            _Field(Tag.OPTIONS, "options", Option, 1),
            _Field(Tag.SERIAL, "serial", str, protocol.SERIAL_MAX, required=False),
        ),
    ),
    Type.PROMPT: (
        Prompt,
        (_Field(Tag.STYLE, "style", Style, 1), _Field(Tag.TEXT, "text", str, protocol.TEXT_MAX)),
    ),
    Type.ANSWER: (Answer, (_Field(Tag.TYPED, "typed", Secret, protocol.SECRET_MAX, may_be_empty=True),)),
    Type.DONE: (
        Done,
        (_Field(Tag.CODE, "code", int, 1), _Field(Tag.AUTHTOK, "authtok", Secret, protocol.SECRET_MAX, required=False)),
    ),
}
_TYPE_OF: dict[type[Any], Type] = {kind: number for number, (kind, _) in _LAYOUT.items()}
_BY_TAG = {kind: {one.tag.value: one for one in known} for kind, known in _LAYOUT.values()}
_KNOWN_BITS = sum(Option)


def encode(message: Message, version: int = protocol.VERSION) -> bytes:
    """The datagram of a message, in one of VERSIONS.

    Raises LocalProtocolError naming the field that the wire cannot carry.
    """
    number = _TYPE_OF[type(message)]
    parts = [protocol.MAGIC, bytes((version, number))]
    for one in _LAYOUT[number][1]:
        value = _to_bytes(one, getattr(message, one.name))
        if value or one.required:
            parts += (bytes((one.tag,)), len(value).to_bytes(2, "big"), value)
    datagram = b"".join(parts)
    if len(datagram) > protocol.DATAGRAM_MAX:
        raise LocalProtocolError(f"{number.name}: {len(datagram)} bytes; {protocol.DATAGRAM_MAX} are allowed")
    return datagram


def decode(datagram: bytes, *expected: type[Message]) -> Message:
    """The message of a datagram; expected: the types whose turn it is, none for any.

    Raises RemoteProtocolError naming the rule that is broken, never a value.
    """
    size = len(datagram)
    if not protocol.HEADER_SIZE <= size <= protocol.DATAGRAM_MAX or datagram[:2] != protocol.MAGIC:
        raise RemoteProtocolError("no message of ours: wrong size or magic")
    version, number = datagram[2], datagram[3]
    if version not in protocol.VERSIONS:
        raise RemoteProtocolError(f"version {version} is not spoken here")
    layout = _LAYOUT.get(number)  # type: ignore[call-overload]  # an IntEnum's keys are found by their number
    if layout is None:
        raise RemoteProtocolError(f"unknown type {number}")
    kind, known = layout
    if expected and kind not in expected:
        raise RemoteProtocolError(f"{kind.__name__} out of turn")
    values = _fields(datagram, kind)
    missing = [one.name for one in known if one.required and one.name not in values]
    if missing:
        raise RemoteProtocolError(f"{kind.__name__}: {missing[0]} is missing")
    message: Message = kind(**values)
    return message


def version_of(datagram: bytes) -> int:
    """The version that a datagram which decode() took is written in: its sender knows no other."""
    return datagram[2]


def _fields(datagram: bytes, kind: type[Any]) -> dict[str, Any]:
    known, what = _BY_TAG[kind], kind.__name__
    values: dict[str, Any] = {}
    at = protocol.HEADER_SIZE
    while at < len(datagram):
        one = known.get(datagram[at])
        if one is None or one.name in values:
            raise RemoteProtocolError(f"{what}: unknown or repeated tag {datagram[at]:#04x}")
        begin = at + protocol.FIELD_HEADER_SIZE
        end = begin + int.from_bytes(datagram[at + 1 : begin], "big")
        if begin > len(datagram) or end > len(datagram):
            raise RemoteProtocolError(f"{what}: {one.name} is truncated")
        values[one.name] = _from_bytes(one, datagram[begin:end], what)
        at = end
    return values


def _is_number(one: _Field) -> bool:
    return one.kind is not str and one.kind is not Secret


def _to_bytes(one: _Field, value: Any) -> bytes:
    if _is_number(one):
        if not 0 <= value < 1 << 8 * one.size or not _is_known(one, value):
            raise LocalProtocolError(f"{one.name}: {int(value)} is no value of it")
        return int(value).to_bytes(one.size, "big")
    if value is None:
        return b""
    try:
        raw: bytes = value.reveal() if isinstance(value, Secret) else value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{one.name}: holds what no text of bytes holds") from None
    if not _fits(one, raw) or (not raw and one.required and not one.may_be_empty):
        raise LocalProtocolError(f"{one.name}: {len(raw)} bytes; up to {one.size} are allowed, none of them NUL")
    return raw


def _from_bytes(one: _Field, raw: bytes, what: str) -> Any:
    if _is_number(one):
        number = int.from_bytes(raw, "big")
        if len(raw) != one.size or not _is_known(one, number):
            raise RemoteProtocolError(f"{what}: {one.name} has no known value")
        return one.kind(number)
    if not _fits(one, raw) or (not raw and not one.may_be_empty):
        raise RemoteProtocolError(f"{what}: {one.name} is empty, too long or holds a NUL")
    return Secret(raw) if one.kind is Secret else raw.decode("utf-8", "surrogateescape")


def _is_known(one: _Field, number: int) -> bool:
    if one.kind is Option:
        return number & ~_KNOWN_BITS == 0
    return one.kind is int or number in one.kind._value2member_map_


def _fits(one: _Field, raw: bytes) -> bool:
    return len(raw) <= one.size and b"\0" not in raw
