"""Fills the columns of a suite: the one way in which samples of any origin become `Samples`.

Rows are taken in blocks and turned into columns a block at a time: a million samples take seconds, not a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.inputs import ItemTable, Samples
from evalkit.compare.labels import LabelsBuilder
from evalkit.model import Status

_BLOCK: Final = 4096
_NO_DIGEST: Final = "0" * 16

Row = dict[str, Any]
Columns = Mapping[str, Sequence[Any]]
"""Rows that all have the same keys, turned: the values by key, all of the same length (at least 1)."""


@dataclass(slots=True)
class _Numbers:
    """A column of numbers while it is read: one piece of memory that grows where it lies, so none is held twice."""

    kind: type[np.generic]
    _held: bytearray = field(default_factory=bytearray)

    def extend(self, values: Sequence[Any] | NDArray[Any]) -> None:
        """Appends values; None becomes NaN."""
        self._held += np.ascontiguousarray(values, dtype=self.kind).data

    def repeat(self, value: float, times: int) -> None:
        """Appends so many times the same value."""
        self.extend(np.full(times, value, dtype=self.kind))

    def array(self) -> NDArray[Any]:
        """The finished column, which nothing can be appended to any more."""
        return np.frombuffer(self._held, dtype=self.kind)


def turned(rows: Sequence[Row]) -> Iterator[Columns]:
    """The rows by column, those with the same keys together: a third of the time of looking up every value."""
    shapes: dict[tuple[str, ...], list[Row]] = {shape: [] for shape in map(tuple, rows)}
    if len(shapes) > 1:
        for row in rows:
            shapes[tuple(row)].append(row)
    for shape, alike in shapes.items():
        yield dict(zip(shape, zip(*map(dict.values, alike or rows), strict=True), strict=True))


@dataclass(slots=True)
class ItemsBuilder:
    """The items of one suite while they are read."""

    codes: dict[str, int] = field(default_factory=dict)
    stratum: list[tuple[str, ...]] = field(default_factory=list)
    tags: list[tuple[tuple[str, ...], ...]] = field(default_factory=list)
    cluster: list[str] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    document: list[str] = field(default_factory=list)
    prompt: list[str] = field(default_factory=list)
    _paths: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Appends an item; see `extend`."""
        self.extend([row])

    def extend(self, rows: Sequence[Row]) -> None:
        """Appends items: "i" the name; "stratum", "tags", "cluster", "weight", "doc_hash", "prompt" where known.

        Raises:
            ValueError: where a name is taken.
        """
        for columns in turned(rows):
            self._name(columns["i"])
            size = len(columns["i"])
            paths = map(tuple, columns.get("stratum", [()] * size))
            self.stratum += [self._paths.setdefault(path, path) for path in paths]
            self.tags += [tuple(map(tuple, tags)) for tags in columns["tags"]] if "tags" in columns else [()] * size
            self.cluster += columns.get("cluster", [""] * size)
            self.weight += columns.get("weight", [1.0] * size)
            # The other side's are the same texts: kept once.
            self.document += map(sys.intern, columns.get("doc_hash", [""] * size))
            self.prompt += map(sys.intern, columns.get("prompt", [""] * size))

    def _name(self, names: Sequence[str]) -> None:
        expected = len(self.codes) + len(names)
        before = len(self.codes)
        self.codes.update(zip(map(sys.intern, names), range(before, expected), strict=True))
        if len(self.codes) < expected:
            seen = set(islice(self.codes, before))
            for name in names:
                if name in seen:
                    raise ValueError(f"item {name!r} is listed twice")
                seen.add(name)

    def table(self) -> ItemTable:
        """The finished table."""
        return ItemTable(
            name=tuple(self.codes),
            stratum=tuple(self.stratum),
            cluster=tuple(self.cluster),
            weight=np.asarray(self.weight, dtype=np.float64),
            document=tuple(self.document),
            prompt=tuple(self.prompt),
            tags=tuple(self.tags),
        )


