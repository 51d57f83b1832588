"""Every state that an account can be in where a login is denied, each brought about on a host; and what is typed there."""

import time
from collections.abc import Callable

from attrs import frozen
from holders import PIN, Holder
from hosts import SUCCESS, Fob, Host

WRONG_PIN, GUESS = "2847", "7931"
DAY = 86400
# Attempts for one state are many, and none of them may lead to the next: no wait, no next code, no token disabled.
SETTINGS = """
[code]
next_code_after = 1000
[lock]
after = 100
close_after = 1000
wrong_pin_disables = 100
[pin]
expires = "1d"
"""
# As the service's own user, and with the service stopped: it is the one that writes.
SQL = """
import sqlite3, sys
with sqlite3.connect("/var/lib/arena/arena.db") as store:
    store.executescript(sys.argv[1])
"""


@frozen
class State:
    """A state: who is in it, what is typed, and the reason that the desk is told."""

    what: str
    user: str
    pin: Callable[[], str]
    code: Callable[[], str]
    reason: str


def wrong_code(*fobs: Fob) -> Callable[[], str]:
    """A code that none of these tokens shows for a long while."""

    def code() -> str:
        shown = {fob.at(step) for fob in fobs for now in (0, fob.step) for step in range(max(0, now - 30), now + 30)}
        return next(guess for guess in ("000000", "000001", "000002", "000003") if guess not in shown)

    return code


def enrolled(host: Host, *, period: int = 5) -> Holder:
    """A holder who has a PIN."""
    holder = Holder(host, period=period)
    fob = holder.fob
    created = host.authenticate(holder.name, "", fob.fresh(), PIN, PIN, PIN + fob.ahead())
    assert created[0] == SUCCESS, created
    return holder


def bring_about(host: Host) -> list[State]:
    """Have one account in each state, and no two states that use the display of one fob. The service runs with SETTINGS."""
    plain, used, waits, shut, old = enrolled(host), enrolled(host, period=60), *(enrolled(host) for _ in range(3))
    disabled, bare, many = (enrolled(host) for _ in range(3))
    new, lapsed, button = Holder(host), Holder(host), Holder(host)
    host.arenactl("token", "disable", disabled.fob.serial)
    host.arenactl("token", "unassign", bare.fob.serial)
    more = [host.give_fob(many.name, f"{many.fob.serial}-{n}") for n in (2, 3)]
    _give_hotp(host, button)
    host.add_user("keyless")
    _as_if_long_ago(host, waits=waits.name, shut=shut.name, old=old.name, lapsed=lapsed.name)

    def state(what: str, holder: Holder, pin: str | Callable[[], str], code: str | Callable[[], str], reason: str) -> State:
        return _state(what, holder.name, pin, code, reason)

    return [
        state("wrong PIN", plain, WRONG_PIN, plain.fob.fresh, "wrong-pin"),
        state("wrong code", plain, PIN, wrong_code(plain.fob), "wrong-code"),
        state("wrong PIN and code", plain, WRONG_PIN, wrong_code(plain.fob), "wrong-pin-and-code"),
        state("used code", used, PIN, used.fob.used, "used-code-again"),
        state("waiting", waits, PIN, waits.fob.fresh, "waiting"),
        state("closed", shut, PIN, shut.fob.fresh, "closed"),
        state("PIN expired, wrong code", old, PIN, wrong_code(old.fob), "wrong-code"),
        state("token disabled", disabled, PIN, disabled.fob.fresh, "disabled"),
        state("no token", bare, PIN, bare.fob.fresh, "no-token"),
        state("HOTP", button, GUESS, wrong_code(button.fob), "wrong-code"),
        state("three tokens", many, PIN, wrong_code(many.fob, *more), "wrong-code"),
        state("no PIN yet, wrong code", new, "", wrong_code(new.fob), "wrong-code"),
        state("no PIN yet, PIN typed", new, GUESS, new.fob.fresh, "no-pin-yet"),
        state("new-PIN mode lapsed", lapsed, "", lapsed.fob.fresh, "new-pin-lapsed"),
        state("malformed", plain, "-?", "no code", "malformed"),
        _state("no holder", "keyless", GUESS, "000000", "unknown-name"),
        _state("unknown name", "no-such-name", GUESS, "000000", "unknown-name"),
        _state("root", "root", GUESS, "000000", "unknown-name"),
    ]


def _state(what: str, user: str, pin: str | Callable[[], str], code: str | Callable[[], str], reason: str) -> State:
    def typed(one: str | Callable[[], str]) -> Callable[[], str]:
        return one if callable(one) else lambda: one

    return State(what, user, typed(pin), typed(code), reason)


def _give_hotp(host: Host, holder: Holder) -> None:
    """A HOTP token in the place of the fob."""
    fob = Fob(f"H-{holder.name}")
    host.arenactl("token", "unassign", holder.fob.serial)
    host.arenactl("token", "add", "--serial", fob.serial, "--type", "hotp", "--seed-file", "-", input=fob.seed.hex() + "\n")
    host.arenactl("token", "assign", fob.serial, holder.name)
    holder.fob = fob


def _as_if_long_ago(host: Host, *, waits: str, shut: str, old: str, lapsed: str) -> None:
    """What only time brings: a wait of hours, fifty failures at a guess a quarter of an hour, a PIN and a new-PIN mode of
    long ago. Hosts have no clock of their own, so that it is written into the store."""
    until = int(time.time()) + DAY
    origins = ";".join(
        f"INSERT OR REPLACE INTO origin SELECT id, '{kind}', '', 50, {until}, {closed}, 0 FROM holder WHERE name = '{name}'"
        for name, closed in ((waits, 0), (shut, 1))
        for kind in ("console", "remote")
    )
    host.run("systemctl", "stop", "arenad.socket", "arenad.service")
    sql = f"""
        {origins};
        UPDATE holder SET pin_set_at = pin_set_at - {3 * DAY} WHERE name = '{old}';
        UPDATE holder SET new_pin_until = new_pin_until - {30 * DAY} WHERE name = '{lapsed}';
    """
    host.run("setpriv", "--reuid=_arena", "--regid=_arena", "--clear-groups", "python3", "-c", SQL, sql)
    host.run("systemctl", "start", "arenad.socket")
