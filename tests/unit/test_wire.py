"""Messages go to datagrams and back whole, and whatever breaks a rule of protocol.h is refused whole."""

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_arena import protocol
from pam_arena.errors import LocalProtocolError, RemoteProtocolError
from pam_arena.protocol import Operation, Option, Style, Tag, Type
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Message, Prompt, Start, decode, encode

OPTIONS = st.integers(0, 15).map(Option)


def raw(low: int, high: int) -> st.SearchStrategy[bytes]:
    """Any bytes but NUL."""
    return st.binary(min_size=low, max_size=high).map(lambda value: value.replace(b"\0", b"\x01"))


def text(low: int, high: int) -> st.SearchStrategy[str]:
    return raw(low, high).map(lambda value: value.decode("utf-8", "surrogateescape"))


STARTS = st.builds(
    Start,
    st.sampled_from(Operation),
    text(1, 128),
    text(0, 512),
    text(0, 256),
    text(0, 256),
    text(0, 128),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    text(0, 2048),
    st.none() | raw(1, 512).map(Secret),
    OPTIONS,
    text(0, 64),
)
PROMPTS = st.builds(Prompt, st.sampled_from(Style), text(1, 1024))
ANSWERS = st.builds(Answer, raw(0, 512).map(Secret))
DONES = st.builds(Done, st.integers(0, 255), st.none() | raw(1, 512).map(Secret))
MESSAGES = STARTS | PROMPTS | ANSWERS | DONES