def _labels() -> dict[str, LabelsBuilder]:
    return {key: LabelsBuilder() for key in ("st", "why", "a", "f")}


def _numbers() -> dict[str, _Numbers]:
    return {key: _Numbers(np.float64) for key in ("v", "p", "c", "n", "sec", "l")}


@dataclass(slots=True)
class SamplesBuilder:
    """The samples of one suite while they are read; `items` must know an item before its samples are finished.

    Rows are those of a scores file (see `evalkit.run.store`); "i", "r", "v" and "st" must be there.
    """

    items: ItemsBuilder = field(default_factory=ItemsBuilder)
    _waiting: list[Row] = field(default_factory=list)
    _item: _Numbers = field(default_factory=lambda: _Numbers(np.int32))
    _repeat: _Numbers = field(default_factory=lambda: _Numbers(np.int32))
    _text: _Numbers = field(default_factory=lambda: _Numbers(np.uint64))
    _cut: _Numbers = field(default_factory=lambda: _Numbers(np.bool_))
    _loops: _Numbers = field(default_factory=lambda: _Numbers(np.bool_))
    _numbers: dict[str, _Numbers] = field(default_factory=_numbers)
    _labels: dict[str, LabelsBuilder] = field(default_factory=_labels)

    def add(self, row: Row) -> None:
        """Appends a sample, which must not change afterwards."""
        self._waiting.append(row)
        if len(self._waiting) >= _BLOCK:
            self._flush()

    def extend(self, rows: Sequence[Row]) -> None:
        """Appends samples, those with the same keys together.

        Raises:
            KeyError: for an item that is not listed.
        """
        for columns in turned(rows):
            self.extend_columns(columns)

    def extend_columns(self, columns: Columns) -> None:
        """Appends samples with the same keys.

        Raises:
            KeyError: for an item that is not listed.
        """
        names = columns["i"]
        size = len(names)
        self._item.extend(np.fromiter(map(self.items.codes.__getitem__, names), np.int32, size))
        self._repeat.extend(columns["r"])
        self._text.extend(_digests(columns.get("h"), size))
        for key, flags in (("cut", self._cut), ("loop", self._loops)):
            if key in columns:
                flags.extend(columns[key])
            else:
                flags.repeat(0, size)
        for key, numbers in self._numbers.items():
            if key in columns:
                numbers.extend(columns[key])
            else:
                numbers.repeat(np.nan, size)
        for key, labels in self._labels.items():
            words = columns.get(key)
            if words is None:
                labels.repeat("", size)
            else:
                labels.extend(words)

    def samples(self) -> Samples:
        """The finished columns.

        Raises:
            KeyError: for an item that is not listed.
        """
        self._flush()
        numbers = {key: column.array() for key, column in self._numbers.items()}
        labels = {key: builder.labels() for key, builder in self._labels.items()}
        return Samples(
            items=self.items.table(),
            item=self._item.array(),
            repeat=self._repeat.array(),
            value=numbers["v"],
            status=labels["st"],
            reason=labels["why"],
            answer=labels["a"],
            failure=labels["f"],
            text=self._text.array(),
            prompt_tokens=numbers["p"],
            completion_tokens=numbers["c"],
            characters=numbers["n"],
            seconds=numbers["sec"],
            lenient=numbers["l"],
            truncated=self._cut.array() | labels["st"].mask(Status.TRUNCATED),
            loops=self._loops.array(),
        )

    def _flush(self) -> None:
        if self._waiting:
            rows, self._waiting = self._waiting, []
            self.extend(rows)


def _digests(words: Sequence[str] | None, size: int) -> NDArray[np.uint64]:
    """64 bits from 16 hexadecimal digits each; `NO_TEXT` for an empty word."""
    if words is None:
        return np.zeros(size, dtype=np.uint64)
    digits = "".join([word or _NO_DIGEST for word in words])
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)
