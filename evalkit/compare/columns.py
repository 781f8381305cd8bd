"""What a comparison is made from: one side's samples by column, whoever wrote them (evalkit, lm-eval, a table)."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evalkit.model import RunIdentity, Status

# ----------------------------------------------------------------
# A column of words that repeat (statuses, answers, reasons), held as numbers: small in memory and fast to count


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One word a row: row `i` is `names[codes[i]]`."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> Labels:
        """The column of these words."""
        made = LabelsBuilder()
        made.extend(list(words))
        return made.labels()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return (self.names[code] for code in self.codes.tolist())

    def __getitem__(self, row: int) -> str:
        word: str = self.names[self.codes[row]]
        return word

    def rows(self, chosen: NDArray[np.int64]) -> Labels:
        """The column of these rows, in this order."""
        return Labels(self.codes[chosen], self.names)

    def mask(self, *words: str) -> NDArray[np.bool_]:
        """True in the rows that hold one of the words."""
        wanted = [code for code, name in enumerate(self.names) if name in words]
        return np.isin(self.codes, wanted) if wanted else np.zeros(len(self.codes), dtype=np.bool_)

    def counts(self) -> dict[str, int]:
        """How many rows hold each word that occurs."""
        numbers = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return {name: number for name, number in zip(self.names, numbers, strict=True) if number}


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

    def repeat(self, word: str, times: int) -> None:
        """Appends so many rows of one word."""
        self.codes.extend(array("i", (self._known[word],)) * times)

    def labels(self) -> Labels:
        """The finished column."""
        names = tuple(word for word in self._known if word is not None)
        return Labels(np.asarray(self.codes, dtype=np.int32), names)


# ----------------------------------------------------------------
# What a comparison is made from: one side's samples by column, whoever wrote them (evalkit, lm-eval, a table)


NO_TEXT = 0
"""The text digest of a sample that has no reply, or whose reply nobody stored."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ItemTable:
    """What one side says of the items of a suite; all columns of the same length, names unique.

    `stratum` is the path of headings, `cluster` "" where an item stands for itself, `weight` relative (>= 0);
    `tags` are headings for information under which an item is counted beside its stratum, () where no item has any;
    `document` and `prompt` are digests of the question's data and of what was sent, "" where unknown.
    """

    name: tuple[str, ...]
    stratum: tuple[tuple[str, ...], ...]
    cluster: tuple[str, ...]
    weight: NDArray[np.float64]
    document: tuple[str, ...]
    prompt: tuple[str, ...]
    tags: tuple[tuple[tuple[str, ...], ...], ...] = ()

    def __len__(self) -> int:
        """Number of items."""
        return len(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One suite on one side; one row a planned (item, repeat), all columns of the same length.

    `item` holds rows of `items`; `value` is in [0, 1], NaN where there is none; `status` holds `model.Status` values;
    `failure` a `model.FailureKind` or ""; `answer` "" where none was read; `text` is a 64-bit digest of the reply,
    `NO_TEXT` without one; token counts, characters and seconds are NaN where unknown; `truncated` says that the server
    stopped at the token limit, `loops` that the reply ends in a loop.
    """

    items: ItemTable
    item: NDArray[np.int32]
    repeat: NDArray[np.int32]
    value: NDArray[np.float64]
    status: Labels
    reason: Labels
    answer: Labels
    failure: Labels
    text: NDArray[np.uint64]
    prompt_tokens: NDArray[np.float64]
    completion_tokens: NDArray[np.float64]
    characters: NDArray[np.float64]
    seconds: NDArray[np.float64]
    lenient: NDArray[np.float64]
    truncated: NDArray[np.bool_]
    loops: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of planned samples."""
        return len(self.item)

    def rows(self, chosen: NDArray[np.int64]) -> Samples:
        """The samples of these rows, in this order."""
        columns = {name: getattr(self, name) for name in self.__slots__ if name != "items"}
        picked: dict[str, Any] = {
            name: column.rows(chosen) if isinstance(column, Labels) else column[chosen]
            for name, column in columns.items()
        }
        return Samples(items=self.items, **picked)


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """What a side says about a suite beside its samples.

    `digests` must be equal on both sides for a comparison: data, prompts, scorer, sampling, max_tokens, ... by name;
    an empty value means "not known" and is not compared. `margin` is a fraction, None where the side gives none;
    `headline` is "micro", "macro" or "nested"; `greedy` says that temperature was 0; each of `defects` is a sentence
    that says why this side's numbers must not be used; `step` is the distance between the scores that the scorer can
    give a sample (1 for right or wrong), None where it may give any.
    """

    suite: str
    label: str
    margin: float | None
    headline: str = "micro"
    chance: float | None = None
    gated: bool = False
    licence: str = ""
    greedy: bool = False
    repeats: int = 1
    notes: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    step: float | None = None


@dataclass(frozen=True, slots=True)
class SuiteSide:
    """One suite on one side.

    By (item, repeat): `options` are the log-probabilities (nats) of an item's options; `second` are scores of the same
    reply from a second grading by the judge, for some replies.
    """

    facts: SuiteFacts
    samples: Samples
    options: Mapping[tuple[str, int], tuple[float, ...]] = field(default_factory=dict)
    second: Mapping[tuple[str, int], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplyText:
    """One stored reply; `logprobs` are (token, log-probability) where the server gave them."""

    content: str
    reasoning: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ItemText:
    """What a flip shows of an item."""

    question: str
    target: str


def no_reply(_suite: str, _row: int) -> None:
    """The `reply` of a side that stores no texts."""


def no_item(_suite: str, _item: str) -> None:
    """The `item` of a side that stores no questions."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison. Texts are fetched on demand: `reply` by suite and row, `item` by suite and name."""

    identity: RunIdentity
    config: Mapping[str, Any]
    suites: Mapping[str, SuiteSide]
    reply: Callable[[str, int], ReplyText | None] = no_reply
    item: Callable[[str, str], ItemText | None] = no_item
    notes: tuple[str, ...] = ()


# ----------------------------------------------------------------
# Fills the columns of a suite: the one way in which samples of any origin become `Samples`
# Rows are taken in blocks and turned into columns a block at a time: a million samples take seconds, not a minute.


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

    Rows are those of a scores file (see `evalkit.run.rows`); "i", "r", "v" and "st" must be there.
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
