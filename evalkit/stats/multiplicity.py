"""Several suites at once (Holm, the macro mean), and several looks at one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from evalkit.model import Verdict
from evalkit.stats.methods import DifferenceTest, check_margin, judge_estimate
from evalkit.stats.paired import FloatArray
from evalkit.stats.tails import normal_quantile, normal_sf


def holm(p_values: Sequence[float]) -> FloatArray:
    """Holm's adjusted p-values (1979), in the order given: reject those at or below alpha."""
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0.0) & (p <= 1.0)):
        raise ValueError("p-values lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted


def macro_test(differences: Sequence[tuple[float, float, float]], margin: float, alpha: float = 0.05) -> DifferenceTest:
    """The mean of suite differences against its margin, each suite counting once: SE = sqrt(sum se^2) / B.

    Of each suite the difference, its standard error and degrees of freedom (inf for score methods); the mean has
    Satterthwaite's. Never pooled over items, where the largest suite would decide alone. Raises `ValueError` on an
    empty set.
    """
    if not differences:
        raise ValueError("no suite was judged: there is no mean over none")
    points, errors, freedom = np.array(differences).T
    squares = errors**2
    total, lost = float(squares.sum()), float(np.sum(squares**2 / freedom))
    df = total**2 / lost if lost > 0 else math.inf
    return judge_estimate(math.fsum(points) / points.size, math.sqrt(total) / points.size, df, margin, alpha)


# Stopping early without fooling oneself. The stream is for failing fast: items are drawn at random *with replacement*,
# so that each difference is an independent look at the same mean, and a fortune is bet against "no worse than the
# margin" (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024)
# 1-27). By Ville's inequality the fortune ever reaches 1 / alpha with probability at most alpha if that claim is true.
# Planned looks are for whole passes over a suite, or for blocks of its items.
_BETS: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
_POINTS: Final = 401  # of the recursion over each region that goes on
_FAR: Final = 8.0  # standard deviations beyond which nothing is left


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream of item differences showed: INCONCLUSIVE until one fortune reached 1 / alpha.

    `stopped_at` is the number of items it took (None while undecided); the two e-values are the fortunes at that
    point: the evidence against "not below -margin" and against "not above +margin".
    """

    decision: Verdict
    stopped_at: int | None
    e_degraded: float
    e_elevated: float


class Spending(StrEnum):
    """How looks spend their error: about evenly, or sparingly at first."""

    POCOCK = "pocock"
    OBRIEN_FLEMING = "obrien-fleming"

    def spent(self, share: float, alpha: float) -> float:
        """The error that is spent once this share (0 to 1) of the planned information is there."""
        if self is Spending.POCOCK:
            return alpha * math.log1p((math.e - 1.0) * share)
        return 2.0 * normal_sf(normal_quantile(1.0 - alpha / 2.0) / math.sqrt(share))


def e_process(differences: ArrayLike, margin: float) -> FloatArray:
    """The fortune after each item of betting that the mean difference is below -margin; shape (..., items).

    A mixture of constant bets, mean over a grid of lambda of prod(1 + lambda * (-margin - X_t)), X_t in [-1, 1].
    Bets stay below 1 / (1 + margin), or a single X = 1 could turn the fortune negative. Negate the differences for the
    other side.
    """
    check_margin(margin, 0.05)
    x = np.asarray(differences, dtype=np.float64)
    if np.any(np.abs(x) > 1.0):
        raise ValueError("differences of scores lie in [-1, 1]")
    bets = np.array([bet for bet in _BETS if bet < 1.0 / (1.0 + margin)])
    logs = [np.cumsum(np.log1p(bet * (-margin - x)), axis=-1) for bet in bets]
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.logaddexp.reduce(logs) - math.log(bets.size)), dtype=np.float64)


def watch_stream(differences: ArrayLike, margin: float, alpha: float = 0.05) -> Stream:
    """Fail fast on a stream of differences of items drawn with replacement; valid however often it is looked at.

    Each side is tested at alpha on its own; the claim of equivalence is left to the full comparison.
    """
    check_margin(margin, alpha)
    x = np.asarray(differences, dtype=np.float64)
    if x.size == 0:
        return Stream(Verdict.INCONCLUSIVE, None, 1.0, 1.0)
    degraded, elevated = e_process(x, margin), e_process(-x, margin)
    crossed = np.flatnonzero(np.maximum(degraded, elevated) >= 1.0 / alpha)
    last = int(crossed[0]) if crossed.size else x.size - 1
    low, high = float(degraded[last]), float(elevated[last])
    if not crossed.size:
        return Stream(Verdict.INCONCLUSIVE, None, low, high)
    return Stream(Verdict.DEGRADED if low >= high else Verdict.ELEVATED, last + 1, low, high)


def look_alphas(shares: Sequence[float], alpha: float, spending: Spending = Spending.POCOCK) -> tuple[float, ...]:
    """The one-sided alpha for `judge_difference` at each look; `shares` of the planned information, the last at most 1.

    Stopping at the first look that rejects keeps a one-sided test at what is spent by then, at most `alpha`, whenever
    the looks come, as long as their times do not follow from what they showed: K. K. G. Lan and D. L. DeMets,
    Biometrika 70 (1983) 659-663. An alpha depends on the looks up to its own only: a later one changes none of them.

    Raises:
        ValueError: for shares that do not rise within (0, 1], none, or an alpha outside (0, 0.5).
    """
    times = np.asarray(shares, dtype=np.float64)
    rising = times.size > 0 and times[0] > 0.0 and times[-1] <= 1.0 and bool(np.all(np.diff(times) > 0.0))
    if not rising or not 0.0 < alpha < 0.5:
        raise ValueError(f"looks need shares that rise within (0, 1] and alpha in (0, 0.5): {shares}, {alpha}")
    alphas: list[float] = []
    grid, density, before, gone = np.zeros(1), np.ones(1), 0.0, 0.0
    for time in times.tolist():
        step, spent = math.sqrt(time - before), spending.spent(time, alpha)
        limit = _crossed_by(grid, density, step, spent - gone)
        alphas.append(normal_sf(limit / math.sqrt(time)))
        reached, weights = _simpson(-_FAR * math.sqrt(time), limit)
        kernel = np.exp(-0.5 * ((reached[:, None] - grid) / step) ** 2) / (step * math.sqrt(2.0 * math.pi))
        grid, density, before, gone = reached, (kernel @ density) * weights, time, spent
    return tuple(alphas)


def _crossed_by(grid: FloatArray, mass: FloatArray, step: float, chance: float) -> float:
    """The limit that a sum, which has `mass` at the points of the grid, passes with this chance at its next step.

    P. Armitage, C. K. McPherson and B. C. Rowe (1969): what has not stopped is carried from look to look.
    """
    low, high = -_FAR, 2.0 * _FAR
    for _ in range(60):
        middle = (low + high) / 2.0
        passed = sum(m * normal_sf(z) for m, z in zip(mass.tolist(), ((middle - grid) / step).tolist(), strict=True))
        low, high = (middle, high) if passed > chance else (low, middle)
    return (low + high) / 2.0


def _simpson(low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Points from low to high and the weights of Simpson's rule."""
    grid = np.linspace(low, high, _POINTS)
    weights = np.full(_POINTS, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    return grid, weights * (grid[1] - grid[0]) / 3.0
