"""Parses the items and the scores of a run into columns: all that a comparison needs of a sample, and no text."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import Columns, SamplesBuilder, turned
from evalkit.compare.inputs import Samples
from evalkit.errors import RunError
from evalkit.model import Status
from evalkit.run import store

_UNANSWERED = frozenset({Status.FAILED.value, Status.NOT_ASKED.value})
_NOWHERE, _FIRST_FILE = array("q", (-1,)), array("h", (0,))

Cell = tuple[str, int]
"""Item and repeat."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredSuite:
    """What the rows of one suite say.

    `offset` is the byte at which each sample's reply begins, -1 where there is none, and `file` the number of its
    journal, empty where there is one journal only. `options` and `second` are those of `SuiteSide`. `unanswered` and
    `unjudged` count samples; `gradings` is how often the judge graded an answer at most, and `judge_variance` the sum
    over the samples of the variance of their graded mean.
    """

    samples: Samples
    offset: NDArray[np.int64]
    file: NDArray[np.int16]
    options: Mapping[Cell, tuple[float, ...]]
    second: Mapping[Cell, float]
    unanswered: int
    unjudged: int
    gradings: int
    judge_variance: float


@dataclass(frozen=True, slots=True)
class Stored:
    """What the items and the scores of a plan say: the names of the journals that they refer to, and the suites."""

    journals: tuple[str, ...]
    suites: Mapping[str, StoredSuite]


@dataclass(frozen=True, slots=True)
class Files:
    """The two files that a comparison reads of a plan."""

    items: Path
    scores: Path


Seen = tuple[store.Seen, store.Seen]


@dataclass(slots=True)
class _Suite:
    """One suite while it is read."""

    samples: SamplesBuilder = field(default_factory=SamplesBuilder)
    offset: array[int] = field(default_factory=lambda: array("q"))
    file: array[int] = field(default_factory=lambda: array("h"))
    options: dict[Cell, tuple[float, ...]] = field(default_factory=dict)
    second: dict[Cell, float] = field(default_factory=dict)
    unanswered: int = 0
    unjudged: int = 0
    gradings: int = 0
    judge_variance: float = 0.0

    def extend(self, rows: Sequence[dict[str, Any]], *, several_journals: bool) -> None:
        """Rows of a scores file."""
        for columns in turned(rows):
            self.samples.extend_columns(columns)
            size = len(columns["i"])
            self.offset.extend(columns.get("j", _NOWHERE * size))
            if several_journals:
                self.file.extend(columns.get("jf", _FIRST_FILE * size))
            if None in columns["v"]:
                self._count_missing(columns)
            if "m" in columns:
                self._read_metrics(columns)

    def _count_missing(self, columns: Columns) -> None:
        reasons = columns.get("why", ("",) * len(columns["v"]))
        for value, status, reason in zip(columns["v"], columns["st"], reasons, strict=True):
            if value is None:
                self.unanswered += status in _UNANSWERED
                self.unjudged += status == Status.GRADE_ERROR.value and reason == "unjudged"

    def _read_metrics(self, columns: Columns) -> None:
        for item, repeat, metrics in zip(columns["i"], columns["r"], columns["m"], strict=True):
            if "logprob_A" in metrics:
                names = sorted(name for name in metrics if name.startswith("logprob_"))
                self.options[item, repeat] = tuple(metrics[name] for name in names)
            if "judge_second" in metrics:
                self.second[item, repeat] = metrics["judge_second"]
            self.gradings = max(self.gradings, int(metrics.get("judge_repeats", 0)))
            self.judge_variance += metrics.get("judge_variance", 0.0)

    def finished(self) -> StoredSuite:
        return StoredSuite(
            samples=self.samples.samples(),
            offset=np.asarray(self.offset, dtype=np.int64),
            file=np.asarray(self.file, dtype=np.int16),
            options=self.options,
            second=self.second,
            unanswered=self.unanswered,
            unjudged=self.unjudged,
            gradings=self.gradings,
            judge_variance=self.judge_variance,
        )


def parse(files: Files, seen: Seen | None = None) -> Stored:
    """What both files hold; `seen` are told every byte that was parsed, of the items and of the scores.

    Raises:
        RunError: where one is absent or damaged, or the scores were made by another version of evalkit.
    """
    items_seen, scores_seen = (None, None) if seen is None else seen
    read: dict[str, _Suite] = {}
    for block in store.read_blocks(files.items, items_seen):
        for name, rows in _by_suite(block):
            (read.get(name) or read.setdefault(name, _Suite())).samples.items.extend(rows)
    header: dict[str, Any] | None = None
    try:
        for block in store.read_blocks(files.scores, scores_seen):
            if header is None:
                header = _checked(block.pop(0), files.scores)
            for name, rows in _by_suite(block):
                read[name].extend(rows, several_journals=len(header["journals"]) > 1)
    except KeyError as error:
        raise RunError(
            f"{files.scores}: names {error}, which the items do not: `evalkit score` makes both again"
        ) from error
    journals = (header or _checked({}, files.scores))["journals"]
    return Stored(tuple(journals), {name: suite.finished() for name, suite in read.items()})


def _checked(header: dict[str, Any], scores: Path) -> dict[str, Any]:
    if header.get("format") != store.SCORES_FORMAT:
        raise RunError(f"{scores}: was made by another version of evalkit: `evalkit score` makes it again")
    return header


def _by_suite(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows by suite, each suite's in their order."""
    names = dict.fromkeys(map(itemgetter("s"), rows))
    for name in names:
        yield name, rows if len(names) == 1 else [row for row in rows if row["s"] == name]
