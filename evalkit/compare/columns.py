"""What a comparison is made from: one side's samples by column, whoever wrote them (evalkit, lm-eval, a table)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from evalkit.model import P_GOLD_MARGIN_PT, Reason, RunIdentity, fraction


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


NO_TEXT = 0  # the text digest of a sample that has no reply, or whose reply nobody stored


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
    an empty value means "not known" and is not compared. `margin` is a fraction, None where the side gives none, and
    `p_gold_margin` that of the suite's p(gold) row;
    `headline` is "micro", "macro" or "nested"; `greedy` says that temperature was 0; `defects` say why this side's
    numbers must not be used; `lacking` says why samples have no answer, "" where the side's `stopped` does, None where
    nobody knows; `step` is the distance between the scores that the scorer can give a sample (1 for right or wrong),
    0 where every score changes a little with any change (p(gold)), None where it may give any.
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
    p_gold_margin: float = fraction(P_GOLD_MARGIN_PT)


@dataclass(frozen=True, slots=True)
class SuiteSide:
    """One suite on one side.

    By (item, repeat): `options` are the log-probabilities (nats) of an item's options, `p_gold` is the probability of
    the right one among them, `second` the score of the same reply from a second grading by the judge, for some replies.
    """

    facts: SuiteFacts
    samples: Samples
    options: Mapping[tuple[str, int], tuple[float, ...]] = field(default_factory=dict)
    second: Mapping[tuple[str, int], float] = field(default_factory=dict)
    p_gold: Mapping[tuple[str, int], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplyText:
    """One stored reply; `logprobs` are (token, log-probability) and `reply_id` its id, where the server gave them."""

    content: str
    reasoning: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()
    reply_id: str = ""


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

    def with_defects(self, defects: tuple[Reason, ...]) -> Side:
        """The side with further reasons why none of its suites may be judged."""
        facts = {name: replace(one.facts, defects=(*one.facts.defects, *defects)) for name, one in self.suites.items()}
        return replace(self, suites={name: replace(one, facts=facts[name]) for name, one in self.suites.items()})


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
