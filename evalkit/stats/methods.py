"""The judgment on one suite: is the difference shown to lie inside the margin, shown to lie outside, or neither?

Two one-sided tests (D. J. Schuirmann, J. Pharmacokin. Biopharm. 15 (1987) 657-680): a difference is equivalent
where both H0: delta <= -margin and H0: delta >= margin are rejected at alpha, which is the same as the interval
of confidence 1 - 2 alpha lying inside the margin. Failing to find a difference is never evidence that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from evalkit.model import Flips, Interval
from evalkit.stats.paired import FloatArray, Layout, PairedItems, floored_difference
from evalkit.stats.tails import normal_quantile, normal_sf, t_quantile, t_sf

# ----------------------------------------------------------------
# Tango's score test and interval for the difference of two paired proportions: one repeat a side, right or
# wrong
# T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
# Statistics in Medicine 17 (1998) 891-908, equations 11 to 13. Unlike Wald's interval it keeps its width when no item
# flips: at b = c = 0 it is +-z^2 / (n + z^2), so thirty identical answers never prove a tight margin.


_HALVINGS: Final = 62  # from a width of 2 down to the last digit of a double


@dataclass(frozen=True, slots=True)
class Discordance:
    """How `n` paired items changed: `lost` right to wrong (Tango's b), `gained` wrong to right (c)."""

    lost: int
    gained: int
    n: int

    def __post_init__(self) -> None:
        if self.n < 1 or min(self.lost, self.gained) < 0 or self.lost + self.gained > self.n:
            raise ValueError(f"impossible counts: {self.lost} lost and {self.gained} gained of {self.n} items")

    @property
    def difference(self) -> float:
        """Candidate minus reference proportion."""
        return (self.gained - self.lost) / self.n


def tango_statistic(lost: ArrayLike, gained: ArrayLike, n: int, delta: ArrayLike) -> FloatArray:
    """Tango's z for H0: difference = delta, over arrays of counts and deltas that broadcast; it falls as delta rises.

    Where the variance under H0 is zero (delta at -1 or 1) the statistic is 0 for a perfect fit, otherwise infinite.
    """
    b, c, signed = (np.asarray(value, dtype=np.float64) for value in (lost, gained, delta))
    # Negative deltas are mirrored: the root below then never loses digits, and swapped sides give the same digits.
    b, c, d = np.where(signed < 0, c, b), np.where(signed < 0, b, c), np.abs(signed)
    slope = 2.0 * n * d - (b + c) - (c - b) * d
    constant = -b * d * (1.0 - d)
    larger = np.sqrt(slope * slope - 8.0 * n * constant) + np.abs(slope)
    distance = c - b - n * d
    with np.errstate(divide="ignore", invalid="ignore"):
        # The admissible root of 2n q^2 + slope q + constant = 0, in the form that does not cancel.
        q_lost = np.where(slope <= 0, larger / (4.0 * n), -2.0 * constant / larger)
        z = distance / np.sqrt(n * (2.0 * q_lost + d * (1.0 - d)))
    z = np.where(np.abs(distance) <= 1e-12 * n, 0.0, z)
    return np.asarray(np.where(signed < 0, -z, z), dtype=np.float64)


def tango_interval(counts: Discordance, level: float) -> Interval:
    """The set of differences that the score test does not reject; `level` is its confidence, e.g. 0.9."""
    z = normal_quantile(0.5 + level / 2.0)
    # The upper limit is the lower one of the mirrored table.
    return Interval(_lower(counts, z), -_lower(Discordance(counts.gained, counts.lost, counts.n), z), level)


def _lower(counts: Discordance, z: float) -> float:
    low, high = -1.0, counts.difference
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if _statistic_at(counts, middle) > z:
            low = middle
        else:
            high = middle
    return low


def _statistic_at(counts: Discordance, delta: float) -> float:
    """`score_statistic` of one table at one delta, digit for digit: fifty times as fast as for arrays of one number."""
    n, d = counts.n, abs(delta)
    b, c = (counts.gained, counts.lost) if delta < 0 else (counts.lost, counts.gained)
    distance = c - b - n * d
    if abs(distance) <= 1e-12 * n:
        return 0.0
    slope = 2.0 * n * d - (b + c) - (c - b) * d
    constant = -b * d * (1.0 - d)
    larger = math.sqrt(slope * slope - 8.0 * n * constant) + abs(slope)
    q_lost = larger / (4.0 * n) if slope <= 0 else -2.0 * constant / larger
    variance = n * (2.0 * q_lost + d * (1.0 - d))
    z = distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)
    return -z if delta < 0 else z


