"""A module and an arenad of different protocol versions: one version older is served, any other is refused.

The next release's arenad is today's with the number raised; beside it today's module is the one that is one version older.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from arena import Service
from dialogues import ASK_CODE, ASK_PIN, PIN, Holder

from pam_arena.otp import Kind, Mechanism
from pam_arena.protocol import VERSION, Operation
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

sys.path.insert(0, str(Path(__file__).parents[1] / "shim"))
from releases import build_module, release
from stage import (
    AUTHINFO_UNAVAIL,
    CRED_UNAVAIL,
    ERROR,
    HIDDEN,
    MODULE,
    SUCCESS,
    UNAVAILABLE,
    Stage,
)

NEXT = VERSION + 1
QUICK = '[login]\ndeny_after = "0"\n'
CURRENT, CHOOSE, AGAIN = "Current passcode (PIN + code): ", "Choose a PIN (4 to 6 digits): ", "Same PIN again: "
OPERATIONS = ("authenticate", "acct_mgmt", "chauthtok")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What runs arenad of the next version."""
    return release(tmp_path_factory.mktemp("later"), NEXT)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Modules by their versions, today's as it ships."""
    made = {version: build_module(tmp_path_factory.mktemp("module"), version) for version in (VERSION - 1, NEXT)}
    return made | {VERSION: MODULE}


@pytest.fixture(scope="module")
def upgraded(later: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """arenad of the next version."""
    one = Service(tmp_path_factory.mktemp("upgraded"), QUICK)
    one.program = (str(later),)
    one.start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """arenad as it is."""
    one = Service(tmp_path_factory.mktemp("today"), QUICK)
    one.start()
    yield one
    one.close()


def restart_as(service: Service, program: tuple[str, ...]) -> None:
    """Stop arenad, and start another one on the same store and socket."""
    assert service.stop() == 0
    service.program = program
    service.hear()
    service.start()


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    """A connection, of which the test sees the very bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        one.settimeout(8)
        one.connect(service.socket_path)
        yield one


def hear(line: socket.socket, version: int) -> Prompt | Done:
    """The next message, which must be of this version."""
    datagram = line.recv(4097)
    assert datagram[2] == version
    message = decode(datagram[:2] + bytes((VERSION,)) + datagram[3:])
    assert isinstance(message, Prompt | Done)
    return message


@pytest.mark.parametrize("version", [VERSION, NEXT])
def test_a_client_is_answered_in_its_own_version(upgraded: Service, version: int) -> None:
    holder = Holder(upgraded, f"holder{version}")
    with connected(upgraded) as line:
        line.send(encode(Start(Operation.AUTHENTICATE, "login", holder.name), version))
        for text, typed in ((ASK_PIN, PIN), (ASK_CODE, holder.code())):
            asked = hear(line, version)
            assert isinstance(asked, Prompt) and asked.text == text
            line.send(encode(Answer(Secret(typed.encode())), version))
        assert hear(line, version) == Done(SUCCESS)


def test_any_other_version_ends_the_connection(upgraded: Service, today: Service) -> None:
    for service, version in (
        (upgraded, VERSION - 1),
        (upgraded, NEXT + 1),
        (upgraded, 255),
        (today, VERSION - 1),
        (today, NEXT),
    ):
        with connected(service) as line:
            line.send(encode(Start(Operation.AUTHENTICATE, "login", "alice"), version))
            assert line.recv(4097) == b""
        assert f"connection dropped: version {version} is not spoken here" in service.journal.read_text()


def test_a_conversation_keeps_its_version(upgraded: Service) -> None:
    with connected(upgraded) as line:
        line.send(encode(Start(Operation.AUTHENTICATE, "login", "alice"), VERSION))
        assert isinstance(hear(line, VERSION), Prompt)
        line.send(encode(Answer(Secret(PIN.encode())), NEXT))
        assert line.recv(4097) == b""
    assert f"version {NEXT} in a conversation of version {VERSION}" in upgraded.journal.read_text()


def stage_at(service: Service, module: Path) -> Stage:
    """A service of libpam with this module, on the socket of this arenad."""
    folder = service.folder / f"pam-{module.stem}"
    folder.mkdir(exist_ok=True)
    stage = Stage(folder, module)
    stage.configure(socket_path=service.socket_path)
    return stage


@pytest.mark.parametrize("version", [VERSION, NEXT])
def test_a_module_of_either_version_does_all_it_can(upgraded: Service, modules: dict[int, Path], version: int) -> None:
    alice = Holder(upgraded, f"alice{version}", mechanism=Mechanism(Kind.HOTP))
    stage, user = stage_at(upgraded, modules[version]), alice.name.encode()
    with stage.login(PIN.encode(), alice.code(0).encode(), user=user) as login:
        assert login.call("authenticate") == SUCCESS
        assert login.call("acct_mgmt") == SUCCESS
    with stage.login((PIN + alice.code(1)).encode(), b"5937", b"5937", user=user) as login:
        assert login.call("chauthtok") == SUCCESS
        assert [text for _, text in login.shown] == [CURRENT, CHOOSE, AGAIN, "PIN changed."]
    with stage.login(user=b"nobody-here") as login:
        assert login.call("acct_mgmt") == CRED_UNAVAIL  # the stage's word for PAM_IGNORE


@pytest.mark.parametrize("version", [VERSION - 1, NEXT])
def test_a_module_that_arenad_does_not_know_lets_nobody_in(today: Service, modules: dict[int, Path], version: int) -> None:
    stage = stage_at(today, modules[version])
    for operation in OPERATIONS:
        with stage.login() as login:
            assert login.call(operation) == AUTHINFO_UNAVAIL
            assert login.shown == ([] if operation == "acct_mgmt" else [(ERROR, UNAVAILABLE)])


def test_a_process_that_loaded_the_module_goes_through_an_upgrade_and_back(
    service: Service, later: Path, modules: dict[int, Path]
) -> None:
    """As a screen locker has it loaded for weeks: the handle, and the module with it, are kept.

    Back to an arenad that is older than the module is not served; it must be refused, and not misread.
    """
    alice, program = Holder(service, mechanism=Mechanism(Kind.HOTP)), service.program
    codes = [alice.code(press).encode() for press in range(5)]
    older, newer = stage_at(service, modules[VERSION]), stage_at(service, modules[NEXT])
    with older.login(*(typed for code in codes[:3] for typed in (PIN.encode(), code))) as login:
        assert login.call("authenticate") == SUCCESS
        loaded = mapped(MODULE)
        restart_as(service, (str(later),))
        assert login.call("authenticate") == SUCCESS
        assert login.call("acct_mgmt") == SUCCESS
        assert login.call("authenticate") == SUCCESS
        assert mapped(MODULE) == loaded  # never loaded anew
        assert [style for style, _ in login.shown] == [HIDDEN] * 6
    assert "not spoken here" not in service.journal.read_text()
    with newer.login(PIN.encode(), codes[3]) as login:
        assert login.call("authenticate") == SUCCESS
        restart_as(service, program)
        for operation in OPERATIONS:
            assert login.call(operation) == AUTHINFO_UNAVAIL
    with older.login(PIN.encode(), codes[4]) as login:
        assert login.call("authenticate") == SUCCESS


def mapped(module: Path) -> list[str]:
    """Where a file lies in this process's memory."""
    name = os.fspath(module.resolve())
    lines = [one.split()[0] for one in Path("/proc/self/maps").read_text().splitlines() if one.endswith(name)]
    assert lines
    return lines
