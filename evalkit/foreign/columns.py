"""Columns from rows that are read one by one, as other programs' files give them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import NO_TEXT, NUMBERS, WORDS, ItemTable, Labels, Sample, Samples
from evalkit.model import Status

_BLOCK: Final = 4096  # so many rows are turned into columns at a time: a million samples take seconds, not a minute
_NAMES: Final = (*WORDS, *NUMBERS)
_row_of = attrgetter(*_NAMES)


def _numbering() -> defaultdict[str | None, int]:
    """Numbers words in the order in which they come; None is no word, like ""."""
    known: defaultdict[str | None, int] = defaultdict(count().__next__)
    known[None] = known[""]
    return known


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
class SamplesBuilder:
    """The samples of one suite while they are read; an item must be listed before the first of its samples."""

    items: dict[str, ItemFacts] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _waiting: list[Sample] = field(default_factory=list)
    _words: dict[str, defaultdict[str | None, int]] = field(
        default_factory=lambda: {name: _numbering() for name in WORDS}
    )
    _pieces: dict[str, list[NDArray[Any]]] = field(default_factory=lambda: {name: [] for name in _NAMES})

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
        columns: dict[str, Any] = {}
        for name in _NAMES:
            kind = NUMBERS.get(name, np.int32)
            columns[name] = np.concatenate([np.empty(0, kind), *self._pieces.pop(name)])
        for name, known in self._words.items():
            columns[name] = Labels(columns[name], tuple(word for word in known if word is not None))
        columns["truncated"] = columns["truncated"] | columns["status"].mask(Status.TRUNCATED)
        return Samples(items=_table(list(self.items.values())), **columns)

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        columns = dict(zip(_NAMES, zip(*map(_row_of, rows), strict=True), strict=True))
        columns["item"] = tuple(map(self._codes.__getitem__, columns["item"]))
        for name, values in columns.items():
            coded = map(self._words[name].__getitem__, values) if name in self._words else None
            piece = np.asarray(values, NUMBERS[name]) if coded is None else np.fromiter(coded, np.int32, len(rows))
            self._pieces[name].append(piece)


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
