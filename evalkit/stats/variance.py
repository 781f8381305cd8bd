"""Where the error of a headline difference comes from, as a function of how often items are asked.

Var(k_ref, k_cand) = between + reference / k_ref + candidate / k_cand. The last two fall with repeats; `between`, the
spread of true item differences, does not. Measured from a comparison, or assumed before there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.model import Interval
from evalkit.stats.paired import FloatArray, IntArray, Layout, PairedItems, clustered_mean, independent_repeats
from evalkit.stats.tails import t_quantile

# ----------------------------------------------------------------
# What is reported beside the verdict and never decides it: McNemar, flips, parts of the variance, length ratios


@dataclass(frozen=True, slots=True)
class VarianceSplit:
    """Per-item variances of a score: between repeats of an item (None where nothing is repeated), and between items.

    `within_*` is the mean variance of one repeat around its item's mean; `between` is what the spread of item
    differences exceeds that noise by (the two stacks differing item by item), never below 0; `between_t` is its
    ratio to its standard error: below about 1.6 it is indistinguishable from noise.
    """

    within_reference: float | None
    within_candidate: float | None
    between: float | None
    between_t: float | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A geometric mean of candidate / reference with its interval, over `n` items."""

    ratio: float
    interval: Interval
    n: int


def split_variance(paired: PairedItems) -> VarianceSplit:
    """Where the spread of item differences comes from: noise between repeats, or items on which the stacks differ.

    `between` needs repeats on both sides; with a single repeat noise and difference cannot be told apart.
    """
    within_reference = _mean_within(paired.reference_k, paired.reference_var)
    within_candidate = _mean_within(paired.candidate_k, paired.candidate_var)
    if within_reference is None or within_candidate is None or paired.n_items < 2:
        return VarianceSplit(within_reference, within_candidate, None, None)
    excess = item_excess(paired)
    between = float(excess.mean())
    error = float(excess.std(ddof=1)) / math.sqrt(excess.size)
    ratio = between / error if error > 0 else (math.inf if between > 0 else 0.0)
    return VarianceSplit(within_reference, within_candidate, max(0.0, between), ratio)


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
    mean = _mean_within(k, variance)
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
    reach = t_quantile(0.5 + level / 2.0, logs.size - 1) * float(logs.std(ddof=1)) / math.sqrt(logs.size)
    middle = float(logs.mean())
    return Ratio(math.exp(middle), Interval(math.exp(middle - reach), math.exp(middle + reach), level), int(logs.size))


def _mean_within(k: IntArray, variance: FloatArray) -> float | None:
    repeated = k > 1
    return float(variance[repeated].mean()) if repeated.any() else None


# ----------------------------------------------------------------
# Where the error of a headline difference comes from, as a function of how often items are asked
# Var(k_ref, k_cand) = between + reference / k_ref + candidate / k_cand. The last two fall with repeats; `between`, the
# spread of true item differences, does not. Measured from a comparison, or assumed before there is one.


_REAL_BETWEEN: Final = 2.326  # one-sided 1 %: below it, an excess spread is put down to noise


@dataclass(frozen=True, slots=True)
class DesignVariance:
    """The parts of the variance of a headline difference (squared fractions), and what the t test adds to them.

    `reference` and `candidate` are the variances that one repeat an item would leave; `between` is what no number
    of repeats removes; `flip` is the mean squared share of the headline that one item (or cluster) holds; `df` the
    degrees of freedom.
    """

    reference: float
    candidate: float
    between: float
    flip: float
    df: float

    def variance(self, k_reference: float, k_candidate: float) -> float:
        """The variance of the estimate with so many repeats an item."""
        return self.between + self.reference / k_reference + self.candidate / k_candidate

    def standard_error(self, k_reference: float, k_candidate: float) -> float:
        """The standard error that the t test will use: with the floor of one unseen flip a side."""
        floor = (k_reference**-2 + k_candidate**-2) * self.flip
        return math.sqrt(self.variance(k_reference, k_candidate) + floor)


@dataclass(frozen=True, slots=True)
class MeasuredVariance:
    """A design's variance as a finished comparison shows it, and a sentence on how far that can be trusted.

    `repeatable` is False where repeats agree on every item of both sides: asking again returns the same.
    """

    design: DesignVariance
    repeatable: bool
    note: str


