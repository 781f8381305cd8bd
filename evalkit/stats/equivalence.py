"""The judgment on one suite: is the difference shown to lie inside the margin, shown to lie outside, or neither?

Two one-sided tests (D. J. Schuirmann, J. Pharmacokin. Biopharm. 15 (1987) 657-680): a difference is equivalent
where both H0: delta <= -margin and H0: delta >= margin are rejected at alpha, which is the same as the interval
of confidence 1 - 2 alpha lying inside the margin. Failing to find a difference is never evidence that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from evalkit.model import Interval
from evalkit.stats.clustered import Layout, floored_difference
from evalkit.stats.paired import PairedItems
from evalkit.stats.tails import normal_quantile, normal_sf, t_quantile, t_sf
from evalkit.stats.tango import Discordance, score_interval, score_statistic

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
    at_lower, at_upper = score_statistic(counts.lost, counts.gained, counts.n, np.array([-margin, margin])).tolist()
    ci90 = score_interval(counts, 1.0 - 2.0 * alpha)
    return DifferenceTest(
        point=counts.difference,
        se=(ci90.high - ci90.low) / (2.0 * normal_quantile(1.0 - alpha)),
        df=float("inf"),
        ci90=ci90,
        ci95=score_interval(counts, 0.95),
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
