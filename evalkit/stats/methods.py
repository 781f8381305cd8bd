"""How a suite is judged: one table of methods, each with the design it suits, its interval, its test and its power.

The judge, the breakdown, the plan and the simulations behind the published error rates all go through `METHODS`, so
that they follow one rule; a further method is one more entry. The decision is that of two one-sided tests (D. J.
Schuirmann, J. Pharmacokin. Biopharm. 15 (1987) 657-680): a difference is equivalent where both H0: delta <= -margin
and H0: delta >= margin are rejected at alpha, which is the same as the interval of confidence 1 - 2 alpha lying inside
the margin. Failing to find a difference is never evidence that there is none.

All functions take many comparisons at once, one entry each; a single one is the case of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.model import Flips, Interval, Verdict
from evalkit.stats import tails
from evalkit.stats.paired import BoolArray, FloatArray, Form, IntArray, PairedItems, floored_difference
from evalkit.stats.variance import DesignVariance

Limits: TypeAlias = tuple[FloatArray, FloatArray]

_DECISIONS: Final = np.array([Verdict.EQUIVALENT, Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INCONCLUSIVE], object)
"""What an interval says against the margin; validity (INVALID) is decided elsewhere."""


class Evidence(NamedTuple):
    """What comparisons come down to before they are judged; every array has one entry a comparison.

    `n` counts the items; `point` is candidate minus reference; `se` its standard error with the floor of one unseen
    flip a side, and `df` that error's degrees of freedom; `lost` and `gained` count the items that went from right to
    wrong and back, where `form.settled`; `reference` and `candidate` are the two headline means (only `unpaired`
    methods read them).
    """

    form: Form
    n: FloatArray
    point: FloatArray
    se: FloatArray
    df: FloatArray
    lost: FloatArray
    gained: FloatArray
    reference: FloatArray
    candidate: FloatArray

    @classmethod
    def of(cls, paired: PairedItems) -> Evidence:
        """The evidence of one comparison; items of weight 0 are no part of the headline, nor of its error."""
        if not paired.weight.all():
            paired = paired.select(paired.weight > 0)
        floored = floored_difference(paired)
        difference = paired.difference
        numbers = (
            paired.n_items,
            floored.point,
            floored.standard_error,
            floored.df,
            np.sum(difference < 0),
            np.sum(difference > 0),
            paired.share @ paired.reference_mean,
            paired.share @ paired.candidate_mean,
        )
        return cls(_one(Form.of(paired)), *(np.array([number], dtype=np.float64) for number in numbers))

    @classmethod
    def of_means(cls, reference: float, candidate: float, n: float) -> Evidence:
        """The evidence of two published means in [0, 1] over n items each; without items there is no paired error."""
        numbers = (n, candidate - reference, math.nan, math.nan, math.nan, math.nan, reference, candidate)
        return cls(_one(Form(unpaired=True)), *(np.array([number], dtype=np.float64) for number in numbers))

    @classmethod
    def together(cls, parts: Sequence[Evidence]) -> Evidence:
        """Several comparisons as one value."""
        form = Form(*(np.concatenate(flags) for flags in zip(*(part.form for part in parts), strict=True)))
        return cls(form, *(np.concatenate(columns) for columns in zip(*(part[1:] for part in parts), strict=True)))

    def rows(self, chosen: BoolArray) -> Evidence:
        """The chosen comparisons."""
        form = Form(*(np.asarray(flag)[chosen] for flag in self.form))
        return Evidence(form, *(column[chosen] for column in self[1:]))


def _one(form: Form) -> Form:
    """The form of one comparison, as arrays of one."""
    return Form(*(np.array([flag], dtype=np.bool_) for flag in form))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a design shall show: a verdict at this margin (fraction) and one-sided alpha, with this power.

    `shift` is the true difference assumed (fraction). Inside the margin the verdict aimed at is EQUIVALENT, beyond
    it DEGRADED or ELEVATED.
    """

    margin: float
    alpha: float = 0.05
    power: float = 0.80
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_margin(self.margin, self.alpha)
        if not 0.0 < self.power < 1.0:
            raise ValueError(f"power is a probability in (0, 1), not {self.power!r}")

    @property
    def verdict(self) -> Verdict:
        """The verdict that more repeats would lead to, were `shift` the truth."""
        if abs(self.shift) < self.margin:
            return Verdict.EQUIVALENT
        return Verdict.DEGRADED if self.shift < 0 else Verdict.ELEVATED


