"""No entry point reads, writes, leaks or shifts what it must not, whatever it is sent: by valgrind and the sanitizers."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from stage import (
    AUTH_ERR,
    AUTHINFO_UNAVAIL,
    CONV_ERR,
    HEAR,
    LEFT,
    MODULE,
    ROOT,
    SUCCESS,
    SYSTEM_ERR,
    TRY_AGAIN,
    Peer,
    Script,
    Stage,
    connections,
)

from pam_arena.errors import RemoteProtocolError
from pam_arena.protocol import Operation, Style
from pam_arena.secret import Secret
from pam_arena.wire import Done, Prompt, Start, decode, encode

ASK = Prompt(Style.HIDDEN, "PIN: ")
DONE = encode(Done(SUCCESS, Secret(b"hunter2")))
LONGEST = Prompt(Style.INFO, "x" * 1024)
SOURCES = ["c_shim/wire.c", "c_shim/channel.c", "c_shim/pam_arena.c"]
CC = ["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-g", "-O1", "-fno-omit-frame-pointer", "-Ic_shim"]


def compile_c(out: Path, *arguments: str) -> Path:
    subprocess.run([*CC, *arguments, "-o", str(out), "-lpam"], check=True, cwd=ROOT)
    return out


def broken(count: int) -> list[bytes]:
    """Datagrams that end a call, made from good ones by chance of a fixed seed."""
    chance = random.Random(4226)
    good = [DONE, encode(LONGEST), encode(ASK), encode(Start(Operation.AUTHENTICATE, "sshd", "alice", auth_info="i" * 2048))]
    found: list[bytes] = []
    while len(found) < count:
        one = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            one[chance.randrange(len(one))] = chance.randrange(256)
        datagram = bytes(one[: chance.randint(1, len(one))]) + chance.randbytes(chance.choice([0, 0, 1, 5, 5000]))
        try:
            decode(datagram)
        except RemoteProtocolError:
            found.append(datagram)
    return found


# What the driver types, what the peer does, what it comes to.
CALLS: list[tuple[str, Script, int]] = [
    ("8361755224", [HEAR, ASK, HEAR, Prompt(Style.SHOWN, "Code: "), HEAR, DONE, LEFT], SUCCESS),
    ("8361755224", [HEAR, LONGEST, Prompt(Style.ERROR, "x"), ASK, HEAR, Done(AUTH_ERR), LEFT], AUTH_ERR),
    ("9" * 5000, [HEAR, ASK, HEAR, Done(AUTH_ERR), LEFT], AUTH_ERR),
    ("", [HEAR, ASK, HEAR, Done(AUTH_ERR), LEFT], AUTH_ERR),
    ("-", [HEAR, ASK, HEAR, Done(AUTH_ERR), LEFT], AUTH_ERR),
    ("-", [HEAR, Done(SUCCESS, Secret(b"p" * 512)), LEFT], SUCCESS),
    ("!", [HEAR, ASK, LEFT], CONV_ERR),
    ("!", [HEAR, b"?", LEFT], AUTHINFO_UNAVAIL),
    ("8361", [HEAR, Done(200), LEFT], AUTHINFO_UNAVAIL),
    ("8361", [], AUTHINFO_UNAVAIL),
    ("8361", [HEAR], AUTHINFO_UNAVAIL),
    ("8361", [HEAR, ASK], AUTHINFO_UNAVAIL),
    ("8361", [HEAR, ASK, HEAR], AUTHINFO_UNAVAIL),
    *(("8361", [HEAR, DONE[:size], LEFT], AUTHINFO_UNAVAIL) for size in (1, 3, 4, 5, 6, 7, 9, 10, 11, 17)),
    *(("8361", [HEAR, datagram, LEFT], AUTHINFO_UNAVAIL) for datagram in broken(40)),
]


def run(stage: Stage, peer: Peer, command: list[str], env: dict[str, str]) -> None:
    """Every call on every entry point, in one process."""
    typed, scripts, wanted = [], [], []
    for operation in ("authenticate", "acct_mgmt", "chauthtok"):
        for reply, script, result in CALLS:
            typed.append(f"{operation}:{reply}")
            scripts += connections(operation, script)
            wanted.append(result)
    peer.play(*scripts)
    drive(stage, command, env, [*typed, "setcred:"], [*wanted, SUCCESS])
    peer.finish()
    stage.configure("use_first_pass debug nonsense")
    drive(stage, command, env, ["authenticate:", "acct_mgmt:", "chauthtok:"], [SYSTEM_ERR] * 3)
    stage.configure("debug", socket_path=stage.socket_path + "-absent")
    drive(stage, command, env, ["authenticate:", "acct_mgmt:", "chauthtok:"], [AUTHINFO_UNAVAIL, AUTHINFO_UNAVAIL, TRY_AGAIN])


def drive(stage: Stage, command: list[str], env: dict[str, str], calls: list[str], wanted: list[int]) -> None:
    done = subprocess.run(
        [*command, str(stage.folder), *calls], env=os.environ | env, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert [int(line) for line in done.stdout.split()] == wanted, done.stderr[-6000:]


def test_valgrind_finds_nothing(stage: Stage, peer: Peer, tmp_path: Path) -> None:
    driver = compile_c(tmp_path / "driver", "tests/shim/driver.c")
    command = [
        "valgrind",
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--track-fds=no",
        "--track-origins=yes",
        str(driver),
    ]
    run(stage, peer, command, {})


SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def test_the_sanitizers_find_nothing(peer: Peer, stage: Stage, tmp_path: Path) -> None:
    driver = compile_c(tmp_path / "driver", *SANITIZE, "tests/shim/driver.c")
    module = compile_c(tmp_path / "sanitized.so", *SANITIZE, "-shared", "-fPIC", *SOURCES)
    run(Stage(tmp_path, module), peer, [str(driver)], {"ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1"})


@pytest.mark.parametrize("checker", ["valgrind", "sanitizers"])
def test_a_checker_that_is_shown_a_leak_reports_it(tmp_path: Path, checker: str) -> None:
    leak = tmp_path / "leak.c"
    leak.write_text("#include <stdlib.h>\nint main(void) { char *volatile p = malloc(9); p = NULL; return p != NULL; }\n")
    if checker == "valgrind":
        command = [
            "valgrind",
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            str(compile_c(tmp_path / "leak", str(leak))),
        ]
    else:
        command = [str(compile_c(tmp_path / "leak", *SANITIZE, str(leak)))]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_the_module_under_valgrind_is_the_one_that_is_installed(stage: Stage) -> None:
    assert str(MODULE) in (stage.folder / "arena").read_text()
