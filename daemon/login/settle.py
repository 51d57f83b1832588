"""The transaction of an attempt: what it spends, counts and notes. What is decided here is durable before it is answered.

Every denial executes the same statements, whatever its reason: with values that change nothing where there is nothing to
change. A success may execute more.
"""

import sqlalchemy as sa
from attrs import evolve, frozen

from pam_arena import pin, recovery
from pam_arena.conversation import Outcome, Verdict
from pam_arena.errors import ArenaError
from pam_arena.otp import Kind

from ..audit import Event, Reason, append, append_stranger, has_rows, new_ref, push_out_strangers
from ..config import Config
from ..store.accounts import Account, Standing, count_failures, forget_addresses, mark, spend, write_standing
from ..store.grants import give_grant
from ..store.inventory import read_address
from ..store.recovery import add_codes, count_left, count_mailed, forget_mailed, spend_code
from ..store.schema import NOBODY, CodeKind, State
from ..vault import Vault
from .attempt import Attempt, Finding, Match
from .judge import NOT_COUNTED, judge, judge_next
from .throttle import KNOWN_FOR, REMOTE, after_failure, after_success, is_waiting, needs_next_code, standing_of

MAILED_FOR = 600  # seconds that a mailed code works
MAILS = 5  # codes mailed to a holder in an hour
AN_HOUR = 100  # rows of a holder; then denials that are no guesses that count go where strangers' go
_HOUR = 3600


@frozen(repr=False)
class Subject:
    """Whom a code belongs to, and what its verdict was: only some may be given a PIN, or be asked for the next code."""

    outcome: Outcome
    name: str
    account: Account
    match: Match

    @property
    def pin_before(self) -> bytes | None:
        """The sealed PIN that the holder had."""
        return self.account.pin if self.account.has_pin else None

    def require(self, *outcomes: Outcome) -> None:
        """Raises ArenaError unless the verdict was one of these: the conversation is not trusted with this alone."""
        if self.outcome not in outcomes:
            raise ArenaError(f"out of turn: the verdict on {self.name} was {self.outcome.value}")

    def seconds_left(self, now: float) -> int:
        """Seconds until the display of the token changes."""
        return self.match.slot.mechanism.seconds_left(now)


@frozen(repr=False)
class MailOrder:
    """A code that is to be mailed. address: the holder's own, if the desk noted one."""

    code: str
    address: str
    language: str