@dataclass(frozen=True, slots=True)
class Method:
    """One way to judge a difference, for the designs that it `suits`.

    `interval` gives lower and upper ends at a confidence level. `statistic` is the test of H0: difference = delta; it
    falls as delta rises and is held against t with the evidence's degrees of freedom, or against the normal
    distribution where `normal`. `power` is the chance of a goal's verdict with so many repeats an item on the
    reference and on the candidate.
    """

    name: str
    design: str
    suits: Callable[[Form], ArrayLike]
    interval: Callable[[Evidence, ArrayLike], Limits]
    statistic: Callable[[Evidence, ArrayLike], FloatArray]
    power: Callable[[DesignVariance, tuple[float, float], Goal], float]
    normal: bool = False

    def df(self, evidence: Evidence) -> FloatArray:
        """The degrees of freedom of the test; infinite for the normal distribution."""
        return np.full_like(evidence.df, math.inf) if self.normal else evidence.df

    def test(self, evidence: Evidence, delta: ArrayLike) -> Limits:
        """The p-values of H0: difference <= delta (small: it is above), and of H0: difference >= delta."""
        statistic, df = self.statistic(evidence, delta), self.df(evidence)
        return tails.elementwise(tails.t_sf, statistic, df), tails.elementwise(tails.t_sf, -statistic, df)


def _critical(level: ArrayLike) -> FloatArray:
    """The normal quantile that leaves half of 1 - level above it."""
    return tails.elementwise(tails.t_quantile, 0.5 + np.asarray(level) / 2.0, math.inf)