# ----------------------------------------------------------------
# The judgment on one suite: is the difference shown to lie inside the margin, shown to lie outside, or neither?
# Two one-sided tests (D. J. Schuirmann, J. Pharmacokin. Biopharm. 15 (1987) 657-680): a difference is equivalent
# where both H0: delta <= -margin and H0: delta >= margin are rejected at alpha, which is the same as the interval
# of confidence 1 - 2 alpha lying inside the margin. Failing to find a difference is never evidence that there is none.


TANGO: Final = "tango"
PAIRED_T: Final = "paired t"
CLUSTERED_T: Final = "clustered t"
STRATIFIED_T: Final = "stratified t"


class Decision(StrEnum):
    """What the interval says against the margin; validity (INVALID) is decided elsewhere."""

    EQUIVALENT = "equivalent"
    DEGRADED = "degraded"
    ELEVATED = "elevated"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class DifferenceTest:
    """One suite's difference (candidate minus reference, fractions) judged against its margin.

    `se` is the standard error that stands behind the interval: the floored one for t, half the width of `ci90` over its
    normal quantile for score intervals. `df` is infinite for score methods. `ci90` is at level 1 - 2 alpha, `ci95` at
    0.95. The one-sided p-values at the margins: `p_lower` of H0 delta <= -margin (small: not worse than the margin),
    `p_upper` of H0 delta >= margin (small: not better), `p_degraded` of H0 delta >= -margin (small: worse than the
    margin), `p_elevated` of H0 delta <= margin (small: better than the margin).
    """

    point: float
    se: float
    df: float
    ci90: Interval
    ci95: Interval
    p_lower: float
    p_upper: float
    p_degraded: float
    p_elevated: float
    margin: float
    alpha: float
    method: str

    @property
    def p_tost(self) -> float:
        """The p-value of the two one-sided tests for equivalence: the larger one."""
        return max(self.p_lower, self.p_upper)

    @property
    def p_alarm(self) -> float:
        """The p-value of H0: |delta| <= margin, for Holm's correction over suites.

        Two-sided at the boundary: the chance, at delta = -margin or margin, of a statistic as far out on either side.
        """
        return min(1.0, min(self.p_degraded, self.p_elevated) + min(self.p_lower, self.p_upper))

    @property
    def leans(self) -> bool:
        """True where the 95 % interval excludes 0: there is a difference, however small."""
        return self.ci95.low > 0.0 or self.ci95.high < 0.0

    @property
    def decision(self) -> Decision:
        """EQUIVALENT inside the margin, DEGRADED wholly below, ELEVATED wholly above, otherwise INCONCLUSIVE."""
        if -self.margin < self.ci90.low and self.ci90.high < self.margin:
            return Decision.EQUIVALENT
        if self.ci90.high < -self.margin:
            return Decision.DEGRADED
        return Decision.ELEVATED if self.ci90.low > self.margin else Decision.INCONCLUSIVE


def judge_difference(paired: PairedItems, margin: float, alpha: float = 0.05) -> DifferenceTest:
    """Judge one suite's paired difference against +-margin (a fraction), each one-sided test at level alpha.

    Tango's score method where every item came out all right or all wrong on both sides (one repeat, or repeats that
    never disagree), items weigh the same, stand alone and form one stratum; otherwise t on the item
    differences with the floor of one unseen flip. Raises `ValueError` for a margin outside [0, 1) or an alpha outside
    (0, 0.5).
    """
    check_margin(margin, alpha)
    if not paired.weight.all():  # items of weight 0 are no part of the headline, nor of its error
        paired = paired.select(paired.weight > 0)
    layout = Layout.of(paired)
    if layout.is_plain and (counts := discordance(paired)) is not None:
        return judge_counts(counts, margin, alpha)
    floored = floored_difference(paired)
    estimate, se = floored.estimate, floored.standard_error
    point, df = estimate.point, estimate.df
    return DifferenceTest(
        point=point,
        se=se,
        df=df,
        ci90=t_interval(point, se, df, 1.0 - 2.0 * alpha),
        ci95=t_interval(point, se, df, 0.95),
        p_lower=t_sf((point + margin) / se, df),
        p_upper=t_sf((margin - point) / se, df),
        p_degraded=t_sf(-(point + margin) / se, df),
        p_elevated=t_sf((point - margin) / se, df),
        margin=margin,
        alpha=alpha,
        method=_t_method(layout),
    )