class Settlement:
    """One attempt's transaction, at the time `now` in seconds since 1970."""

    def __init__(self, connection: sa.engine.Connection, vault: Vault, config: Config, attempt: Attempt, now: float) -> None:
        self._connection, self._vault, self._config = connection, vault, config
        self._attempt, self._now = attempt, now

    def of_passcode(self, finding: Finding) -> Verdict:
        """Settle an attempt with a passcode, or with a first code."""
        connection, account, match, now = self._connection, finding.account, finding.match, self._now
        standing = standing_of(account, self._attempt.origin, now)
        found = (match.near or match.far) and not finding.is_recovery
        fresh_step = spend(connection, match.slot, match.step if found and match.step is not None else -1, int(now))
        fresh_code = spend_code(connection, finding.recovery.id if finding.recovery is not None else -1, int(now))
        outcome, reason = judge(
            finding,
            waiting=self._waits(standing),
            closed=standing.closed,
            fresh=fresh_code if finding.is_recovery else fresh_step,
            wants_next=needs_next_code(account, standing, self._config.code),
            now=now,
        )
        self._mark(match, outcome, reason, match.learnt)
        self._count(account, standing, outcome, reason)
        ref = self._note(account, match, outcome, reason, _detail(finding, standing, reason))
        used = finding.recovery if reason is Reason.RECOVERY else None
        counts = used is not None and used.kind is not CodeKind.MAIL
        left = count_left(connection, account.holder_id, int(now)) if counts else None
        return self._verdict(outcome, ref, account, match, finding.typed, left)

    def of_next_code(self, finding: Finding, subject: Subject) -> Verdict:
        """Settle the next code of a holder whose passcode was right."""
        account, match, now = finding.account, finding.match, self._now
        standing = standing_of(account, self._attempt.origin, now)
        fresh = spend(self._connection, match.slot, match.step if match.step is not None else -1, int(now))
        outcome, reason = judge_next(
            finding,
            waiting=self._waits(standing),
            closed=standing.closed,
            fresh=fresh,
            same_pin=account.pin == subject.account.pin,
            now=now,
        )
        # Two codes in a row prove the whole drift; within the window it is learnt as at any success.
        first = subject.match
        self._mark(match, outcome, reason, first.offset if first.far else first.learnt, whole=first.far)
        self._count(account, standing, outcome, reason)
        ref = self._note(account, match, outcome, reason, "")
        return self._verdict(outcome, ref, account, match, finding.typed, None)

    def of_mail(self, finding: Finding) -> MailOrder | None:
        """Settle the wish for a code by mail; None where none is to be sent."""
        connection, account, now = self._connection, finding.account, int(self._now)
        standing = standing_of(account, self._attempt.origin, now)
        address = read_address(connection, account.holder_id)
        lately = count_mailed(connection, account.holder_id, now - _HOUR)
        reason = self._why_no_mail(finding, standing, lately, bool(address.mail or self._config.mail.domain))
        ordered = reason is Reason.MAILED
        code = recovery.make()
        whose = account.holder_id if ordered else NOBODY
        digest = self._vault.digest_code(code, self._attempt.name)
        add_codes(connection, whose, CodeKind.MAIL, [digest], now if ordered else 0, now + MAILED_FOR if ordered else 0)
        forget_mailed(connection, whose, now - _HOUR)
        outcome = Outcome.NEXT_CODE if ordered else Outcome.DENIED
        self._count(account, standing, outcome, reason)
        event = Event("mail-code", outcome="mailed" if ordered else "refused", reason=reason)
        self._append(account, event)
        if not ordered:
            return None
        mail = address.mail or f"{self._attempt.name}@{self._config.mail.domain}"
        return MailOrder(code, mail, address.language or self._config.language)

    def of_giving_up(self, subject: Subject) -> Verdict:
        """Settle a conversation that came to nothing after a right code."""
        ref = self._note(subject.account, subject.match, Outcome.DENIED, Reason.GAVE_UP, "")
        return Verdict(Outcome.DENIED, ref)

    def _waits(self, standing: Standing) -> bool:
        return is_waiting(standing, self._now) and not self._attempt.observe

    def _why_no_mail(self, finding: Finding, standing: Standing, lately: int, reachable: bool) -> Reason:
        if not finding.well_formed:
            return Reason.MALFORMED
        if self._waits(standing):
            return Reason.CLOSED if standing.closed else Reason.WAITING
        if not finding.account.real:
            return Reason.UNKNOWN
        if not (finding.pin_right and finding.account.has_pin):
            return Reason.MAIL_WRONG_PIN
        if lately >= MAILS:
            return Reason.MAIL_TOO_MANY
        return Reason.MAILED if reachable else Reason.MAIL_NO_ADDRESS

    def _mark(self, match: Match, outcome: Outcome, reason: Reason, learnt: int, *, whole: bool = False) -> None:
        """Write what the attempt changed of the token."""
        slot, most = match.slot, self._config.code.drift_per_login
        granted = outcome is Outcome.GRANTED and match.step is not None
        learns = granted and slot.mechanism.kind is Kind.TOTP
        drift = learnt if whole else max(-most, min(most, learnt))
        mark(
            self._connection,
            slot,
            granted_step=match.step if granted and match.step is not None else -1,
            learnt=drift if learns else 0,
            wrong_pin=reason is Reason.WRONG_PIN and match.step is not None,
            limit=self._config.lock.wrong_pin_disables,
            at=int(self._now),
        )

    def _count(self, account: Account, standing: Standing, outcome: Outcome, reason: Reason) -> None:
        """Count a failure of the origin and of the year, or let a success end them; in observe mode neither."""
        attempt, connection, now = self._attempt, self._connection, self._now
        granted = outcome is Outcome.GRANTED
        counted = outcome is Outcome.DENIED and reason not in NOT_COUNTED and not attempt.observe
        if counted:
            standing = after_failure(standing, self._config.lock, now)
        elif granted and not attempt.observe:
            standing = after_success(standing)
        write_standing(connection, account.holder_id, standing)
        count_failures(connection, account.holder_id, now, int(counted))
        if granted and attempt.origin.kind == REMOTE:
            forget_addresses(connection, account.holder_id, int(now) - KNOWN_FOR)
            own = standing if standing.key else Standing(REMOTE, attempt.origin.key)
            write_standing(connection, account.holder_id, evolve(own, granted_at=int(now)))
        if granted and not self._pin_expired(account):  # else the grant would stand in for the PIN that is not yet chosen
            leave_grant(connection, attempt, account, now)

    def _note(self, account: Account, match: Match, outcome: Outcome, reason: Reason, detail: str) -> str:
        """Add the row of the audit; returns the reference of a denial."""
        ref = new_ref() if outcome is Outcome.DENIED else None
        serial = match.slot.serial if match.slot.real and match.step is not None else ""
        name = "observe" if self._attempt.observe else "login"
        self._append(account, Event(name, serial=serial, outcome=outcome.value, reason=reason, detail=detail, ref=ref))
        return ref or ""

    def _append(self, account: Account, event: Event) -> None:
        attempt = self._attempt
        hidden = self._vault.hide_name(attempt.name)
        # What counts ends in a wait, then in a closed door; what does not could fill the audit, or push other rows out.
        counted = event.reason not in NOT_COUNTED and not attempt.observe
        crowded = has_rows(self._connection, attempt.name, AN_HOUR, int(self._now) - _HOUR)
        kept = account.real and (counted or not crowded or event.outcome == Outcome.GRANTED.value)
        event = evolve(
            event,
            holder=attempt.name if account.real or attempt.known_name else hidden,
            actor=attempt.actor,
            service=attempt.service,
            address=attempt.address,
        )
        (append if kept else append_stranger)(self._connection, self._now, event)
        push_out_strangers(self._connection)

    def _verdict(
        self, outcome: Outcome, ref: str, account: Account, match: Match, typed: pin.Passcode, left: int | None
    ) -> Verdict:
        expired = outcome is Outcome.GRANTED and self._pin_expired(account)
        passcode = None if outcome is Outcome.DENIED else typed
        digits = match.slot.mechanism.digits
        return Verdict(outcome, ref, match.slot.serial, digits, passcode, expired, left)

    def _pin_expired(self, account: Account) -> bool:
        """Whether the holder is to choose a new PIN before they are let in."""
        expires = self._config.pin.expires
        return expires > 0 and account.pin_set_at + expires <= self._now


def leave_grant(connection: sa.engine.Connection, attempt: Attempt, account: Account, now: float) -> None:
    """Have the success of an attempt cover further connections, where the service and the SSH key allow it."""
    if attempt.grant is not None:
        terms, until = attempt.grant, int(now + attempt.grant.seconds)
        give_grant(connection, account.holder_id, attempt.service, attempt.address, terms.key_hash, int(now), until)


def _detail(finding: Finding, standing: Standing, reason: Reason) -> str:
    """What `arenactl why` adds to the reason: steps of drift, a state, or until when it is so, in seconds since 1970."""
    if reason is Reason.DISABLED:
        match, mine = finding.match, [one for one in finding.account.slots if one.real]
        known = match.slot if match.step is not None and match.slot.real else mine[0]
        return known.state.value if known.state is State.LOST else ""
    if reason in (Reason.DRIFTED, Reason.NEXT_ASKED) and finding.match.offset:
        return f"{finding.match.offset:+d}"
    if reason is Reason.AHEAD:
        slot = finding.match.slot
        return str((slot.last_step + 1 - slot.drift) * slot.mechanism.period)
    return str(standing.wait_until) if reason is Reason.WAITING else ""
