"""Where an attempt comes from, and how long that origin waits after failures (design section 5).

An origin is the console, an address from which this holder logged in lately, all other addresses together, or one local
user who is not the holder. Each waits for itself, so that nobody can lock a holder out of their own desk or console.
Pure code: times are seconds since 1970 UTC, and passed in.
"""

from attrs import evolve, frozen

from ..config import YEARLY_FAILURES, Code, Lock
from ..store.accounts import Account, Standing

CONSOLE, REMOTE, LOCAL = "console", "remote", "local"
KNOWN_FOR = 30 * 86400  # seconds after a success during which an address is the holder's own


@frozen
class Origin:
    """Where an attempt comes from: kind, and the remote address or the local caller's uid."""

    kind: str
    key: str = ""


_CONSOLE = Origin(CONSOLE)  # one for all who stand at a prompt


def origin_of(holder: str, *, rhost: str, ruser: str, uid: int, trusted: bool) -> Origin:
    """The origin of an attempt for `holder`; trusted where the peer is root, whose word on rhost and ruser counts."""
    if rhost:
        return Origin(REMOTE, rhost) if trusted else Origin(LOCAL, str(uid))
    return _CONSOLE if ruser in ("", holder) else Origin(LOCAL, str(uid))


def standing_of(account: Account, origin: Origin, now: float) -> Standing:
    """How this origin stands with the holder. Nobody's origins are one a kind, or made-up names would fill the table."""
    found = {(s.kind, s.key): s for s in account.standings}
    if not account.real:
        return found.get((origin.kind, ""), Standing(origin.kind, ""))
    own = found.get((origin.kind, origin.key), Standing(origin.kind, origin.key))
    if origin.kind == REMOTE and own.granted_at <= now - KNOWN_FOR:
        return found.get((REMOTE, ""), Standing(REMOTE, ""))
    return own


def is_favoured(origin: Origin, granted_at: int, now: float) -> bool:
    """Whether an attempt goes before others: from the console, or an address that opened the door at granted_at, lately."""
    return origin.kind == CONSOLE or (origin.kind == REMOTE and granted_at > now - KNOWN_FOR)


def needs_next_code(account: Account, standing: Standing, code: Code) -> bool:
    """Whether a right passcode leads to the next code first: this origin failed lately, or somebody did all year."""
    return standing.failures >= code.next_code_after or account.year_failures > YEARLY_FAILURES


def is_waiting(standing: Standing, now: float) -> bool:
    """Whether every attempt of this origin is denied now."""
    return standing.closed or standing.wait_until > now


def after_failure(standing: Standing, lock: Lock, now: float) -> Standing:
    """The standing after one more counted failure: from lock.after on it waits, twice as long each time."""
    failures = standing.failures + 1
    if failures < lock.after:
        return evolve(standing, failures=failures)
    wait = min(lock.wait * 2 ** min(failures - lock.after, 32), lock.wait_max)
    return evolve(standing, failures=failures, wait_until=int(now + wait), closed=failures >= lock.close_after)


def after_success(standing: Standing) -> Standing:
    """The standing that a success leaves behind."""
    return evolve(standing, failures=0, wait_until=0, closed=False)
