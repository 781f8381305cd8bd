"""What is assumed of suites that nothing is stored of: the table `suites/priors.toml`, each figure with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Self

import numpy as np

from evalkit.examine.simulating import Shape
from evalkit.resources import toml_file
from evalkit.stats.paired import FloatArray

_DRAWS: Final = 200  # for each chance that stands for a share of a Beta distribution
_LEVELS: Final = 300


def _table() -> dict[str, Any]:
    return toml_file("suites/priors.toml")


@dataclass(frozen=True, slots=True)
class Spread:
    """How scores vary: their mean, and the share of their variance that lies between items; `told` says whence."""

    mean: float
    icc: float
    told: str

    @classmethod
    def assumed(cls, mean: float | None = None) -> Self:
        """The table's, with a mean that is known where there is one."""
        icc = float(_table()["icc"])
        if mean is None:
            return cls(float(_table()["mean"]), icc, f"assumed: mean {_table()['mean']:g}, ICC {icc:g}")
        return cls(mean, icc, f"mean {mean:.2f} measured, ICC {icc:g} assumed")

    @classmethod
    def measured(cls, mean: float, within: float) -> Self:
        """By the mean variance between the repeats of an item."""
        whole = mean * (1.0 - mean)
        icc = 1.0 if whole <= 0.0 else min(1.0, max(0.0, 1.0 - within / whole))
        return cls(mean, icc, f"measured: mean {mean:.2f}, ICC {icc:.2f}")

    def chances(self, count: int) -> FloatArray:
        """Chances of a right answer of so many items, in no order: a Beta distribution with this mean and ICC."""
        return np.random.default_rng(1).permutation(self._ascending(count))

    def _ascending(self, count: int) -> FloatArray:
        if self.icc <= 0.0 or not 0.0 < self.mean < 1.0:
            return np.full(count, self.mean)
        if self.icc >= 1.0:
            return (np.arange(count) >= round(count * (1.0 - self.mean))).astype(np.float64)
        levels, spread = min(count, _LEVELS), 1.0 / self.icc - 1.0
        drawn = np.random.default_rng(0).beta(self.mean * spread, (1.0 - self.mean) * spread, levels * _DRAWS)
        steps = np.sort(drawn).reshape(levels, _DRAWS).mean(axis=1)
        return np.asarray(steps[np.arange(count) * levels // count], dtype=np.float64)


def change(of: str) -> float:
    """What equal stacks change: the share of items ("churn"), or an item's p(gold) (its standard deviation)."""
    return float(_table()[of])


def tokens_of(suite: str, profile: str | None) -> tuple[float, str] | None:
    """The length of a mean answer under a sampling profile, and its source; None for a suite not in the table."""
    known: Mapping[str, Any] = _table()["suites"].get(suite, {})
    tokens = known.get("tokens", {})
    found = tokens.get(profile or "any", tokens.get("any"))
    if found is None:
        return None
    source = known.get("source", {}).get(profile, "tokens")
    return float(found), f"assumed: {_table()['sources'][source]}"


def items_of(suite: str) -> int | None:
    """How many items a suite has, as far as its strata tell."""
    known = _table()["suites"].get(suite, {})
    return sum(chain.from_iterable(known["strata"])) if "strata" in known else None


def shape_of(suite: str, n_items: int) -> Shape:
    """How a suite's items make its headline; items that stand alone and weigh the same where the table says nothing."""
    known: Mapping[str, Any] = _table()["suites"].get(suite, {})
    if "clusters" in known:
        count, items, weight = np.array(known["clusters"]).T
        share = np.repeat(items * weight, count) / (count * items * weight).sum()
        shape = Shape(np.repeat(items, count), share, np.zeros(count.sum(), np.int64))
    elif "strata" in known:
        parts = [1.0 / len(tasks) / len(known["strata"]) / n for tasks in known["strata"] for n in tasks]
        counts = list(chain.from_iterable(known["strata"]))
        shape = Shape(np.ones(sum(counts), np.int64), np.repeat(parts, counts), np.repeat(range(len(counts)), counts))
    else:
        return Shape.plain(n_items)
    return shape.first(n_items) if n_items <= shape.items.sum() else Shape.plain(n_items)
