"""What the audit's reasons and events mean, and what to do about a reason, in the words of the desk."""

import datetime

from ..audit import Reason
from ..store.inventory import Row

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
    Reason.SESSION_GRANT: ("let in by a session grant", "end it: arenactl grant revoke {user}"),
}

_EVENTS: dict[str, str] = {
    "token-add": "key {serial} added",
    "token-assign": "key {serial} assigned",
    "token-unassign": "key {serial} taken back",
    "token-enable": "key {serial} enabled",
    "token-disable": "key {serial} disabled",
    "token-resync": "key {serial} resynchronised",
    "pin-create": "created a PIN",
    "pin-change": "changed the PIN",
    "pin-reset": "PIN taken away by the desk",
    "unlock": "waits ended by the desk",
    "code-emergency": "emergency codes printed",
    "code-temporary": "temporary codes given",
    "grant-revoke": "session grants ended by the desk",
    "holder-set": "noted by the desk",
    "key-export": "master key exported",
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
    until = show_time(int(detail)) if detail.isdigit() else ""
    drift = f" (drift of {detail} steps)" if detail else ""
    known = user if user and not user.startswith("~") else "USER"
    return what.format(detail=detail, until=until, drift=drift), remedy.format(user=known, serial=serial or "SERIAL")


def describe(row: Row) -> str:
    """A row of the audit in plain words, but for its time and its holder."""
    where = " from ".join(filter(None, (row.service, row.address)))
    if row.event in _ATTEMPTS:
        what, _ = explain(row.reason, row.detail)
        return f"{_ATTEMPTS[row.event]}{row.outcome}: {what}" + (f" ({where})" if where else "")
    words = _EVENTS.get(row.event, row.event).format(serial=row.serial)
    return f"{words}: {row.detail}" if row.detail else words


def show_time(seconds: int) -> str:
    """A time of the store, for people."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
