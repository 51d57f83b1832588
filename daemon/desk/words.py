"""What the audit's reasons and events mean, and what to do about a reason, in the words of the desk."""

import datetime

from ..audit import Event, Reason
from ..store.inventory import Row
from ..store.schema import State

LAST_SECOND = 253402300799  # of the year 9999: no date has a later one, and a wrong clock or a file of keys may
_RESET = "a forgotten PIN: arenactl pin reset {user}"
_AGAIN = "wait until the display changes, then log in again"
_WORDS: dict[Reason, tuple[str, str]] = {
    Reason.RIGHT: ("PIN and code were right", ""),
    Reason.FIRST_CODE: ("the code was right, and there is no PIN yet", "log in, choose a PIN, then type PIN + new code"),
    Reason.MALFORMED: ("what was typed is no passcode", "PIN + the 6 digits on the key; at the first login the 6 digits alone"),
    Reason.UNKNOWN: (
        "unknown name: it has no key, or does not exist",
        "check the spelling; assign a key: arenactl token assign SERIAL {user}",
    ),
    Reason.NO_TOKEN: ("this holder has no key", "assign one: arenactl token assign SERIAL {user}"),
    Reason.DISABLED: (
        "the key is disabled",
        "see why: arenactl token list --holder {user}; then arenactl token enable {serial}",
    ),
    Reason.EXPIRED: ("the key's time is over", "give it more: arenactl token enable {serial} --until DATE"),
    Reason.WRONG_CODE: ("right PIN, wrong code", "read the code again; if it goes on: arenactl token resync {serial}"),
    Reason.WRONG_PIN: ("right code, wrong PIN", _RESET),
    Reason.WRONG_BOTH: (
        "neither PIN nor code was right",
        f"type PIN + the 6 digits on the key; {_RESET}; a key that is off: arenactl token resync {{serial}}",
    ),
    Reason.NO_PIN_YET: (
        "a PIN was typed, and there is none yet",
        "leave the PIN empty and type the 6 digits alone: the PIN is created next",
    ),
    Reason.LAPSED: ("the time to create a PIN is over", "open it again: arenactl pin reset {user}"),
    Reason.USED: ("used code: it was typed before", _AGAIN),
    Reason.USED_AGAIN: ("used code: it opened a login before", _AGAIN),
    Reason.AHEAD: (
        "PIN and code were right, but the key showed this code, or a later one, before: the clock was ahead; none works"
        " until {until}",
        "check this host's clock (timedatectl), then arenactl token resync {serial}; meanwhile arenactl code temporary {user}",
    ),
    Reason.DRIFTED: (
        "right code of another time: a drift of {detail} steps",
        "check this host's clock (timedatectl), then arenactl token resync {serial}; replace the key if it stays",
    ),
    Reason.WAITING: ("too many failures from there: waiting until {until}", "wait, or arenactl unlock {user}"),
    Reason.CLOSED: ("far too many failures from there: closed", "find out who tries, then arenactl unlock {user}"),
    Reason.GAVE_UP: (
        "no PIN was chosen, the new code was not waited for, or nothing could be asked",
        "log in again; a PIN has no repeats, runs or keypad columns",
    ),
    Reason.NEXT_ASKED: (
        "right passcode{drift}, but the next code was wanted too and did not come",
        "log in again; when asked, wait until the display changes and type the new code alone",
    ),
    Reason.NEXT_WRONG: (
        "right passcode, but next code wrong: it is not the one right after it",
        "log in again; when asked, wait until the display changes and type the new code alone",
    ),
    Reason.RECOVERY: ("a recovery code was right", ""),
    Reason.RECOVERY_WRONG: (
        "recovery code wrong: this holder has no such code",
        "read it again; a newer set replaces an older one: arenactl code temporary {user}",
    ),
    Reason.RECOVERY_USED: ("recovery code used before", "type the next one; new ones: arenactl code temporary {user}"),
    Reason.RECOVERY_OVER: ("recovery code over: its time has passed", "new ones: arenactl code temporary {user}"),
    Reason.MAILED: ("a code was mailed", ""),
    Reason.MAIL_WRONG_PIN: ("a code by mail was asked for with a wrong PIN, or without one", _RESET),
    Reason.MAIL_TOO_MANY: (
        "too many codes by mail in an hour: none was sent",
        "wait an hour, or arenactl code temporary {user}",
    ),
    Reason.MAIL_NO_ADDRESS: (
        "a code by mail was asked for, and no address is known",
        "note one: arenactl holder set {user} --mail ADDRESS, or set domain in [mail]",
    ),
    Reason.REQUEST_UNKNOWN: (
        "a key was asked for whose serial does not exist here",
        "read the serial on its back again; is the key in the stock? arenactl token show {serial}",
    ),
    Reason.REQUEST_WRONG: (
        "a key was asked for with codes that are no two in a row of it",
        "type the code on the key, wait until it changes, type the next; check the serial",
    ),
    Reason.REQUEST_USED: ("a key was asked for with codes that were used before", "wait for two new codes, and ask again"),
    Reason.REQUEST_TAKEN: (
        "a key was asked for that is not in the stock, or is asked for by another",
        "see whose it is: arenactl token show {serial}",
    ),
    Reason.REQUEST_MANY: (
        "three keys of theirs wait for the desk already",
        "decide on them: arenactl request list",
    ),
    Reason.REQUEST_TOO_OFTEN: (
        "ten requests were denied within an hour: all others are",
        "wait an hour, or enter it: arenactl request add {serial} {user} --ticket TICKET",
    ),
    Reason.SESSION_GRANT: ("let in by a session grant", "end it: arenactl grant revoke {user}"),
}

