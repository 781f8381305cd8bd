"""One proportion and the difference of two independent ones: rates of truncation, failure, refusal; published means.

Wilson (1927) and Clopper-Pearson (1934) for one; for two O. Miettinen and M. Nurminen, "Comparative analysis of two
rates", Statistics in Medicine 4 (1985) 213-226: a score interval that keeps its width at 0 and n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from evalkit.model import Interval
from evalkit.stats.methods import DifferenceTest, check_margin
from evalkit.stats.tails import normal_quantile, normal_sf

_HALVINGS: Final = 62


@dataclass(frozen=True, slots=True)
class Count:
    """`hits` of `n` (n > 0, 0 <= hits <= n); fractions are allowed, since a mean of graded scores times n is one."""

    hits: float
    n: float

    def __post_init__(self) -> None:
        if not (self.n > 0 and 0 <= self.hits <= self.n):
            raise ValueError(f"impossible count: {self.hits:g} of {self.n:g}")

    @property
    def rate(self) -> float:
        """Hits over n."""
        return self.hits / self.n


@dataclass(frozen=True, slots=True)
class RateDifference:
    """Candidate minus reference rate, its score interval, and the two-sided p-value of no difference."""

    point: float
    interval: Interval
    p: float


def wilson(count: Count, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion."""
    z = normal_quantile(0.5 + level / 2.0)
    centre = (count.hits + z * z / 2.0) / (count.n + z * z)
    variance = count.rate * (1.0 - count.rate) / count.n + (z / (2.0 * count.n)) ** 2
    reach = z * math.sqrt(variance) / (1.0 + z * z / count.n)
    low = 0.0 if count.hits == 0 else centre - reach
    return Interval(max(0.0, low), 1.0 if count.hits == count.n else min(1.0, centre + reach), level)


def clopper_pearson(count: Count, level: float = 0.95) -> Interval:
    """The exact interval of a proportion: never covers less than its level."""
    from scipy.special import betaincinv

    tail, misses = (1.0 - level) / 2.0, count.n - count.hits
    low = float(betaincinv(count.hits, misses + 1.0, tail)) if count.hits > 0 else 0.0
    high = float(betaincinv(count.hits + 1.0, misses, 1.0 - tail)) if misses > 0 else 1.0
    return Interval(low, high, level)


def rate_difference(reference: Count, candidate: Count, level: float = 0.95) -> RateDifference:
    """Compare two rates as independent samples; for rates on the same items prefer `judge_difference` on indicators."""
    p = min(1.0, 2.0 * normal_sf(abs(score_statistic(reference, candidate, 0.0))))
    return RateDifference(candidate.rate - reference.rate, score_interval(reference, candidate, level), p)


def score_interval(reference: Count, candidate: Count, level: float) -> Interval:
    """Miettinen and Nurminen's interval for candidate minus reference: the differences that the score test keeps."""
    z = normal_quantile(0.5 + level / 2.0)
    # Exchanging the roles mirrors the statistic, so one search serves both ends.
    return Interval(_limit(reference, candidate, z), -_limit(candidate, reference, z), level)


def score_statistic(reference: Count, candidate: Count, delta: float) -> float:
    """Miettinen and Nurminen's z for H0: candidate - reference = delta in [-1, 1]; it falls as delta rises."""
    distance = candidate.rate - reference.rate - delta
    if abs(distance) <= 1e-12:
        return 0.0
    total = reference.n + candidate.n
    first, second = _constrained_rates(reference, candidate, delta)
    variance = first * (1.0 - first) / candidate.n + second * (1.0 - second) / reference.n
    variance *= total / max(total - 1.0, 1.0)
    return math.copysign(math.inf, distance) if variance <= 0.0 else distance / math.sqrt(variance)


def _constrained_rates(reference: Count, candidate: Count, delta: float) -> tuple[float, float]:
    """The likeliest candidate and reference rates that differ by delta: the middle root of a cubic (appendix I)."""
    p1, p2, theta = candidate.rate, reference.rate, reference.n / candidate.n
    a = 1.0 + theta
    b = -(1.0 + theta + p1 + theta * p2 + delta * (theta + 2.0))
    c = delta * delta + delta * (2.0 * p1 + theta + 1.0) + p1 + theta * p2
    d = -p1 * delta * (1.0 + delta)
    v = (b / (3.0 * a)) ** 3 - b * c / (6.0 * a * a) + d / (2.0 * a)
    u = math.copysign(math.sqrt(max(0.0, (b / (3.0 * a)) ** 2 - c / (3.0 * a))), v)
    cosine = v / u**3 if u else 0.0
    angle = (math.pi + math.acos(min(1.0, max(-1.0, cosine)))) / 3.0
    first = 2.0 * u * math.cos(angle) - b / (3.0 * a)
    first = min(1.0, 1.0 + delta, max(0.0, delta, first))
    return first, min(1.0, max(0.0, first - delta))


def _limit(reference: Count, candidate: Count, z: float) -> float:
    low, high = -1.0, candidate.rate - reference.rate
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if score_statistic(reference, candidate, middle) > z:
            low = middle
        else:
            high = middle
    return low


# ----------------------------------------------------------------
# Judging what a published table holds: two means, a known number of items, no item scores
# Without the items the pairing is lost: the interval is that of two independent samples, about twice as wide as a
# paired
# one on the same model. It can show a large difference and, on large suites, equivalence; on small ones it shows that
# the
# table supports no claim at all.


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
