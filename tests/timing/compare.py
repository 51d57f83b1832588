"""Whether two sets of times can be told apart: Welch's t on crops, and the area under the curve (Mann and Whitney).

As dudect does it (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", 2017), t is also taken of what is
below a percentile of both sets together: a small difference drowns in the tail.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen

CROPS = (50, 60, 70, 80, 90, 100)  # percentiles
T_BOUND = 4.5
T_LEAST = 300  # times of each set: of fewer, a crop's t is anything
# Standard errors that an AUC may be off where N is too small for the bound that is asked for: of times that are alike,
# one AUC in 60,000 is.
ERRORS = 4.3

Times = Sequence[float]


@frozen
class Bounds:
    """What counts as told apart. auc: how far from 0.5; t None: by that alone."""

    auc: float
    t: float | None = T_BOUND


@frozen
class Difference:
    """Of two sets of times: the AUC (above 0.5: the second is slower), and the t farthest from 0 with its crop.

    auc_bound: how far from 0.5 the AUC may be; at 0.5 so few were taken that nothing tells. shift: of the
    medians, in milliseconds.
    """

    auc: float
    auc_bound: float
    t: float
    crop: int
    t_bound: float | None
    shift: float

    @property
    def told_apart(self) -> bool:
        return abs(self.auc - 0.5) > self.auc_bound - 1e-9 or (self.t_bound is not None and abs(self.t) >= self.t_bound)


def compare(reference: Times, times: Times, bounds: Bounds) -> Difference:
    """How the second set differs from the first."""
    t, crop = max(((welch(reference, times, crop), crop) for crop in CROPS), key=lambda one: abs(one[0]))
    bound = auc_bound(bounds.auc, len(reference), len(times))
    shift = float(np.median(times) - np.median(reference))
    t_bound = bounds.t if min(len(reference), len(times)) >= T_LEAST else None
    return Difference(auc(reference, times), bound, t, crop, t_bound, shift)


def auc(reference: Times, times: Times) -> float:
    """How likely one of the second set is slower than one of the first."""
    low, high = np.sort(reference), np.asarray(times)
    slower = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(slower.sum() / (2 * len(low) * len(high)))


def welch(reference: Times, times: Times, crop: int) -> float:
    """Welch's t of what is not above a percentile of both together; positive: the second is slower."""
    most = np.percentile(np.concatenate([reference, times]), crop)
    first, second = (np.asarray(some)[np.asarray(some) <= most] for some in (reference, times))
    if min(len(first), len(second)) < 2:  # one set lies wholly beyond the other's
        return math.inf if len(second) < len(first) else -math.inf
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return float((second.mean() - first.mean()) / error)


def auc_bound(asked: float, first: int, second: int) -> float:
    """How far from 0.5 an AUC of so many and so many may be: what is asked, or what chance alone makes, if that is more."""
    return min(0.5, max(asked, ERRORS * math.sqrt((first + second + 1) / (12 * first * second))))


def smallest_shift(times: Times, bounds: Bounds) -> float:
    """The least milliseconds that, added to every one of such times, would be told; 1000 where none is."""
    return _least(lambda shift: compare(times, np.asarray(times) + shift, bounds).told_apart)


def _least(tells: Callable[[float], bool]) -> float:
    low, high = 0.0, 1e-3
    while high < 1000 and not tells(high):
        low, high = high, high * 2
    while high - low > high / 100:
        middle = (low + high) / 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high
