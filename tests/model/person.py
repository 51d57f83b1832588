"""Somebody at a prompt: answers what is asked, and holds what comes of it against the reference, the truth and the witness."""

from collections.abc import Awaitable, Callable, Iterator

from attrs import define, evolve, field
from house import House
from reference import LOCAL, REMOTE, YEARLY, Fate, Fob, Holder, Pending, Reference, Typed, Witness

from pam_arena.protocol import Operation, Option
from pam_arena.wire import Start

PROMPTS = {
    "PIN (first login: leave empty): ": "pin",
    "Passcode (the code on your key): ": "passcode",
    "Passcode (PIN + code; first: code): ": "joined",
    "If allowed, a code was mailed. Code: ": "mailed",
    "Wait; next code alone: ": "next",
    "Choose a PIN (4 to 6 digits): ": "choose",
    "Same PIN again: ": "again",
    "PIN + new code: ": "new",
}
ASKED_NEXT = {Fate.OUT: {""}, Fate.NEXT: {"next"}, Fate.CHOOSE: {"choose"}, Fate.IN: {"", "choose"}}  # "": nothing, it ends
UNTESTED = {"waiting", "closed", "malformed", "used-code-again", "later-code-used"}
SUCCESS, AUTH_ERR, UNAVAIL, IGNORE = 0, 7, 9, 25
OBSERVED, MAILING = "watch", "post"  # services that only observe, and that mail codes

Typist = Callable[["Person"], Typed | None]  # None: hangs up


def gone(_: "Person") -> Typed | None:
    """Hangs up."""
    return None


