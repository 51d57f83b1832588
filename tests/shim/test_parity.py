"""The wire is one: C and Python have the same numbers, write the same bytes, and accept the same datagrams."""

import enum
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pam_arena._shim import ffi, lib

from pam_arena import protocol
from pam_arena.errors import RemoteProtocolError
from pam_arena.protocol import Operation, Option, Style, Tag, Type
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Message, Prompt, Start, decode, encode

HEADER = (Path(__file__).parents[2] / "c_shim/protocol.h").read_text()
C_NAMES = set(re.findall(r"^(?:#define|   ) ?(ARENA_[A-Z_0-9]+)(?= [^\n])", HEADER, re.M))


def python_numbers() -> dict[str, int]:
    """Every number of protocol.py by its name in C."""
    enums: list[type[enum.IntEnum] | type[enum.IntFlag]] = [Type, Tag, Operation, Style, Option]
    pairs = [(member.name, member.value) for one in enums for member in one]
    pairs += [(name, value) for name, value in vars(protocol).items() if name.isupper() and isinstance(value, int)]
    pairs += [("MAGIC_0", protocol.MAGIC[0]), ("MAGIC_1", protocol.MAGIC[1])]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {f"ARENA_{name}": int(value) for name, value in pairs}


def c_numbers() -> dict[str, int]:
    return {name: getattr(lib, name) for name in dir(lib) if name.startswith("ARENA_")}


def test_every_number_is_the_same_in_both() -> None:
    # The sizes of headers are Python's only in its slices, which the messages below hold to C's.
    assert c_numbers() == python_numbers() | {"ARENA_HEADER_SIZE": 4, "ARENA_FIELD_HEADER_SIZE": 3}


def test_no_name_of_the_header_is_left_out() -> None:
    assert set(c_numbers()) == C_NAMES - {"ARENA_SOCKET", "ARENA_PROTOCOL_H"}


def test_the_socket_is_the_same_in_both() -> None:
    assert re.findall(r'^#define ARENA_SOCKET "(.+)"$', HEADER, re.M) == [protocol.SOCKET]


def test_this_version_is_among_those_spoken() -> None:
    assert lib.ARENA_VERSION in protocol.VERSIONS


def raw(low: int, high: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=low, max_size=high).map(lambda value: value.replace(b"\0", b"\x01"))


def text(low: int, high: int) -> st.SearchStrategy[str]:
    return raw(low, high).map(lambda value: value.decode("utf-8", "surrogateescape"))


NUMBER = st.integers(0, 2**32 - 1)
STARTS = st.builds(
    Start,
    st.sampled_from(Operation),
    text(1, 128),
    text(0, 512),
    text(0, 256),
    text(0, 256),
    text(0, 128),
    NUMBER,
    NUMBER,
    text(0, 2048),
    st.none() | raw(1, 512).map(Secret),
    st.integers(0, 15).map(Option),
    text(0, 64),
)
MESSAGES = (
    STARTS
    | st.builds(Prompt, st.sampled_from(Style), text(1, 1024))
    | st.builds(Answer, raw(0, 512).map(Secret))
    | st.builds(Done, st.integers(0, 255), st.none() | raw(1, 512).map(Secret))
)


class Decoded:
    """What C makes of a datagram. The bytes stay alive with it, because C's texts point into them."""

    def __init__(self, datagram: bytes) -> None:
        self._memory = ffi.new("unsigned char[]", max(len(datagram), 1))
        ffi.memmove(self._memory, datagram, len(datagram))
        self.message = ffi.new("struct arena_message *")
        ffi.memmove(self.message, b"\xa5" * ffi.sizeof("struct arena_message"), ffi.sizeof("struct arena_message"))
        self.accepted = lib.arena_decode(self._memory, len(datagram), self.message)

    def encode(self, size: int = protocol.DATAGRAM_MAX) -> bytes:
        out = ffi.new("unsigned char[]", protocol.DATAGRAM_MAX + 1)
        written = lib.arena_encode(self.message, out, size)
        assert written <= size
        return bytes(ffi.buffer(out, written))

    def text(self, value: Any) -> bytes:  # C's structs have no types here
        return bytes(ffi.string(value.data, value.size)) if value.size else b""

    def fields(self) -> Message:
        """The same as one of Python's messages, made of C's fields alone."""

        def words(value: Any) -> str:
            return self.text(value).decode("utf-8", "surrogateescape")

        def secret(value: Any) -> Secret | None:
            return Secret(self.text(value)) if value.data != ffi.NULL else None

        one, start = self.message, self.message.start
        match Type(one.type):
            case Type.START:
                return Start(
                    Operation(start.operation),
                    words(start.service),
                    words(start.user),
                    words(start.ruser),
                    words(start.rhost),
                    words(start.tty),
                    start.flags,
                    start.uid,
                    words(start.auth_info),
                    secret(start.passcode),
                    Option(start.options),
                    words(start.serial),
                )
            case Type.PROMPT:
                return Prompt(Style(one.style), words(one.text))
            case Type.ANSWER:
                return Answer(Secret(self.text(one.typed)))
            case Type.DONE:
                return Done(one.code, secret(one.authtok))


@given(MESSAGES)
def test_what_python_writes_c_reads_and_writes_again(message: Message) -> None:
    written = encode(message)
    decoded = Decoded(written)
    assert decoded.accepted
    assert decoded.fields() == message
    assert decoded.encode() == written


