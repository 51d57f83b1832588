"""The module fails closed: every call of libc and libpam that it makes fails, at every use, in every way it can."""

import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from application import ENTRIES, HEAR, LONG, PATIENCE_MS, STACKS, Application, Call, Outcome, Script, compile_module
from stage import AUTH_ERR, AUTHINFO_UNAVAIL, AUTHTOK_ERR, CRED_UNAVAIL, IGNORE, MODULE, SUCCESS, TRY_AGAIN

from pam_arena.errors import RemoteProtocolError
from pam_arena.wire import decode, encode

Count = Callable[[str], None]

# What the module calls that cannot fail: it reads memory, or the kernel documents no failure.
SAFE = {"__errno_location", "__explicit_bzero_chk", "explicit_bzero", "free", "getuid", "memchr", "memcpy", "memset"}
SAFE |= {"__memcpy_chk", "__memset_chk", "__stack_chk_fail", "strcmp", "strlen", "strncmp", "strnlen"}


@pytest.fixture
def application(driver: Path) -> Iterator[Application]:
    with Application(MODULE, driver) as one:
        yield one


def sweep(application: Application, calls: Iterable[Call]) -> tuple[Counter[int], list[str]]:
    """Make all calls. Returns how often each result came, and what was wrong."""
    results: Counter[int] = Counter()
    wrong = []
    for call in calls:
        outcome = application.call(call)
        results[outcome.result] += 1
        if told := outcome.wrong(call):
            wrong.append(f"{call}: {told}")
    return results, wrong


def some_of(application: Application, calls: Iterable[Call]) -> Iterator[Call]:
    """All calls; in the short form, those where a use fails in the first of its ways."""
    return (one for one in calls if LONG or one.kind == application.kinds[one.function][0])


def counted(application: Application, results: Counter[int]) -> str:
    told = ", ".join(f"{times}x {code}" for code, times in sorted(results.items()))
    return f"{application.calls} calls, {application.injected} faults injected; PAM codes: {told}"


def test_all_that_can_fail_is_made_to_fail(driver: Path, application: Application) -> None:
    out = subprocess.run(["nm", "--dynamic", "--undefined-only", MODULE], check=True, capture_output=True, text=True).stdout
    called = {re.sub("@.*", "", line.split()[-1]) for line in out.splitlines() if line.split()[0] == "U"}
    assert {re.sub("__(.*)_chk", r"\1", name) for name in called - SAFE} == set(application.kinds) - {
        "memory",
        "conversation",
        "everything",
    }
    uses = dict.fromkeys(application.kinds, 0)
    for entry in ENTRIES:
        for service in ("alone", "absent"):
            for function, times in application.call(Call(entry, service)).uses.items():
                uses[function] += times
    # pam_strerror is for options=debug, and for what pam_get_item says.
    assert {function for function, times in uses.items() if not times} == {"pam_strerror", "everything"}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_use_of_every_function_fails(driver: Path, entry: str, count: Count) -> None:
    """By itself and for ever, where the daemon would let in, would deny, or would ignore."""
    with Application(MODULE, driver, options="debug") as application:
        results: Counter[int] = Counter()
        for application.verdict in (SUCCESS, AUTH_ERR, IGNORE) if LONG else (SUCCESS, AUTH_ERR):
            forever = (False, True) if LONG or application.verdict == SUCCESS else (False,)
            some, wrong = sweep(application, application.faults(entry, forever=forever))
            results += some
            assert not wrong
        assert results[SUCCESS] and results[AUTH_ERR] and results[AUTHINFO_UNAVAIL]
        count(f"fault at every use, {entry}: {counted(application, results)}")


def test_setcred_calls_nothing_that_can_fail(application: Application) -> None:
    for call in application.faults("setcred", forever=(False, True)):
        outcome = application.call(call)
        assert {name for name, times in outcome.uses.items() if times} <= {"memory"}  # libpam's
        assert (outcome.signal, outcome.exit, outcome.heard, outcome.complaint) == (0, 0, 0, "")
        assert outcome.result == SUCCESS or outcome.injected


@pytest.mark.parametrize("stack", [name for name in STACKS if name != "alone"])
def test_no_fault_lets_in_beside_a_module_that_succeeds(application: Application, stack: str, count: Count) -> None:
    results: Counter[int] = Counter()
    for entry in ENTRIES if LONG else ("authenticate",):
        for application.verdict in (SUCCESS, AUTH_ERR):
            calls = application.faults(entry, stack, (False, True) if LONG else (False,))
            some, wrong = sweep(application, some_of(application, calls))
            results += some
            assert not wrong
    assert results[SUCCESS] and results[AUTH_ERR]
    count(f"fault at every use, stack {stack!r}: {counted(application, results)}")


