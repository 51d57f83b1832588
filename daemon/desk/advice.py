"""What is to be done for a holder next, from what the store has of them. Pure: the desk reads it from top to bottom."""

from attrs import frozen

from ..store.schema import State
from .words import explain, show_day, show_time

SOON = 14 * 86400  # seconds: a key that ends within that time is told of


@frozen
class Key:
    """A token of a holder, as far as it matters here. Times in seconds since 1970 UTC."""

    serial: str
    state: State
    why: str = ""
    valid_until: int | None = None
    resync_at: int | None = None


@frozen
class Facts:
    """A holder at the time `now`. last_outcome, last_reason, last_detail: of their last attempt. asked: open request's key."""

    name: str
    now: int
    exists: bool
    keys: tuple[Key, ...]
    has_pin: bool
    new_pin_until: int
    waits: int
    codes_left: int
    asked: str | None = None
    last_outcome: str = ""
    last_reason: str = ""
    last_detail: str = ""
    last_serial: str = ""


@frozen
class Step:
    """One thing to do: why, and the command or the words of it."""

    why: str
    do: str


def next_steps(facts: Facts) -> list[Step]:
    """What to do, the most urgent first; empty: the holder can log in."""
    if not facts.exists:
        return [Step("the system knows no such user any more", f"arenactl holder leave {facts.name}")]
    return [*_for_keys(facts), *_for_the_pin(facts), *_for_waits(facts), *_for_the_last_attempt(facts), *_for_dates(facts)]


def _in(facts: Facts, *states: State) -> list[Key]:
    return [key for key in facts.keys if key.state in states]


def _for_keys(facts: Facts) -> list[Step]:
    steps = [
        Step(f"key {key.serial} has not shown a right code yet", f"arenactl token prove {key.serial}")
        for key in _in(facts, State.UNPROVEN)
    ]
    if facts.asked is not None:
        steps.append(Step(f"key {facts.asked} is requested", "arenactl request list"))
    if _in(facts, State.ACTIVE):
        return steps
    for key in _in(facts, State.EXPIRED):
        steps.append(Step(f"the time of key {key.serial} is over", f"arenactl token enable {key.serial} --until DATE"))
    for key in _in(facts, State.DISABLED):
        why = f" ({key.why})" if key.why else ""
        steps.append(Step(f"key {key.serial} is disabled{why}", f"arenactl token enable {key.serial}"))
    if steps:
        return steps
    for key in _in(facts, State.LOST):
        steps.append(Step(f"key {key.serial} is lost", f"arenactl token replace {key.serial} NEW --lost"))
    if not steps:
        steps.append(Step("no key", f"arenactl token assign SERIAL {facts.name}"))
    if facts.has_pin and not facts.codes_left:
        steps.append(Step("no code to log in with until then", f"arenactl code temporary {facts.name}"))
    return steps


def _for_the_pin(facts: Facts) -> list[Step]:
    if facts.has_pin or not (_in(facts, State.ACTIVE) or facts.codes_left):
        return []
    if facts.now >= facts.new_pin_until:
        return [Step("no PIN, and the time to create one is over", f"arenactl pin reset {facts.name}")]
    until = show_time(facts.new_pin_until)
    return [Step("no PIN yet", f"have them log in before {until}: PIN empty, the code alone, then choose a PIN")]


def _for_waits(facts: Facts) -> list[Step]:
    if not facts.waits:
        return []
    return [Step("too many failures: waiting or closed", f"find out who tries, then arenactl unlock {facts.name}")]


def _for_the_last_attempt(facts: Facts) -> list[Step]:
    """The remedy of a last attempt that was refused, unless another step is its remedy."""
    if facts.last_outcome != "denied" or not _in(facts, State.ACTIVE):
        return []
    serial = facts.last_serial or (facts.keys[0].serial if len(facts.keys) == 1 else "")
    what, remedy = explain(facts.last_reason, facts.last_detail, facts.name, serial)
    told_above = facts.last_reason in ("waiting", "closed", "new-pin-lapsed", "disabled", "expired", "no-token")
    return [] if told_above or not remedy else [Step(f"last attempt: {what}", remedy)]


def _for_dates(facts: Facts) -> list[Step]:
    steps = []
    for key in _in(facts, State.ACTIVE):
        if key.valid_until is not None and key.valid_until <= facts.now + SOON:
            day = show_day(key.valid_until)
            steps.append(Step(f"key {key.serial} is valid through {day}", f"arenactl token enable {key.serial} --until DATE"))
        if key.resync_at is not None and key.resync_at <= facts.now:
            steps.append(Step(f"key {key.serial} has probably run off", f"arenactl token resync {key.serial}"))
    return steps
