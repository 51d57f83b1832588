"""The module and a real arenad: whatever fails between them, arenad alone lets in, and the holder gets in afterwards."""

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

from application import LONG, PATIENCE_MS, Call, Outcome, faults, hide, kinds_of, read_outcome, spell, write_stacks
from arena import Service
from arenad.store.schema import audit
from dialogues import PIN, Holder
from stage import AUTHINFO_UNAVAIL, MODULE, SUCCESS, Reply, Stage

from pam_arena.otp import Kind, Mechanism
from pam_arena.secret import Secret

Count = Callable[[str], None]


class Button:
    """A key that shows a new code at each press."""

    def __init__(self, service: Service) -> None:
        self._holder, self._pressed = Holder(service, "alice", Mechanism(kind=Kind.HOTP)), 0

    @property
    def code(self) -> str:
        return self._holder.code(self._pressed)

    def press(self) -> None:
        self._pressed += 1


def attempts(service: Service) -> Counter[str]:
    """What arenad judged so far."""
    return Counter(str(row["outcome"]) for row in service.rows(audit))


def test_no_fault_lets_in_whom_arenad_did_not(service: Service, driver: Path, count: Count) -> None:
    button, kinds = Button(service), kinds_of(driver)
    module = shutil.copy(MODULE, service.folder / "pam_arena.so")
    write_stacks(service.folder, module, service.socket_path)

    def make(call: Call) -> Outcome:
        before = attempts(service)
        secrets = [hide(Secret(one.encode())) for one in (PIN, button.code)]
        command = [driver, service.folder, module, *secrets]
        done = subprocess.run(command, input=spell(call, kinds), check=True, capture_output=True, timeout=30)
        outcome = read_outcome(done.stdout, kinds)
        if outcome.uses["send"] >= 3:  # START, PIN and code: arenad judges them, though the module may not wait for it
            end = time.monotonic() + 0.5
            while attempts(service) == before and time.monotonic() < end:
                time.sleep(0.01)
            if attempts(service) != before:  # codes that arenad never saw would lead beyond its look-ahead
                button.press()
        return outcome

    good = make(Call("authenticate"))
    assert (good.result, attempts(service)) == (SUCCESS, Counter(granted=1))
    calls = [
        one
        for always in ((False, True) if LONG else (False,))
        for one in faults(good.uses, kinds, "authenticate", "alone", always)
        if LONG or one.kind == kinds[one.function][0]
    ]
    results: Counter[int] = Counter()
    for call in calls:
        outcome = make(call)
        results[outcome.result] += 1
        assert (outcome.signal, outcome.exit, outcome.complaint) == (0, 0, ""), call
        assert outcome.ms < PATIENCE_MS
        assert outcome.result != SUCCESS or outcome.verdict == SUCCESS, call
        assert results[SUCCESS] < attempts(service)["granted"], call  # one more, by the call without a fault
    button.press()  # the last may have been judged late
    assert make(Call("authenticate")).result == SUCCESS
    count(f"fault at every use before a real arenad: {len(calls)} calls, results {dict(sorted(results.items()))}")


def test_an_arenad_that_stands_still_lets_nobody_in(service: Service, count: Count) -> None:
    """Stopped before a START, at the first question, and before a verdict; then it goes on, and so do logins."""
    button, stage = Button(service), Stage(service.folder)
    asked, stopped = Barrier(3), Event()

    def once_stopped(answer: str) -> Callable[[], bytes]:
        def wait() -> bytes:
            asked.wait(20)
            assert stopped.wait(20)
            return answer.encode()

        return wait

    def hold(operation: str, *replies: Reply) -> tuple[int, float]:
        if not replies:
            assert stopped.wait(20)
        with stage.login(*replies) as login:
            result = login.call(operation)
        return result, time.monotonic()

    assert service.process is not None
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(hold, operation) for operation in ("authenticate", "acct_mgmt", "chauthtok")]
        calls.append(pool.submit(hold, "authenticate", once_stopped(PIN)))
        calls.append(pool.submit(hold, "authenticate", PIN.encode(), once_stopped(button.code)))
        asked.wait(20)
        service.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        stopped.set()
        outcomes = [call.result(30) for call in calls]
    service.process.send_signal(signal.SIGCONT)
    seconds = [ended - begun for _, ended in outcomes]
    assert [result for result, _ in outcomes] == [AUTHINFO_UNAVAIL] * 5
    assert 9 < min(seconds) <= max(seconds) < 10
    button.press()
    with stage.login(PIN.encode(), button.code.encode()) as login:
        assert login.call("authenticate") == SUCCESS
    count(f"arenad stopped by SIGSTOP: 5 calls, none let in, the longest {max(seconds):.2f} s; then a login")
