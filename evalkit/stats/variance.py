"""Where the error of a headline difference comes from, as a function of how often items are asked.

Var(k_ref, k_cand) = between + reference / k_ref + candidate / k_cand. The last two fall with repeats; `between`, the
spread of true item differences, does not. Measured from a comparison, or assumed before there is one.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.model import Interval, Reason
from evalkit.stats.paired import (
    FloatArray,
    Form,
    IntArray,
    PairedItems,
    clustered_mean,
    independent_repeats,
    unseen_flips,
)
from evalkit.stats.tails import ratio_estimate

_REAL_BETWEEN: Final = 2.326  # one-sided 1 %: below it, an excess spread is put down to noise
_VARYING: Final = Form()


@dataclass(frozen=True, slots=True)
class Ratio:
    """A geometric mean of candidate / reference with its interval, over `n` items."""

    ratio: float
    interval: Interval
    n: int


def item_variance(paired: PairedItems) -> float | None:
    """What the spread of item differences exceeds the noise of repeats by: the stacks differ item by item; never < 0.

    Needs repeats on both sides, else None: with a single repeat noise and difference cannot be told apart.
    """
    repeated = bool(np.any(paired.reference_k > 1)) and bool(np.any(paired.candidate_k > 1))
    return max(0.0, float(item_excess(paired).mean())) if repeated and paired.n_items > 1 else None


def item_excess(paired: PairedItems) -> FloatArray:
    """By item: the squared deviation of its difference less the noise expected from its repeats.

    Its mean is 0 for equal stacks. Items asked once are given the mean variance of the repeated ones; each side needs
    at least one repeated item.
    """
    difference, n = paired.difference, paired.n_items
    squares = (difference - difference.mean()) ** 2 * (n / (n - 1))
    return np.asarray(squares - repeat_noise(paired), dtype=np.float64)


def repeat_noise(paired: PairedItems) -> FloatArray:
    """By item: the variance that repeats leave in its difference, v_ref / k_ref + v_cand / k_cand."""
    reference = known_within(paired.reference_k, paired.reference_var) / paired.reference_k
    candidate = known_within(paired.candidate_k, paired.candidate_var) / paired.candidate_k
    return np.asarray(reference + candidate, dtype=np.float64)


def known_within(k: IntArray, variance: FloatArray) -> FloatArray:
    """The variance between repeats of each item, the mean of the repeated ones where an item was asked once."""
    mean = mean_within(k, variance)
    if mean is None:
        raise ValueError("no item was repeated: the variance between repeats is unknown")
    return np.where(k > 1, variance, mean)


def log_ratio(reference: FloatArray, candidate: FloatArray, level: float = 0.95) -> Ratio | None:
    """How many times longer the candidate's answers are, item by item: t interval on mean log(candidate / reference).

    Takes positive lengths (an item's mean completion tokens), skips items where either is 0 or NaN, and returns None
    with fewer than two items left.
    """
    with np.errstate(invalid="ignore"):
        usable = (reference > 0) & (candidate > 0)
    logs = np.log(candidate[usable] / reference[usable])
    if logs.size < 2:
        return None
    mean = ratio_estimate(logs, np.ones(logs.size), level)
    ends = math.exp(mean.interval.low), math.exp(mean.interval.high)
    return Ratio(math.exp(mean.point), Interval(*ends, level), int(logs.size))


def mean_within(k: IntArray, variance: FloatArray) -> float | None:
    """The mean variance between repeats of an item, None where no item has two scores."""
    repeated = k > 1
    return float(variance[repeated].mean()) if repeated.any() else None


@dataclass(frozen=True, slots=True)
class DesignVariance:
    """The parts of the variance of a headline difference (squared fractions), and what the t test adds to them.

    `reference` and `candidate` are the variances that one repeat an item would leave, 0 where repeats never vary;
    `between` is what no number of repeats removes; `flip` is the mean squared share of the headline that one item (or
    cluster) holds; `df` the degrees of freedom; `form` is what a single repeat a side would give.
    """

    reference: float
    candidate: float
    between: float
    flip: float
    df: float
    form: Form = _VARYING

    def variance(self, k_reference: float, k_candidate: float) -> float:
        """The variance of the estimate with so many repeats an item."""
        return self.between + self.reference / k_reference + self.candidate / k_candidate

    def standard_error(self, k_reference: float, k_candidate: float) -> float:
        """The standard error that the t test will use: with the floor of one unseen flip a side."""
        floor = float(unseen_flips(*self._independent(k_reference, k_candidate), self.flip))
        return math.sqrt(self.variance(k_reference, k_candidate) + floor)

    def form_at(self, k_reference: float, k_candidate: float) -> Form:
        """What decides the method with so many repeats: several that vary settle no item."""
        single = self._independent(k_reference, k_candidate) == (1.0, 1.0)
        return self.form._replace(settled=bool(self.form.settled) and single)

    def _independent(self, k_reference: float, k_candidate: float) -> tuple[float, float]:
        """The repeats that tell something new: copies of one answer are one answer."""
        return (k_reference if self.reference > 0.0 else 1.0, k_candidate if self.candidate > 0.0 else 1.0)


@dataclass(frozen=True, slots=True)
class MeasuredVariance:
    """A design's variance as a finished comparison shows it, and how far that can be trusted.

    `repeatable` is False where repeats agree on every item of both sides: asking again returns the same.
    """

    design: DesignVariance
    repeatable: bool
    note: Reason


def measured_variance(paired: PairedItems) -> MeasuredVariance:
    """The variance parts that a comparison shows.

    With repeats on both sides noise and true item differences are told apart, and the latter count only where they
    stand out at 1 %: otherwise half of all equal stacks would be told that repeats cannot help. With a single repeat on
    a side its noise is what the other parts leave over, so all differences are taken for noise.
    """
    total = clustered_mean(paired.difference, paired.traits)
    squares = paired.share**2
    sides = (paired.reference_k, paired.reference_var), (paired.candidate_k, paired.candidate_var)
    repeated = [bool(np.any(k > 1)) for k, _variance in sides]
    # One unseen flip a side keeps a comparison without any flip from promising certainty.
    floored = total.variance + 2.0 * total.cluster_square
    between = 0.0
    if all(repeated):
        parts = [float(np.sum(squares * known_within(*side))) for side in sides]
        if _stands_out(squares * item_excess(paired)):
            between = max(0.0, total.variance - float(np.sum(squares * repeat_noise(paired))))
        note = Reason("variance.repeats")
    elif any(repeated):
        bank, single = sides if repeated[0] else sides[::-1]
        known = squares * known_within(*bank)
        left = max(0.0, floored - float(np.sum(known / bank[0]))) / float(np.mean(1.0 / single[0]))
        parts = [float(np.sum(known)), left][:: 1 if repeated[0] else -1]
        note = Reason("variance.one_side")
    else:
        parts = [floored / 2.0, floored / 2.0]
        note = Reason("variance.one_repeat")
    form = Form.of(paired)._replace(settled=paired.binary)
    design = DesignVariance(parts[0], parts[1], between, total.cluster_square, total.df, form)
    copies = all(independent_repeats(*side) == 1.0 for side in sides)
    return MeasuredVariance(design, not (all(repeated) and copies), note)


def _stands_out(excess: FloatArray) -> bool:
    if excess.size < 2:
        return False
    error = float(excess.std(ddof=1)) / math.sqrt(excess.size)
    return float(excess.mean()) > _REAL_BETWEEN * error