@define(eq=False)
class Person:
    """One login. delay: seconds before a code is typed. pins: tried in turn as a new PIN.

    passcode: what is typed first, as `first` and `second`. follow_up: the next code. new: PIN + new code. mail_pin: a code by
    mail is wanted first, by who types this PIN. overtaken: the next code is typed in another session first, after the PIN.
    """

    house: House
    reference: Reference
    witness: Witness
    holder: Holder
    origin: tuple[str, str]
    passcode: Typed
    first: str
    second: str
    delay: float = 0
    service: str = "sshd"
    follow_up: Typist = gone
    new: Typist = gone
    pins: Iterator[str] = field(factory=lambda: iter(()))
    mail_pin: str | None = None
    overtaken: bool = False
    fate: Fate = Fate.OUT
    pending: Pending | None = None
    choice: str = ""
    _created: bool = False
    _prompted: float = 0
    _last: Typed | None = None
    _check: Callable[[str], None] | None = None

    def answer(self, text: str) -> str | Awaitable[str] | None:
        """The answer to a question; None hangs up."""
        asked = next(kind for prompt, kind in PROMPTS.items() if text.endswith(prompt))
        self._see(asked)
        self._prompted = self.house.clock.now()
        if asked not in ("pin", "choose", "again"):
            self.house.clock.pass_by(self.delay)
        match asked:
            case "pin":
                return self.first if self.mail_pin is None else self.mail_pin
            case "passcode" | "joined" if self.mail_pin is not None:
                return self._order_mail(asked)
            case "passcode" | "joined" | "mailed":
                return self._type(self.passcode, self.passcode.pin + self.passcode.code if asked == "joined" else self.second)
            case "next":
                typed = self.follow_up(self)
                if typed is None:
                    return None
                return self._be_overtaken(typed) if self.overtaken else self._type_next(typed)
            case "choose":
                self.choice, self._created = next(self.pins, ""), False
                return self.choice or None
            case "again":
                self._created = self.reference.choose_pin(self.holder, self.choice, self.house.clock.now())
                return self.choice
            case _:
                typed = self.new(self)
                return None if typed is None else self._type_new(typed)

    def end(self, code: int | None, said: list[str]) -> None:
        """Hold the end of the conversation against what was to come."""
        if code is None:
            self._check = None
            return
        self._see("")
        way_in = self.fate is Fate.IN and (not self.choice or self._created)
        if self._observed:
            assert code == IGNORE
            assert not any(text.startswith("Access denied") for text in said)
        else:
            assert code == (SUCCESS if way_in else AUTH_ERR), f"{self.fate} ended with {code}: {said}"
            assert way_in or said[-1].startswith("Access denied. Wait for a new code, then retry. (ref ")

    @property
    def _observed(self) -> bool:
        return self.service == OBSERVED

    def _see(self, asked: str) -> None:
        """Something was asked, or it is the end: then the last verdict is durable."""
        if self._check is not None:
            check, self._check = self._check, None
            check(asked)

    def _order_mail(self, asked: str) -> str:
        assert self.mail_pin is not None
        at, pin = self.house.clock.now(), self.mail_pin
        bucket = self.holder.bucket(*self.origin, at)
        ordered = self.reference.mail(self.holder, self.origin, pin, at)

        def check(now_asked: str) -> None:
            assert now_asked == "mailed"  # for everyone, whatever came of it
            outcome, reason = self._noted()
            assert (outcome == "mailed") == ordered, reason
            if reason == "mail-wrong-pin":
                self.witness.tested(self.holder.name, bucket, at, True)

        self._check, self.mail_pin = check, None
        self.first = pin
        return "" if asked == "passcode" else f"{pin}*"

    def _type(self, typed: Typed, text: str) -> str:
        at = self.house.clock.now()
        self._check = self._verdict(typed, at, self._is_right(typed), False)
        self.fate, self.pending = self.reference.passcode(self.holder, self.origin, typed, self._prompted, at, self._observed)
        self._last = typed
        return text

    def _type_next(self, typed: Typed) -> str:
        at, pending = self.house.clock.now(), self.pending
        assert pending is not None
        right = self._is_fresh(typed) and typed.fob is pending.fob and typed.step == pending.wanted
        self._check = self._verdict(typed, at, right, True)
        self.fate = self.reference.next_code(self.holder, self.origin, pending, typed, at, self._observed)
        self._last = typed
        return typed.code

    async def _be_overtaken(self, typed: Typed) -> str:
        at, bucket = self.house.clock.now(), self.holder.bucket(*self.origin, self.house.clock.now())
        whole = evolve(typed, pin=self.holder.pin or "")
        answers = {"PIN (first login: leave empty): ": whole.pin, "Passcode (the code on your key): ": whole.code}
        await self.house.converse(start(self.holder.name, self.origin, self.service), answers.get)
        fate, _ = self.reference.passcode(self.holder, self.origin, whole, at, at, self._observed)
        if fate is Fate.IN:
            self.witness.forgive(self.holder.name, None if self._observed else bucket, typed.fob)
            self.witness.forgive(self.holder.name, None if self._observed else self.origin)
        return self._type_next(typed)

    def _type_new(self, typed: Typed) -> str:
        text = typed.pin + typed.code
        assert self._last is not None
        return text if typed.code == self._last.code else self._type(typed, text)  # the old code is not looked at

    def _is_fresh(self, typed: Typed) -> bool:
        """Whether this is a code of an active token that nobody typed before, or a recovery code not used: in truth."""
        if typed.recovery:
            code = self.holder.recovery.get(typed.code)
            return code is not None and not code.used and (code.until is None or self.house.clock.now() < code.until)
        return typed.fob is not None and typed.fob.active and typed.step not in typed.fob.typed

    def _is_right(self, typed: Typed) -> bool:
        return self._is_fresh(typed) and typed.pin == (self.holder.pin or "")

    def _noted(self) -> tuple[str, str]:
        """What the audit says of the last attempt: outcome and reason."""
        kind, key = self.origin
        address, actor = key if kind == REMOTE else "", f"uid:{key if kind == LOCAL else 0}"
        query = "SELECT outcome, reason FROM audit WHERE holder = ? AND address = ? AND actor = ? ORDER BY id DESC LIMIT 1"
        outcome, reason = self.house.look(query, self.holder.name, address, actor)[0]
        return outcome, reason

    def _verdict(self, typed: Typed, at: float, right: bool, is_next: bool) -> Callable[[str], None]:
        """What is to hold once the verdict on `typed` is known. right: in truth, at the time of typing."""
        holder, bucket = self.holder, self.holder.bucket(*self.origin, at)
        has_pin, failed = holder.pin is not None, holder.year(at)

        def check(asked: str) -> None:
            outcome, reason = self._noted()
            assert outcome == self.fate.value, f"{outcome}, {reason}: {self.fate.value} was to come"
            assert asked in ASKED_NEXT[self.fate], f"{outcome}, and then {asked or 'nothing'}"
            assert right or outcome == "denied", f"{outcome} for what is not right: {typed}"
            if outcome == "granted":
                assert has_pin
                assert failed <= YEARLY or is_next or typed.recovery
                assert (asked == "choose") == self.reference.expired(holder, at)
            if reason == "wrong-pin" and typed.fob is not None:
                self.witness.wrong_pin(typed.fob.serial)
            if not self._observed and reason not in UNTESTED:
                self.witness.tested(holder.name, bucket, at, outcome == "denied")
            if outcome == "granted":
                self.witness.forgive(holder.name, None if self._observed else bucket, typed.fob)
                self.witness.forgive(holder.name, None if self._observed else self.origin)

        return check


def start(name: str, origin: tuple[str, str], service: str = "sshd", joined: bool = False) -> Start:
    """A login as the module reports it."""
    kind, key = origin
    return Start(
        Operation.AUTHENTICATE,
        service,
        name,
        ruser="bob" if kind == LOCAL else "",
        rhost=key if kind == REMOTE else "",
        uid=int(key) if kind == LOCAL else 0,
        options=Option.JOINED if joined else Option.SPLIT,
    )


def spell(pin: str, code: str, layout: str) -> tuple[str, str]:
    """PIN and code as they are typed into two fields."""
    return {"apart": (pin, code), "second": ("", pin + code), "twice": (pin, pin + code), "first": (pin + code, "")}[layout]


def press_on(fob: Fob, step: int, house: House) -> None:
    """Wait, or press, until the display shows a step or a later one."""
    if fob.period is None:
        fob.pressed = max(fob.pressed, step)
    elif fob.shows(house.clock.now()) < step:
        house.clock.pass_by(step * fob.period - fob.skew - house.clock.now() + 0.5)
