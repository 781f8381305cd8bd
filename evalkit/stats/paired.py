"""What every paired statistic takes: one row an item, both sides' mean scores, and how they came about.

A row exists for each item that has at least one score on either side's list *and* on the other's. Items are
rows and repeats are folded into means and within-item variances, because the item is what was
sampled or fixed; a repeat is only a noisy look at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.errors import DataError

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

# Within-item variances below this are the rounding of equal scores (0.7, 0.7, 0.7), not variation.
_ROUNDING_VARIANCE: Final = 1e-20
_OF_ALL: Final = frozenset({"binary", "unseen"})  # of `PairedItems`, what has no entry an item


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One side's flat columns, a row for each (item, repeat).

    `item` holds codes from 0 that mean the same item on both sides, `repeat` numbers from 0, `score` values in
    [0, 1] or NaN where there is none (a failure is no score; it never counts as 0 here).
    """

    item: IntArray
    repeat: IntArray
    score: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", _column(self.item, np.int64, "item"))
        object.__setattr__(self, "repeat", _column(self.repeat, np.int64, "repeat"))
        object.__setattr__(self, "score", _column(self.score, np.float64, "score"))
        _check_equal_lengths({"item": self.item, "repeat": self.repeat, "score": self.score})
        _check_scores(self)

    def every_other_repeat(self, *, odd: bool) -> Scores:
        """The rows of the odd or of the even repeats: two halves of a stored run are an A/A pair."""
        rows = self.repeat % 2 == int(odd)
        return Scores(self.item[rows], self.repeat[rows], self.score[rows])


@dataclass(frozen=True, slots=True, eq=False)
class ItemTraits:
    """How items make a headline: the relative weight (>= 0), cluster and stratum code of each.

    Items of one cluster are expected to change together (a passage, a repeated question). Strata are the fixed parts
    of a headline that is a mean of means; a mere breakdown by subject is not a stratum: leave it at 0.
    """

    weight: FloatArray
    cluster: IntArray
    stratum: IntArray

    @classmethod
    def plain(cls, n_items: int) -> ItemTraits:
        """Equal weights, every item its own cluster, one stratum."""
        return cls(np.ones(n_items), np.arange(n_items), np.zeros(n_items, dtype=np.int64))

    @property
    def is_plain(self) -> bool:
        """True where weights are equal, every item is its own cluster and there is one stratum."""
        equal_weights = bool(np.all(self.weight == self.weight[0]))
        return not self.has_strata and equal_weights and self.stands_alone

    @property
    def has_strata(self) -> bool:
        """True where there is more than one stratum."""
        return bool(np.any(self.stratum != self.stratum[0]))

    @property
    def stands_alone(self) -> bool:
        """True where every item is its own cluster."""
        ascending = bool(np.all(self.cluster[1:] > self.cluster[:-1]))
        return ascending or np.unique(self.cluster).size == self.cluster.size


