"""An application of PAM that makes calls as it is told, with faults, and the daemon's side of the wire beside it.

Both run from one loop, so that what the daemon had said when a call returned is known exactly: after each call every
connection is played to its end. What the daemon does on a connection is a generator: it yields a datagram to send, or
HEAR, and is then sent the datagram that came.
"""

import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

from attrs import evolve, frozen
from stage import AUTH_ERR, CRED_UNAVAIL, IGNORE, ROOT, SUCCESS

from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Message, Prompt, Start, decode, encode

HERE = Path(__file__).parent
SOURCES = ["c_shim/wire.c", "c_shim/channel.c", "c_shim/pam_arena.c"]
# Bound at once, as sshd is: where the loader binds a symbol later, it saves the vector registers on the stack, and with
# them what memcpy(3) left there.
DRIVER = ["-rdynamic", "-Wl,-z,now", *(f"tests/fault/{name}.c" for name in ("driver", "faults", "guest"))]
CC = ["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-fno-omit-frame-pointer"]
ENTRIES = {"authenticate": Operation.AUTHENTICATE, "acct_mgmt": Operation.ACCOUNT, "chauthtok": Operation.CHANGE_PIN}
HEAR = b""
LONG = bool(os.environ.get("ARENA_LONG"))  # `make torture`
PATIENCE_MS = 10_000 + 500  # what the module promises, and what a busy machine adds, to libpam's audit too
_SECONDS = 30

Script = Generator[bytes, bytes, None]

# Stacks that another module lets pass. In each, PAM succeeds if pam_arena does, and not if it fails or ignores; "alone"
# tells what it said itself, IGNORE by CRED_UNAVAIL.
STACKS = {
    "alone": ["[success=done ignore=ignore default=die] ARENA", "required pam_debug.so CRED_UNAVAIL"],
    "before": ["required pam_permit.so", "required ARENA"],
    "after": ["required ARENA", "required pam_permit.so"],
    "requisite": ["requisite ARENA", "required pam_permit.so"],
    "sufficient": ["sufficient ARENA", "required pam_deny.so"],
    "ignored": ["[default=ignore] pam_permit.so", "required ARENA"],
    "jump": ["[success=1 default=ignore] ARENA", "requisite pam_deny.so", "required pam_permit.so"],
}


def compile_c(out: Path, *arguments: str) -> Path:
    """An object or program of C, from files below the project's folder."""
    subprocess.run([*CC, *arguments, "-o", str(out), "-lpam"], check=True, cwd=ROOT)
    return out


def compile_module(folder: Path, plant: tuple[str, str, str] | None = None, *flags: str) -> Path:
    """The module, or a variant of it: in the source that is named, a text is replaced, which stands there once."""
    sources = folder / f"sources{len(list(folder.iterdir()))}"
    sources.mkdir()
    for path in (ROOT / "c_shim").glob("*.[ch]"):
        text = path.read_text()
        if plant is not None and path.name == plant[0]:
            assert text.count(plant[1]) == 1, f"{plant[1]!r} stands {text.count(plant[1])} times in {path.name}"
            text = text.replace(plant[1], plant[2])
        (sources / path.name).write_text(text)
    objects = [str(sources / Path(name).name) for name in SOURCES]
    return compile_c(folder / f"{sources.name}.so", *flags, "-shared", "-fPIC", "-w", f"-I{sources}", *objects)


def write_stacks(folder: Path, module: Path, socket_path: str, options: str = "") -> None:
    """A service of libpam for each stack, and one where no socket is."""
    stacks = STACKS | {"absent": STACKS["alone"]}
    for name, stack in stacks.items():
        path = f"{socket_path}-absent" if name == "absent" else socket_path
        lines = [f"{kind} {line}\n" for kind in ("auth", "account", "password") for line in stack]
        text = "".join(lines).replace("ARENA", f"{module} socket={path} {options}")
        (folder / name).write_text(text.replace("CRED_UNAVAIL", "auth=cred_unavail acct=cred_unavail chauthtok=cred_unavail"))


@frozen
class Call:
    """One call of the driver; times are in microseconds."""

    entry: str
    service: str = "alone"
    function: str = "socket"
    nth: int = 0
    kind: str = ""
    forever: bool = False
    closed: int = 0
    uid: int = 0
    alarms: int = 0


