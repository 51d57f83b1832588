"""A real listener with sessions, verifier and store, in this process, and a client that sends it whatever a fuzzer likes.

An input is datagrams, each after its length in two bytes. The client waits for a question before it sends the next; with
the length's highest bit set it does not. In what is typed, <pin>, <code>, <next>, <used> and <emergency> become alice's own,
so that a fuzzer comes as far as a holder does.
"""

import asyncio
import logging
import socket
import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from arenad.clock import SystemClock
from arenad.config import Config, Lock, Login, Mail, Service
from arenad.login.admission import Door
from arenad.login.complaints import Complaints
from arenad.login.decoys import prepare
from arenad.login.listener import Listener
from arenad.login.policy import Manners
from arenad.login.selfservice import SelfService
from arenad.login.session import Counts, Desk, under_way
from arenad.login.verifier import Verifier
from arenad.store import schema
from arenad.store.engine import Reader, open_store
from arenad.store.inventory import NewToken, add_holder, add_token
from arenad.store.migrate import migrate
from arenad.store.recovery import add_codes
from arenad.store.writer import Writer
from arenad.vault import Vault
from attrs import evolve

from pam_arena import pin
from pam_arena.errors import RemoteProtocolError
from pam_arena.otp import Kind, Mechanism, tokencode
from pam_arena.protocol import DATAGRAM_MAX, Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

PIN, EMERGENCY, SEED = "2846", "ABCDE-12345", bytes(range(20))
HOTP, CHEAP = Mechanism(Kind.HOTP), pin.Hasher(time_cost=1, memory_kib=8)
CODES = [tokencode(Secret(SEED), HOTP, step) for step in range(24)]
USED, NOW = 0, 1  # steps
WORDS = {"pin": PIN, "code": CODES[NOW], "next": CODES[NOW + 1], "used": CODES[USED], "emergency": EMERGENCY}
SERVICES = {
    "default": Service(deadline=0, grant=3600),
    "watch": Service(deadline=0, mode="observe"),
    "post": Service(deadline=0, mail_codes=True),
    "su": Service(deadline=0, ask="caller"),
    "off": Service(mode="off"),
    "maybe": Service(deadline=0, without_token="ignore"),
}
CONFIG = Config(login=Login(deny_after=0), lock=Lock(after=100), services=SERVICES, mail=Mail(sender="arena@school.example"))
AT_ONCE = 0x8000
SECONDS = 20  # without a word from arenad
SUCCESS, IGNORE = 0, 25


