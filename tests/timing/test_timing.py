"""The short form of `make timing`: whether denials can be told apart by their time, by the AUC of interleaved samples alone.

No clock decides: a busy machine slows all cases alike. What is allowed is five standard errors of an AUC at so few samples,
so that of times that are alike one run in a hundred thousand fails.
"""

import math
from collections.abc import Callable
from pathlib import Path

from cases import CASES, REFERENCE, by_name
from compare import auc
from stopwatch import CHEAP, Samples, Stopwatch, started

ERRORS = 5  # standard errors
EVERY = 200  # samples of each case where argon2id costs nothing
SOME = 40  # at the full price
TELLING = by_name("unknown user", "wrong code", "waiting", "malformed")


def bound(count: int) -> float:
    """How far an AUC of so many and so many may be from 0.5."""
    return ERRORS * math.sqrt((2 * count + 1) / (12 * count * count))


def areas(samples: Samples) -> dict[str, float]:
    """The AUC of each case beside the reference."""
    return {what: auc(samples[REFERENCE.what], times) for what, times in samples.items() if what != REFERENCE.what}


def held(found: dict[str, float], count: int) -> str:
    """Holds every AUC to the bound; returns what is to be printed."""
    told = {what: round(area, 3) for what, area in found.items() if abs(area - 0.5) > bound(count)}
    assert not told, f"told apart, of {count} each: {told}"
    return f"{count} of each, AUC {min(found.values()):.3f} to {max(found.values()):.3f}, bound 0.5 +- {bound(count):.3f}"


def test_no_state_is_told_apart_beside_argon2id(tmp_path: Path, count: Callable[[str], None]) -> None:
    with started(tmp_path / "arena", "cheap-argon2id") as service:
        found = areas(Stopwatch(service, CASES, 1, CHEAP).logins(EVERY))
    count(f"{len(CASES)} cases, argon2id at no cost: {held(found, EVERY)}")


def test_no_state_is_told_apart_at_the_full_price(tmp_path: Path, count: Callable[[str], None]) -> None:
    with started(tmp_path / "arena") as service:
        found = areas(Stopwatch(service, TELLING, 1).logins(SOME))
    count(f"{len(TELLING)} cases, argon2id as shipped: {held(found, SOME)}")


def test_a_skipped_argon2id_is_caught(tmp_path: Path, count: Callable[[str], None]) -> None:
    with started(tmp_path / "arena", "skipped-argon2id") as service:
        found = areas(Stopwatch(service, by_name("unknown user"), 1).logins(SOME))
    assert found["unknown user"] < 0.5 - bound(SOME), found
    count(f"planted: no argon2id for unknown users: AUC {found['unknown user']:.3f}")
