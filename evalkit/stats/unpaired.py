"""Judging what a published table holds: two means, a known number of items, no item scores.

Without the items the pairing is lost: the interval is that of two independent samples, about twice as wide as a paired
one on the same model. It can show a large difference and, on large suites, equivalence; on small ones it shows that the
table supports no claim at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evalkit.stats.equivalence import DifferenceTest, check_margin
from evalkit.stats.proportions import Count, score_interval, score_statistic
from evalkit.stats.tails import normal_quantile, normal_sf

METHOD = "unpaired score"


@dataclass(frozen=True, slots=True)
class Granularity:
    """Whether a printed mean can be right answers over samples.

    `possible` is False where no whole number of right answers rounds to it; `nearest` is the closest number of right
    answers; `informative` is False where the printed digits are so coarse that every value would be possible.
    """

    possible: bool
    nearest: int
    informative: bool


def judge_means(
    reference: float, candidate: float, n_items: float, margin: float, alpha: float = 0.05
) -> DifferenceTest:
    """Judge two means in [0, 1] over the same n items as if they came from independent samples of right-or-wrong items.

    Miettinen and Nurminen's score test at both margins. Conservative for one run on shared items, whose scores
    are correlated; for items that repeat each other give the effective number as `n_items`. Raises `ValueError` for
    values outside their ranges.
    """
    check_margin(margin, alpha)
    ref, cand = Count(reference * n_items, n_items), Count(candidate * n_items, n_items)
    at_lower, at_upper = score_statistic(ref, cand, -margin), score_statistic(ref, cand, margin)
    ci90 = score_interval(ref, cand, 1.0 - 2.0 * alpha)
    return DifferenceTest(
        point=candidate - reference,
        se=(ci90.high - ci90.low) / (2.0 * normal_quantile(1.0 - alpha)),
        df=math.inf,
        ci90=ci90,
        ci95=score_interval(ref, cand, 0.95),
        p_lower=normal_sf(at_lower),
        p_upper=normal_sf(-at_upper),
        p_degraded=normal_sf(-at_lower),
        p_elevated=normal_sf(at_upper),
        margin=margin,
        alpha=alpha,
        method=METHOD,
    )


def granularity(mean: float, decimals: int, samples: int) -> Granularity:
    """Check a mean, printed as a fraction with so many decimals, against right answers out of n items times k repeats.

    0.2324 (4 decimals) of 198 questions is impossible: 46/198 is 0.2323. Graded scores are no such counts: do not ask.
    """
    if samples < 1 or decimals < 0 or not 0.0 <= mean <= 1.0:
        raise ValueError(f"needs samples >= 1, decimals >= 0, a mean in [0, 1]: {samples}, {decimals}, {mean}")
    nearest = round(mean * samples)
    half_digit = 0.5 * 10.0**-decimals
    possible = abs(nearest / samples - mean) <= half_digit * (1.0 + 1e-9)
    return Granularity(possible, nearest, informative=1.0 / samples > 2.0 * half_digit)


def possible_sizes(means: Iterable[float], decimals: int, sizes: Iterable[int]) -> tuple[int, ...]:
    """The sizes, of those given, with which every one of the printed means can be a number of right answers."""
    printed = tuple(means)
    return tuple(size for size in sizes if all(granularity(mean, decimals, size).possible for mean in printed))
