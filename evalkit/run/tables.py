"""The scores of a run: a Parquet file with a row for every planned (item, repeat), which is joined with its items.

`SCORES` says what the columns of `scores-PLAN.parquet` are. `evalkit run` makes it, and `evalkit score` makes it again:
it is written whole, says what it was made from, and is read a column at a time, so that a million samples load in a
second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import NUMBERS, WORDS, ItemTable, Labels, Sample, Samples
from evalkit.errors import RunError
from evalkit.files import write_whole
from evalkit.model import Status
from evalkit.parts import Items, Part
from evalkit.run.parquet import AGAIN, Table, columns_of, encoded

SCORES: Final = columns_of("scores")


@dataclass(frozen=True, slots=True)
class Graded(Sample):
    """A row of a table of scores."""

    suite: str = ""
    flags: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    key: str = ""
    journal: int = 0
    offset: int = -1


def scores_path(folder: Path, plan_digest: str) -> Path:
    """Where the scores of a plan are kept."""
    return folder / f"scores-{plan_digest[:12]}.parquet"


def write_scores(path: Path, rows: Iterable[Graded], header: Mapping[str, Any]) -> None:
    """Writes a table of scores; `header` says what they were made from.

    Raises `StorageError`: where the disk refuses.
    """
    write_whole(path, encoded(SCORES, rows, header))


@dataclass(frozen=True, slots=True, eq=False)
class SuiteRows:
    """What the tables of a run say of one suite.

    `options`, `second` and `p_gold` are those of `compare.columns.SuiteSide`. `unanswered` and `unjudged` count
    samples; `gradings` is how often the judge graded an answer at most, and `judge_variance` the sum over the samples
    of the variance of their graded mean.
    """

    samples: Samples
    options: Mapping[tuple[str, int], tuple[float, ...]]
    second: Mapping[tuple[str, int], float]
    p_gold: Mapping[tuple[str, int], float]
    unanswered: int
    unjudged: int
    gradings: int
    judge_variance: float


@dataclass(frozen=True, slots=True)
class RunTables:
    """The items and the scores of a plan: what a comparison needs of every sample, and where its reply is."""

    scores: Table
    suites: Mapping[str, SuiteRows]
    rows: Mapping[str, Rows]

    def places(self) -> dict[str, NDArray[np.int64]]:
        """By suite where the replies of its samples are: their journals, where their records begin there, their rows.

        Three rows of numbers, a column a sample; a record that begins at -1 is none. Raises `RunError`: where they are
        damaged.
        """
        files, offsets = self.scores.numbers("journal", np.int16), self.scores.numbers("offset", np.int64)
        every = np.stack([files, offsets, np.arange(len(self.scores))])
        return {name: every[:, rows] for name, rows in self.rows.items()}

    def key(self, number: int) -> str:
        """The key of the reply of a row of the table. Raises `RunError`: where it is damaged."""
        return str(self.scores.row(number, "key")["key"] or "")


Rows: TypeAlias = NDArray[np.int64] | slice  # the rows of a suite: their numbers, or all


def load(listed: Mapping[str, ItemTable], table: Table, parts: Sequence[Part] = ()) -> RunTables:
    """What the scores of a plan hold, with the items of its suites; what all `parts` hold.

    Raises `RunError`: where the scores are damaged, or name what the items do not.
    """
    rows = _rows_by_suite(table)
    if unknown := sorted(rows.keys() - listed.keys()):
        raise RunError(f"{table.path}: names {unknown[0]!r}, which the items do not: {AGAIN}")
    chosen: dict[str, Rows] = {name: rows.get(name, slice(0)) for name in listed}
    columns: dict[str, dict[str, Any]] = {
        name: {"item": codes} for name, codes in _item_codes(table, chosen, listed).items()
    }
    for part in parts:
        repeat = table.numbers("repeat", np.int32)
        for name, items in listed.items():
            places, codes = np.arange(len(table))[chosen[name]], columns[name]["item"]
            planned = np.bincount(codes, minlength=len(items))
            due = part.repeats(name, Items(items.name, items.stratum, items.cluster), planned)
            kept = repeat[places] < due[codes]
            chosen[name], columns[name]["item"] = places[kept], codes[kept]
    for name, number in NUMBERS.items():
        if name == "item":
            continue
        whole = table.numbers(name, number)
        if name == "value" and ((whole < 0) | (whole > 1)).any():
            raise RunError(f"{table.path}: is damaged (a score does not lie between 0 and 1): {AGAIN}")
        for suite, where in chosen.items():
            columns[suite][name] = whole[where]
    for name in WORDS:
        labels = table.labels(name)
        for suite, where in chosen.items():
            columns[suite][name] = Labels(labels.codes[where], labels.names)
    metrics = _metrics(table)
    suites = {
        name: _suite_rows(Samples(items=listed[name], **columns[name]), metrics, where)
        for name, where in chosen.items()
    }
    return RunTables(table, suites, chosen)


def _rows_by_suite(table: Table) -> dict[str, Rows]:
    suite = table.labels("suite")
    if len(suite.names) == 1:
        return {suite.names[0]: slice(None)}
    return {name: np.flatnonzero(suite.codes == code) for code, name in enumerate(suite.names)}


def _item_codes(
    table: Table, rows: Mapping[str, Rows], listed: Mapping[str, ItemTable]
) -> dict[str, NDArray[np.int32]]:
    """By suite the row of each sample's item in the suite's table."""
    names = {name: None for items in listed.values() for name in items.name}
    labels = table.labels("item", names)
    known = {name: number for number, name in enumerate(labels.names)}
    found = {}
    for suite, places in rows.items():
        homes = np.full(len(known), -1, dtype=np.int32)
        homes[[known[name] for name in listed[suite].name]] = np.arange(len(listed[suite]))
        codes = homes[labels.codes[places]]
        if (codes < 0).any():
            absent = labels.names[labels.codes[places][int(codes.argmin())]]
            raise RunError(f"{table.path}: names {absent!r}, which the items do not: {AGAIN}")
        found[suite] = codes
    return found


def _metrics(table: Table) -> dict[int, dict[str, float]]:
    """The metrics of the rows that have some."""
    found: dict[int, dict[str, float]] = {}
    for start, piece in table.pieces("metrics"):
        if piece.null_count < len(piece):
            found |= {row: dict(said) for row, said in enumerate(piece.to_pylist(), start) if said}
    return found


def _suite_rows(samples: Samples, metrics: Mapping[int, Mapping[str, float]], rows: Rows) -> SuiteRows:
    options: dict[tuple[str, int], tuple[float, ...]] = {}
    second: dict[tuple[str, int], float] = {}
    p_gold: dict[tuple[str, int], float] = {}
    gradings, variance = 0, 0.0
    numbers = range(len(samples)) if isinstance(rows, slice) else rows.tolist()
    for place, number in enumerate(numbers) if metrics else ():
        said = metrics.get(number, {})
        cell = samples.items.name[samples.item[place]], int(samples.repeat[place])
        if "logprob_A" in said:
            options[cell] = tuple(said[name] for name in sorted(said) if name.startswith("logprob_"))
        for name, column in (("judge_second", second), ("p_gold", p_gold)):
            if name in said:
                column[cell] = said[name]
        gradings = max(gradings, int(said.get("judge_repeats", 0)))
        variance += said.get("judge_variance", 0.0)
    valued = ~np.isnan(samples.value)
    unanswered = samples.status.mask(Status.FAILED, Status.NOT_ASKED) & ~valued
    unjudged = samples.status.mask(Status.GRADE_ERROR) & samples.reason.mask("unjudged") & ~valued
    return SuiteRows(samples, options, second, p_gold, int(unanswered.sum()), int(unjudged.sum()), gradings, variance)