def _means(evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    return evidence.reference, evidence.candidate


def t_limits(point: ArrayLike, se: ArrayLike, df: ArrayLike, level: ArrayLike) -> Limits:
    """The ends of the symmetric interval point +- t * se, kept within [-1, 1]; arrays broadcast."""
    point = np.asarray(point, dtype=np.float64)
    reach = tails.elementwise(tails.t_quantile, 0.5 + np.asarray(level) / 2.0, df) * np.asarray(se)
    return np.maximum(-1.0, point - reach), np.minimum(1.0, point + reach)


def _t_power(design: DesignVariance, repeats: tuple[float, float], goal: Goal) -> float:
    """By the t distribution shifted to the true difference."""
    se, sd = design.standard_error(*repeats), math.sqrt(design.variance(*repeats))
    reach = tails.t_quantile(1.0 - goal.alpha, design.df) * se
    distance = abs(goal.shift)
    if goal.verdict is Verdict.EQUIVALENT:
        near, far = goal.margin - distance - reach, goal.margin + distance - reach
        return max(0.0, _reached(near, sd, design.df) + _reached(far, sd, design.df) - 1.0)
    return _reached(distance - goal.margin - reach, sd, design.df)


def _reached(distance: float, sd: float, df: float) -> float:
    """P(estimate's error < distance) for an error of standard deviation sd."""
    if sd > 0.0:
        return tails.t_sf(-distance / sd, df)
    return 1.0 if distance > 0.0 else 0.0


def _tango_power(design: DesignVariance, repeats: tuple[float, float], goal: Goal) -> float:
    """Summed over the likely numbers of lost and gained items where the true difference is the goal's shift."""
    n, distance = round(design.df) + 1, abs(goal.shift)
    churn = min(1.0, max(distance, n * design.variance(*repeats) + distance**2))
    lost, gained, chance = _likely_flips(n, (churn + distance) / 2.0, (churn - distance) / 2.0)
    critical = tails.normal_quantile(1.0 - goal.alpha)
    at_lower = tails.tango_statistic(lost, gained, n, -goal.margin)
    if goal.verdict is Verdict.EQUIVALENT:
        reached = (at_lower > critical) & (tails.tango_statistic(lost, gained, n, goal.margin) < -critical)
    else:  # a loss; a gain as large is its mirror image
        reached = at_lower < -critical
    return float(np.sum(chance[reached]))


@lru_cache(maxsize=8)
def _likely_flips(n: int, lost_rate: float, gained_rate: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Numbers of lost and gained items within five standard deviations of the expected, and the chance of each pair."""
    grids = [_within(n, rate) for rate in (lost_rate, gained_rate)]
    lost, gained = (grid.ravel() for grid in np.meshgrid(*grids, indexing="ij"))
    lost, gained = lost[lost + gained <= n], gained[lost + gained <= n]
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    logs = factorial[n] - factorial[lost] - factorial[gained] - factorial[n - lost - gained]
    rates = (lost_rate, gained_rate, max(0.0, 1.0 - lost_rate - gained_rate))
    for count, rate in zip((lost, gained, n - lost - gained), rates, strict=True):
        logs = logs + count * math.log(rate) if rate > 0.0 else np.where(count > 0, -math.inf, logs)
    return lost, gained, np.exp(logs)


def _within(n: int, rate: float) -> IntArray:
    reach = 5.0 * math.sqrt(n * rate * (1.0 - rate)) + 5.0
    return np.arange(max(0, math.floor(n * rate - reach)), min(n, math.ceil(n * rate + reach)) + 1)


def _t_method(name: str, design: str, suits: Callable[[Form], ArrayLike]) -> Method:
    """The designs differ in how the variance came about, not in what is done with it."""
    return Method(
        name=name,
        design=design,
        suits=suits,
        interval=lambda one, level: t_limits(one.point, one.se, one.df, level),
        statistic=lambda one, delta: np.asarray((one.point - np.asarray(delta)) / one.se, dtype=np.float64),
        power=_t_power,
    )


METHODS: Final = (
    Method(
        name="unpaired score",
        design="two published means without items",
        suits=lambda form: form.unpaired,
        interval=lambda one, level: tails.independent_limits(_means(one), (one.n, one.n), _critical(level)),
        statistic=lambda one, delta: tails.independent_statistic(_means(one), (one.n, one.n), delta),
        power=_t_power,
        normal=True,
    ),
    Method(
        name="tango",
        design="one repeat a side, every score 0 or 1, items weigh the same and stand alone",
        suits=lambda form: np.logical_and(form.settled, form.plain),
        interval=lambda one, level: tails.tango_limits(one.lost, one.gained, one.n, _critical(level)),
        statistic=lambda one, delta: tails.tango_statistic(one.lost, one.gained, one.n, delta),
        power=_tango_power,
        normal=True,
    ),
    _t_method("stratified t", "a headline that is a mean of means", lambda form: form.stratified),
    _t_method("clustered t", "items that share a passage, story or question", lambda form: form.clustered),
    _t_method("paired t", "several or unequal repeats, graded scores or unequal weights", lambda _form: True),
)
"""The methods, in the order in which they are asked whether they suit: the first that does judges."""


def chosen_methods(form: Form) -> Iterator[tuple[Method, BoolArray]]:
    """Each method that judges some of the comparisons, and which."""
    left = np.ones(np.broadcast_shapes(*map(np.shape, form)), dtype=np.bool_)
    for method in METHODS:
        rows = left & np.asarray(method.suits(form), dtype=np.bool_)
        if rows.any():
            yield method, rows
        left &= ~rows


def intervals(evidence: Evidence, level: float) -> Limits:
    """Lower and upper ends at a confidence level, each comparison by the method that suits it."""
    low, high = np.empty_like(evidence.point), np.empty_like(evidence.point)
    for method, rows in chosen_methods(evidence.form):
        low[rows], high[rows] = method.interval(evidence if rows.all() else evidence.rows(rows), level)
    return low, high


def decide(low: ArrayLike, high: ArrayLike, margin: float) -> NDArray[np.object_]:
    """The `Verdict` of each interval of confidence 1 - 2 alpha.

    EQUIVALENT inside the margin, DEGRADED wholly below, ELEVATED wholly above, otherwise INCONCLUSIVE.
    """
    low, high = np.asarray(low), np.asarray(high)
    inside, below, above = (-margin < low) & (high < margin), high < -margin, low > margin
    place = np.where(inside, 0, np.where(below, 1, np.where(above, 2, 3)))
    return np.asarray(_DECISIONS[place], dtype=object)


def power_of(design: DesignVariance, k_reference: float, k_candidate: float, goal: Goal) -> float:
    """The chance of the goal's verdict with so many repeats an item, by the method that will judge them."""
    method, _one = next(chosen_methods(design.form_at(k_reference, k_candidate)))
    return method.power(design, (k_reference, k_candidate), goal)


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
    def decision(self) -> Verdict:
        """EQUIVALENT inside the margin, DEGRADED wholly below, ELEVATED wholly above, otherwise INCONCLUSIVE."""
        verdict: Verdict = decide(self.ci90.low, self.ci90.high, self.margin).item()
        return verdict


def judge_difference(paired: PairedItems, margin: float, alpha: float = 0.05) -> DifferenceTest:
    """Judge one suite's paired difference against +-margin (a fraction), each one-sided test at level alpha.

    Raises `ValueError` for a margin outside [0, 1) or an alpha outside (0, 0.5).
    """
    return _judge(Evidence.of(paired), margin, alpha)


def judge_means(
    reference: float, candidate: float, n_items: float, margin: float, alpha: float = 0.05
) -> DifferenceTest:
    """Judge two means in [0, 1] over the same n items as if they came from independent samples of right-or-wrong items.

    Conservative for one run on shared items, whose scores are correlated: without the items the pairing is lost, and
    the interval is about twice as wide. For items that repeat each other give the effective number as `n_items`. Raises
    `ValueError` for values outside their ranges.
    """
    rates = [tails.proportion(mean * n_items, n_items) for mean in (reference, candidate)]
    return _judge(Evidence.of_means(rates[0], rates[1], n_items), margin, alpha)


def judge_estimate(point: float, se: float, df: float, margin: float, alpha: float = 0.05) -> DifferenceTest:
    """Judge a difference of which its standard error and that error's degrees of freedom are known: by t.

    Raises `ValueError` for values outside their ranges.
    """
    numbers = (math.nan, point, se, df, math.nan, math.nan, math.nan, math.nan)
    return _judge(Evidence(_one(Form()), *(np.array([number], dtype=np.float64) for number in numbers)), margin, alpha)


def _judge(evidence: Evidence, margin: float, alpha: float) -> DifferenceTest:
    """One comparison by the method that suits it."""
    check_margin(margin, alpha)
    method, _one = next(chosen_methods(evidence.form))
    levels = (1.0 - 2.0 * alpha, 0.95)
    lows, highs = (ends.ravel().tolist() for ends in method.interval(evidence, np.array(levels)[:, None]))
    above, below = (ps.ravel().tolist() for ps in method.test(evidence, np.array([[-margin], [margin]])))
    df = float(method.df(evidence)[0])
    width = (highs[0] - lows[0]) / (2.0 * tails.normal_quantile(1.0 - alpha))
    return DifferenceTest(
        point=float(evidence.point[0]),
        se=width if math.isinf(df) else float(evidence.se[0]),
        df=df,
        ci90=Interval(lows[0], highs[0], levels[0]),
        ci95=Interval(lows[1], highs[1], levels[1]),
        p_lower=above[0],
        p_upper=below[1],
        p_degraded=below[0],
        p_elevated=above[1],
        margin=margin,
        alpha=alpha,
        method=method.name,
    )


def check_margin(margin: float, alpha: float) -> None:
    """Raise `ValueError` unless 0 <= margin < 1 and 0 < alpha < 0.5."""
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"the margin is a fraction in [0, 1), not {margin!r} (2 percentage points are 0.02)")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha is a one-sided level in (0, 0.5), not {alpha!r}")


# Tests of no difference stand beside the verdict and never gate it.
SAME: Final = 1e-9  # item means closer than this are equal; the rest is rounding
_ENUMERATED: Final = 16  # up to this many changed units all 2^16 sign patterns are listed
_FEW_VALUES: Final = 64  # up to this many distinct sizes, signs are drawn by size, not by unit
_CHUNK: Final = 1 << 22  # signs held in memory at once
_ROUNDING: Final = 1e-12  # relative to the largest contribution, this is none
_TIE: Final = 1e-9  # sums this close, relative to the largest possible sum, are equal


@dataclass(frozen=True, slots=True)
class NoDifference:
    """P-values of the hypothesis of no difference; `degraded` and `elevated` are one-sided.

    `exact` says that all that could have happened was listed, not drawn.
    """

    two_sided: float
    degraded: float
    elevated: float
    exact: bool = True


def count_flips(paired: PairedItems) -> Flips:
    """Numbers of items whose mean score fell or rose, and the share of items that did either."""
    difference = paired.difference
    regressed, improved = int(np.sum(difference < -SAME)), int(np.sum(difference > SAME))
    return Flips(regressed, improved, (regressed + improved) / paired.n_items)


def difference_test(paired: PairedItems, *, draws: int = 10_000, seed: int = 0) -> tuple[NoDifference, str]:
    """The test of no difference that suits the design, and its name: exact McNemar, otherwise sign flips by cluster."""
    form, difference = Form.of(paired), paired.difference
    if form.settled and not form.clustered and np.all(paired.weight == paired.weight[0]):
        return exact_mcnemar(int(np.sum(difference < 0)), int(np.sum(difference > 0))), "exact McNemar"
    cluster = np.unique(paired.cluster, return_inverse=True)[1]
    difference = np.where(np.abs(difference) > SAME, difference, 0.0)
    contributions = np.bincount(cluster, weights=paired.share * difference).astype(np.float64, copy=False)
    return sign_flip(contributions, draws=draws, seed=seed), "sign flip"


def exact_mcnemar(lost: int, gained: int) -> NoDifference:
    """McNemar's exact conditional test: lost ~ Binomial(lost + gained, 1/2) where nothing differs."""
    degraded, elevated = (tails.binomial_upper(count, lost + gained, 0.5) for count in (lost, gained))
    return NoDifference(min(1.0, 2.0 * min(degraded, elevated)), degraded, elevated)


def sign_flip(contributions: FloatArray, *, draws: int = 10_000, seed: int = 0) -> NoDifference:
    """Test whether the sum of contributions (a unit's weighted difference each) is as expected from random signs.

    Had the two labels been exchanged at random within each unit, how often so far out? It assumes nothing about the
    shape of scores (R. A. Fisher, "The Design of Experiments" (1935), section 21). All sign patterns are listed for up
    to 16 units that changed; otherwise `draws` patterns are drawn with the seed and each is used together with its
    mirror image, so that swapped sides give mirrored p-values. The observed pattern counts among those drawn (Phipson
    and Smyth 2010): no p-value is ever 0. Memory stays below 64 MiB.
    """
    changed = contributions[np.abs(contributions) > _ROUNDING * np.abs(contributions).max(initial=0.0)]
    if changed.size == 0:
        return NoDifference(1.0, 1.0, 1.0)
    observed, sizes = float(changed.sum()), np.abs(changed)
    slack = _TIE * float(sizes.sum())
    exact = changed.size <= _ENUMERATED
    parts = _all_sums(sizes) if exact else _drawn_sums(sizes, draws, np.random.default_rng(seed))
    total = above = below = beyond = 0
    if not exact:
        parts = chain(parts, [np.array([abs(observed)])])
    for sums in parts:  # each stands for itself and for its mirror image
        total += 2 * sums.size
        above += int(np.sum(sums >= observed - slack) + np.sum(-sums >= observed - slack))
        below += int(np.sum(sums <= observed + slack) + np.sum(-sums <= observed + slack))
        beyond += 2 * int(np.sum(np.abs(sums) >= abs(observed) - slack))
    return NoDifference(beyond / total, degraded=below / total, elevated=above / total, exact=exact)


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