def tlv(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + len(value).to_bytes(2, "big") + value


def datagram(kind: int, *fields: bytes, magic: bytes = b"AR", version: int = 1) -> bytes:
    return magic + bytes((version, kind)) + b"".join(fields)


# The required fields of each type, as they stand on the wire.
WHOLE = {
    Type.START: {
        Tag.OPERATION: b"\x01",
        Tag.SERVICE: b"sshd",
        Tag.USER: b"alice",
        Tag.FLAGS: bytes(4),
        Tag.UID: bytes(4),
        Tag.OPTIONS: b"\x00",
    },
    Type.PROMPT: {Tag.STYLE: b"\x01", Tag.TEXT: b"PIN: "},
    Type.ANSWER: {Tag.TYPED: b"274955"},
    Type.DONE: {Tag.CODE: b"\x00"},
}
LONGEST = {
    (Type.START, Tag.SERVICE): 128,
    (Type.START, Tag.USER): 512,
    (Type.START, Tag.RUSER): 256,
    (Type.START, Tag.RHOST): 256,
    (Type.START, Tag.TTY): 128,
    (Type.START, Tag.AUTH_INFO): 2048,
    (Type.START, Tag.PASSCODE): 512,
    (Type.START, Tag.SERIAL): 64,
    (Type.PROMPT, Tag.TEXT): 1024,
    (Type.ANSWER, Tag.TYPED): 512,
    (Type.DONE, Tag.AUTHTOK): 512,
}
MAY_BE_EMPTY = {(Type.START, Tag.USER), (Type.ANSWER, Tag.TYPED)}
NUMBERS = {
    (Type.START, Tag.OPERATION): 1,
    (Type.START, Tag.FLAGS): 4,
    (Type.START, Tag.UID): 4,
    (Type.START, Tag.OPTIONS): 1,
    (Type.PROMPT, Tag.STYLE): 1,
    (Type.DONE, Tag.CODE): 1,
}


def with_field(kind: Type, tag: int, value: bytes) -> bytes:
    return datagram(kind, *(tlv(t, v) for t, v in (WHOLE[kind] | {tag: value}).items()))


def refuse(raw_datagram: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        decode(raw_datagram)
    assert str(refusal.value)


@given(MESSAGES)
def test_what_is_encoded_decodes_to_the_same(message: Message) -> None:
    written = encode(message)
    assert len(written) <= protocol.DATAGRAM_MAX
    assert decode(written) == message
    assert encode(decode(written)) == written


@given(STARTS.flatmap(lambda start: st.tuples(st.just(start), st.randoms())))
def test_fields_may_come_in_any_order(drawn: tuple[Start, Random]) -> None:
    start, shuffler = drawn
    written, fields, at = encode(start), [], 4
    while at < len(written):
        end = at + 3 + int.from_bytes(written[at + 1 : at + 3], "big")
        fields.append(written[at:end])
        at = end
    shuffler.shuffle(fields)
    assert decode(written[:4] + b"".join(fields)) == start


def test_the_longest_of_everything_fits() -> None:
    secret = Secret(b"p" * 512)
    words = ("s" * 128, "u" * 512, "r" * 256, "h" * 256, "t" * 128, 2**32 - 1, 2**32 - 1, "a" * 2048, secret)
    start = Start(Operation.CODES, *words, serial="k" * 64)
    assert decode(encode(start)) == start


@pytest.mark.parametrize("kind", Type)
def test_the_samples_of_these_tests_are_right_themselves(kind: Type) -> None:
    decode(datagram(kind, *(tlv(tag, value) for tag, value in WHOLE[kind].items())))


@pytest.mark.parametrize("size", range(4))
def test_a_datagram_without_a_header_is_refused(size: int) -> None:
    refuse(datagram(Type.ANSWER)[:size])


@pytest.mark.parametrize("magic", [b"\0\0", b"ar", b"RA", b"AS", b"BR"])
def test_another_magic_is_refused(magic: bytes) -> None:
    refuse(datagram(Type.DONE, tlv(Tag.CODE, b"\0"), magic=magic))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused(version: int) -> None:
    refuse(datagram(Type.DONE, tlv(Tag.CODE, b"\0"), version=version))


@pytest.mark.parametrize("kind", [0, 5, 128, 255])
def test_another_type_is_refused(kind: int) -> None:
    refuse(datagram(kind, tlv(Tag.CODE, b"\0")))


@pytest.mark.parametrize("kind", Type)
def test_a_tag_that_the_type_does_not_carry_is_refused(kind: Type) -> None:
    own = {tag for (owner, tag) in [*LONGEST, *NUMBERS] if owner is kind}
    for tag in set(range(256)) - own:
        refuse(with_field(kind, tag, b"\x01"))


@pytest.mark.parametrize(("kind", "tag"), [(kind, tag) for kind in Type for tag in WHOLE[kind]])
def test_a_missing_field_is_refused(kind: Type, tag: Tag) -> None:
    refuse(datagram(kind, *(tlv(t, v) for t, v in WHOLE[kind].items() if t is not tag)))


@pytest.mark.parametrize(("kind", "tag"), [(kind, tag) for kind in Type for tag in WHOLE[kind]])
def test_a_repeated_field_is_refused(kind: Type, tag: Tag) -> None:
    again = tlv(tag, WHOLE[kind][tag])
    refuse(with_field(kind, tag, WHOLE[kind][tag]) + again)


@pytest.mark.parametrize(("place", "size"), LONGEST.items())
def test_a_text_longer_than_its_limit_is_refused(place: tuple[Type, Tag], size: int) -> None:
    decode(with_field(*place, b"x" * size))
    refuse(with_field(*place, b"x" * (size + 1)))


@pytest.mark.parametrize("place", LONGEST)
def test_an_empty_text_is_refused_but_where_it_means_something(place: tuple[Type, Tag]) -> None:
    if place in MAY_BE_EMPTY:
        decode(with_field(*place, b""))
    else:
        refuse(with_field(*place, b""))


@pytest.mark.parametrize("place", LONGEST)
@pytest.mark.parametrize("value", [b"\0", b"\0x", b"x\0", b"a\0b"])
def test_a_nul_is_refused_in_every_text(place: tuple[Type, Tag], value: bytes) -> None:
    refuse(with_field(*place, value))


@pytest.mark.parametrize(("place", "size"), NUMBERS.items())
def test_a_number_has_its_size(place: tuple[Type, Tag], size: int) -> None:
    for wrong in {0, 1, 2, 3, 4, 5, 8} - {size}:
        refuse(with_field(*place, b"\x01".rjust(wrong, b"\0")[:wrong]))


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ((Type.START, Tag.OPERATION), range(1, 8)),
        ((Type.PROMPT, Tag.STYLE), range(1, 5)),
        ((Type.START, Tag.OPTIONS), range(16)),
    ],
)
def test_a_number_of_no_meaning_is_refused(place: tuple[Type, Tag], known: range) -> None:
    for number in range(256):
        if number in known:
            decode(with_field(*place, bytes((number,))))
        else:
            refuse(with_field(*place, bytes((number,))))


