"""Two sides of a suite, aligned item by item: the same item has the same code, and nothing is invented for a gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.headline import item_shares
from evalkit.compare.inputs import Samples, SuiteSide
from evalkit.stats.paired import ItemTraits, PairedItems, Scores, pair_scores


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One suite on both sides. `items` are the codes' names; `paired` is None where no item has both scores.

    `coverage` is the smaller side's share of planned samples that have a value and a partner item.
    """

    items: tuple[str, ...]
    strata: tuple[tuple[str, ...], ...]
    reference: Scores
    candidate: Scores
    traits: ItemTraits
    paired: PairedItems | None
    coverage: float
    only_reference: int
    only_candidate: int


def align(reference: SuiteSide, candidate: SuiteSide) -> Aligned:
    """Pairs the two sides of a suite; an item of only one side stays unpaired and lowers the coverage."""
    left, right = reference.samples, candidate.samples
    codes: dict[str, int] = {}
    for item in (*left.item, *right.item):
        codes.setdefault(item, len(codes))
    strata, weights, clusters = _traits(codes, left, right)
    shares, stratum = item_shares(strata, weights, reference.facts.headline)
    traits = ItemTraits(shares, clusters, stratum)
    one, two = _scores(left, codes), _scores(right, codes)
    in_left, in_right = set(left.item), set(right.item)
    both = _valued(one, len(codes)) & _valued(two, len(codes))
    paired = pair_scores(one, two, traits) if both.any() else None
    return Aligned(
        items=tuple(codes),
        strata=tuple(strata),
        reference=one,
        candidate=two,
        traits=traits,
        paired=paired,
        coverage=min(_coverage(one, both), _coverage(two, both)),
        only_reference=len(in_left - in_right),
        only_candidate=len(in_right - in_left),
    )


def _traits(
    codes: dict[str, int], left: Samples, right: Samples
) -> tuple[list[tuple[str, ...]], NDArray[np.float64], NDArray[np.int64]]:
    strata: list[tuple[str, ...]] = [()] * len(codes)
    weights = np.ones(len(codes))
    clusters = [""] * len(codes)
    for samples in (right, left):
        seen: set[str] = set()
        for row, item in enumerate(samples.item):
            if item not in seen:
                seen.add(item)
                code = codes[item]
                strata[code] = samples.stratum[row]
                weights[code] = samples.weight[row]
                clusters[code] = samples.cluster[row]
    names: dict[str, int] = {}
    own = len(codes)
    cluster_codes = [names.setdefault(name, own + len(names)) if name else code for code, name in enumerate(clusters)]
    return strata, weights, np.asarray(cluster_codes, dtype=np.int64)


def _scores(samples: Samples, codes: dict[str, int]) -> Scores:
    return Scores(
        np.asarray([codes[item] for item in samples.item], dtype=np.int64),
        samples.repeat.astype(np.int64),
        samples.value,
    )


def _valued(scores: Scores, n_items: int) -> NDArray[np.bool_]:
    counts = np.bincount(scores.item, weights=~np.isnan(scores.score), minlength=n_items)
    return np.asarray(counts > 0)


def _coverage(scores: Scores, both: NDArray[np.bool_]) -> float:
    if not scores.item.size:
        return 0.0
    good = ~np.isnan(scores.score) & both[scores.item]
    return float(good.sum() / scores.item.size)