@dataclass(frozen=True, slots=True, eq=False)
class PairedItems:
    """Both sides of one suite, item by item; every array has one entry an item.

    Means lie in [0, 1]; `*_k` counts the repeats that have a score (>= 1); `*_var` is the unbiased variance between
    the repeats of an item, NaN where k < 2; `weight` is relative; `binary` is True where every single score
    is 0 or 1; `item` is the caller's code of each row; `unseen` is how far an item may change without a sign of it
    in the others. Raises `DataError` for anything else.
    """

    reference_mean: FloatArray
    candidate_mean: FloatArray
    reference_k: IntArray
    candidate_k: IntArray
    reference_var: FloatArray
    candidate_var: FloatArray
    weight: FloatArray
    cluster: IntArray
    stratum: IntArray
    item: IntArray
    binary: bool
    unseen: float = 1.0

    def __post_init__(self) -> None:
        for name in ("reference_mean", "candidate_mean", "reference_var", "candidate_var", "weight"):
            object.__setattr__(self, name, _column(getattr(self, name), np.float64, name))
        for name in ("reference_k", "candidate_k", "cluster", "stratum", "item"):
            object.__setattr__(self, name, _column(getattr(self, name), np.int64, name))
        _check_equal_lengths({name: getattr(self, name) for name in self.__slots__ if name not in _OF_ALL})
        if not self.n_items:
            raise DataError("no item has a score on both sides: there is nothing to compare")
        _check_side("reference", self.reference_mean, self.reference_k, self.reference_var)
        _check_side("candidate", self.candidate_mean, self.candidate_k, self.candidate_var)
        if not np.all(np.isfinite(self.weight)) or np.any(self.weight < 0) or not np.any(self.weight > 0):
            raise DataError("item weights must be finite and not negative, and at least one must be positive")

    @property
    def n_items(self) -> int:
        """The number of rows."""
        return int(self.reference_mean.size)

    @property
    def difference(self) -> FloatArray:
        """Candidate minus reference mean of each item, in [-1, 1]."""
        return self.candidate_mean - self.reference_mean

    @property
    def traits(self) -> ItemTraits:
        """How the rows make the headline."""
        return ItemTraits(self.weight, self.cluster, self.stratum)

    @property
    def share(self) -> FloatArray:
        """Each item's part of the headline: the weights divided by their sum."""
        return np.asarray(self.weight / self.weight.sum(), dtype=np.float64)

    def select(self, rows: NDArray[np.bool_] | IntArray) -> PairedItems:
        """The chosen rows (a mask or indices) as a value of their own; weights stay relative."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in self.__slots__ if name not in _OF_ALL}
        return PairedItems(**columns, binary=self.binary, unseen=self.unseen)


def pair_scores(reference: Scores, candidate: Scores, traits: ItemTraits | None = None) -> PairedItems:
    """Fold two flat columns of scores into one row for each item that has a score on both sides.

    Rows come in the order of the item codes. Without `traits` items weigh the same, stand alone and form one stratum.
    A million rows a side take a fraction of a second. Raises `DataError` where no item is on both sides or a code lies
    beyond the traits.
    """
    if traits is None:
        traits = ItemTraits.plain(max(_codes(reference), _codes(candidate)))
    n_items = len(traits.weight)
    _check_equal_lengths({"weight": traits.weight, "cluster": traits.cluster, "stratum": traits.stratum})
    if max(_codes(reference), _codes(candidate)) > n_items:
        raise DataError(f"an item code lies beyond the {n_items} items that are described")
    reference_k, reference_mean, reference_var = fold(reference.item, reference.score, n_items)
    candidate_k, candidate_mean, candidate_var = fold(candidate.item, candidate.score, n_items)
    rows = np.flatnonzero((reference_k > 0) & (candidate_k > 0))
    return PairedItems(
        reference_mean=np.clip(reference_mean[rows], 0.0, 1.0),
        candidate_mean=np.clip(candidate_mean[rows], 0.0, 1.0),
        reference_k=reference_k[rows],
        candidate_k=candidate_k[rows],
        reference_var=reference_var[rows],
        candidate_var=candidate_var[rows],
        weight=np.asarray(traits.weight)[rows],
        cluster=np.asarray(traits.cluster)[rows],
        stratum=np.asarray(traits.stratum)[rows],
        item=rows,
        binary=_is_binary(reference) and _is_binary(candidate),
    )


def harmonic_mean(counts: IntArray) -> float:
    """The number of repeats that gives the same average precision as these unequal numbers (all >= 1)."""
    return float(counts.size / np.sum(1.0 / counts))


def fold(item: NDArray[np.integer], score: FloatArray, n_items: int) -> tuple[IntArray, FloatArray, FloatArray]:
    """Number of scores, mean and unbiased variance of each item; mean NaN at k = 0, variance NaN below k = 2.

    `item` holds the code of each score, from 0; a score of NaN is none.
    """
    valued = ~np.isnan(score)
    item, score = item[valued], score[valued]
    k = np.bincount(item, minlength=n_items).astype(np.int64)
    mean = np.full(n_items, np.nan)
    asked = k > 0
    mean[asked] = np.bincount(item, weights=score, minlength=n_items)[asked] / k[asked]
    variance = np.full(n_items, np.nan)
    repeated = k > 1
    if repeated.any():
        # Two passes: the difference of squares would leave rounding where all repeats agree.
        squares = np.bincount(item, weights=(score - mean[item]) ** 2, minlength=n_items)
        variance[repeated] = squares[repeated] / (k[repeated] - 1)
        variance[variance < _ROUNDING_VARIANCE] = 0.0
    return k, mean, variance


def _codes(scores: Scores) -> int:
    return int(scores.item.max()) + 1 if scores.item.size else 0


def _is_binary(scores: Scores) -> bool:
    score = scores.score
    return bool(np.all((score == 0.0) | (score == 1.0) | np.isnan(score)))


def _column(values: ArrayLike, dtype: type[np.generic], name: str) -> NDArray[Any]:
    """A read-only one-dimensional view of the right type; whole numbers may come as floats, but not 1.5."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"column {name} must be one-dimensional, it has {array.ndim} dimensions")
    try:
        typed = array.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {name} must hold numbers: {error}") from error
    if np.issubdtype(dtype, np.integer) and not np.array_equal(typed, array):
        raise DataError(f"column {name} must hold whole numbers")
    view = typed.view()
    view.flags.writeable = False
    return view