@given(MESSAGES, st.data())
def test_a_datagram_cut_inside_a_field_is_refused(message: Message, data: st.DataObject) -> None:
    written = encode(message)
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    ends, at = {4}, 4
    while at < len(written):
        at += 3 + int.from_bytes(written[at + 1 : at + 3], "big")
        ends.add(at)
    if len(cut) not in ends:
        refuse(cut)


@given(MESSAGES, st.binary(min_size=1, max_size=2))
def test_bytes_left_over_are_refused(message: Message, rest: bytes) -> None:
    refuse(encode(message) + rest)


def test_a_datagram_longer_than_the_limit_is_refused() -> None:
    refuse(b"AR\x01\x03" + bytes(protocol.DATAGRAM_MAX))
    refuse(encode(Done(0)).ljust(protocol.DATAGRAM_MAX + 1, b"\0"))


@given(st.binary(max_size=5000))
def test_any_bytes_are_a_message_or_are_refused(value: bytes) -> None:
    for one in (value, b"AR\x01" + value):
        with contextlib.suppress(RemoteProtocolError):
            decode(one)


BASIC = Start(Operation.AUTHENTICATE, "sshd", "alice")


@pytest.mark.parametrize(
    "message",
    [
        Start(Operation.AUTHENTICATE, "", "alice"),
        Start(Operation.AUTHENTICATE, "s" * 129, "alice"),
        Start(Operation.AUTHENTICATE, "sshd", "a" * 513),
        Start(Operation.AUTHENTICATE, "sshd", "é" * 257),
        Start(Operation.AUTHENTICATE, "sshd", "a\0b"),
        Start(Operation.AUTHENTICATE, "sshd", "alice", ruser="r" * 257),
        Start(Operation.AUTHENTICATE, "sshd", "alice", rhost="h" * 257),
        Start(Operation.AUTHENTICATE, "sshd", "alice", tty="t" * 129),
        Start(Operation.AUTHENTICATE, "sshd", "alice", auth_info="i" * 2049),
        Start(Operation.AUTHENTICATE, "sshd", "alice", flags=2**32),
        Start(Operation.AUTHENTICATE, "sshd", "alice", uid=-1),
        Start(Operation.AUTHENTICATE, "sshd", "alice", passcode=Secret(b"p" * 513)),
        Prompt(Style.INFO, ""),
        Prompt(Style.INFO, "t" * 1025),
        Prompt(Style.INFO, "a\0b"),
        Answer(Secret(b"t" * 513)),
        Answer(Secret(b"27\x004955")),
        Done(256),
        Done(-1),
        Done(0, Secret(b"t" * 513)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_wire_cannot_carry_is_our_own_mistake(message: Message) -> None:
    with pytest.raises(LocalProtocolError):
        encode(message)


@pytest.mark.parametrize("place", [Tag.PASSCODE, Tag.AUTH_INFO, Tag.USER])
def test_a_refusal_names_the_field_and_never_its_value(place: Tag) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        decode(with_field(Type.START, place, b"8361274955\0"))
    assert place.name.lower() in str(refusal.value)
    assert "8361" not in str(refusal.value)
    with pytest.raises(LocalProtocolError) as mistake:
        encode(Answer(Secret(b"8361274955\0")))
    assert "8361" not in str(mistake.value)


def test_a_start_prints_without_what_is_secret() -> None:
    start = Start(
        Operation.AUTHENTICATE, "sshd", "alice", rhost="192.0.2.7", auth_info="publickey AAAA", passcode=Secret(b"8361274955")
    )
    assert "8361" not in repr(start)
    assert "274955" not in repr(start)
    assert "AAAA" not in repr(start)
    assert all(word in repr(start) for word in ("AUTHENTICATE", "sshd", "alice", "192.0.2.7"))
    assert "8361" not in repr(decode(encode(start)))


@pytest.mark.parametrize("message", [Answer(Secret(b"8361274955")), Done(0, Secret(b"8361274955"))])
def test_no_message_prints_its_secret(message: Message) -> None:
    assert "8361" not in repr(message)
