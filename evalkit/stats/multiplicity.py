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
# Planned looks are for whole passes over a suite: C. Jennison and B. W. Turnbull, "Group Sequential Methods" (2000).
_BETS: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
_STEPS: Final = 1200  # grid of the recursion over each continuation region


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


class Boundary(StrEnum):
    """How a group-sequential design spends its error: evenly, or sparingly at first."""

    POCOCK = "pocock"
    OBRIEN_FLEMING = "obrien-fleming"


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


def look_alphas(looks: int, alpha: float, boundary: Boundary = Boundary.POCOCK) -> tuple[float, ...]:
    """The one-sided alpha for `judge_difference` at each of so many equally spaced looks.

    Stopping at the first look with a verdict other than INCONCLUSIVE keeps each one-sided test at `alpha` overall.
    The constants are those of the two-sided design at 2 alpha, as a verdict may come from either tail.
    """
    constant = boundary_constant(looks, 2.0 * alpha, boundary)
    return tuple(normal_sf(critical) for critical in _criticals(looks, constant, boundary))


def boundary_constant(looks: int, alpha: float, boundary: Boundary) -> float:
    """Jennison and Turnbull's C_P(K, alpha) or C_B(K, alpha): two-sided error alpha over K equally spaced looks.

    Reject at look j where |z| >= C_P, or |z| >= C_B * sqrt(K / j). Raises `ValueError` for looks below 1.
    """
    if looks < 1 or not 0.0 < alpha < 1.0:
        raise ValueError(f"needs at least one look and alpha in (0, 1): {looks}, {alpha}")
    low = normal_quantile(1.0 - alpha / 2.0)
    high = normal_quantile(1.0 - alpha / (2.0 * looks)) + 1e-9  # Bonferroni
    for _ in range(40):
        middle = (low + high) / 2.0
        if crossing_probability(_criticals(looks, middle, boundary)) > alpha:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def crossing_probability(criticals: tuple[float, ...]) -> float:
    """P(|z_j| >= criticals[j] at any of the equally spaced looks) where there is no effect.

    P. Armitage, C. K. McPherson and B. C. Rowe (1969): the density of the sum S_j = sqrt(j) z_j over those that have
    not stopped is carried from look to look by integration (Simpson's rule).
    """
    limits = [critical * math.sqrt(look) for look, critical in enumerate(criticals, start=1)]
    grid, weights = _simpson(limits[0])
    density = np.exp(-0.5 * grid**2) / math.sqrt(2.0 * math.pi)
    for limit in limits[1:]:
        next_grid, next_weights = _simpson(limit)
        kernel = np.exp(-0.5 * (next_grid[:, None] - grid) ** 2) / math.sqrt(2.0 * math.pi)
        density, grid, weights = kernel @ (density * weights), next_grid, next_weights
    return 1.0 - float(density @ weights)


def _criticals(looks: int, constant: float, boundary: Boundary) -> tuple[float, ...]:
    if boundary is Boundary.POCOCK:
        return (constant,) * looks
    return tuple(constant * math.sqrt(looks / look) for look in range(1, looks + 1))


def _simpson(limit: float) -> tuple[FloatArray, FloatArray]:
    """Points from -limit to limit and the weights of Simpson's rule, as many as the smoothness of the kernel needs."""
    points = 2 * max(50, min(_STEPS, math.ceil(10.0 * limit))) + 1
    grid = np.linspace(-limit, limit, points)
    weights = np.full(points, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    return grid, weights * (grid[1] - grid[0]) / 3.0
