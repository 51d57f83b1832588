"""The module is a good guest: of a call nothing is left in the caller's process, and none of what was typed."""

import re
import selectors
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from application import DRIVER, ENTRIES, LONG, Application, Call, compile_c, compile_module, write_stacks
from stage import AUTH_ERR, MODULE, SUCCESS

from pam_arena.protocol import Style
from pam_arena.wire import Answer, Done, Prompt, Start, decode, encode

Count = Callable[[str], None]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


# --- what is left -----------------------------------------------------------------------------------------------------


def test_it_has_no_data_of_its_own() -> None:
    """Eight bytes each of .data and .bss are the compiler's start files'."""
    listing = subprocess.run(["readelf", "--sections", "--wide", MODULE], check=True, capture_output=True, text=True).stdout
    sizes = {name: int(size, 16) for name, size in re.findall(r"\] (\.\S+) +\S+ +\S+ +\S+ +(\S+) ", listing)}
    assert sizes[".data"] <= 8 and sizes[".bss"] <= 8
    assert not {".tdata", ".tbss"} & set(sizes)


ENTRY = "    struct line line;\n"
CLOSED = "channel->fd = -1;\n"
WIPED = "    explicit_bzero(channel->buffer, sizeof channel->buffer);\n"


def at_each_entry(declaration: str, statement: str) -> tuple[str, str, str]:
    return ("pam_arena.c", ENTRY, f"    {declaration}\n{ENTRY}    {statement}\n")


