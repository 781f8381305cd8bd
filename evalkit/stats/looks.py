"""Several looks at one comparison that grows: what error each may spend, and at which look each row is decided."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from evalkit.stats.paired import FloatArray
from evalkit.stats.tails import normal_sf

_POINTS: Final = 401  # of the recursion over each region that goes on
_FAR: Final = 8.0  # standard deviations beyond which nothing is left

Spending: TypeAlias = Callable[[float, float], float]
"""The error that is spent of alpha once a share (0 to 1) of the planned information is there: all of it at 1."""


def spent_evenly(share: float, alpha: float) -> float:
    """Pocock's type: what is far off is seen at the first look, and the last has little left."""
    return alpha * math.log1p((math.e - 1.0) * share)


def spent_late(share: float, alpha: float) -> float:
    """Most is kept for the last looks: K. Kim and D. L. DeMets, Biometrika 74 (1987) 149-154, rho = 2."""
    return alpha * share**2


@lru_cache(maxsize=256)
def look_alphas(shares: tuple[float, ...], alpha: float, spent: Spending = spent_evenly) -> tuple[float, ...]:
    """The one-sided alpha for `judge_difference` at each look; `shares` of the planned information, the last at most 1.

    Stopping at the first look that rejects keeps a one-sided test at what is spent by then, at most `alpha`, whenever
    the looks come, as long as their times do not follow from what they showed: K. K. G. Lan and D. L. DeMets,
    Biometrika 70 (1983) 659-663. An alpha depends on the looks up to its own only: a later one changes none of them.

    Raises `ValueError`: for shares that do not rise within (0, 1], none, or an alpha outside (0, 0.5).
    """
    times = np.asarray(shares, dtype=np.float64)
    rising = times.size > 0 and times[0] > 0.0 and times[-1] <= 1.0 and bool(np.all(np.diff(times) > 0.0))
    if not rising or not 0.0 < alpha < 0.5:
        raise ValueError(f"looks need shares that rise within (0, 1] and alpha in (0, 0.5): {shares}, {alpha}")
    alphas: list[float] = []
    grid, density, before = np.zeros(1), np.ones(1), 0.0
    for time in times.tolist():
        step = math.sqrt(time - before)
        limit = _crossed_by(grid, density, step, spent(time, alpha) - spent(before, alpha))
        alphas.append(normal_sf(limit / math.sqrt(time)))
        reached, weights = _simpson(-_FAR * math.sqrt(time), limit)
        kernel = np.exp(-0.5 * ((reached[:, None] - grid) / step) ** 2) / (step * math.sqrt(2.0 * math.pi))
        grid, density, before = reached, (kernel @ density) * weights, time
    return tuple(alphas)


def _crossed_by(grid: FloatArray, mass: FloatArray, step: float, chance: float) -> float:
    """The limit that a sum, which has `mass` at the points of the grid, passes with this chance at its next step.

    P. Armitage, C. K. McPherson and B. C. Rowe (1969): what has not stopped is carried from look to look.
    """
    low, high = -_FAR, 2.0 * _FAR
    for _ in range(60):
        middle = (low + high) / 2.0
        tails = map(math.erfc, ((middle - grid) / (step * math.sqrt(2.0))).tolist())
        passed = 0.5 * float(mass @ np.fromiter(tails, np.float64, grid.size))
        low, high = (middle, high) if passed > chance else (low, middle)
    return (low + high) / 2.0


def _simpson(low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Points from low to high and the weights of Simpson's rule."""
    grid = np.linspace(low, high, _POINTS)
    weights = np.full(_POINTS, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    return grid, weights * (grid[1] - grid[0]) / 3.0


class LookAlphas(NamedTuple):
    """The levels of a comparison's looks, each (looks, rows): the suites' rows, and their mean's as the last.

    `alphas` are those of the intervals and one-sided tests; the p-value of a row that is beyond its margin by them is
    multiplied by `scale` and then held, after Holm's correction, against `alarm`.
    """

    alphas: FloatArray
    scale: FloatArray
    alarm: float


def comparison_alphas(samples: ArrayLike, alpha: float, fast: float = 0.0) -> LookAlphas:
    """The levels where so many `samples` (looks, suites) of each suite are there at each look, at the last all of them.

    A row's own tests spend late, as a pass is worth most at full power; alarms spend evenly, as what is broken is worth
    no further look. A suite that has no more samples than at the look before is not looked at again: its level stays.
    The variance of the suites' mean is taken to be that of samples that are equally noisy. Alarms have `alpha` less
    `fast`, which is kept for failing fast. A step of Holm's correction over `left` rows comes at no more than the
    look's level for alpha / left, to which such levels are not proportional (Y. Ye et al., Statistics in Medicine 32
    (2013) 1112-1124).
    """
    counts = np.asarray(samples, dtype=np.float64)
    every = np.column_stack([counts, 1.0 / np.sum(1.0 / counts, axis=1)]) if counts.shape[1] > 1 else counts
    alarm, steps = alpha - fast, {1, every.shape[1]}

    def level(shares: FloatArray, total: float, spent: Spending) -> FloatArray:
        distinct, places = np.unique(shares, return_inverse=True)
        return np.asarray(look_alphas(tuple(distinct.tolist()), total, spent))[places]

    def levels(total: float, spent: Spending) -> FloatArray:
        return np.column_stack([level(column / column[-1], total, spent) for column in every.T])

    allowed = np.min([left * levels(alarm / left, spent_evenly) for left in steps], axis=0)
    return LookAlphas(levels(alpha, spent_late), alarm / allowed, alarm)
