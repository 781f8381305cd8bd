"""A comparison in rounds, as values: how it is asked, what of its plan a round asks, and what a look may spend."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalkit.model import Macro

LARGE: Final = 2_000
"""A suite of as many items is asked in blocks of items, a smaller one in whole passes over its items."""
FAST_ITEMS: Final = 64  # so many items of each suite are asked once before the first round, where that is to fail fast


@dataclass(frozen=True, slots=True)
class Design:
    """How a comparison is asked: in so many `rounds` at most, items in an order that `seed` draws.

    `bank` says that the reference was answered before: all its repeats count at every look. `fast` says that the first
    items of each suite are looked at before the first round.
    """

    rounds: int
    seed: int
    bank: bool = False
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What of a plan has been asked for: each suite up to a round, 0 for its first items alone.

    With `whole` all repeats of the items that the round asks.
    """

    design: Design
    rounds: Mapping[str, int]
    whole: bool = False

    def repeats(self, suite: str, items: Items, most: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of each item's repeats are in the part, of `most` that are planned; both (items,)."""
        if suite not in self.rounds:
            return most
        at, size = self.rounds[suite], len(items.names)
        passes = most if self.whole else np.minimum(most, 1) if at == 0 else -(-most * at // self.design.rounds)
        if at and size < LARGE:
            return passes
        places = _places(self.design.seed, suite, items)
        if at == 0:
            within = np.zeros(size, dtype=np.bool_)
            within[np.argsort(places, kind="stable")[:FAST_ITEMS]] = True
        else:
            within = places <= at / self.design.rounds
        return np.where(within, passes if at == 0 else most, 0)


@dataclass(frozen=True, slots=True)
class Items:
    """A suite's items as an order needs them: names, headings, and the cluster of each ("" for none)."""

    names: tuple[str, ...]
    strata: tuple[tuple[str, ...], ...]
    clusters: tuple[str, ...]


Size: TypeAlias = tuple[Items, NDArray[np.int64]]  # a suite's items, and how often each is planned to be asked


@dataclass(frozen=True, slots=True)
class Look:
    """One look of several: the level of each suite's one-sided tests, and of their mean's as "".

    An alarm's p-value is multiplied by the row's number in `scales` and held against `alarm`, after Holm's correction.
    `kept` is the overall row of the look that decided it.
    """

    alphas: Mapping[str, float]
    scales: Mapping[str, float]
    alarm: float
    number: int
    most: int
    kept: Macro | None = None


@lru_cache(maxsize=64)
def _places(seed: int, suite: str, items: Items) -> NDArray[np.float64]:
    """Each item's place in the order that the seed draws, in (0, 1]: every stretch has its share of each heading.

    Items of one cluster stand together, so that they are asked in one round.
    """

    def drawn(word: str) -> float:
        return (1 + int.from_bytes(hashlib.sha256(f"{seed}|{suite}|{word}".encode()).digest()[:6], "big")) / 2**48

    units = [cluster or name for name, cluster in zip(items.names, items.clusters, strict=True)]
    luck = {unit: drawn(unit) for unit in dict.fromkeys(units)}
    members: dict[tuple[str, ...], list[int]] = {}
    for number in sorted(range(len(units)), key=lambda one: (luck[units[one]], items.names[one])):
        members.setdefault(items.strata[number], []).append(number)
    places = np.empty(len(units))
    for path, numbers in members.items():
        places[numbers] = (np.arange(len(numbers)) + drawn("/".join(("heading", *path)))) / len(numbers)
    first: dict[str, float] = {}
    for unit, place in zip(units, places.tolist(), strict=True):
        first[unit] = min(place, first.get(unit, place))
    return np.array([first[unit] for unit in units])


def items_of(table: Sequence[tuple[str, tuple[str, ...], str | None]]) -> Items:
    """The items of a suite, each given as name, headings and cluster."""
    names, strata, clusters = zip(*table, strict=True) if table else ((), (), ())
    return Items(tuple(names), tuple(strata), tuple(cluster or "" for cluster in clusters))