PLANTS = {
    "a descriptor": ("channel.c", "(void)close(channel->fd);", ""),
    "what was typed": ("pam_arena.c", "explicit_bzero(typed, strlen(typed));", ""),
    "what was received": ("channel.c", CLOSED + WIPED, CLOSED),
    "the next module's password": ("pam_arena.c", "explicit_bzero(authtok, sizeof authtok);", ""),
    "static data": at_each_entry("static int calls;", "calls++;"),
    "a signal handler": at_each_entry("extern void *signal(int, void *);", "signal(13, (void *)1);"),
    "a umask": at_each_entry("extern int umask(int);", "umask(077);"),
    "a folder": at_each_entry("extern int chdir(const char *);", 'chdir("/");'),
    "an environment": at_each_entry("extern int setenv(const char *, const char *, int);", 'setenv("ARENA", "1", 1);'),
    "a locale": at_each_entry("extern char *setlocale(int, const char *);", 'setlocale(6, "C.UTF-8");'),
    "a thread": at_each_entry(
        "extern int pthread_create(void *, void *, void *, void *), pause(void);",
        "void *thread[2]; pthread_create(thread, 0, pause, 0);",
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_left_behind_is_found(driver: Path, tmp_path: Path, plant: str) -> None:
    """Nothing is, by every call of test_faults.py; here, that it would show."""
    with Application(compile_module(tmp_path, PLANTS[plant]), driver) as application:
        # Not as root, after whose calls libpam's audit uses the same stack.
        outcome = application.call(Call("authenticate", uid=65534))
        assert (outcome.result, outcome.verdict) == (SUCCESS, SUCCESS)
        assert outcome.complaint


# --- many -------------------------------------------------------------------------------------------------------------


class Door:
    """A daemon for a crowd: asks each by name, and lets in who answers with it."""

    def __init__(self, path: str) -> None:
        self.opened = 0
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(path)
        self._listening.listen(200)
        self._end, self._ended = socket.socketpair()
        self._names: dict[int, str] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        self._ended.close()
        self._listening.close()

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._listening, selectors.EVENT_READ)
        selector.register(self._ended, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._ended:
                    return
                if one is self._listening:
                    selector.register(one.accept()[0], selectors.EVENT_READ)
                elif not self._goes_on(one):
                    selector.unregister(one)
                    one.close()

    def _goes_on(self, one: socket.socket) -> bool:
        try:
            heard = one.recv(8192)
            if heard:
                self._answer(one, heard)
            return bool(heard)
        except ConnectionError:  # the crowd has gone
            return False

    def _answer(self, one: socket.socket, heard: bytes) -> None:
        match decode(heard):
            case Start(user=user):
                self._names[one.fileno()] = user
                one.send(encode(Prompt(Style.HIDDEN, user)))
            case Answer(typed):
                right = typed.reveal().decode() == self._names[one.fileno()]
                self.opened += right
                one.send(encode(Done(SUCCESS if right else AUTH_ERR, typed)))


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    one = Door(str(tmp_path / "door.sock"))
    yield one
    one.close()


def crowd(program: Path, *words: object) -> list[str]:
    """What the program counted after a tenth of its work, and after all."""
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()


def test_loading_and_unloading_leaves_nothing(tmp_path: Path, count: Count) -> None:
    times = 10_000 if LONG else 1000
    early, late = crowd(compile_c(tmp_path / "crowd", "tests/fault/crowd.c"), "load", MODULE, times)
    assert early == late
    count(f"{times} dlopen and dlclose: heap, mappings and descriptors as before ({late})")


def test_many_logins_of_one_process_leave_nothing(tmp_path: Path, door: Door, count: Count) -> None:
    times = 10_000 if LONG else 1000
    write_stacks(tmp_path, MODULE, str(tmp_path / "door.sock"))
    early, late = crowd(compile_c(tmp_path / "crowd", "tests/fault/crowd.c"), "login", tmp_path, 1, times)
    heap, *others = map(int, late.split())
    before, *others_before = map(int, early.split())
    # Less than a byte a login: libc itself may keep something once, such as its connection to syslog.
    assert heap - before < times // 2
    assert others == others_before
    assert door.opened == times
    count(f"{times} logins of one process: heap, mappings and descriptors as before ({late})")


def watched_by_tsan(tmp_path: Path, plant: tuple[str, str, str] | None = None) -> Path:
    module = compile_module(tmp_path, plant, "-fsanitize=thread")
    write_stacks(tmp_path, module, str(tmp_path / "door.sock"))
    return compile_c(tmp_path / "crowd", "-fsanitize=thread", "tests/fault/crowd.c")


def test_threads_do_not_meet(tmp_path: Path, door: Door, count: Count) -> None:
    threads, times = (64, 1000) if LONG else (16, 20)
    crowd(watched_by_tsan(tmp_path), "login", tmp_path, threads, times)
    assert door.opened == threads * times
    count(f"{threads} threads x {times} logins under ThreadSanitizer: no race, each asked by its own name")


def test_threads_that_meet_are_found(tmp_path: Path, door: Door) -> None:
    plant = ("pam_arena.c", "    char text[ARENA_TEXT_MAX + 1];", "    static char text[ARENA_TEXT_MAX + 1];")
    program = watched_by_tsan(tmp_path, plant)
    done = subprocess.run([program, "login", tmp_path, "16", "100"], capture_output=True, text=True, timeout=100)
    assert done.returncode
    assert "data race" in done.stderr or "was asked as" in done.stderr


# --- what it calls and reads ------------------------------------------------------------------------------------------


def test_the_sanitizers_find_nothing_under_faults(tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1")
    program = compile_c(tmp_path / "driver", "-DWITHOUT_MEMORY", *SANITIZE, *DRIVER)
    with Application(compile_module(tmp_path, None, *SANITIZE), program) as application:
        for entry in ENTRIES if LONG else ("authenticate",):
            for call in application.faults(entry, forever=(False, True) if LONG else (False,)):
                outcome = application.call(call)
                assert (outcome.signal, outcome.exit) == (0, 0), call
        count(f"AddressSanitizer and UBSan: {application.calls} calls, {application.injected} faults, no finding")


# What a login calls of the kernel: the socket, the caller's uid, and memory.
CALLS = {"socket", "connect", "getsockopt", "getuid", "sendto", "poll", "recvfrom", "close", "brk", "mmap", "munmap"}
# What syslog(3) adds where something is logged: the time zone, and its own socket.
SYSLOG = {"openat", "newfstatat", "fstat", "read", "lseek", "getpid", "gettid", "futex"}


@pytest.mark.parametrize("service", ["alone", "absent"])
def test_nothing_is_opened_but_the_socket_and_syslogs(driver: Path, tmp_path: Path, service: str, count: Count) -> None:
    traced = tmp_path / "strace"
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec strace -f -qq -e signal=none -o {traced} {driver} "$@"\n')
    wrapper.chmod(0o755)
    with Application(MODULE, wrapper) as application:
        for entry in ENTRIES:
            application.call(Call(entry, service))
        socket_path = application.socket_path
    calls = re.findall(r"the-call-begins.*?\n(.*?)\n[^\n]*the-call-ends", traced.read_text(), re.DOTALL)
    calls = [call.partition("NETLINK_AUDIT")[0].rpartition("\n")[0] for call in calls]  # from there on it is libpam's audit
    lines = [re.sub(r"^\d+ +", "", line) for call in calls for line in call.splitlines()]
    assert len(calls) == 3
    assert {line.partition("(")[0] for line in lines} <= CALLS | (SYSLOG if service == "absent" else set())
    named = {path for line in lines for path in re.findall(r'(?:openat|connect)\(.*?"([^"]+)"', line)}
    own = {socket_path if service == "alone" else f"{socket_path}-absent"}
    assert named == own if service == "alone" else own <= named <= own | {"/dev/log", "/etc/localtime"}
    names = ", ".join(sorted(Path(one).name for one in named))
    count(f"strace, {service}: {len(lines)} system calls in {len(calls)} calls; connected or opened: {names}")