# --- a daemon that fails or lies --------------------------------------------------------------------------------------


def say(messages: Iterable[bytes]) -> Script:
    """What a daemon says that knows its part and no more; it hears what answers it, and then it is gone."""
    yield HEAR
    for message in messages:
        yield message
        if message[3:4] == b"\2" and message[7:8] in (b"\1", b"\2"):  # a prompt that asks
            yield HEAR


def is_valid(datagram: bytes) -> bool:
    """Whether the module may take this from a daemon."""
    try:
        return decode(datagram) is not None
    except RemoteProtocolError:
        return False


def unavailable(stack: str) -> set[int]:
    """What PAM says where the module says AUTHINFO_UNAVAIL: its own word, or pam_deny's."""
    return {AUTH_ERR, AUTHTOK_ERR} if any("pam_deny.so" in line for line in STACKS[stack]) else {AUTHINFO_UNAVAIL}


def hold(application: Application, entry: str, stack: str, messages: list[bytes]) -> Outcome:
    application.script = lambda: say(messages)
    outcome = application.call(call := Call(entry, stack))
    assert not outcome.wrong(call), messages
    assert outcome.result in unavailable(stack), messages
    return outcome


def test_a_daemon_stops_after_every_message_and_inside_every_field(application: Application, count: Count) -> None:
    whole = [encode(message) for message in application.whole()]
    cut = [
        [*whole[:times], one[:size]]
        for times, one in enumerate(whole)
        for size in range(1, len(one))
        if size < 32 or size > len(one) - 3  # a longer authtok is not cut differently
        if not is_valid(one[:size])  # a verdict less its authtok is a verdict
    ]
    stops = [whole[:times] for times in range(len(whole))] + cut
    for entry in ENTRIES:
        for stack in STACKS if LONG else ("alone", "after"):
            for messages in stops:
                hold(application, entry, stack, messages)
    count(f"a daemon that stops: {application.calls} calls at {len(stops)} points, none let in")


def damaged(chance: random.Random, good: bytes) -> bytes:
    one = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        one[chance.randrange(len(one))] = chance.randrange(256)
    return bytes(one[: chance.randint(1, len(one))]) + chance.randbytes(chance.choice([0, 0, 0, 1, 5, 5000]))


def test_a_daemon_answers_garbage(application: Application, count: Count) -> None:
    chance, times = random.Random(4226), 3000 if LONG else 150
    whole = [encode(message) for message in application.whole()]
    for entry in ENTRIES:
        for stack in ("alone", "after"):
            for _ in range(times):
                at = chance.randrange(len(whole))
                noise = chance.randbytes(chance.randint(1, 60)) if chance.random() < 0.2 else damaged(chance, whole[at])
                if not is_valid(noise):
                    hold(application, entry, stack, [*whole[:at], noise])
    count(f"a daemon that answers garbage: {application.calls} calls, none let in")


def test_a_daemon_of_another_user_hears_nothing_and_lets_nobody_in(driver: Path, count: Count) -> None:
    with Application(MODULE, driver, uid=65534) as application:
        results: Counter[int] = Counter()
        for stack in STACKS if LONG else ("alone", "after"):
            for entry in ENTRIES:
                for call in some_of(application, application.faults(entry, stack)):
                    outcome = application.call(call)
                    results[outcome.result] += 1
                    assert outcome.heard == 0, call
                    assert not outcome.wrong(call), call
        assert not {SUCCESS, CRED_UNAVAIL, IGNORE} & set(results)
        count(f"another user's daemon: {counted(application, results)}; it heard nothing")


SILENCE_MS = range(9000, PATIENCE_MS)


def test_silence_ends_within_ten_seconds_wherever_it_begins(driver: Path, count: Count) -> None:
    """After each message, in each stack; and while signals arrive 500 times a second."""

    def silent(point: tuple[str, str, int, int]) -> Outcome:
        entry, stack, times, alarms = point
        with Application(MODULE, driver) as application:

            def script() -> Script:
                yield from say([encode(message) for message in application.whole()[:times]])
                yield HEAR

            application.script = script
            return application.call(Call(entry, stack, alarms=alarms))

    points = [(entry, "alone", times, 0) for entry in ENTRIES for times in range(4)]
    points += [("authenticate", stack, 1, 0) for stack in STACKS] + [
        ("authenticate", "alone", times, 2000) for times in range(3)
    ]
    with ThreadPoolExecutor(len(points)) as pool:
        outcomes = list(pool.map(silent, points))
    for point, outcome in zip(points, outcomes, strict=True):
        assert outcome.ms in SILENCE_MS, (point, outcome)
        assert not outcome.wrong(Call(point[0], point[1]))
        assert outcome.result in unavailable(point[1]), point
        assert outcome.alarms > 1000 or not point[3]
    slowest = max(outcome.ms for outcome in outcomes)
    count(f"a daemon that falls silent: {len(points)} calls, none let in, the longest {slowest} ms")


