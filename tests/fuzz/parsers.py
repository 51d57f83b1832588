"""Python code that reads what others wrote, and the invariant of each in one sentence: what `make fuzz` runs atheris on.

An attack gets any bytes and returns; whatever it raises is a finding. A new reader of foreign bytes (an importer, say) is one
more line of PARSERS and a folder of that name in corpus/.
"""

import io
import json
import math
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from arenad import config, keyfile, sealedfile
from arenad.desk.audits import read_time
from arenad.desk.dates import end_of, start_of_past
from arenad.login.admission import ssh_key_hash
from attrs import frozen
from conversations import Conversations
from pam_arena._shim import ffi, lib

from pam_arena import pin, recovery
from pam_arena.errors import BadImport, ConfigError, Refusal, RemoteProtocolError, VaultError
from pam_arena.importers.once import Once
from pam_arena.importers.recognise import HEAD, Format, Surroundings, read, recognise
from pam_arena.importers.record import Given, Record
from pam_arena.secret import Secret
from pam_arena.wire import decode, encode

LONGEST = 10.0  # seconds of this process that one file may take
PASSPHRASE = Secret(b"a passphrase that is long")
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


def read_dates(data: bytes) -> None:
    """A time or a day, as a request to the desk has it."""
    text, now = data.decode("utf-8", "replace"), 1_780_000_000
    for reader in (partial(read_time, "since"), start_of_past, end_of):
        try:
            found = reader(text, now=now)
        except Refusal as refusal:
            assert "allowed: " in str(refusal) or "is over" in str(refusal)
        else:
            assert abs(found) < 2**38, "beyond the year 9999"


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


def read_keys(data: bytes) -> None:
    """A file of keys, read as each of the formats, as arenactl would have it read."""
    began = time.process_time()
    about = Surroundings(lambda _: Secret(bytes(range(16))), 1_780_000_000.0, Given(), "alice")
    with suppress(BadImport):
        recognise(data[:HEAD])
    for form in Format:
        try:
            for record in Once().check(read(form, io.BytesIO(data), about)):
                _record_holds(record)
        except BadImport as error:
            assert str(error).strip() and len(str(error)) < 1000
    assert time.process_time() - began < LONGEST, "it took too long"


def _record_holds(record: Record) -> None:
    mechanism = record.mechanism
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", record.serial), "a serial that the store does not take"
    assert 16 <= len(record.seed) <= 128
    assert mechanism.digits in (6, 8) and 1 <= mechanism.period <= 86400
    assert -1 <= record.last_step < 2**63 and abs(record.drift) < 2**31
    assert record.valid_until is None or abs(record.valid_until) < 2**40
    assert all(re.fullmatch(rb"[0-9]{8}", one.reveal()) for one in record.scratch)
    assert record.at


def read_backup(data: bytes) -> None:
    """A backup, from its header to its end."""
    try:
        reader = sealedfile.SealedReader(io.BytesIO(data), "a.backup", PASSPHRASE)
        while reader.read(4096):
            continue
        reader.finish()
    except VaultError as error:
        assert str(error).startswith(("a.backup: ", "the file was changed")), str(error)


def read_export(data: bytes) -> None:
    """An export of the master key."""
    try:
        assert len(keyfile.open_export(data.decode("utf-8", "surrogateescape"), PASSPHRASE)) < len(data)
    except VaultError as error:
        assert str(error)


def stretch_a_little(passphrase: Secret, salt: bytes, cost: dict[str, int]) -> bytes:
    """As much work as is asked for, but never that of a real backup, of which a second has few."""
    assert all(cost[part] <= 4 * keyfile.COST[part] for part in keyfile.COST), "work without a bound"
    return STRETCH(
        passphrase,
        salt,
        {
            "time_cost": min(cost["time_cost"], 1),
            "memory_cost": min(cost["memory_cost"], 64),
            "parallelism": min(cost["parallelism"], 4),
        },
    )


STRETCH = keyfile.stretch
keyfile.stretch = sealedfile.stretch = stretch_a_little


PARSERS = (
    Parser(
        "importers",
        "any bytes are, to each format, keys that the store takes, or a BadImport; within 10 s and 1 GiB",
        read_keys,
    ),
    Parser("backup", "any bytes are a backup that opens whole, or a VaultError that names the file", read_backup),
    Parser("export", "any text is an export that opens, or a VaultError", read_export),
    Parser("datagram", "C and Python accept the same datagrams, and write what they read as the same bytes", read_datagram),
    Parser("config", "a file loads within its bounds, or is refused by a ConfigError that names it", read_configuration),
    Parser("dates", "a time or a day up to the year 9999, or a Refusal that says what is allowed", read_dates),
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
