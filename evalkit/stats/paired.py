"""What every paired statistic takes: one row an item, both sides' mean scores, and how they came about.

A row exists for each item that has at least one score on either side's list *and* on the other's. Items are
rows and repeats are folded into means and within-item variances, because the item is what was
sampled or fixed; a repeat is only a noisy look at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.errors import DataError

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

# Within-item variances below this are the rounding of equal scores (0.7, 0.7, 0.7), not variation.
_ROUNDING_VARIANCE: Final = 1e-20


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
    """What the suite says of each item, by item code: relative weight (>= 0), cluster and stratum codes.

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


@dataclass(frozen=True, slots=True, eq=False)
class PairedItems:
    """Both sides of one suite, item by item; every array has one entry an item.

    Means lie in [0, 1]; `*_k` counts the repeats that have a score (>= 1); `*_var` is the unbiased variance between
    the repeats of an item, NaN where k < 2; `weight` is relative; `binary` is True where every single score
    is 0 or 1; `item` is the caller's code of each row. Raises `DataError` for anything else.
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

    def __post_init__(self) -> None:
        for name in ("reference_mean", "candidate_mean", "reference_var", "candidate_var", "weight"):
            object.__setattr__(self, name, _column(getattr(self, name), np.float64, name))
        for name in ("reference_k", "candidate_k", "cluster", "stratum", "item"):
            object.__setattr__(self, name, _column(getattr(self, name), np.int64, name))
        _check_equal_lengths({name: getattr(self, name) for name in self.__slots__ if name != "binary"})
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
    def share(self) -> FloatArray:
        """Each item's part of the headline: the weights divided by their sum."""
        return np.asarray(self.weight / self.weight.sum(), dtype=np.float64)

    def swapped(self) -> PairedItems:
        """The same items with the two sides exchanged."""
        return PairedItems(
            reference_mean=self.candidate_mean,
            candidate_mean=self.reference_mean,
            reference_k=self.candidate_k,
            candidate_k=self.reference_k,
            reference_var=self.candidate_var,
            candidate_var=self.reference_var,
            weight=self.weight,
            cluster=self.cluster,
            stratum=self.stratum,
            item=self.item,
            binary=self.binary,
        )

    def select(self, rows: NDArray[np.bool_] | IntArray) -> PairedItems:
        """The chosen rows (a mask or indices) as a value of their own; weights stay relative."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in self.__slots__ if name != "binary"}
        return PairedItems(**columns, binary=self.binary)


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
    reference_k, reference_mean, reference_var = _fold(reference, n_items)
    candidate_k, candidate_mean, candidate_var = _fold(candidate, n_items)
    rows = np.flatnonzero((reference_k > 0) & (candidate_k > 0))
    return PairedItems(
        reference_mean=reference_mean[rows],
        candidate_mean=candidate_mean[rows],
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


def pair_single(reference: ArrayLike, candidate: ArrayLike) -> PairedItems:
    """Items asked once on each side: two columns of scores in [0, 1], row by row the same item."""
    n_items = np.shape(np.asarray(reference))[0]
    code, zero = np.arange(n_items), np.zeros(n_items, dtype=np.int64)
    return pair_scores(
        Scores(code, zero, np.asarray(reference, dtype=np.float64)),
        Scores(np.arange(np.shape(np.asarray(candidate))[0]), zero, np.asarray(candidate, dtype=np.float64)),
        ItemTraits.plain(n_items),
    )


def harmonic_mean(counts: IntArray) -> float:
    """The number of repeats that gives the same average precision as these unequal numbers (all >= 1)."""
    return float(counts.size / np.sum(1.0 / counts))


def _fold(scores: Scores, n_items: int) -> tuple[IntArray, FloatArray, FloatArray]:
    """Number of scores, mean and unbiased variance of each item; mean NaN at k = 0, variance NaN below k = 2."""
    valued = ~np.isnan(scores.score)
    item, score = scores.item[valued], scores.score[valued]
    k = np.bincount(item, minlength=n_items).astype(np.int64)
    mean = np.full(n_items, np.nan)
    asked = k > 0
    mean[asked] = np.bincount(item, weights=score, minlength=n_items)[asked] / k[asked]
    np.clip(mean, 0.0, 1.0, out=mean)
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
