"""Python code that reads what others wrote, and the invariant of each in one sentence: what `make fuzz` runs atheris on.

An attack gets any bytes and returns; whatever it raises is a finding. A new reader of foreign bytes (an importer, say) is one
more line of PARSERS and a folder of that name in corpus/.
"""

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

from arenad import config
from arenad.login.admission import ssh_key_hash
from attrs import frozen
from conversations import Conversations
from pam_arena._shim import ffi, lib

from pam_arena import pin, recovery
from pam_arena.errors import ConfigError, RemoteProtocolError
from pam_arena.secret import Secret
from pam_arena.wire import decode, encode

FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="arena-fuzz-")


@frozen
class Parser:
    """What is attacked, in what words it must hold, and how."""

    name: str
    invariant: str
    attack: Callable[[bytes], None]


def read_datagram(data: bytes) -> None:
    """A datagram, read by Python and by C."""
    theirs = ffi.new("struct arena_message *")
    held = ffi.from_buffer(data)
    c_accepts = bool(lib.arena_decode(ffi.cast("const unsigned char *", held), len(data), theirs))
    try:
        message = decode(data)
    except RemoteProtocolError:
        assert not c_accepts, "C alone accepts it"
        return
    assert c_accepts, "Python alone accepts it"
    written = encode(message)
    assert decode(written) == message
    room = ffi.new("unsigned char[4096]")
    size = lib.arena_encode(theirs, room, 4096)
    assert bytes(ffi.buffer(room, size)) == written, "C and Python write it differently"


def read_configuration(data: bytes) -> None:
    """A file arena.toml."""
    path = Path(FOLDER.name, "arena.toml")
    path.write_bytes(data)
    try:
        loaded = config.load(path)
    except ConfigError as error:
        assert str(path) in str(error)
        assert str(error).isprintable() or "\n" not in str(error).strip()
        return
    assert max(config.guess_bounds(loaded)) <= loaded.lock.guess_bound <= 1
    assert math.isfinite(loaded.lock.wait) and 0 < loaded.lock.wait <= loaded.lock.wait_max
    assert 4 <= loaded.pin.length[0] <= loaded.pin.length[1] <= 64
    json.dumps(config.show(loaded), allow_nan=False)


def read_typing(data: bytes) -> None:
    """What was typed into two fields, apart by the first NUL, as any policy would read it."""
    before, _, after = data.partition(b"\0")
    first, second = Secret(before), Secret(after.replace(b"\0", b""))
    for policy in (pin.Policy(), pin.Policy(4, 64, False)):
        one, two = pin.normalise(first, policy), pin.normalise(second, policy)
        for digits in (6, 8):
            found = pin.split(one, two, digits)
            assert (found.pin + found.code) in (one + two, two), "a character was lost"
            assert len(found.code) <= digits
        password, passcode = pin.split_forwarded(second, 4, 6, policy)
        assert second.reveal().startswith(password.reveal()), "the password is not what was typed"
        assert len(passcode.pin) <= 4 * 4 and len(passcode.code) <= 6 * 4
        rescue = recovery.find(first, second, policy)
        if rescue is not None:
            assert set(rescue.code) <= set(recovery.ALPHABET + "-") and len(rescue.code) == 11
            assert rescue.pin in pin.normalise_text(pin.text_of(first) + pin.text_of(second), policy)
        recovery.well_formed(first, second, policy)


def read_ssh_key(data: bytes) -> None:
    """SSH_AUTH_INFO_0, as sshd hands it over."""
    found = ssh_key_hash(data.decode("utf-8", "surrogateescape"))
    assert found is None or len(found) == 32


PARSERS = (
    Parser("datagram", "C and Python accept the same datagrams, and write what they read as the same bytes", read_datagram),
    Parser("config", "a file loads within its bounds, or is refused by a ConfigError that names it", read_configuration),
    Parser(
        "typing", "what was typed falls apart into PIN and code without a loss, and a password stays as it was", read_typing
    ),
    Parser("ssh_key", "what sshd says of a key is 32 bytes of hash or nothing", read_ssh_key),
    Parser(
        "session",
        "whatever is sent to auth.sock, only PIN and fresh code open, each reply is of the wire, and the next is served",
        lambda data: Conversations.only().attack(data),
    ),
)
