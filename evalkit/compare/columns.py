"""What a comparison is made from: one side's samples by column, whoever wrote them (evalkit, lm-eval, a table)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from evalkit.model import Reason, RunIdentity, Status

# ---------------------------------------------------------------- a column of words that repeat, held as numbers


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One word a row: row `i` is `names[codes[i]]`."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

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

    def finished(self) -> Labels:
        """The finished column."""
        names = tuple(word for word in self._known if word is not None)
        return Labels(np.asarray(self.codes, dtype=np.int32), names)


# ---------------------------------------------------------------- the samples of one side, by column


NO_TEXT = 0
"""The text digest of a sample that has no reply, or whose reply nobody stored."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ItemTable:
    """What one side says of the items of a suite; all columns of the same length, names unique.

    `stratum` is the path of headings, `cluster` "" where an item stands for itself, `weight` relative (>= 0);
    `tags` are headings for information under which an item is counted beside its stratum, () where no item has any;
    `document` and `prompt` are 64-bit digests of the question's data and of what was sent, 0 where unknown.
    """

    name: tuple[str, ...]
    stratum: tuple[tuple[str, ...], ...]
    cluster: tuple[str, ...]
    weight: NDArray[np.float64]
    document: NDArray[np.uint64]
    prompt: NDArray[np.uint64]
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
    stopped at the token limit, `loops` that the reply ends in a loop; `garbage` is a word of `compare.garbage` or "";
    `at` is when the outcome came, in seconds since 1970, NaN where unknown, and `address` what it came from, or "".
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
    garbage: Labels
    address: Labels
    at: NDArray[np.float64]

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
    `headline` is "micro", "macro" or "nested"; `greedy` says that temperature was 0; `defects` say why this side's
    numbers must not be used; `lacking` says why samples have no answer, "" where the side's `stopped` does, None where
    nobody knows; `step` is the distance between the scores that the scorer can give a sample (1 for right or wrong),
    None where it may give any.
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
    notes: tuple[Reason, ...] = ()
    defects: tuple[Reason, ...] = ()
    lacking: str | None = None
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
    """One side of a comparison. Texts are fetched on demand: `reply` by suite and row, `item` by suite and name.

    `overall_margin` is the tolerance that its pack or file names for the mean over suites (a fraction), None for none.
    `stopped` is what kept the whole side from being asked to the end, with `n` of `all` samples answered.
    """

    identity: RunIdentity
    config: Mapping[str, Any]
    suites: Mapping[str, SuiteSide]
    reply: Callable[[str, int], ReplyText | None] = no_reply
    item: Callable[[str, str], ItemText | None] = no_item
    notes: tuple[Reason, ...] = ()
    overall_margin: float | None = None
    stopped: Reason | None = None


# ---------------------------------------------------------------- columns from rows that are read one by one


_BLOCK: Final = 4096
"""So many rows are turned into columns at a time: a million samples take seconds, not a minute."""


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


@dataclass(frozen=True, slots=True)
class Sample:
    """One planned (item, repeat) with what became of it: a row of `Samples`; None where a number is not known."""

    item: str
    repeat: int
    value: float | None
    status: str
    reason: str = ""
    answer: str | None = None
    failure: str = ""
    text: int = NO_TEXT
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    characters: int | None = None
    seconds: float | None = None
    lenient: float | None = None
    truncated: bool = False
    loops: bool = False
    garbage: str = ""
    address: str = ""
    at: float | None = None


WORDS: Final = ("status", "reason", "answer", "failure", "garbage", "address")
"""The columns of `Samples` that hold words."""
NUMBERS: Final[Mapping[str, type[np.generic]]] = {
    name: get_args(get_args(hint)[1])[0]
    for name, hint in get_type_hints(Samples).items()
    if name not in {"items", *WORDS}
}
"""What a number of each column of `Samples` is."""
_NAMES: Final = (*WORDS, *NUMBERS)
_row_of = attrgetter(*_NAMES)


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
        """Lists an item.

        Raises:
            ValueError: where its name is taken.
        """
        if item.name in self.items:
            raise ValueError(f"item {item.name!r} is listed twice")
        self._codes[item.name] = len(self.items)
        self.items[item.name] = item

    def add(self, sample: Sample) -> None:
        """Appends a sample.

        Raises:
            KeyError: now or later, for an item that is not listed.
        """
        self._waiting.append(sample)
        if len(self._waiting) >= _BLOCK:
            self._flush()

    def samples(self) -> Samples:
        """The finished columns.

        Raises:
            KeyError: for an item that is not listed.
        """
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