class _Errors(logging.Handler):
    """Keeps what the daemon calls an error, be it one of its store: nothing that is sent may lead to one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Conversations:
    """One service for all inputs; the store is as at first before each."""

    @staticmethod
    @cache
    def only() -> "Conversations":
        """The one of this process."""
        return Conversations()

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="arena-fuzz-")
        url = f"sqlite:///{self._folder.name}/arena.db"
        migrate(url)
        engine, clock, vault = open_store(url), SystemClock(), Vault(Secret(bytes(32)))
        self._vault, self._writer = vault, Writer(engine)
        prepare(self._writer, vault, clock, CHEAP)
        self._pin = vault.seal_pin(CHEAP.hash(PIN, bytes(16)), "alice"), vault.seal_pin_length(len(PIN), "alice")
        self._writer.submit(self._enrol).result()
        verifier = Verifier(engine, self._writer, vault, clock, CONFIG, CHEAP, 2)
        door = Door(Reader(engine), clock, lambda: CONFIG)
        own = SelfService(verifier, lambda: CONFIG, lambda: None)
        desk = Desk(
            verifier,
            door,
            clock,
            lambda: CONFIG,
            lambda order, name: None,
            Counts(),
            Manners(),
            own,
            Complaints(clock.monotonic),
        )
        self._path = str(Path(self._folder.name, "auth.sock"))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(self._path)
        listening.listen(16)
        self._loop = asyncio.new_event_loop()
        self._errors = _Errors()
        logging.getLogger("arenad").setLevel(logging.ERROR)
        logging.getLogger("arenad").addHandler(self._errors)
        self._loop.set_exception_handler(lambda loop, context: self._errors.lines.append(str(context)))
        self._listener = Listener(listening, desk, 64)
        self._loop.run_until_complete(self._start())

    def attack(self, data: bytes) -> None:
        """Send an input, then log in as a holder does. Raises AssertionError where the invariant does not hold."""
        self._writer.submit(self._reset).result()
        self._loop.run_until_complete(self._run(_datagrams(data)))
        assert not self._errors.lines, self._errors.lines
        self._writer.submit(self._reset).result()
        good = [(False, encode(Start(Operation.AUTHENTICATE, "login", "alice")))]
        good += [(False, encode(Answer(Secret(text.encode())))) for text in ("<pin>", "<code>")]
        assert self._loop.run_until_complete(self._run(good)) == SUCCESS, "a holder with PIN and code is not let in afterwards"

    async def _start(self) -> None:
        self._listener.start()

    def _enrol(self, connection: sa.engine.Connection) -> None:
        for name in ("alice", "newcomer"):
            whose = add_holder(connection, name, 0)
            sealed = self._vault.seal_seed(Secret(SEED), f"K-{name}", 1)
            add_token(connection, NewToken(f"K-{name}", HOTP, sealed), 0, schema.State.ACTIVE, whose)
            if name == "alice":
                digest = self._vault.digest_code(EMERGENCY, name)
                add_codes(connection, whose, schema.CodeKind.EMERGENCY, [digest], 0, None)

    def _reset(self, connection: sa.engine.Connection) -> None:
        for table in (schema.audit, schema.failure, schema.origin, schema.session_grant, schema.stranger):
            connection.execute(sa.delete(table))
        connection.execute(sa.delete(schema.recovery).where(schema.recovery.c.kind == "mail"))
        connection.execute(sa.update(schema.recovery).values(used_at=None))
        people = sa.update(schema.holder).where(schema.holder.c.id != schema.NOBODY)
        connection.execute(people.values(pin=None, pin_length=None, pin_history=None, pin_set_at=None, new_pin_until=2**40))
        sealed, length = self._pin
        alice = sa.update(schema.holder).where(schema.holder.c.name == "alice")
        connection.execute(alice.values(pin=sealed, pin_length=length, pin_set_at=1, new_pin_until=None))
        tokens = sa.update(schema.token).where(schema.token.c.state != "decoy")
        connection.execute(tokens.values(last_step=USED, granted_step=-1, drift=0, wrong_pins=0, state="active", why=""))

    async def _run(self, datagrams: list[tuple[bool, bytes]]) -> int | None:
        """PAM's code, None where arenad hung up."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.setblocking(False)
        try:
            await self._loop.sock_connect(line, self._path)
            return await asyncio.wait_for(self._converse(line, datagrams), SECONDS)
        finally:
            line.close()
            while tasks := under_way():
                await asyncio.wait(tasks)
            while self._listener.conversations:  # noqa: ASYNC110  # turns of the loop, which are not time
                await asyncio.sleep(0)

    async def _converse(self, line: socket.socket, datagrams: list[tuple[bool, bytes]]) -> int | None:
        start, typed, waits = None, "", False
        for at_once, datagram in datagrams:
            if waits and not at_once and (code := await self._hear(line, start, typed)) is not None:
                return None if code < 0 else code
            datagram, message = _spell(datagram)
            if isinstance(message, Start) and start is None:
                start = message
            typed += _text_of(message)
            try:
                await self._loop.sock_sendall(line, datagram)
            except OSError:
                return None
            waits = True
        return None if not datagrams or (code := await self._hear(line, start, typed)) is None or code < 0 else code

    async def _hear(self, line: socket.socket, start: Start | None, typed: str) -> int | None:
        """None once something is asked, PAM's code, or -1 where arenad hung up."""
        while True:
            try:
                heard = await self._loop.sock_recv(line, DATAGRAM_MAX + 1)
            except ConnectionResetError:
                continue
            if not heard:
                return -1
            message = decode(heard, Prompt, Done)  # raises where arenad breaks its own protocol
            if isinstance(message, Done):
                assert start is not None, "a verdict without a START"
                _code_holds(message, start, typed)
                return message.code
            if isinstance(message, Prompt) and message.style in (Style.HIDDEN, Style.SHOWN):
                return None


def _code_holds(done: Done, start: Start, typed: str) -> None:
    """That a success was earned by what was typed."""
    if done.code == SUCCESS and start.operation is not Operation.ACCOUNT:
        codes = {code for code in CODES[NOW : NOW + 14] if code in typed}
        name = start.user
        assert name in ("alice", "newcomer"), f"{name!r} got in"
        if name == "alice":
            assert PIN in typed and (codes or EMERGENCY in typed.upper().translate(str.maketrans("ILO", "110"))), "no passcode"
        else:
            assert len(codes) > 1, "a first login without a second code"
    if done.authtok is not None:
        assert done.code in (SUCCESS, IGNORE), "a denial leaves a password"


def _text_of(message: Start | Answer | None) -> str:
    """What was typed, as arenad would read it."""
    secret = message.typed if isinstance(message, Answer) else message.passcode if message is not None else None
    return pin.normalise(secret, pin.Policy()) + pin.text_of(secret) if secret is not None else ""


def _datagrams(data: bytes) -> list[tuple[bool, bytes]]:
    found = []
    while len(data) > 2 and len(found) < 16:
        length, data = int.from_bytes(data[:2], "big"), data[2:]
        size = min(length & ~AT_ONCE, DATAGRAM_MAX + 1)
        if data[:size]:
            found.append((bool(length & AT_ONCE), data[:size]))
        data = data[size:]
    return found


def _spell(datagram: bytes) -> tuple[bytes, Start | Answer | None]:
    """A datagram with alice's own words in it, and what it says."""
    try:
        message = decode(datagram, Start, Answer)
    except RemoteProtocolError:
        return datagram, None
    if isinstance(message, Answer):
        message = Answer(_fill(message.typed))
    elif isinstance(message, Start) and message.passcode is not None:
        message = evolve(message, passcode=_fill(message.passcode))
    assert isinstance(message, Start | Answer)
    return encode(message), message


def _fill(typed: Secret) -> Secret:
    text = typed.reveal()
    for word, value in WORDS.items():
        text = text.replace(f"<{word}>".encode(), value.encode())
    return Secret(text[:512])