@frozen
class Outcome:
    """What came of a call; `granted`, `heard` and `crooked` are what the daemon saw meanwhile."""

    result: int
    signal: int
    exit: int
    ms: int
    injected: int
    verdict: int
    alarms: int
    uses: dict[str, int]
    complaint: str
    granted: int = 0
    heard: int = 0
    crooked: str = ""

    def wrong(self, call: Call) -> str:
        """What no fault may lead to; empty if nothing of that happened."""
        if self.signal or self.exit:
            return f"the process ended by signal {self.signal}, status {self.exit}"
        if self.result == SUCCESS and not (self.granted and self.verdict == SUCCESS):
            return "success without a verdict"
        if self.result == CRED_UNAVAIL and self.verdict != IGNORE:
            return "PAM_IGNORE without a verdict"
        if call.function == "pam_set_item" and self.injected and self.result == SUCCESS:
            return "success, and the next module lacks its password"
        if call.function == "getsockopt" and self.injected and self.heard:
            return "something was said to who may be anyone"
        if self.ms > PATIENCE_MS:
            return f"{self.ms} ms"
        return self.complaint or self.crooked


def kinds_of(driver: Path) -> dict[str, list[str]]:
    """What can fail, and how."""
    out = subprocess.run([driver, "--kinds"], check=True, capture_output=True, text=True).stdout
    return {name: kinds for name, *kinds in (line.split() for line in out.splitlines())}


def hide(secret: Secret) -> str:
    """As the driver takes it."""
    return bytes(byte ^ 0xFF for byte in secret.reveal()).hex()


def spell(call: Call, kinds: dict[str, list[str]]) -> bytes:
    """The call as the driver reads it."""
    kind = kinds[call.function].index(call.kind) if call.kind else 0
    words = [call.entry, call.service, list(kinds).index(call.function), call.nth, kind, int(call.forever)]
    return " ".join(map(str, [*words, call.closed, call.uid, call.alarms])).encode() + b"\n"


def read_outcome(line: bytes, kinds: dict[str, list[str]]) -> Outcome:
    """The outcome as the driver tells it."""
    told, _, complaint = line.decode().rstrip("\n").partition(" complaint=")
    words = dict(word.split("=") for word in told.split())
    uses = dict(zip(kinds, map(int, words.pop("uses").split(",")), strict=False))
    return Outcome(**{name: int(value) for name, value in words.items()}, uses=uses, complaint=complaint)


def faults(uses: dict[str, int], kinds: dict[str, list[str]], entry: str, service: str, always: bool) -> Iterator[Call]:
    """Every use of every function of a call that goes well, and one more, in every way that it can fail."""
    for function, ways in kinds.items():
        last = sum(uses.values()) if function == "everything" else uses[function]
        for nth in range(1, last + 2):
            for kind in ways:
                yield Call(entry, service, function, nth, kind, always)


