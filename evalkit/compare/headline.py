"""The suite's one number: which part every item has in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.inputs import SuiteSide


def item_shares(
    strata: Sequence[tuple[str, ...]], weights: NDArray[np.float64], rule: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each item's share of the headline (they sum to 1) and its stratum's code.

    "micro": by weight, one stratum. "macro": the outermost headings weigh the same. "nested": at every level the
    headings under one heading weigh the same (LiveBench: task, category, overall). Inside the innermost heading that
    the rule looks at, items count by weight.

    Raises:
        ValueError: for another rule.
    """
    depth = {"micro": 0, "macro": 1, "nested": max((len(path) for path in strata), default=0)}.get(rule)
    if depth is None:
        raise ValueError(f"headline is micro, macro or nested, not {rule!r}")
    paths = [path[:depth] for path in strata]
    children: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for path in set(paths):
        for level in range(len(path)):
            children.setdefault(path[:level], set()).add(path[: level + 1])
    home: Counter[tuple[str, ...]] = Counter()
    for path, weight in zip(paths, weights.tolist(), strict=True):
        home[path] += weight
    part = {path: 1.0 / math.prod(len(children[path[:level]]) for level in range(len(path))) for path in home}
    codes = {path: code for code, path in enumerate(sorted(home))}
    shares = [part[p] * w / home[p] if home[p] else 0.0 for p, w in zip(paths, weights.tolist(), strict=True)]
    return np.asarray(shares), np.asarray([codes[path] for path in paths], dtype=np.int64)


def headline(side: SuiteSide) -> float | None:
    """The suite's number on one side, over the samples that have a value; None where none has."""
    samples = side.samples
    sums: dict[str, list[float]] = {}
    about: dict[str, tuple[tuple[str, ...], float]] = {}
    for row, (item, value) in enumerate(zip(samples.item, samples.value.tolist(), strict=True)):
        about.setdefault(item, (samples.stratum[row], float(samples.weight[row])))
        if not math.isnan(value):
            sums.setdefault(item, []).append(value)
    if not sums:
        return None
    shares, _codes = item_shares(
        [about[item][0] for item in sums], np.asarray([about[item][1] for item in sums]), side.facts.headline
    )
    means = np.asarray([sum(values) / len(values) for values in sums.values()])
    # fsum over fsum: a perfect run is exactly 1
    return math.fsum((shares * means).tolist()) / math.fsum(shares.tolist())