def _check_equal_lengths(columns: dict[str, Any]) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"columns have unequal lengths: {told}")


def _check_scores(scores: Scores) -> None:
    if scores.item.size == 0:
        return
    if scores.item.min() < 0 or scores.repeat.min() < 0:
        raise DataError("item codes and repeat numbers must not be negative")
    outside = np.flatnonzero((scores.score < 0.0) | (scores.score > 1.0))
    if outside.size:
        row = int(outside[0])
        told = f"item {scores.item[row]}, repeat {scores.repeat[row]}"
        raise DataError(f"scores must lie in [0, 1]: {told} has {scores.score[row]:g} ({outside.size} such rows)")
    key = np.sort(scores.item * (int(scores.repeat.max()) + 1) + scores.repeat)
    twice = np.flatnonzero(key[1:] == key[:-1])
    if twice.size:
        item, repeat = divmod(int(key[twice[0]]), int(scores.repeat.max()) + 1)
        raise DataError(f"item {item}, repeat {repeat} is listed twice ({twice.size} such rows)")


def _check_side(side: str, mean: FloatArray, k: IntArray, variance: FloatArray) -> None:
    if np.any(k < 1):
        raise DataError(f"{side}: every paired item needs at least one score")
    if not np.all((mean >= 0.0) & (mean <= 1.0)):
        raise DataError(f"{side}: mean scores must lie in [0, 1]")
    once = k < 2
    if not np.all(np.isnan(variance[once])) or not np.all(variance[~once] >= 0.0):
        raise DataError(f"{side}: the variance between repeats must be NaN where k < 2 and not negative elsewhere")


# `numpy.quantile` and `numpy.median` load `numpy.ma` first, a tenth of a small comparison.


def quantile(values: NDArray[np.float64], share: float) -> float:
    """The value below which `share` (in [0, 1]) of at least one number lies, interpolated linearly (R's type 7)."""
    place = share * (values.size - 1)
    low = math.floor(place)
    high = min(low + 1, values.size - 1)
    part = np.partition(values, (low, high))
    return float(part[low] + (part[high] - part[low]) * (place - low))


def median(values: NDArray[np.float64]) -> float:
    """The middle of at least one number."""
    return quantile(values, 0.5)


