"""Where the error of a headline difference comes from, as a function of how often items are asked.

Var(k_ref, k_cand) = between + reference / k_ref + candidate / k_cand. The last two fall with repeats; `between`, the
spread of true item differences, does not. Measured from a comparison, or assumed before there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.stats.clustered import Layout, clustered_mean, independent_repeats
from evalkit.stats.paired import FloatArray, PairedItems
from evalkit.stats.secondary import item_excess, known_within, repeat_noise

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