def assumed_variance(n_items: int, mean: float, icc: float) -> DesignVariance:
    """The variance expected of n plain right-or-wrong items with this mean score, for two equal stacks.

    `icc` is the share of the score's variance that lies between items (0: all equally hard, 1: each always right or
    always wrong), so one repeat has variance mean * (1 - mean) * (1 - icc). Raises `ValueError` outside these ranges.
    """
    if n_items < 2 or not 0.0 <= mean <= 1.0 or not 0.0 <= icc <= 1.0:
        raise ValueError(f"needs two items, a mean and an icc in [0, 1]: n={n_items}, mean={mean}, icc={icc}")
    within = mean * (1.0 - mean) * (1.0 - icc) / n_items
    return DesignVariance(within, within, 0.0, n_items**-2, n_items - 1.0)


def stored_variance(n_items: int, within_reference: float, within_candidate: float | None = None) -> DesignVariance:
    """The variance expected from the mean within-item variances that a bank has stored (per item and repeat)."""
    candidate = within_reference if within_candidate is None else within_candidate
    return DesignVariance(within_reference / n_items, candidate / n_items, 0.0, n_items**-2, n_items - 1.0)


def measured_variance(paired: PairedItems) -> MeasuredVariance:
    """The variance parts that a comparison shows.

    With repeats on both sides noise and true item differences are told apart, and the latter count only where they
    stand out at 1 %: otherwise half of all equal stacks would be told that repeats cannot help. With a single repeat on
    a side its noise is what the other parts leave over, so all differences are taken for noise.
    """
    total = clustered_mean(paired.difference, Layout.of(paired))
    squares = paired.share**2
    repeated = [bool(np.any(k > 1)) for k in (paired.reference_k, paired.candidate_k)]
    agreeing = independent_repeats(paired.reference_k, paired.reference_var) == 1.0
    agreeing = agreeing and independent_repeats(paired.candidate_k, paired.candidate_var) == 1.0
    flip, df = total.cluster_square, total.df
    if all(repeated):
        reference = float(np.sum(squares * known_within(paired.reference_k, paired.reference_var)))
        candidate = float(np.sum(squares * known_within(paired.candidate_k, paired.candidate_var)))
        between = max(0.0, total.variance - float(np.sum(squares * repeat_noise(paired))))
        if not _stands_out(squares * item_excess(paired)):
            between = 0.0
        design = DesignVariance(reference, candidate, between, flip, df)
        return MeasuredVariance(design, not agreeing, "measured from the repeats of both sides")
    # One unseen flip a side keeps a comparison without any flip from promising certainty.
    floored = total.variance + 2.0 * flip
    if not any(repeated):
        design = DesignVariance(floored / 2.0, floored / 2.0, 0.0, flip, df)
        return MeasuredVariance(
            design, repeatable=True, note="from one repeat a side, taking all differences for noise"
        )
    known_k, known_var, other_k = paired.reference_k, paired.reference_var, paired.candidate_k
    if repeated[1]:
        known_k, known_var, other_k = paired.candidate_k, paired.candidate_var, paired.reference_k
    known = known_within(known_k, known_var)
    left = max(0.0, floored - float(np.sum(squares * known / known_k))) / float(np.mean(1.0 / other_k))
    parts = (float(np.sum(squares * known)), left)
    reference, candidate = parts if repeated[0] else parts[::-1]
    design = DesignVariance(reference, candidate, 0.0, flip, df)
    return MeasuredVariance(design, repeatable=True, note="one side asked once: its differences are taken for noise")


def fixed_benchmark_variance(paired: PairedItems) -> float:
    """The variance of the difference over new repeats of these very items; needs repeats on both sides.

    Smaller than the variance behind the verdict where the stacks differ item by item, and the one to use with repeats
    that were allotted unequally. Raises `ValueError` where a side has no repeats.
    """
    return float(np.sum(paired.share**2 * repeat_noise(paired)))


def _stands_out(excess: FloatArray) -> bool:
    if excess.size < 2:
        return False
    error = float(excess.std(ddof=1)) / math.sqrt(excess.size)
    return float(excess.mean()) > _REAL_BETWEEN * error
