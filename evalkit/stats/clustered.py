"""The t method: the mean of item differences, its standard error over clusters and strata, and the unseen-flip floor.

It serves every design that Tango's 2 x 2 table cannot: several or unequal repeats, graded scores, items that share a
passage, and headlines that are a mean of means. Linearised (Taylor) variance of a weighted, stratified, clustered mean:
W. G. Cochran, "Sampling Techniques" (1977), chapters 5 and 9; with one stratum it equals the cluster-robust
variance of a regression on a constant (Liang and Zeger 1986) with G / (G - 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.stats.paired import FloatArray, IntArray, PairedItems, harmonic_mean


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How items make a headline: relative weights, cluster codes, stratum codes, one entry an item."""

    weight: FloatArray
    cluster: IntArray
    stratum: IntArray

    @classmethod
    def of(cls, paired: PairedItems) -> Layout:
        """The layout of paired items."""
        return cls(paired.weight, paired.cluster, paired.stratum)

    @property
    def is_plain(self) -> bool:
        """True where weights are equal, every item is its own cluster and there is one stratum."""
        one_stratum = bool(np.all(self.stratum == self.stratum[0]))
        equal_weights = bool(np.all(self.weight == self.weight[0]))
        return one_stratum and equal_weights and self.stands_alone

    @property
    def stands_alone(self) -> bool:
        """True where every item is its own cluster."""
        ascending = bool(np.all(self.cluster[1:] > self.cluster[:-1]))
        return ascending or np.unique(self.cluster).size == self.cluster.size


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A weighted mean with the variance of its error and the degrees of freedom (>= 1) of that variance.

    `clusters` is the number of independent units; `cluster_square` the mean over clusters of the squared
    share of the headline that a cluster holds (1 / n^2 for n equal, independent items).
    """

    point: float
    variance: float
    df: float
    clusters: int
    cluster_square: float


@dataclass(frozen=True, slots=True)
class FlooredDifference:
    """Candidate minus reference, with the squared standard error that the t test uses: `variance` + `floor`."""

    estimate: MeanEstimate
    floor: float

    @property
    def standard_error(self) -> float:
        """With the floor; never 0."""
        return float(np.sqrt(self.estimate.variance + self.floor))

    @property
    def unfloored_standard_error(self) -> float:
        """Without the floor; 0 where all items changed by the same amount."""
        return float(np.sqrt(self.estimate.variance))


def clustered_mean(values: FloatArray, layout: Layout) -> MeanEstimate:
    """The weighted mean of item values and its variance over clusters within strata.

    Headline = sum over strata of W_h * mean_h, where W_h is the weight of a stratum's items over the weight of all; the
    variance is the sum over strata of G_h / (G_h - 1) times the squares of the clusters' weighted residuals, so that it
    adds with squared weights. Degrees of freedom: G - 1 with one stratum, Satterthwaite's over several.

    A stratum with one cluster shows no spread of its own. Such strata are pooled and measured around the
    overall mean, which counts the differences between them as error (conservative: Cochran 1977, section 5A.12); a lone
    one is given at least the largest spread of a cluster mean seen in any other stratum, with 1 degree of freedom.
    Clusters that reach over several strata join those strata into one for the variance, with G - H degrees of freedom.
    """
    positive = layout.weight > 0
    if not positive.all():
        layout = Layout(layout.weight[positive], layout.cluster[positive], layout.stratum[positive])
        values = values[positive]
    if layout.is_plain:
        return _plain_mean(values)
    share = layout.weight / layout.weight.sum()
    stratum = np.unique(layout.stratum, return_inverse=True)[1]
    cluster = np.unique(layout.cluster, return_inverse=True)[1]
    stratum_share = _sums(stratum, share)
    stratum_mean = _sums(stratum, share * values) / stratum_share
    point = float(np.sum(share * values))
    totals = _sums(cluster, share * (values - stratum_mean[stratum]))
    held = _sums(cluster, share)
    home = np.zeros(held.size, dtype=np.int64)
    home[cluster] = stratum
    if np.array_equal(home[cluster], stratum):
        parts = _Strata(stratum_share, stratum_mean - point, home, totals)
        variance, df = parts.variance_and_df()
    else:
        variance = totals.size / max(totals.size - 1, 1) * float(np.sum(totals**2))
        df = max(totals.size - stratum_share.size, 1)
    return MeanEstimate(point, variance, df, totals.size, float(np.mean(held**2)))


def floored_difference(paired: PairedItems) -> FlooredDifference:
    """The headline difference with the floor of one unseen flip a side.

    SE^2 = variance + (1 / k_ref^2 + 1 / k_cand^2) * mean over clusters of the squared share, which is
    (1 / k_ref^2 + 1 / k_cand^2) / n^2 for n plain items: the square of what one repeat of one item (or of a cluster
    that moves together) would have moved the headline by, had it come out the other way. k is the harmonic
    mean of an item's repeats, and 1 on a side whose repeats never disagree: copies of one answer are one answer.
    """
    estimate = clustered_mean(paired.difference, Layout.of(paired))
    reference_k = independent_repeats(paired.reference_k, paired.reference_var)
    candidate_k = independent_repeats(paired.candidate_k, paired.candidate_var)
    return FlooredDifference(estimate, (reference_k**-2 + candidate_k**-2) * estimate.cluster_square)


def independent_repeats(k: IntArray, variance: FloatArray) -> float:
    """The harmonic mean of the repeats, or 1 where no item's repeats differ from each other."""
    return harmonic_mean(k) if np.any(variance[k > 1] > 0) else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Strata:
    """Clusters nested in strata: `share` and `offset` (mean around the headline) by stratum, the others by cluster."""

    share: FloatArray
    offset: FloatArray
    home: IntArray
    totals: FloatArray

    def variance_and_df(self) -> tuple[float, float]:
        """The variance summed over strata, and Satterthwaite's degrees of freedom of that sum."""
        clusters = np.bincount(self.home, minlength=self.share.size)
        squares = np.bincount(self.home, weights=self.totals**2, minlength=self.share.size)
        several = clusters > 1
        freedom = clusters[several] - 1.0
        parts = clusters[several] / freedom * squares[several]
        if not several.all():
            # The spread of a single cluster's mean within each stratum that shows one.
            spread = parts * clusters[several] / self.share[several] ** 2
            part, df = self._lone(~several, float(spread.max(initial=0.0)))
            parts, freedom = np.append(parts, part), np.append(freedom, df)
        variance = float(parts.sum())
        if variance <= 0:
            return 0.0, float(freedom.sum())
        return variance, float(variance**2 / np.sum(parts**2 / freedom))

    def _lone(self, lone: NDArray[np.bool_], largest_spread: float) -> tuple[float, float]:
        """Variance and degrees of freedom of the strata that hold a single cluster."""
        squares = self.share[lone] ** 2 * self.offset[lone] ** 2
        if squares.size > 1:
            return float(squares.sum()) * squares.size / (squares.size - 1), squares.size - 1.0
        return max(float(squares[0]), float(self.share[lone][0] ** 2) * largest_spread), 1.0


def _sums(index: NDArray[np.intp], values: FloatArray) -> FloatArray:
    """The sum of the values under each index from 0."""
    return np.bincount(index, weights=values).astype(np.float64, copy=False)


def _plain_mean(values: FloatArray) -> MeanEstimate:
    n = values.size
    variance = float(np.var(values, ddof=1)) / n if n > 1 else 0.0
    return MeanEstimate(float(values.mean()), variance, max(n - 1, 1), n, 1.0 / n**2)
