"""One conversation with one login process: drives the pure conversation, and asks the verifier for its verdicts.

A session holds nothing but its conversation while a person types: ten thousand may stand at a prompt.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import frozen

from pam_arena import conversation as talk
from pam_arena.errors import ArenaError, StoreError
from pam_arena.protocol import Operation, Option
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start

from ..clock import Clock
from ..config import Config
from .policy import Treatment, decide, manner_of
from .throttle import origin_of
from .verifier import Attempt, Busy, Subject, Verifier

log = logging.getLogger(__name__)

# PAM's return codes (security/_pam_types.h)
PAM_SUCCESS, PAM_SYSTEM_ERR, PAM_PERM_DENIED, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL = 0, 4, 6, 7, 9
PAM_AUTHTOK_ERR, PAM_IGNORE = 20, 25


class Line(Protocol):
    """The other end, as a session needs it."""

    def send(self, message: Prompt | Done) -> None: ...

    def expect_answer(self, seconds: float) -> None: ...

    def close(self) -> None: ...


class Counts:
    """What STATUS tells, since the start."""

    granted = denied = unavailable = 0


@frozen
class Desk:
    """What all sessions share."""

    verifier: Verifier
    clock: Clock
    config: Callable[[], Config]
    read_tokens: Callable[[str], tuple[int, int]]
    counts: Counts


class Session:
    """From START to DONE."""

    __slots__ = ("_asked", "_attempt", "_desk", "_line", "_peer_uid", "_start", "_subject", "_talk", "name", "working")

    def __init__(self, desk: Desk, line: Line, peer_uid: int, start: Start) -> None:
        self._desk, self._line, self._peer_uid, self._start = desk, line, peer_uid, start
        self._talk: talk.Conversation | None = None
        self._subject: Subject | None = None
        self._attempt: Attempt | None = None
        self._asked = False
        self.name = ""
        self.working = False  # a verdict is under way: it finishes, whatever becomes of the service

    def begin(self) -> None:
        """Answer the START. Returns at once; all else comes through the line."""
        self._spawn(self._begin())

    def answered(self, answer: Answer) -> bool:
        """Go on with what was typed; False if nothing was asked."""
        if not self._asked:
            return False
        self._asked = False
        self._go_on(answer.typed)
        return True

    def timed_out(self) -> None:
        """The person took too long."""
        self._finish(PAM_AUTH_ERR)

    async def _begin(self) -> None:
        loop, config = asyncio.get_running_loop(), self._desk.config()
        decision = await loop.run_in_executor(None, decide, config, self._start, self._peer_uid)
        self.name = decision.name
        operation = self._start.operation
        if self._start.options & Option.FORWARD_PASS:
            log.error("%s: forward_pass is not offered by this release: take it out of the PAM line", self._start.service)
            return self._finish(PAM_SYSTEM_ERR)
        if decision.treatment is not Treatment.ASK:
            log.info("%s: not asked: %s", self._start.service, decision.why)
            return self._finish(PAM_IGNORE if decision.treatment is Treatment.IGNORE else PAM_PERM_DENIED)
        if operation is Operation.ACCOUNT or decision.service.without_token == "ignore":
            active, owned = await loop.run_in_executor(None, self._desk.read_tokens, decision.name)
            if owned == 0:
                return self._finish(PAM_IGNORE)
            if operation is Operation.ACCOUNT:
                return self._finish(PAM_SUCCESS if active else PAM_PERM_DENIED)
        manner = manner_of(config, decision.service, self._start.options)
        if operation is Operation.AUTHENTICATE:
            only = bool(self._start.options & Option.FIRST_PASS)
            self._talk = talk.log_in(manner, self._start.passcode, only)
        elif operation is Operation.CHANGE_PIN:
            self._talk = talk.change_pin(manner)
        else:
            log.error("operation %s is not offered by this release", operation.name)
            return self._finish(PAM_SYSTEM_ERR)
        self._go_on(None)

    def _go_on(self, reply: talk.Reply) -> None:
        """Advance the conversation to its next question, verdict or end."""
        assert self._talk is not None
        try:
            step = self._talk.send(reply)
            while isinstance(step, talk.Say):
                self._line.send(Prompt(step.style, step.text))
                step = self._talk.send(None)
        except StopIteration as end:
            return self._finish(self._code(end.value))
        if isinstance(step, talk.Ask):
            self.working, self._asked = False, True
            self._line.send(Prompt(step.style, step.text))
            self._line.expect_answer(self._desk.config().login.answer_timeout)
        elif isinstance(step, talk.Verify):
            self._spawn(self._verify(step))
        elif isinstance(step, talk.CreatePin):
            self._spawn(self._create_pin(step.pin))
        else:
            self._spawn(self._give_up())

    async def _verify(self, step: talk.Verify) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._desk.config().login.deny_after
        attempt = self._attempt_of(step)
        self._wipe()
        self._attempt = attempt
        verdict, self._subject = await self._desk.verifier.verify(attempt)
        if verdict.outcome is talk.Outcome.DENIED:
            self._desk.counts.denied += 1
            await asyncio.sleep(due - loop.time())
        self._go_on(verdict)

    async def _create_pin(self, chosen: Secret) -> None:
        assert self._attempt is not None and self._subject is not None
        with chosen:
            seconds = await self._desk.verifier.create_pin(self._attempt, self._subject, chosen, os.urandom(16))
        self._go_on(seconds)

    async def _give_up(self) -> None:
        assert self._attempt is not None and self._subject is not None
        self._go_on(await self._desk.verifier.give_up(self._attempt, self._subject))

    def _attempt_of(self, step: talk.Verify) -> Attempt:
        start, trusted = self._start, self._peer_uid == 0
        uid = start.uid if trusted else self._peer_uid
        origin = origin_of(self.name, rhost=start.rhost, ruser=start.ruser, uid=uid, trusted=trusted)
        address = start.rhost if trusted else ""
        policy = self._desk.config().pin.policy
        return Attempt(
            self.name, origin, start.service, address, f"uid:{uid}", policy, step.first, step.second, self._desk.clock.now()
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work to its end, even if the person is gone: a verdict under way counts."""
        self.working = True
        task = asyncio.get_running_loop().create_task(self._guard(work))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (Busy, StoreError) as error:
            log.error("no verdict: %s", error)
            self._finish(PAM_AUTHINFO_UNAVAIL)
        except ArenaError as error:
            log.error("no verdict: %s", error)
            self._finish(PAM_SYSTEM_ERR)
        except Exception as error:  # the edge: an internal error denies, and its text may hold what was typed
            log.critical("no verdict: internal error, %s at %s", type(error).__name__, _place(error))
            self._finish(PAM_SYSTEM_ERR)

    def _code(self, result: talk.Result) -> int:
        if result is talk.Result.GRANTED:
            self._desk.counts.granted += 1
            return PAM_SUCCESS
        return PAM_AUTHTOK_ERR if self._start.operation is Operation.CHANGE_PIN else PAM_AUTH_ERR

    def _wipe(self) -> None:
        """Wipe what was typed last; the conversation needs it until it goes on to the next attempt or ends."""
        if self._attempt is not None:
            self._attempt.second.wipe()
            if self._attempt.first is not None:
                self._attempt.first.wipe()

    def _finish(self, code: int) -> None:
        self.working = False
        self._asked = False
        if code in (PAM_AUTHINFO_UNAVAIL, PAM_SYSTEM_ERR):
            self._desk.counts.unavailable += 1
        if self._talk is not None:
            self._talk.close()
        self._wipe()
        self._line.send(Done(code))
        self._line.close()


_under_way: set["asyncio.Task[None]"] = set()  # the loop keeps weak references only


def under_way() -> "set[asyncio.Task[None]]":
    """The verdicts that are being worked out."""
    return set(_under_way)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