# --- a caller that is in a bad way ------------------------------------------------------------------------------------


def absent(entry: str) -> int:
    return TRY_AGAIN if entry == "chauthtok" else AUTHINFO_UNAVAIL


@pytest.mark.parametrize("uid", [0, 65534])
def test_a_caller_without_standard_descriptors(application: Application, uid: int, count: Count) -> None:
    """As a screen locker of an ordinary user may be, and as sshd is not."""
    for closed in range(8):
        for entry in ENTRIES:
            for application.verdict in (SUCCESS, AUTH_ERR, IGNORE):
                application.script = application.judge
                outcome = application.call(call := Call(entry, closed=closed, uid=uid))
                assert not outcome.wrong(call), (call, outcome)
                assert outcome.result == (CRED_UNAVAIL if application.verdict == IGNORE else application.verdict)
            outcome = application.call(call := Call(entry, "absent", closed=closed, uid=uid))
            assert not outcome.wrong(call)
            assert outcome.result == absent(entry)
            hold(application, entry, "alone", [b"AR\1\4garbage"])
    count(f"descriptors 0 to 2 closed, uid {uid}: {application.calls} calls")


def test_signals_disturb_no_login(application: Application, count: Count) -> None:
    arrived = 0

    def script() -> Script:
        for said in (judging := application.judge()):
            while said == HEAR:
                said = judging.send((yield HEAR))
            time.sleep(0.02)  # what the caller is interrupted in: waiting for a daemon that takes its time
            yield said

    application.script = script
    for entry in ENTRIES:
        for application.verdict in (SUCCESS, AUTH_ERR):
            outcome = application.call(call := Call(entry, alarms=300))
            assert not outcome.wrong(call), outcome
            assert outcome.result == application.verdict
            assert outcome.alarms > 50
            arrived += outcome.alarms
    count(f"signals: {application.calls} calls, {arrived} signals")


# --- the test itself --------------------------------------------------------------------------------------------------

UNAVAILABLE = 'channel->error == 0 ? "" : strerror(channel->error));\n    return PAM_AUTHINFO_UNAVAIL;'
PLANTS = {
    "success on an error": ("pam_arena.c", UNAVAILABLE, UNAVAILABLE.replace("PAM_AUTHINFO_UNAVAIL", "PAM_SUCCESS")),
    "ignore on an error": ("pam_arena.c", UNAVAILABLE, UNAVAILABLE.replace("PAM_AUTHINFO_UNAVAIL", "PAM_IGNORE")),
    "success when the conversation fails": ("pam_arena.c", "result = PAM_CONV_ERR;", "result = PAM_SUCCESS;"),
    "what libpam said of the user": ("pam_arena.c", "? result : PAM_CONV_ERR", "? result : result"),
    "an item that libpam cannot tell": (
        "pam_arena.c",
        "return false;\n    }\n    if (value",
        "return true;\n    }\n    if (value",
    ),
    "a password that is not left": ("pam_arena.c", "result = PAM_BUF_ERR;", "(void)result;"),
    "anyone's socket": ("channel.c", " || peer.uid != 0)", ")"),
    "a peer of no size": ("channel.c", " || size != sizeof peer ||", " ||"),
    "patience of half a minute": ("protocol.h", "9800", "29800"),
    "a name that is missing": ("pam_arena.c", "if (name == NULL)\n        return PAM_SYSTEM_ERR;\n", ""),
    "a conversation that is missing": ("pam_arena.c", "conversation == NULL || ", ""),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(driver: Path, tmp_path: Path, plant: str, count: Count) -> None:
    module = compile_module(tmp_path, PLANTS[plant])
    with Application(module, driver) as application:
        calls = (call for entry in ENTRIES for call in application.faults(entry, forever=(True, False)))
        found = next((call for call in calls if application.call(call).wrong(call)), None)
        assert found is not None
        count(f"planted: {plant}: found after {application.calls} calls")


def test_an_unchanged_module_is_found_right(driver: Path, tmp_path: Path) -> None:
    with Application(compile_module(tmp_path), driver) as application:
        assert not application.call(call := Call("authenticate")).wrong(call)