def judge_counts(counts: Discordance, margin: float, alpha: float = 0.05) -> DifferenceTest:
    """Judge n plain items by Tango's score method from the numbers that went from right to wrong and back."""
    check_margin(margin, alpha)
    at_lower, at_upper = tango_statistic(counts.lost, counts.gained, counts.n, np.array([-margin, margin])).tolist()
    ci90 = tango_interval(counts, 1.0 - 2.0 * alpha)
    return DifferenceTest(
        point=counts.difference,
        se=(ci90.high - ci90.low) / (2.0 * normal_quantile(1.0 - alpha)),
        df=float("inf"),
        ci90=ci90,
        ci95=tango_interval(counts, 0.95),
        p_lower=normal_sf(at_lower),
        p_upper=normal_sf(-at_upper),
        p_degraded=normal_sf(-at_lower),
        p_elevated=normal_sf(at_upper),
        margin=margin,
        alpha=alpha,
        method=TANGO,
    )


def discordance(paired: PairedItems) -> Discordance | None:
    """How many items were lost and gained, where every item is wholly right or wholly wrong on each side; else None.

    Repeats that agree with each other on every item are one repeat here: greedy decoding asked twice is no
    second opinion, so asking it again cannot narrow the interval.
    """
    if not paired.binary:
        return None
    for mean in (paired.reference_mean, paired.candidate_mean):
        if not np.all((mean == 0.0) | (mean == 1.0)):
            return None
    difference = paired.difference
    return Discordance(int(np.sum(difference < 0)), int(np.sum(difference > 0)), paired.n_items)


def t_interval(point: float, se: float, df: float, level: float) -> Interval:
    """The symmetric interval point +- t * se, kept within [-1, 1]."""
    reach = t_quantile(0.5 + level / 2.0, df) * se
    return Interval(max(-1.0, point - reach), min(1.0, point + reach), level)


def check_margin(margin: float, alpha: float) -> None:
    """Raise `ValueError` unless 0 <= margin < 1 and 0 < alpha < 0.5."""
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"the margin is a fraction in [0, 1), not {margin!r} (2 percentage points are 0.02)")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha is a one-sided level in (0, 0.5), not {alpha!r}")


def _t_method(layout: Layout) -> str:
    if np.any(layout.stratum != layout.stratum[0]):
        return STRATIFIED_T
    return PAIRED_T if layout.stands_alone else CLUSTERED_T


SAME: Final = 1e-9  # item means closer than this are equal; the rest is rounding


@dataclass(frozen=True, slots=True)
class McNemar:
    """Exact p-values of no difference: two-sided, and one-sided for fewer or for more right answers."""

    two_sided: float
    degraded: float
    elevated: float


def exact_mcnemar(counts: Discordance) -> McNemar:
    """McNemar's exact conditional test: lost ~ Binomial(lost + gained, 1/2) where nothing differs."""
    changed = counts.lost + counts.gained
    degraded = _half_binomial_cdf(counts.gained, changed)
    elevated = _half_binomial_cdf(counts.lost, changed)
    return McNemar(min(1.0, 2.0 * min(degraded, elevated)), degraded, elevated)


def count_flips(paired: PairedItems) -> Flips:
    """Numbers of items whose mean score fell or rose, and the share of items that did either."""
    difference = paired.difference
    regressed, improved = int(np.sum(difference < -SAME)), int(np.sum(difference > SAME))
    return Flips(regressed, improved, (regressed + improved) / paired.n_items)


def _half_binomial_cdf(successes: int, trials: int) -> float:
    """P(X <= successes) for X ~ Binomial(trials, 1/2), summed in logarithms."""
    if successes >= trials:
        return 1.0
    steps = np.arange(1, successes + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((trials - steps + 1) / steps))])
    largest = float(logs.max())
    return min(1.0, float(np.exp(logs - largest).sum()) * math.exp(largest - trials * math.log(2.0)))


