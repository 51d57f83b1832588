"""One conversation with one login process: drives the pure conversation, and asks the verifier for its verdicts.

A session holds nothing but its conversation while a person types: ten thousand may stand at a prompt.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import evolve, frozen

from pam_arena import conversation as talk
from pam_arena import holder_talk, pin
from pam_arena.errors import ArenaError, StoreError
from pam_arena.key_texts import key_texts_in
from pam_arena.protocol import Operation, Option, Style
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, Start

from ..audit import storable
from ..clock import Clock
from ..config import Config
from .admission import (
    PAM_AUTH_ERR,
    PAM_AUTHINFO_UNAVAIL,
    PAM_AUTHTOK_ERR,
    PAM_IGNORE,
    PAM_SUCCESS,
    PAM_SYSTEM_ERR,
    Admission,
    Door,
)
from .attempt import Attempt
from .complaints import Complaints
from .counts import Counts
from .policy import Manners
from .selfservice import SelfService, Who
from .settle import MailOrder, Subject
from .turns import Busy
from .verifier import Verified, Verifier

log = logging.getLogger(__name__)

_HOLDERS_OWN = frozenset({Operation.REQUEST, Operation.STATUS, Operation.LOST, Operation.CODES})
BUSY_PAUSE = 5.0  # seconds; the module waits 9.8
DEADLINE_MARGIN = 15.0  # seconds before the caller's deadline that are too few to type PIN + new code


class Line(Protocol):
    """The other end, as a session needs it."""

    def send(self, message: Prompt | Done) -> None: ...

    def expect_answer(self, seconds: float) -> None: ...

    def close(self) -> None: ...


@frozen
class Desk:
    """What all sessions share. post: sends the mail of an order to a name, blocking."""

    verifier: Verifier
    door: Door
    clock: Clock
    config: Callable[[], Config]
    post: Callable[[MailOrder, str], None]
    counts: Counts
    manners: Manners
    own: SelfService
    complaints: Complaints


class Session:
    """From START to DONE."""

    __slots__ = (
        "_admission",
        "_asked",
        "_attempt",
        "_begun",
        "_desk",
        "_line",
        "_opened",
        "_operation",
        "_password",
        "_prompted_at",
        "_service",
        "_start",
        "_subject",
        "_talk",
        "_uid",
        "working",
    )

    def __init__(self, desk: Desk, line: Line, peer: tuple[int, int], start: Start) -> None:
        self._desk, self._line, (pid, self._uid) = desk, line, peer
        # Both become keys in the store: an origin's, a grant's.
        start = evolve(start, service=storable(start.service), rhost=storable(start.rhost))
        self._start: tuple[Start, int] | None = start, pid  # let go of once the conversation has begun
        self._operation, self._service = start.operation, sys.intern(start.service)
        self._talk: holder_talk.Conversation | None = None  # or a login's, whose steps are among those
        self._admission: Admission | None = None
        self._subject: Subject | None = None
        self._attempt: Attempt | None = None
        self._password: Secret | None = None
        self._asked = self._opened = False
        self._begun = desk.clock.monotonic()
        self._prompted_at = desk.clock.now()
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
        assert self._start is not None
        (start, pid), uid, self._start = self._start, self._uid, None
        own, door = self._operation in _HOLDERS_OWN, self._desk.door
        admission = await asyncio.get_running_loop().run_in_executor(
            door.pool(uid), lambda: door.admit_holder(start, uid) if own else door.admit(start, pid, uid)
        )
        self._admission = admission
        if admission.code is not None:
            if admission.by_grant:
                await self._desk.verifier.note_grant(admission.name, self._service, admission.address, admission.uid)
            self._desk.counts.count("granted" if admission.by_grant else "not-asked", self._service)
            self._desk.complaints.say(uid, logging.INFO, f"{self._service}: not asked: {admission.why}")
            return self._finish(admission.code)
        manner = self._desk.manners.of(self._desk.config(), self._service, start.options)
        if self._operation is Operation.AUTHENTICATE:
            self._talk = talk.log_in(manner, start.passcode, bool(start.options & Option.FIRST_PASS))
        elif self._operation is Operation.CHANGE_PIN:
            self._talk = talk.change_pin(evolve(manner, observe=False))  # a login alone is only observed
        elif own:
            self._talk = self._holders_own(admission, evolve(manner, observe=False), start.serial)
        self._go_on(None)

    def _holders_own(self, admission: Admission, manner: talk.Manner, serial: str) -> holder_talk.Conversation:
        config = self._desk.config()
        words = holder_talk.Words(manner, key_texts_in(admission.service.language or config.language, config.help))
        match self._operation:
            case Operation.REQUEST:
                return holder_talk.request_key(words, serial)
            case Operation.LOST:
                return holder_talk.lose_key(words, serial)
            case Operation.CODES:
                return holder_talk.renew_codes(words)
            case _:
                return holder_talk.show_own(words)

    def _go_on(self, reply: talk.Reply | holder_talk.Reply) -> None:
        """Advance the conversation to its next question, verdict or end."""
        assert self._talk is not None
        try:
            step = self._talk.send(reply)
            while isinstance(step, talk.Say | talk.GeneratePin):
                step = self._talk.send(self._at_once(step))
        except StopIteration as end:
            return self._finish(self._code(end.value))
        match step:
            case talk.Ask(style=style, text=text):
                self._ask(style, text)
            case talk.Verify():
                self._spawn(self._verify(self._attempt_of(step.first, step.second, forward=step.forward)))
            case talk.VerifyNext(code=code):
                self._spawn(self._verify_next(self._attempt_of(None, code)))
            case talk.MailCode(pin=typed):
                self._spawn(self._mail_code(evolve(self._attempt_of(None, typed), pin_alone=True)))
            case talk.CreatePin(pin=chosen):
                self._spawn(self._create_pin(chosen))
            case talk.GiveUp():
                self._spawn(self._give_up())
            case _:
                self._spawn(self._settle_own(step))

    def _at_once(self, step: talk.Say | talk.GeneratePin) -> Secret | None:
        if isinstance(step, talk.GeneratePin):
            return pin.generate(self._desk.config().pin.policy, step.serial, step.code)
        self._line.send(Prompt(step.style, step.text))
        return None

    def _ask(self, style: Style, text: str) -> None:
        assert self._admission is not None
        self.working, self._asked = False, True
        self._prompted_at = self._desk.clock.now()
        self._line.send(Prompt(style, text))
        self._line.expect_answer(self._admission.service.answer_timeout or self._desk.config().login.answer_timeout)

    async def _verify(self, attempt: Attempt) -> None:
        due, begun = self._due(), self._desk.clock.monotonic()
        self._take(attempt)
        self._learn(verified := await self._desk.verifier.verify(attempt))
        self._desk.counts.took(self._desk.clock.monotonic() - begun)
        await self._hold_back(verified, due)
        self._go_on(verified.verdict)

    async def _verify_next(self, attempt: Attempt) -> None:
        assert self._subject is not None
        due, begun = self._due(), self._desk.clock.monotonic()
        self._take(attempt)
        self._learn(verified := await self._desk.verifier.verify_next(attempt, self._subject))
        self._desk.counts.took(self._desk.clock.monotonic() - begun)
        await self._hold_back(verified, due)
        self._go_on(verified.verdict)

    async def _mail_code(self, attempt: Attempt) -> None:
        loop, due = asyncio.get_running_loop(), self._due()
        with attempt.second:
            order = await self._desk.verifier.order_mail(attempt)
        await asyncio.sleep(due - loop.time())  # as a denial: nobody learns whether a mail goes
        self._go_on(None)
        if order is not None:
            await loop.run_in_executor(None, self._desk.post, order, attempt.name)

    async def _create_pin(self, chosen: Secret) -> None:
        assert self._attempt is not None and self._subject is not None and self._admission is not None
        with chosen:
            seconds = await self._desk.verifier.create_pin(self._attempt, self._subject, chosen)
        if seconds is None:
            return self._go_on(pin.Flaw.USED)
        deadline, spent = self._admission.service.deadline, self._desk.clock.monotonic() - self._begun
        self._go_on(talk.Created(seconds, not deadline or spent + seconds + DEADLINE_MARGIN <= deadline))

    async def _settle_own(self, step: holder_talk.Step) -> None:
        assert self._admission is not None
        due = self._due()
        reply = await self._desk.own.answer(step, Who(self._admission.name, self._admission.uid))
        if isinstance(reply, holder_talk.Proved) and reply.ref:
            self._desk.counts.count("denied", self._service)
            await asyncio.sleep(due - asyncio.get_running_loop().time())
        self._go_on(reply)

    async def _give_up(self) -> None:
        assert self._attempt is not None and self._subject is not None
        due = self._due()
        verdict = await self._desk.verifier.give_up(self._attempt, self._subject)
        await self._hold_back(Verified(verdict, self._subject), due)
        self._go_on(verdict)

    def _due(self) -> float:
        """When a denial of what has just come leaves, by the loop's clock."""
        return asyncio.get_running_loop().time() + self._desk.config().login.deny_after

    async def _hold_back(self, verified: Verified, due: float) -> None:
        if verified.verdict.outcome is talk.Outcome.DENIED:
            self._desk.counts.count("denied", self._service)
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    def _take(self, attempt: Attempt) -> None:
        self._wipe()
        self._attempt = attempt

    def _learn(self, verified: Verified) -> None:
        self._subject = verified.subject
        if verified.password is not None:
            self._password = verified.password

    def _attempt_of(self, first: Secret | None, second: Secret, *, forward: bool = False) -> Attempt:
        assert self._admission is not None
        found, clock = self._admission, self._desk.clock
        return Attempt(
            name=found.name,
            known_name=found.known_name,
            origin=found.origin,
            lane=found.lane,
            service=self._service,
            address=found.address,
            actor=f"uid:{found.uid}",
            policy=self._desk.config().pin.policy,
            first=first,
            second=second,
            at=clock.now(),
            prompted_at=self._prompted_at,
            forward=forward,
            observe=self._observes,
            grant=found.grant,
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
            self._desk.complaints.say(self._uid, logging.ERROR, f"no verdict: {error}")
            if self._uid != 0:  # who crowds their own lane does not come again at once
                await asyncio.sleep(BUSY_PAUSE)
            self._finish(PAM_AUTHINFO_UNAVAIL)
        except ArenaError as error:
            log.error("no verdict: %s", error)
            self._finish(PAM_SYSTEM_ERR)
        except Exception as error:  # the edge: an internal error denies, and its text may hold what was typed
            log.critical("no verdict: internal error, %s at %s", type(error).__name__, _place(error))
            self._finish(PAM_SYSTEM_ERR)

    def _code(self, result: talk.Result) -> int:
        if result is talk.Result.GRANTED and self._operation in _HOLDERS_OWN:
            return PAM_SUCCESS
        if result is talk.Result.GRANTED:
            self._desk.counts.count("granted", self._service)
            self._opened = True
            return PAM_SUCCESS
        return PAM_AUTHTOK_ERR if self._operation is Operation.CHANGE_PIN else PAM_AUTH_ERR

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
            self._desk.counts.count("unavailable", self._service)
        elif self._observes:
            code = PAM_IGNORE
        if self._talk is not None:
            self._talk.close()
        self._wipe()
        self._line.send(Done(code, self._password if self._opened else None))
        if self._password is not None:
            self._password.wipe()
        self._line.close()

    @property
    def _observes(self) -> bool:
        """Whether nothing is enforced here: then no outcome of a login counts with PAM."""
        found, logs_in = self._admission, self._operation in (Operation.AUTHENTICATE, Operation.ACCOUNT)
        return found is not None and found.service.mode == "observe" and logs_in


_under_way: set["asyncio.Task[None]"] = set()  # the loop keeps weak references only


def under_way() -> "set[asyncio.Task[None]]":
    """The verdicts that are being worked out."""
    return set(_under_way)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