@given(MESSAGES, st.data())
def test_c_writes_nothing_into_too_small_a_buffer(message: Message, data: st.DataObject) -> None:
    written = encode(message)
    decoded = Decoded(written)
    assert decoded.encode(data.draw(st.integers(0, len(written) - 1))) == b""
    assert decoded.encode(len(written)) == written


def python_accepts(datagram: bytes) -> bool:
    try:
        decode(datagram)
    except RemoteProtocolError:
        return False
    return True


def judge(datagram: bytes) -> bool:
    """Both decoders' one opinion. What both accept has the same fields; what C refuses leaves nothing behind."""
    decoded = Decoded(datagram)
    assert decoded.accepted == python_accepts(datagram)
    if decoded.accepted:
        assert decoded.fields() == decode(datagram)
        assert decoded.encode() == encode(decode(datagram))
    else:
        assert bytes(ffi.buffer(decoded.message)) == bytes(ffi.sizeof("struct arena_message"))
    return bool(decoded.accepted)


@given(st.binary(max_size=4200))
def test_both_judge_random_bytes_alike(noise: bytes) -> None:
    for start in (b"", b"AR", b"AR\x01", b"AR\x01\x03\x20", b"AR\x01\x04\x30\0\x01"):
        judge(start + noise)


FIELD = st.tuples(
    st.sampled_from(Tag).map(int) | st.integers(0, 255),
    raw(0, 20)
    | st.binary(max_size=5)
    | st.sampled_from([127, 128, 129, 256, 257, 512, 513, 1024, 1025, 2048, 2049]).map(lambda n: b"x" * n),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1, 255, 256]),
)


@settings(max_examples=1000)
@given(st.integers(0, 6), st.lists(FIELD, max_size=12))
def test_both_judge_fields_of_any_kind_alike(kind: int, fields: list[tuple[int, bytes, int]]) -> None:
    parts = [bytes((tag,)) + (max(0, len(value) + lie) & 0xFFFF).to_bytes(2, "big") + value for tag, value, lie in fields]
    judge(b"AR\x01" + bytes((kind,)) + b"".join(parts))


def _overwrite(one: bytes, at: int, byte: int) -> bytes:
    return one[:at] + bytes((byte,)) + one[at + 1 :]


def _insert(one: bytes, at: int, byte: int) -> bytes:
    return one[:at] + bytes((byte,)) + one[at:]


def _delete(one: bytes, at: int, byte: int) -> bytes:
    return one[:at] + one[at + 1 + byte % 4 :]


def _repeat(one: bytes, at: int, byte: int) -> bytes:
    return one[: at + byte] + one[at:]


def _cut(one: bytes, at: int, byte: int) -> bytes:
    return one[:at]


def _count(one: bytes, at: int, byte: int) -> bytes:
    return _overwrite(one, at, (one[at] + (1 if byte & 1 else -1)) % 256) if at < len(one) else one


Mutation = tuple[Callable[[bytes, int, int], bytes], int, int]
MUTATION = st.tuples(
    st.sampled_from([_overwrite, _insert, _delete, _repeat, _cut, _count]),
    st.integers(0, 60) | st.integers(0, 4096),
    st.integers(0, 255),
)


@settings(max_examples=2000)
@given(MESSAGES, st.lists(MUTATION, min_size=1, max_size=4))
def test_both_judge_a_damaged_message_alike(message: Message, mutations: list[Mutation]) -> None:
    datagram = encode(message)
    for mutate, at, byte in mutations:
        datagram = mutate(datagram, min(at, len(datagram)), byte)
    judge(datagram)


def test_both_judge_every_byte_of_a_whole_start_alike() -> None:
    start = Start(
        Operation.LOST, "sshd", "alice", "r", "h", "t", 0x8000, 1000, "publickey x", Secret(b"8361274955"), Option.SPLIT, "K1"
    )
    whole = encode(start)
    accepted = sum(judge(_overwrite(whole, at, byte)) for at in range(len(whole)) for byte in range(256))
    assert 0 < accepted < 256 * len(whole)
    assert not any(judge(whole[:at]) for at in range(len(whole) - len(start.serial) - 3 - 4))


def test_c_refuses_to_write_what_it_would_not_read() -> None:
    for kind, field, value in [
        ("start", "operation", 0),
        ("start", "operation", 8),
        ("start", "options", 16),
        ("", "style", 0),
        ("", "style", 5),
    ]:
        decoded = Decoded(encode(Start(Operation.STATUS, "s", "u") if kind else Prompt(Style.INFO, "x")))
        setattr(decoded.message.start if kind else decoded.message, field, value)
        assert decoded.encode() == b""
    for kind_number in (0, 5, 255):
        decoded = Decoded(encode(Done(0)))
        decoded.message.type = kind_number
        assert decoded.encode() == b""


def test_c_writes_no_text_that_breaks_its_limit() -> None:
    for size, nul in ((0, False), (1025, False), (10, True)):
        decoded = Decoded(encode(Prompt(Style.INFO, "x")))
        memory = ffi.new("char[]", (b"x" * size)[: -1 if nul else None] + (b"\0" if nul else b""))
        decoded.message.text.data, decoded.message.text.size = memory, size
        assert decoded.encode() == b""