class Application:
    """The driver in its own folder, and a daemon on its socket, which is the caller's to give a `script`."""

    def __init__(self, module: Path, driver: Path, options: str = "", uid: int = 0) -> None:
        # Not below pytest's own folder: calls of an ordinary user have to find the socket.
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.socket_path = str(self.folder / "auth.sock")
        shutil.copy(module, self.folder / "pam_arena.so")
        module = self.folder / "pam_arena.so"
        # Of different sizes, so that none is written over where another lay.
        self.pin, self.code, self.authtok = (Secret(secrets.token_hex(size).encode()) for size in (24, 40, 56))
        self.script: Callable[[], Script] = self.judge
        self.verdict: int = SUCCESS
        self.calls = self.injected = 0
        self.missing: set[str] = set()  # what a START may lack, because libpam said that it is not there
        self._entry = ""
        self._granted, self._heard, self._crooked = 0, 0, ""
        write_stacks(self.folder, module, self.socket_path, options)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listen(uid)
        hidden = [hide(one) for one in (self.pin, self.code, self.authtok)]
        self._driver = subprocess.Popen([driver, self.folder, module, *hidden], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.kinds = kinds_of(driver)
        self._connections: list[tuple[socket.socket, Script]] = []

    def __enter__(self) -> "Application":
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.kill()
        self._driver.communicate()
        self._listening.close()
        self._folder.cleanup()

    def listen(self, uid: int = 0) -> None:
        """Bind; `uid` is whose socket the kernel says it is, which it notes at listen(2)."""
        self._listening.bind(self.socket_path)
        os.chmod(self.socket_path, 0o666)
        if (child := os.fork()) == 0:
            os.setuid(uid)
            self._listening.listen(200)
            os._exit(0)
        os.waitpid(child, 0)

    # --- the daemon ---------------------------------------------------------------------------------------------------

    def judge(self) -> Script:
        """Two questions and a verdict, which is a denial unless START and both answers are whole."""
        start = yield HEAR
        self._crooked = self._crooked or self._look_at(start)
        pin = yield from self._ask(Prompt(Style.HIDDEN, "PIN: "))
        yield encode(Prompt(Style.INFO, "Wait."))
        code = yield from self._ask(Prompt(Style.SHOWN, "Code: "))
        if (pin, code) == (Answer(self.pin), Answer(self.code)) and not self._crooked:
            self._granted += self.verdict == SUCCESS
            yield encode(Done(self.verdict, self.authtok if self.verdict in (SUCCESS, IGNORE) else None))
        else:
            yield encode(Prompt(Style.ERROR, "Access denied."))
            yield encode(Done(AUTH_ERR))

    def whole(self) -> list[Message]:
        """What the judge says where all is right."""
        texts = [Prompt(Style.HIDDEN, "PIN: "), Prompt(Style.INFO, "Wait."), Prompt(Style.SHOWN, "Code: ")]
        return [*texts, Done(self.verdict, self.authtok)]

    def _ask(self, prompt: Prompt) -> Generator[bytes, bytes, Message]:
        yield encode(prompt)
        return decode((yield HEAR))

    def _look_at(self, datagram: bytes) -> str:
        start = decode(datagram)
        if not isinstance(start, Start):
            return "no START"
        whole = Start(
            ENTRIES[self._entry],
            start.service,
            "alice",
            "bob",
            "192.0.2.7",
            "ssh",
            start.flags,
            start.uid,
            "publickey ssh-ed25519 AAAA",
        )
        lacking = {name for name in ("ruser", "rhost", "tty", "auth_info") if getattr(start, name) != getattr(whole, name)}
        if lacking - self.missing or evolve(start, **{name: getattr(whole, name) for name in lacking}) != whole:
            return f"a START that lacks {', '.join(sorted(lacking)) or 'something'}"
        return ""

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listening.accept()
                script = self.script()
                self._connections.append((connection, script))
                self._play(connection, script, None)

    def _play(self, connection: socket.socket, script: Script, heard: bytes | None) -> None:
        """Go on with a script until it wants to hear; close at its end, or where the module left."""
        try:
            said = next(script) if heard is None else script.send(heard)
            while said != HEAR:
                connection.send(said)
                said = next(script)
        except (StopIteration, BrokenPipeError, ConnectionResetError):
            self._connections.remove((connection, script))
            connection.close()

    def _hear(self, connection: socket.socket, script: Script) -> None:
        try:
            heard = connection.recv(8192)
        except ConnectionResetError:
            heard = b""
        if heard:
            self._heard += 1
            self._play(connection, script, heard)
        else:
            self._connections.remove((connection, script))
            connection.close()

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(self, call: Call) -> Outcome:
        """Make a call, and serve it."""
        self._entry, self._granted, self._heard, self._crooked = call.entry, 0, 0, ""
        self.missing = {"auth_info"} if call.function in ("pam_getenv", "everything") else set()
        if (call.function, call.kind) == ("pam_get_item", "null"):
            self.missing |= {"ruser", "rhost", "tty"}
        assert self._driver.stdin and self._driver.stdout
        self._driver.stdin.write(spell(call, self.kinds))
        self._driver.stdin.flush()
        self._listening.setblocking(False)
        end = time.monotonic() + _SECONDS
        while True:
            waiting = [self._driver.stdout, self._listening, *(one for one, _ in self._connections)]
            ready, _, _ = select.select(waiting, [], [], max(0, end - time.monotonic()))
            assert ready, f"{call} did not return within {_SECONDS} s"
            if self._listening in ready:
                self._accept()
            for connection, script in list(self._connections):
                if connection in ready:
                    self._hear(connection, script)
            if self._driver.stdout in ready:
                break
        outcome = read_outcome(self._driver.stdout.readline(), self.kinds)
        self._play_out()
        self.calls += 1
        self.injected += outcome.injected
        return evolve(outcome, granted=self._granted, heard=self._heard, crooked=self._crooked)

    def _play_out(self) -> None:
        """The process of the call is gone, and its ends are closed: see what the daemon still made of it."""
        self._accept()
        for connection, script in list(self._connections):
            connection.settimeout(_SECONDS)
            while (connection, script) in self._connections:
                self._hear(connection, script)

    def faults(self, entry: str, service: str = "alone", forever: Iterable[bool] = (False,)) -> Iterator[Call]:
        """All faults of a call that goes well; `forever`: from a use on, or that use alone."""
        uses = self.call(Call(entry, service)).uses
        for always in forever:
            yield from faults(uses, self.kinds, entry, service, always)