# ----------------------------------------------------------------
# The sign-flip permutation test: had the two labels been exchanged at random within each item, how often so far
# out?
# It makes no assumption about the shape of scores, and on right-or-wrong items it is exactly McNemar's test
# (R. A. Fisher, "The Design of Experiments" (1935), section 21). Reported beside the verdict, never gating it.


_ENUMERATED: Final = 16  # up to this many changed units all 2^16 sign patterns are listed
_FEW_VALUES: Final = 64  # up to this many distinct sizes, signs are drawn by size, not by unit
_CHUNK: Final = 1 << 22  # signs held in memory at once
_ROUNDING: Final = 1e-12  # relative to the largest contribution, this is none
_TIE: Final = 1e-9  # sums this close, relative to the largest possible sum, are equal


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """P-values of the hypothesis of no difference; `degraded` and `elevated` are one-sided."""

    two_sided: float
    degraded: float
    elevated: float
    exact: bool


def difference_test(paired: PairedItems, *, draws: int = 10_000, seed: int = 0) -> tuple[PermutationTest, str]:
    """The test of no difference that suits the design, and its name: exact McNemar, otherwise sign flips by cluster."""
    counts = discordance(paired)
    alone = Layout.of(paired).stands_alone
    if counts is not None and alone and np.all(paired.weight == paired.weight[0]):
        p = exact_mcnemar(counts)
        return PermutationTest(p.two_sided, p.degraded, p.elevated, exact=True), "exact McNemar"
    cluster = np.unique(paired.cluster, return_inverse=True)[1]
    difference = np.where(np.abs(paired.difference) > SAME, paired.difference, 0.0)
    contributions = np.bincount(cluster, weights=paired.share * difference).astype(np.float64, copy=False)
    return sign_flip(contributions, draws=draws, seed=seed), "sign flip"


def sign_flip(contributions: FloatArray, *, draws: int = 10_000, seed: int = 0) -> PermutationTest:
    """Test whether the sum of contributions (a unit's weighted difference each) is as expected from random signs.

    All sign patterns are listed for up to 16 units that changed; otherwise `draws` patterns are drawn with the seed and
    each is used together with its mirror image, so that swapped sides give mirrored p-values. The observed pattern
    counts among those drawn (Phipson and Smyth 2010): no p-value is ever 0. Memory stays below 64 MiB.
    """
    changed = contributions[np.abs(contributions) > _ROUNDING * np.abs(contributions).max(initial=0.0)]
    if changed.size == 0:
        return PermutationTest(1.0, 1.0, 1.0, exact=True)
    observed, sizes = float(changed.sum()), np.abs(changed)
    slack = _TIE * float(sizes.sum())
    exact = changed.size <= _ENUMERATED
    parts = _all_sums(sizes) if exact else _drawn_sums(sizes, draws, np.random.default_rng(seed))
    total = above = below = beyond = 0
    if not exact:
        parts = _with(parts, np.array([abs(observed)]))
    for sums in parts:  # each stands for itself and for its mirror image
        total += 2 * sums.size
        above += int(np.sum(sums >= observed - slack) + np.sum(-sums >= observed - slack))
        below += int(np.sum(sums <= observed + slack) + np.sum(-sums <= observed + slack))
        beyond += 2 * int(np.sum(np.abs(sums) >= abs(observed) - slack))
    return PermutationTest(beyond / total, degraded=below / total, elevated=above / total, exact=exact)


def _all_sums(sizes: FloatArray) -> Iterator[FloatArray]:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    yield sums


def _drawn_sums(sizes: FloatArray, draws: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Sums under random signs. Equal sizes share one binomial draw: with k = 4 there are only four sizes."""
    distinct, units = np.unique(np.round(sizes / sizes.max(), 12), return_counts=True)
    if distinct.size <= _FEW_VALUES:
        plus = rng.binomial(units, 0.5, size=(draws, distinct.size))
        yield (2.0 * plus - units) @ distinct * float(sizes.max())
        return
    rows = max(1, _CHUNK // sizes.size)
    for start in range(0, draws, rows):
        shape = (min(rows, draws - start), sizes.size)
        plus = rng.integers(0, 2, shape, dtype=np.int8)
        yield 2.0 * (plus @ sizes) - sizes.sum()


def _with(parts: Iterator[FloatArray], more: FloatArray) -> Iterator[FloatArray]:
    yield from parts
    yield more
