"""Columns from rows that are read one by one, as other programs' files give them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import NO_TEXT, NUMBERS, WORDS, ItemTable, Labels, Sample, Samples
from evalkit.model import Status

_BLOCK: Final = 4096
"""So many rows are turned into columns at a time: a million samples take seconds, not a minute."""
_NAMES: Final = (*WORDS, *NUMBERS)
_row_of = attrgetter(*_NAMES)


class _Codes(dict[str | None, int]):
    """Numbers words in the order in which they come; None is no word, like ""."""

    def __missing__(self, word: str | None) -> int:
        code: int = self[""] if word is None else len(self) - (None in self)
        self[word] = code
        return code


@dataclass(slots=True)
class LabelsBuilder:
    """A column while it is read."""

    codes: array[int] = field(default_factory=lambda: array("i"))
    _known: _Codes = field(default_factory=_Codes)

    def extend(self, words: Sequence[str | None]) -> None:
        """Appends rows; None is no word, like ""."""
        self.codes.extend(map(self._known.__getitem__, words))

    def finished(self) -> Labels:
        """The finished column."""
        names = tuple(word for word in self._known if word is not None)
        return Labels(np.asarray(self.codes, dtype=np.int32), names)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What one side says of an item: a row of an `ItemTable`."""

    name: str
    stratum: tuple[str, ...] = ()
    cluster: str = ""
    weight: float = 1.0
    document: int = NO_TEXT
    prompt: int = NO_TEXT
    tags: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class _Numbers:
    """A column of numbers while it is read: one piece of memory that grows where it lies, so none is held twice."""

    kind: type[np.generic]
    _held: bytearray = field(default_factory=bytearray)

    def extend(self, values: Sequence[Any] | NDArray[Any]) -> None:
        """Appends values; None becomes NaN."""
        self._held += np.ascontiguousarray(values, dtype=self.kind).data

    def finished(self) -> NDArray[Any]:
        """The finished column, which nothing can be appended to any more."""
        return np.frombuffer(self._held, dtype=self.kind)


@dataclass(slots=True)
class SamplesBuilder:
    """The samples of one suite while they are read; an item must be listed before the first of its samples."""

    items: dict[str, ItemFacts] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _waiting: list[Sample] = field(default_factory=list)
    _columns: dict[str, _Numbers | LabelsBuilder] = field(
        default_factory=lambda: (
            {name: LabelsBuilder() for name in WORDS} | {name: _Numbers(kind) for name, kind in NUMBERS.items()}
        )
    )

    def add_item(self, item: ItemFacts) -> None:
        """Lists an item. Raises `ValueError`: where its name is taken."""
        if item.name in self.items:
            raise ValueError(f"item {item.name!r} is listed twice")
        self._codes[item.name] = len(self.items)
        self.items[item.name] = item

    def add(self, sample: Sample) -> None:
        """Appends a sample. Raises `KeyError`: now or later, for an item that is not listed."""
        self._waiting.append(sample)
        if len(self._waiting) >= _BLOCK:
            self._flush()

    def samples(self) -> Samples:
        """The finished columns. Raises `KeyError`: for an item that is not listed."""
        self._flush()
        columns: dict[str, Any] = {name: column.finished() for name, column in self._columns.items()}
        columns["truncated"] = columns["truncated"] | columns["status"].mask(Status.TRUNCATED)
        return Samples(items=_table(list(self.items.values())), **columns)

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        columns = dict(zip(_NAMES, zip(*map(_row_of, rows), strict=True), strict=True))
        columns["item"] = tuple(map(self._codes.__getitem__, columns["item"]))
        for name, column in self._columns.items():
            column.extend(columns[name])


def _table(items: Sequence[ItemFacts]) -> ItemTable:
    return ItemTable(
        name=tuple(item.name for item in items),
        stratum=tuple(item.stratum for item in items),
        cluster=tuple(item.cluster for item in items),
        weight=np.asarray([item.weight for item in items], dtype=np.float64),
        document=np.asarray([item.document for item in items], dtype=np.uint64),
        prompt=np.asarray([item.prompt for item in items], dtype=np.uint64),
        tags=tuple(item.tags for item in items),
    )
