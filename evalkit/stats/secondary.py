"""What is reported beside the verdict and never decides it: McNemar, flips, parts of the variance, length ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.model import Flips, Interval
from evalkit.stats.paired import FloatArray, IntArray, PairedItems
from evalkit.stats.tails import t_quantile
from evalkit.stats.tango import Discordance

SAME: Final = 1e-9  # item means closer than this are equal; the rest is rounding


@dataclass(frozen=True, slots=True)
class McNemar:
    """Exact p-values of no difference: two-sided, and one-sided for fewer or for more right answers."""

    two_sided: float
    degraded: float
    elevated: float


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


def _half_binomial_cdf(successes: int, trials: int) -> float:
    """P(X <= successes) for X ~ Binomial(trials, 1/2), summed in logarithms."""
    if successes >= trials:
        return 1.0
    steps = np.arange(1, successes + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((trials - steps + 1) / steps))])
    largest = float(logs.max())
    return min(1.0, float(np.exp(logs - largest).sum()) * math.exp(largest - trials * math.log(2.0)))
