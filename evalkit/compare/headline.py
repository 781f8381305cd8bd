"""The suite's one number: which part every item has in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.inputs import SuiteSide

Path = tuple[str, ...]


def item_shares(
    strata: Sequence[Path], weights: NDArray[np.float64], rule: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each item's share of the headline (they sum to 1) and its stratum's code.

    "micro": by weight, one stratum. "macro": the outermost headings weigh the same. "nested": at every level the
    headings under one heading weigh the same (LiveBench: task, category, overall). Inside the innermost heading that
    the rule looks at, items count by weight.

    Raises:
        ValueError: for another rule.
    """
    if rule == "micro":
        total = float(weights.sum())
        return weights / total if total else weights, np.zeros(len(strata), dtype=np.int64)
    if rule not in {"macro", "nested"}:
        raise ValueError(f"headline is micro, macro or nested, not {rule!r}")
    # An item without a heading, or with fewer than others, stands under a nameless one of its own.
    depth = 1 if rule == "macro" else max((len(path) for path in strata), default=0)
    paths = [(*path[:depth], *("",) * (depth - len(path))) for path in strata]
    known = sorted(set(paths))
    numbers = {path: number for number, path in enumerate(known)}
    codes = np.fromiter((numbers[path] for path in paths), dtype=np.int64, count=len(paths))
    home = np.bincount(codes, weights=weights, minlength=len(known))
    parts = _parts(known)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(home[codes] > 0, parts[codes] * weights / home[codes], 0.0)
    return shares / (shares.sum() or 1.0), codes


def _parts(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Each heading's part of the headline, the headings under one heading sharing alike."""
    children: dict[Path, set[Path]] = {}
    for path in paths:
        for level in range(len(path)):
            children.setdefault(path[:level], set()).add(path[: level + 1])
    return np.asarray([1.0 / math.prod(len(children[p[:level]]) for level in range(len(p))) for p in paths])


def headline(side: SuiteSide) -> float | None:
    """The suite's number on one side alone, over the samples that have a value; None where none has."""
    samples = side.samples
    valued = ~np.isnan(samples.value)
    if not valued.any():
        return None
    n_items = len(samples.items)
    counts = np.bincount(samples.item[valued], minlength=n_items)
    sums = np.bincount(samples.item[valued], weights=samples.value[valued], minlength=n_items)
    asked = np.flatnonzero(counts)
    strata = [samples.items.stratum[item] for item in asked.tolist()]
    shares, _codes = item_shares(strata, samples.items.weight[asked], side.facts.headline)
    means = sums[asked] / counts[asked]
    # Exact sums: a side that has everything right is exactly 1, whatever its number of items.
    return min(1.0, math.fsum((shares * means).tolist()) / math.fsum(shares.tolist()))
