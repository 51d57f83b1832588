"""What an audit reason means, and what to do about it, in the words of the desk."""

import datetime

from ..audit import Reason

_WORDS: dict[Reason, tuple[str, str]] = {
    Reason.MALFORMED: ("what was typed is no passcode", "PIN + the 6 digits on the key; at the first login the 6 digits alone"),
    Reason.UNKNOWN: (
        "this name has no key, or does not exist",
        "check the spelling; assign a key: arenactl token assign SERIAL USER",
    ),
    Reason.NO_TOKEN: ("this holder has no key", "assign one: arenactl token assign SERIAL USER"),
    Reason.DISABLED: ("the key is disabled", "see why: arenactl token show SERIAL; then arenactl token enable SERIAL"),
    Reason.WRONG_CODE: ("right PIN, wrong code", "read the code again; if it goes on, the key's clock may be far off"),
    Reason.WRONG_PIN: ("right code, wrong PIN", "a forgotten PIN: arenactl pin reset USER"),
    Reason.WRONG_BOTH: (
        "neither PIN nor code was right",
        "type PIN + the 6 digits on the key; a forgotten PIN: arenactl pin reset USER",
    ),
    Reason.NO_PIN_YET: (
        "a PIN was typed, and there is none yet",
        "leave the PIN empty and type the 6 digits alone: the PIN is created next",
    ),
    Reason.LAPSED: ("the time to create a PIN is over", "open it again: arenactl pin reset USER"),
    Reason.USED: ("this code was used before", "wait until the display changes"),
    Reason.USED_AGAIN: ("this code opened a login before", "wait until the display changes"),
    Reason.DRIFTED: (
        "the key's clock is off by {detail} steps",
        "check this host's clock, then try the next codes; replace the key if it stays",
    ),
    Reason.WAITING: ("too many failures from there: waiting until {until}", "wait, or arenactl unlock USER"),
    Reason.CLOSED: ("far too many failures from there: closed", "find out who tries, then arenactl unlock USER"),
    Reason.GAVE_UP: (
        "no PIN was chosen, or the new code was not waited for",
        "log in again; a PIN has no repeats, runs or keypad columns",
    ),
}


def explain(reason: str, detail: str) -> tuple[str, str]:
    """(what happened, what to do) for a reason of the audit."""
    what, remedy = _WORDS.get(Reason(reason), (reason, ""))
    until = ""
    if detail.isdigit():
        until = datetime.datetime.fromtimestamp(int(detail), datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return what.format(detail=detail, until=until), remedy
