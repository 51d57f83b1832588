"""How fast a token's clock runs off, and when that will be felt. Pure: from what the store has of it.

The drift that was learnt, over the time from the token's entry in the store to its last right code, is its speed. From
that code on it runs unseen: after `window` steps a login asks for the next code too, after `next_code_reach` the token
has to be resynchronised. A token that counts has no clock.
"""

from attrs import frozen

from ..config import Code

YEAR = 365 * 86400  # seconds
SHORTEST = 30 * 86400  # seconds: over less, a step of drift tells nothing of a speed


@frozen
class Forecast:
    """steps_a_year None: nothing can be said. Times in seconds since 1970 UTC: of the first login that will be asked more."""

    steps_a_year: float | None
    next_code_at: int | None
    resync_at: int | None


UNKNOWN = Forecast(None, None, None)


def forecast(kind: str, drift: int, period: int, created_at: int, last_step: int, code: Code) -> Forecast:
    """What is to be expected of a token; last_step is that of its last right code, or -1."""
    if kind != "totp" or last_step < 0:
        return UNKNOWN
    seen_at = (last_step - drift) * period
    known_for = seen_at - created_at
    if known_for < SHORTEST:
        return UNKNOWN
    if drift == 0:
        return Forecast(0.0, None, None)
    speed = abs(drift) / known_for
    steps_a_year = round(drift / known_for * YEAR, 1)
    return Forecast(steps_a_year, int(seen_at + code.window / speed), int(seen_at + code.next_code_reach / speed))


def is_drifting(drift: int, found: Forecast, window: int, now: int) -> bool:
    """Whether a token is off by more than the window, or is likely to be by now."""
    return abs(drift) > window or (found.next_code_at is not None and found.next_code_at <= now)