class Form(NamedTuple):
    """What decides which method suits a comparison: arrays with one entry a comparison, or single truth values.

    `settled`: every item came out wholly right or wholly wrong on both sides; `plain`: items weigh the same, stand
    alone and form one stratum; `clustered`: some items change together; `stratified`: the headline is a mean of means;
    `unpaired`: there are two means and no items.
    """

    settled: ArrayLike = False
    plain: ArrayLike = True
    clustered: ArrayLike = False
    stratified: ArrayLike = False
    unpaired: ArrayLike = False

    @classmethod
    def of(cls, paired: PairedItems) -> Form:
        """The form of one comparison."""
        traits = paired.traits
        means = (paired.reference_mean, paired.candidate_mean)
        return cls(
            settled=paired.binary and all(bool(np.all((mean == 0.0) | (mean == 1.0))) for mean in means),
            plain=traits.is_plain,
            clustered=not traits.stands_alone,
            stratified=traits.has_strata,
        )


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A weighted mean with the variance of its error and the degrees of freedom (>= 1) of that variance.

    `cluster_square` is the mean over clusters of the squared share of the headline that a cluster holds (1 / n^2 for n
    equal, independent items); `floor` is what the t test adds to the variance.
    """

    point: float
    variance: float
    df: float
    cluster_square: float
    floor: float = 0.0

    @property
    def standard_error(self) -> float:
        """With the floor."""
        return math.sqrt(self.variance + self.floor)


def clustered_mean(values: FloatArray, traits: ItemTraits) -> MeanEstimate:
    """The weighted mean of item values and its linearised (Taylor) variance over clusters within strata.

    W. G. Cochran, "Sampling Techniques" (1977), chapters 5 and 9; with one stratum it is the cluster-robust variance of
    a regression on a constant (Liang and Zeger 1986) with G / (G - 1). Headline = sum over strata of W_h * mean_h,
    where W_h is the weight of a stratum's items over the weight of all; the variance is the sum over strata of
    G_h / (G_h - 1) times the squares of the clusters' weighted residuals, so that it adds with squared weights. Degrees
    of freedom: `effective_number` of clusters less 1 with one stratum, Satterthwaite's over several.

    A stratum with one cluster shows no spread of its own. Such strata are pooled and measured around the overall mean,
    which counts the differences between them as error (conservative: Cochran 1977, section 5A.12); a lone one is given
    at least the largest spread of a cluster mean seen in any other stratum, with 1 degree of freedom. Clusters that
    reach over several strata join those strata into one for the variance, with G - H degrees of freedom.
    """
    positive = traits.weight > 0
    if not positive.all():
        traits = ItemTraits(traits.weight[positive], traits.cluster[positive], traits.stratum[positive])
        values = values[positive]
    if traits.is_plain:
        n = values.size
        variance = float(np.var(values, ddof=1)) / n if n > 1 else 0.0
        return MeanEstimate(float(values.mean()), variance, max(n - 1, 1), 1.0 / n**2)
    share = traits.weight / traits.weight.sum()
    stratum = np.unique(traits.stratum, return_inverse=True)[1]
    cluster = np.unique(traits.cluster, return_inverse=True)[1]
    stratum_share = _sums(stratum, share)
    stratum_mean = _sums(stratum, share * values) / stratum_share
    point = float(np.sum(share * values))
    totals = _sums(cluster, share * (values - stratum_mean[stratum]))
    held = _sums(cluster, share)
    home = np.zeros(held.size, dtype=np.int64)
    home[cluster] = stratum
    if np.array_equal(home[cluster], stratum):
        variance, df = _over_strata(stratum_share, stratum_mean - point, home, np.stack([totals, held]))
    else:
        variance = totals.size / max(totals.size - 1, 1) * float(np.sum(totals**2))
        df = max(min(float(totals.size), effective_number(held)) - stratum_share.size, 1.0)
    return MeanEstimate(point, variance, df, float(np.mean(held**2)))


def effective_number(shares: FloatArray) -> float:
    """How many equal clusters would give a variance estimate as steady as these, of shares h: (sum h^2)^2 / sum h^4.

    F. E. Satterthwaite, Biometrics Bulletin 2 (1946), for the sum of h^2 times squares of one spread. Where a few
    clusters hold much of the headline their few residuals are the whole estimate, however many others there are.
    """
    squares = shares[shares > 0] ** 2
    return float(squares.sum() ** 2 / np.sum(squares**2))


def floored_difference(paired: PairedItems) -> MeanEstimate:
    """Candidate minus reference with the floor of one unseen change a side, so that its standard error is never 0."""
    estimate = clustered_mean(paired.difference, paired.traits)
    reference_k = independent_repeats(paired.reference_k, paired.reference_var)
    candidate_k = independent_repeats(paired.candidate_k, paired.candidate_var)
    square = estimate.cluster_square * paired.unseen**2
    return replace(estimate, floor=float(unseen_flips(reference_k, candidate_k, square)))


def unseen_flips(reference_k: ArrayLike, candidate_k: ArrayLike, cluster_square: ArrayLike) -> FloatArray:
    """The floor that SE^2 has above the variance: one unseen flip a side; arrays broadcast.

    (1 / k_ref^2 + 1 / k_cand^2) * mean over clusters of the squared share, which is (1 / k_ref^2 + 1 / k_cand^2) / n^2
    for n plain items: the square of what one repeat of one item (or of a cluster that moves together) would have moved
    the headline by, had it come out the other way. k is the harmonic mean of an item's repeats, and 1 on a side whose
    repeats never disagree: copies of one answer are one answer.
    """
    one, two, square = (np.asarray(value, dtype=np.float64) for value in (reference_k, candidate_k, cluster_square))
    return np.asarray((one**-2 + two**-2) * square, dtype=np.float64)


def independent_repeats(k: IntArray, variance: FloatArray) -> float:
    """The harmonic mean of the repeats, or 1 where no item's repeats differ from each other."""
    return harmonic_mean(k) if np.any(variance[k > 1] > 0) else 1.0


