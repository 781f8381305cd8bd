"""Where a candidate's repeats are best spent: more on items whose answers vary in a stored reference, fewer on others.

The choice may look at the reference alone: one that has seen the candidate would bias the comparison. Then every item's
mean is as unbiased as with equal repeats, and the interval, taken from the spread of item differences, stays right.
"""

from typing import Final

import numpy as np

from evalkit.stats.paired import FloatArray, IntArray

_PRIOR: Final = 3.0  # repeats' worth of the mean variance that every item is given beside its own
_HALVINGS: Final = 60
_NOTHING: Final = 1e-18  # a variance that is rounding


def steadied_variance(k: IntArray, variance: FloatArray) -> FloatArray:
    """The variance of a repeat by item, drawn towards the mean of all: unanimous repeats may vary yet.

    `k` counts the repeats that `variance` (NaN below two) is of. Raises `ValueError` where no item has two.
    """
    if not np.any(k > 1):
        raise ValueError("no item was repeated: the variance between repeats is unknown")
    degrees = np.maximum(k - 1, 0)
    own = np.where(k > 1, variance, 0.0)
    mean = float(np.sum(degrees * own) / degrees.sum())
    return np.asarray((degrees * own + _PRIOR * mean) / (degrees + _PRIOR), dtype=np.float64)


def cheapest_repeats(within: FloatArray, share: FloatArray, cost: FloatArray, repeats: IntArray) -> IntArray:
    """The cheapest repeats by item, one at least, that leave no more variance in a mean than `repeats` would.

    `within` is the variance of a repeat, `share` an item's part of the mean, `cost` that of an answer. In the limit
    repeats go as share * sqrt(within / cost) (J. Neyman, J. R. Stat. Soc. 97 (1934) 558-625); whole ones are found by
    what a further repeat takes off the variance for its cost (B. Fox, Management Science 13 (1966) 210-216).
    """
    weighed = share**2 * within
    goal = float(np.sum(weighed / repeats))
    if goal < _NOTHING:
        return repeats

    def bought(price: float) -> IntArray:
        """All repeats that take more than this off the variance for their cost."""
        return np.maximum(1, np.ceil(np.sqrt(0.25 + weighed / cost / price) - 0.5)).astype(np.int64)

    low, high = 1e-12 * goal / float(cost.max()), goal / float(cost.min())
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if float(np.sum(weighed / bought(middle))) <= goal else (low, middle)
    enough, few = bought(low), bought(high)
    # Between the two lie repeats that are all worth the same: as many as are needed.
    tied = np.flatnonzero(enough > few)
    left = float(np.sum(weighed / few)) - np.cumsum(weighed[tied] / few[tied] - weighed[tied] / enough[tied])
    wanted = tied[: int(np.searchsorted(-left, -goal)) + 1]
    few[wanted] = enough[wanted]
    return few
