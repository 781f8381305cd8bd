"""Two sides of a suite, aligned cell by cell: the same (item, repeat) stands at the same place, gaps stay gaps.

Items take codes in the order of their names and cells are sorted, so that no result depends on the order in which
samples were stored. What one side planned and the other lacks is a planned cell without a value there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import ItemTable, Samples, SuiteSide
from evalkit.errors import DataError
from evalkit.stats.paired import ItemTraits, PairedItems, Scores, fold, pair_scores

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
_LEAST_UNSEEN: Final = 0.01  # what an item with smooth scores may have changed by, however little the others did
Path: TypeAlias = tuple[str, ...]  # the headings above an item, the outermost first


def item_shares(strata: Sequence[Path], weights: Floats, rule: str) -> tuple[Floats, Ints]:
    """Each item's share of the headline (they sum to 1) and its stratum's code.

    "micro": by weight, one stratum. "macro": the outermost headings weigh the same. "nested": at every level the
    headings under one heading weigh the same (LiveBench: task, category, overall). Inside the innermost heading that
    the rule looks at, items count by weight.

    Raises `ValueError`: for another rule.
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


def _parts(paths: Sequence[Path]) -> Floats:
    """Each heading's part of the headline, the headings under one heading sharing alike."""
    children: dict[Path, set[Path]] = {}
    for path in paths:
        for level in range(len(path)):
            children.setdefault(path[:level], set()).add(path[: level + 1])
    return np.asarray([1.0 / math.prod(len(children[p[:level]]) for level in range(len(p))) for p in paths])


