"""What a holder settles by arena-key, as generators like those of conversation.py: no socket, no clock, no store.

    yielded                             sent back
    what conversation.py yields         what it says there
    ReadOwn()                           Own: what the holder has
    ProveKey(serial, first, second)     Proved: whether these were two codes of that key in a row, and it is requested
    LoseKey(serial)                     bool: whether it was theirs, and is disabled
    MakeCodes()                         Codes: a new set, in the place of the older one

Who the holder is was told by the kernel, not by them. That alone is enough to see what they have and to disable a key
of theirs: who lost it cannot show a code. New emergency codes want PIN + code of a key, for they open what the key opens; an
emergency code will not do, or a page that was found would give the next one. A request is refused in one sentence,
whatever was wrong with it: nobody learns which serials there are, or whose.
"""

from collections.abc import Generator
from typing import Any

from attrs import field, frozen

from .conversation import Ask, Manner, Outcome, Result, Say, verify_current
from .conversation import Step as LoginStep
from .key_texts import YES, KeyTexts
from .pin import text_of
from .protocol import Style
from .secret import Secret

_ACTIVE, _LOST, _REQUESTED, _RETIRED = "active", "lost", "requested", "retired"  # states of the store
_SHOWN_REQUESTS = 5


@frozen
class Key:
    """A key of the holder's, or one that they asked for. valid_until: seconds since 1970; None: for ever."""

    serial: str
    state: str
    valid_until: int | None = None


@frozen
class Asked:
    """A request. at: seconds since 1970; state: open, approved or rejected, and then why."""

    serial: str
    at: int
    state: str
    why: str


@frozen
class Own:
    """What a holder has, at the time `now`. Times in seconds since 1970; the latest request first."""

    now: int
    pin_set_at: int | None = None
    new_pin_until: int | None = None
    keys: tuple[Key, ...] = ()
    requests: tuple[Asked, ...] = ()
    codes_left: int = 0

    @property
    def works(self) -> bool:
        """Whether any key may open a door."""
        return any(key.state == _ACTIVE for key in self.keys)


@frozen
class Proved:
    """What came of a request; ref names a denial to the desk, and is empty where there is none."""

    ref: str = ""


@frozen
class Codes:
    """New emergency codes, of a holder."""

    name: str
    codes: tuple[str, ...] = field(repr=False)


@frozen
class ReadOwn:
    """Look up what the holder has."""


@frozen
class ProveKey:
    """Have two codes in a row verified as proof that this key is at hand, and the key requested."""

    serial: str
    first: Secret
    second: Secret


@frozen
class LoseKey:
    """Disable a key of the holder's as lost."""

    serial: str


@frozen
class MakeCodes:
    """Make a new set of emergency codes."""


Step = ReadOwn | ProveKey | LoseKey | MakeCodes
Reply = Own | Proved | bool | Codes
Conversation = Generator[LoginStep | Step, Any, Result]


@frozen
class Words:
    """What is said, and how."""

    manner: Manner
    key: KeyTexts


def request_key(words: Words, serial: str) -> Conversation:
    """Ask for the activation of a key: its serial, where it is not known yet, and two codes in a row."""
    if not serial:
        serial = text_of((yield Ask(Style.SHOWN, words.key.say("serial")))).strip()
    first: Secret = yield Ask(Style.HIDDEN, words.key.say("first_code"))
    second: Secret = yield Ask(Style.HIDDEN, words.key.say("next_code"))
    proved: Proved = yield ProveKey(serial, first, second)
    if proved.ref:
        yield Say(Style.ERROR, words.manner.texts.denied(proved.ref))
        return Result.DENIED
    yield Say(Style.INFO, words.manner.texts.key_requested(serial))
    return Result.GRANTED


def show_own(words: Words) -> Conversation:
    """Tell the holder what they have: keys, PIN, requests, codes."""
    own: Own = yield ReadOwn()
    for line in _describe(words, own):
        yield Say(Style.INFO, line)
    return Result.GRANTED


def lose_key(words: Words, serial: str) -> Conversation:
    """Disable a key that its holder lost: the one that they name, or the only one that there is. It asks first."""
    own: Own = yield ReadOwn()
    mine = {key.serial: key for key in own.keys if key.state != _RETIRED}
    if not serial:
        losable = [key.serial for key in mine.values() if key.state != _LOST]
        if len(losable) != 1:
            text = words.key.say("which", serials=", ".join(losable)) if losable else words.key.say("no_key")
            return (yield from _refuse(text))
        [serial] = losable
    if serial not in mine:
        return (yield from _refuse(words.key.say("not_yours", serial=serial)))
    if mine[serial].state != _LOST:
        answer: Secret = yield Ask(Style.SHOWN, words.key.say("confirm_lost", serial=serial))
        if text_of(answer).strip().casefold() not in YES:
            return (yield from _refuse(words.key.say("unchanged")))
        done: bool = yield LoseKey(serial)
        if not done:
            return (yield from _refuse(words.key.say("not_yours", serial=serial)))
    yield Say(Style.INFO, words.manner.texts.key_lost(serial, words.key.help))
    return Result.GRANTED


def renew_codes(words: Words) -> Conversation:
    """A new set of emergency codes, for PIN + the code of a key; shown this once."""
    own: Own = yield ReadOwn()
    if not own.works:
        return (yield from _refuse(words.key.say("no_working_key")))
    verdict = yield from verify_current(words.manner)
    if verdict.outcome is Outcome.DENIED:
        yield Say(Style.ERROR, words.manner.texts.denied(verdict.ref))
        return Result.DENIED
    if verdict.outcome is not Outcome.GRANTED or verdict.passcode is None:
        return (yield from _refuse(words.key.say("pin_first")))
    if verdict.by_recovery:
        return (yield from _refuse(words.key.say("key_code_only")))
    if verdict.pin_expired:
        return (yield from _refuse(words.manner.texts.pin_expired))
    made: Codes = yield MakeCodes()
    yield Say(Style.INFO, words.key.say("codes_for", name=made.name))
    yield Say(Style.INFO, "\n".join(f"{number:>4}  {code}" for number, code in enumerate(made.codes, 1)))
    for name in ("codes_how", "codes_once", "codes_shown"):
        yield Say(Style.INFO, words.key.say(name))
    return Result.GRANTED


def _describe(words: Words, own: Own) -> list[str]:
    say, date = words.key.say, words.key.date
    lines = []
    for key in own.keys:
        if key.state == _ACTIVE and key.valid_until is not None:
            lines.append(say("active_until", serial=key.serial, date=date(key.valid_until)))
        else:
            lines.append(say(key.state, serial=key.serial))
    if not own.keys:
        lines.append(say("no_key"))
    if own.pin_set_at is not None:
        lines.append(say("pin_since", date=date(own.pin_set_at)))
    elif own.new_pin_until is None or not own.works:
        lines.append(say("pin_none"))
    elif own.now < own.new_pin_until:
        lines.append(say("pin_until", date=date(own.new_pin_until)))
    else:
        lines.append(say("pin_lapsed"))
    for one in own.requests[:_SHOWN_REQUESTS]:
        lines.append(say(f"asked_{one.state}", serial=one.serial, date=date(one.at), why=one.why))
    lines.append(words.manner.texts.codes_left(own.codes_left))
    return lines


def _refuse(text: str) -> Generator[Say, None, Result]:
    yield Say(Style.ERROR, text)
    return Result.DENIED