def _over_strata(share: FloatArray, offset: FloatArray, home: IntArray, clusters_of: FloatArray) -> tuple[float, float]:
    """The variance summed over strata, and Satterthwaite's degrees of freedom of that sum.

    Of each stratum `share` and `offset` (its mean around the headline); of each cluster its stratum, and in
    `clusters_of` its total residual and its share.
    """
    totals, held = clusters_of
    clusters = np.bincount(home, minlength=share.size)
    second, fourth = (np.bincount(home, weights=held**power, minlength=share.size) for power in (2, 4))
    steady = np.minimum(clusters, second**2 / fourth)
    squares = np.bincount(home, weights=totals**2, minlength=share.size)
    several = clusters > 1
    freedom = np.maximum(steady[several] - 1.0, 1.0)
    parts = clusters[several] / (clusters[several] - 1.0) * squares[several]
    lone = share[~several] ** 2 * offset[~several] ** 2
    if lone.size > 1:
        parts, freedom = np.append(parts, lone.sum() * lone.size / (lone.size - 1)), np.append(freedom, lone.size - 1.0)
    elif lone.size:  # at least the spread of a single cluster's mean in the stratum that shows the largest
        spread = float((parts * clusters[several] / share[several] ** 2).max(initial=0.0))
        parts, freedom = np.append(parts, np.maximum(lone, share[~several] ** 2 * spread)), np.append(freedom, 1.0)
    variance = float(parts.sum())
    if variance <= 0:
        return 0.0, float(freedom.sum())
    return variance, float(variance**2 / np.sum(parts**2 / freedom))


def _sums(index: NDArray[np.intp], values: FloatArray) -> FloatArray:
    """The sum of the values under each index from 0."""
    return np.bincount(index, weights=values).astype(np.float64, copy=False)