def headline(side: SuiteSide) -> float | None:
    """The suite's number on one side alone, over the samples that have a value; None where none has."""
    samples = side.samples
    counts, means, _within = fold(samples.item, samples.value, len(samples.items))
    asked = np.flatnonzero(counts)
    if not asked.size:
        return None
    strata = [samples.items.stratum[item] for item in asked.tolist()]
    shares, _codes = item_shares(strata, samples.items.weight[asked], side.facts.headline)
    # Exact sums: a side that has everything right is exactly 1, whatever its number of items.
    return min(1.0, math.fsum((shares * means[asked]).tolist()) / math.fsum(shares.tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """One side's planned (item, repeat) cells, sorted by item and repeat.

    `key` is unique and means the same cell on both sides; `row` is the row in the side's samples, -1 where the side
    does not list a cell that the other side has; `value` is NaN there and wherever there is no score.
    """

    key: Ints
    item: Ints
    repeat: Ints
    row: Ints
    value: Floats

    def __len__(self) -> int:
        """Number of planned cells."""
        return len(self.key)

    @property
    def missing(self) -> int:
        """How many planned cells have no value."""
        return int(np.isnan(self.value).sum())

    def select(self, places: Ints) -> Cells:
        """The cells at these places."""
        return Cells(*(getattr(self, name)[places] for name in self.__slots__))

    def column(self, values: Floats) -> Floats:
        """A column of the side's samples by cell; NaN where the side lists no sample."""
        return np.asarray(np.where(self.row >= 0, values[self.row], np.nan)) if len(values) else self.value * np.nan


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What both sides together say of the items, by item code: headings, relative weight, cluster, further headings.

    `smooth` scores change a little with any change: an item cannot change wholly and unseen.
    """

    items: tuple[str, ...]
    strata: tuple[Path, ...]
    weight: Floats
    cluster: Ints
    rule: str
    tags: tuple[tuple[Path, ...], ...] = ()
    smooth: bool = False

    def traits(self, asked: Ints) -> ItemTraits:
        """The traits of all items where the headline is taken over the items `asked` only."""
        share, stratum = np.zeros(len(self.items)), np.zeros(len(self.items), dtype=np.int64)
        share[asked], stratum[asked] = item_shares([self.strata[i] for i in asked], self.weight[asked], self.rule)
        return ItemTraits(share, self.cluster, stratum)


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One suite on both sides.

    `codes` are the item codes of the rows of either side's item table; `both` are the positions, in either side's
    cells, of the cells that both sides list; `paired` is None where no item has a score on both sides; `coverage` is
    the smaller side's share of planned cells that enter the comparison; `duplicates` counts items that repeat another
    item's question, and `contradictions` those of which the two sides say different headings, weights or clusters.
    """

    layout: Layout
    codes: tuple[Ints, Ints]
    reference: Cells
    candidate: Cells
    both: tuple[Ints, Ints]
    paired: PairedItems | None
    coverage: float
    only_reference: tuple[str, ...]
    only_candidate: tuple[str, ...]
    duplicates: int
    contradictions: int

    @property
    def shared(self) -> tuple[Cells, Cells]:
        """Both sides' cells that both planned: of equal stacks they may be exchanged, however often either was asked.

        Of an item that a bank asked sixteen times and a candidate twice, something rare happens to the bank at least
        once far more often.
        """
        return self.reference.select(self.both[0]), self.candidate.select(self.both[1])

    def with_values(self, reference: Floats, candidate: Floats) -> PairedItems | None:
        """The same cells with other values (NaN for none), paired by the same rules."""
        one, two = replace(self.reference, value=reference), replace(self.candidate, value=candidate)
        return _paired(*_matched(one, two, self.both), self.layout)


def align(reference: SuiteSide, candidate: SuiteSide) -> Aligned:
    """Pairs the two sides of a suite.

    A cell enters where its counterpart, if the other side planned it, has a value too: a failure on one side then
    never looks like a change. An item enters where both sides have such a cell.

    Raises `DataError`: where a side lists an (item, repeat) twice.
    """
    left, right = reference.samples, candidate.samples
    same_names = left.items.name == right.items.name
    items = tuple(sorted(left.items.name if same_names else {*left.items.name, *right.items.name}))
    codes = {name: code for code, name in enumerate(items)}
    own = [np.asarray([codes[name] for name in s.items.name], dtype=np.int64) for s in (left, right)]
    stride = 1 + max((int(s.repeat.max()) for s in (left, right) if len(s)), default=0)
    keys = [own[0][left.item] * stride + left.repeat, own[1][right.item] * stride + right.repeat]
    one, two = _cells(left, keys[0], keys[1], stride), _cells(right, keys[1], keys[0], stride)
    _no_twins("reference", one, items)
    _no_twins("candidate", two, items)
    both = _in_both(one.key, two.key)
    clusters, duplicates = _clusters(len(items), (left.items, own[0]), (right.items, own[1]))
    strata, weight, tags = _headings(len(items), (left.items, own[0]), (right.items, own[1]))
    layout = Layout(items, strata, weight, clusters, reference.facts.headline, tags, reference.facts.step == 0)
    matched = _matched(one, two, both)
    asked = asked_twice(((cells.item, cells.value) for cells in matched), len(items))
    entering = [float((~np.isnan(c.value) & asked[c.item]).sum() / len(c)) if len(c) else 0.0 for c in matched]
    return Aligned(
        layout=layout,
        codes=(own[0], own[1]),
        reference=one,
        candidate=two,
        both=both,
        paired=_paired(*matched, layout),
        coverage=min(entering),
        only_reference=tuple(sorted(set(left.items.name) - set(right.items.name))),
        only_candidate=tuple(sorted(set(right.items.name) - set(left.items.name))),
        duplicates=duplicates,
        contradictions=_contradictions(left.items, right.items),
    )


def _cells(samples: Samples, own: Ints, other: Ints, stride: int) -> Cells:
    """The side's cells, and those of the other side that this side lost.

    A side that lists repeats 0, 1, ... of every item without a gap planned so many of each, and what it lists not at
    all it lost. Where one lacks in between, all up to the largest repeat that the side asked anywhere were planned.
    """
    most = int(samples.repeat.max()) if len(samples) else stride
    wanted = other[other % stride <= most]
    asked = np.bincount(samples.item, minlength=len(samples.items))
    if np.all(samples.repeat < asked[samples.item]):  # it lists the repeats of every item from 0 without a gap
        wanted = wanted[~np.isin(wanted // stride, own // stride)]
    absent = _missing_from(own, wanted)
    key = np.concatenate([own, absent]).astype(np.int64, copy=False)
    row = np.concatenate([np.arange(len(own)), np.full(len(absent), -1)])
    value = np.concatenate([samples.value, np.full(len(absent), np.nan)])
    if np.any(key[1:] <= key[:-1]):
        order = np.argsort(key, kind="stable")
        key, row, value = key[order], row[order], value[order]
    return Cells(key, key // stride, key % stride, row, value)


def _missing_from(own: Ints, wanted: Ints) -> Ints:
    """The wanted keys that are not among a side's own, in ascending order."""
    if np.array_equal(own, wanted):
        return wanted[:0]
    own, wanted = np.sort(own), np.sort(wanted)  # np.setdiff1d loads numpy.ma, for which a comparison has no use
    place = np.searchsorted(own, wanted)
    absent: Ints = wanted[place == np.searchsorted(own, wanted, side="right")]
    return absent


def _in_both(one: Ints, two: Ints) -> tuple[Ints, Ints]:
    """Where the keys that both sorted lists hold stand in either."""
    if np.array_equal(one, two):
        everywhere = np.arange(one.size)
        return everywhere, everywhere
    _common, in_one, in_two = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    return in_one, in_two


def _no_twins(side: str, cells: Cells, items: Sequence[str]) -> None:
    twice = np.flatnonzero(cells.key[1:] == cells.key[:-1])
    if twice.size:
        place = int(twice[0])
        raise DataError(
            f"the {side} lists item {items[cells.item[place]]!r}, repeat {cells.repeat[place]} twice "
            f"({twice.size} such samples): give every sample of an item a repeat number of its own"
        )


def _matched(reference: Cells, candidate: Cells, both: tuple[Ints, Ints]) -> tuple[Cells, Cells]:
    """The cells without the values whose counterpart was planned and has none."""
    one, two = both
    gap = np.isnan(reference.value[one]) | np.isnan(candidate.value[two])
    if not gap.any():
        return reference, candidate
    values = reference.value.copy(), candidate.value.copy()
    values[0][one[gap]] = np.nan
    values[1][two[gap]] = np.nan
    return replace(reference, value=values[0]), replace(candidate, value=values[1])


def codes_of(column: Ints) -> Ints:
    """The codes that a column holds, in ascending order; np.unique would load numpy.ma."""
    return np.asarray(np.flatnonzero(np.bincount(column)) if column.size else column)


def asked_twice(sides: Iterable[tuple[Ints, Floats]], n_items: int) -> NDArray[np.bool_]:
    """By item code: whether both of two columns, each with the item of every value, have a value for it."""
    one, two = (np.bincount(item[~np.isnan(value)], minlength=n_items) > 0 for item, value in sides)
    return np.asarray(one & two)


def _paired(left: Cells, right: Cells, layout: Layout) -> PairedItems | None:
    asked = np.flatnonzero(asked_twice(((c.item, c.value) for c in (left, right)), len(layout.items)))
    if not asked.size:
        return None
    traits = layout.traits(asked)
    if not traits.weight.any():
        return None
    one, two = (Scores(cells.item, cells.repeat, cells.value) for cells in (left, right))
    paired = pair_scores(one, two, traits)
    if not layout.smooth:
        return paired
    return replace(paired, unseen=max(_LEAST_UNSEEN, float(np.abs(paired.difference).max())))


def _headings(
    n_items: int, reference: tuple[ItemTable, Ints], candidate: tuple[ItemTable, Ints]
) -> tuple[tuple[Path, ...], Floats, tuple[tuple[Path, ...], ...]]:
    """Headings, weights and further headings by item code; the reference's word where both have one."""
    strata: list[Path] = [()] * n_items
    weight = np.ones(n_items)
    for table, codes in (candidate, reference):
        weight[codes] = table.weight
        for code, path in zip(codes.tolist(), table.stratum, strict=True):
            if path:
                strata[code] = path
    named = dict(zip(reference[1].tolist(), reference[0].tags, strict=False))
    tags = tuple(named.get(code, ()) for code in range(n_items)) if any(named.values()) else ()
    return tuple(strata), weight, tags


def _clusters(n_items: int, reference: tuple[ItemTable, Ints], candidate: tuple[ItemTable, Ints]) -> tuple[Ints, int]:
    """Cluster codes, and how many items repeat the question of another one.

    Copies of a question are one question: items with the same document or the same prompt share a cluster even where
    the suite did not say so, or copying rows would buy precision.
    """
    home = list(range(n_items))  # disjoint sets of item codes; a set is named by its smallest member

    def find(code: int) -> int:
        while home[code] != code:
            home[code] = code = home[home[code]]
        return code

    repeated: set[int] = set()
    for table, codes in (reference, candidate):
        for number, column in enumerate((table.cluster, table.document.tolist(), table.prompt.tolist())):
            if len({word for word in column if word}) == sum(map(bool, column)):
                continue  # no word comes twice
            first: dict[str | int, int] = {}
            for code, word in zip(codes.tolist(), column, strict=True):
                same = first.setdefault(word, code) if word else code
                if same != code:
                    low, high = sorted((find(same), find(code)))
                    home[high] = low
                    if number:
                        repeated.add(max(same, code))
    named = np.array(home, dtype=np.int64)
    while not np.array_equal(named[named], named):
        named = named[named]
    return named, len(repeated)


def _contradictions(left: ItemTable, right: ItemTable) -> int:
    """Items of which both sides say something, and not the same."""
    equal = left.name == right.name and left.stratum == right.stratum and left.cluster == right.cluster
    if equal and np.array_equal(left.weight, right.weight):
        return 0
    one, two = (
        {name: said for name, *said in zip(table.name, table.stratum, table.cluster, zip(table.weight), strict=True)}
        for table in (left, right)
    )
    return sum(any(a and b and a != b for a, b in zip(one[name], two[name], strict=True)) for name in one.keys() & two)