_LOST = ("the key is lost", "give out codes: arenactl code temporary {user}; found again: arenactl token enable {serial}")

_EVENTS: dict[str, str] = {
    "token-add": "key {serial} added",
    "token-assign": "key {serial} assigned",
    "token-import": "keys imported",
    "token-unassign": "key {serial} taken back",
    "token-enable": "key {serial} enabled",
    "token-disable": "key {serial} disabled",
    "token-lost": "key {serial} lost",
    "token-retire": "key {serial} retired",
    "token-replace": "key {serial} replaced",
    "token-prove": "key {serial} showed a right code",
    "token-prove-failed": "key {serial} did not show a right code",
    "token-resync": "key {serial} resynchronised",
    "pin-create": "created a PIN",
    "pin-change": "changed the PIN",
    "pin-reset": "PIN taken away by the desk",
    "unlock": "waits ended by the desk",
    "code-emergency": "emergency codes printed",
    "code-temporary": "temporary codes given",
    "grant-revoke": "session grants ended by the desk",
    "holder-set": "noted by the desk",
    "holder-leave": "left",
    "request-add": "key {serial} requested by the desk",
    "request-approve": "request for key {serial} approved",
    "request-reject": "request for key {serial} rejected",
    "mail": "mail left",
    "mail-test": "test mail left",
    "key-export": "master key exported",
    "audit-drop": "old rows of the audit dropped",
    "clock-step": "the clock was stepped",
    "backup": "backup made",
    "restore": "restored from a backup",
    "pam-begin": "PAM's files are about to be changed",
    "pam-enable": "PAM asks for a code, until it is confirmed or taken back",
    "pam-confirm": "PAM's change confirmed",
    "pam-disable": "PAM asks for no code any more",
    "pam-revert": "PAM's change taken back: nobody confirmed it",
}
_ATTEMPTS = {"login": "", "observe": "observed: ", "mail-code": "code by mail: "}


def explain(reason: str, detail: str = "", user: str = "", serial: str = "") -> tuple[str, str]:
    """(what happened, what to do) for a reason of the audit; the commands name user and serial as far as they are known."""
    try:
        what, remedy = _WORDS[Reason(reason)]
    except ValueError:  # of a later release, whose store this one still opens
        return reason, ""
    if reason == Reason.DISABLED and detail == State.LOST:
        what, remedy = _LOST
    until = show_time(int(detail)) if detail.isdigit() else ""
    drift = f" (drift of {detail} steps)" if detail else ""
    known = user if user and not user.startswith("~") else "USER"
    return what.format(detail=detail, until=until, drift=drift), remedy.format(user=known, serial=serial or "SERIAL")


def tell(event: Event) -> str:
    """A row for the journal: whose it is, what happened, and who did it."""
    whose = f"{event.holder}: " if event.holder else ""
    return f"{whose}{describe(event)}" + (f" (by {event.actor})" if event.actor else "")


def describe(row: Row) -> str:
    """A row of the audit in plain words, but for its time and its holder."""
    where = " from ".join(filter(None, (row.service, row.address)))
    if row.event in _ATTEMPTS:
        what, _ = explain(row.reason, row.detail)
        return f"{_ATTEMPTS[row.event]}{row.outcome}: {what}" + (f" ({where})" if where else "")
    if row.event == "key-request":
        what = row.detail if row.outcome == "done" else explain(row.reason, row.detail, row.holder, row.serial)[0]
        return f"key {row.serial} asked for: {row.outcome}: {what}"
    words = _EVENTS.get(row.event, row.event).format(serial=row.serial)
    return f"{words}: {row.detail}" if row.detail else words


def show_time(seconds: int) -> str:
    """A time of the store, for people."""
    return datetime.datetime.fromtimestamp(min(seconds, LAST_SECOND), datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show_day(until: int) -> str:
    """The last day before `until`, in this host's time zone: what a token is valid through."""
    return datetime.datetime.fromtimestamp(min(until - 1, LAST_SECOND - 86400), datetime.UTC).astimezone().date().isoformat()
