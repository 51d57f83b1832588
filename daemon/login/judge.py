"""The one place where a success comes into being: from what the equal work found to an outcome and its reason. Pure.

`fresh` means that the very code that was typed was spent just now, by this attempt, in this transaction.
"""

from pam_arena.conversation import Outcome

from ..audit import Reason
from ..store.schema import State
from .attempt import Finding

# No guess, or none that was looked at; the PIN of one who may have no more mails was right, and so were PIN and code of one
# whose key is ahead of the clock.
NOT_COUNTED = frozenset(
    {
        Reason.MALFORMED,
        Reason.USED_AGAIN,
        Reason.AHEAD,
        Reason.WAITING,
        Reason.CLOSED,
        Reason.MAIL_TOO_MANY,
        Reason.MAIL_NO_ADDRESS,
    }
)

Verdict = tuple[Outcome, Reason]


def judge(finding: Finding, *, waiting: bool, closed: bool, fresh: bool, wants_next: bool, now: float) -> Verdict:
    """The verdict on an attempt. waiting: its origin is to wait; wants_next: a right passcode is not enough."""
    account, typed = finding.account, finding.typed
    code_right = fresh and account.real and (finding.is_recovery or finding.match.near or finding.match.far)
    pin_right = finding.pin_right and typed.consistent and account.has_pin and account.real
    first_code = not account.has_pin and typed.pin == "" and typed.consistent
    if not finding.well_formed:
        return Outcome.DENIED, Reason.MALFORMED
    if waiting:
        return Outcome.DENIED, Reason.CLOSED if closed else Reason.WAITING
    if not code_right or not (pin_right or first_code):
        return Outcome.DENIED, _why_denied(finding, code_right, pin_right)
    if first_code and now >= account.new_pin_until:
        return Outcome.DENIED, Reason.LAPSED
    if not finding.is_recovery and (finding.match.far or wants_next):
        return Outcome.NEXT_CODE, Reason.NEXT_ASKED
    return _accept(has_pin=account.has_pin, recovery=finding.is_recovery)


def judge_next(finding: Finding, *, waiting: bool, closed: bool, fresh: bool, same_pin: bool, now: float) -> Verdict:
    """The verdict on the next code of a holder whose passcode was right. same_pin: it is still that PIN."""
    account = finding.account
    if not finding.well_formed:
        return Outcome.DENIED, Reason.MALFORMED
    if waiting:
        return Outcome.DENIED, Reason.CLOSED if closed else Reason.WAITING
    if not (account.real and finding.match.near and fresh and same_pin):
        return Outcome.DENIED, Reason.NEXT_WRONG
    if not account.has_pin and now >= account.new_pin_until:
        return Outcome.DENIED, Reason.LAPSED
    return _accept(has_pin=account.has_pin, recovery=False)


def _accept(*, has_pin: bool, recovery: bool) -> Verdict:
    """What a right passcode, or a right first code, opens."""
    if not has_pin:
        return Outcome.NEW_PIN, Reason.FIRST_CODE
    return Outcome.GRANTED, Reason.RECOVERY if recovery else Reason.RIGHT


def _why_denied(finding: Finding, code_right: bool, pin_right: bool) -> Reason:
    account, match = finding.account, finding.match
    if not account.real:
        return Reason.UNKNOWN
    if code_right:
        return Reason.WRONG_PIN if account.has_pin else Reason.NO_PIN_YET
    if finding.is_recovery:
        return _why_no_recovery(finding)
    mine = [one for one in account.slots if one.real]
    if not mine:
        return Reason.NO_TOKEN
    found = match.near or match.far
    if all(one.state is not State.ACTIVE for one in mine) or (found and match.slot.state is not State.ACTIVE):
        return Reason.EXPIRED if State.EXPIRED in {one.state for one in (match.slot, *mine)} else Reason.DISABLED
    if found:
        return _why_used(finding, pin_right)
    if match.step is not None:
        return Reason.DRIFTED
    return Reason.WRONG_CODE if pin_right or not account.has_pin else Reason.WRONG_BOTH


def _why_used(finding: Finding, pin_right: bool) -> Reason:
    account, match = finding.account, finding.match
    if pin_right and match.step == match.slot.granted_step:
        return Reason.USED_AGAIN
    right = pin_right or (not account.has_pin and finding.typed.pin == "")
    return Reason.AHEAD if right and match.ahead else Reason.USED


def _why_no_recovery(finding: Finding) -> Reason:
    if finding.recovery is None:
        return Reason.RECOVERY_WRONG
    return Reason.RECOVERY_USED if finding.recovery.used_at is not None else Reason.RECOVERY_OVER
