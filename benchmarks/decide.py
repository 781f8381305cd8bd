"""How often a pack's gate answers, and how often wrongly: `python benchmarks/decide.py [CELL...] --comparisons N`.

Seeded. Score tables with a known truth go through `evalkit.judge`; as reading 50,000 rows takes longer than judging
them, they are read once and only their scores are drawn anew, and the first comparison of each cell is held against
what `evalkit.judge` says of the same tables. Item chances come from a Beta distribution with mean 0.6; a loss takes
from each item in proportion to what it has, and every comparison asks the same items.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from simulation import beta_means

import evalkit
from evalkit.compare.columns import Labels, Side
from evalkit.compare.judge import compare
from evalkit.config.suite import Pack
from evalkit.judging import policy
from evalkit.model import Comparison, Status, Verdict
from evalkit.options import JudgeOptions
from evalkit.stats.paired import FloatArray
from evalkit.tasks.suites import find_pack

ITEMS: Final = {
    "aime24": 30,
    "gpqa_pooled": 546,  # distinct questions: copies add no evidence
    "livebench": 1000,
    "mmlu_gen_5shot": 14042,
    "musr": 756,
    "theoremqa": 800,
    "mmlu_gen_5shot_lite": 1430,
    "gpqa_diamond": 198,
}
MEAN: Final = 0.6


@dataclass(frozen=True, slots=True)
class Cell:
    """A truth: what every suite, or one of them, loses in points, how alike repeats are, and what fails for good.

    With `unlike` answers are also cut, empty, refused, unreadable or in the reasoning channel, on both sides alike.
    """

    pack: str
    icc: float = 0.6
    all_pt: float = 0.0
    one_pt: Mapping[str, float] = field(default_factory=dict)
    failed: float = 0.0
    unlike: bool = False


STATUSES: Final = {
    Status.TRUNCATED: 0.1,
    Status.REASONING_ONLY: 0.02,
    Status.NO_ANSWER: 0.03,
    Status.REFUSED: 0.01,
    Status.EMPTY: 0.01,
}
"""Mean rates over items where answers are `unlike`; items differ by a Beta distribution of ICC 0.3."""


CELLS: Final = {
    "text, identical": Cell("flagrelease-text"),
    "text, identical, ICC .75": Cell("flagrelease-text", icc=0.75),
    "text, all 1 worse": Cell("flagrelease-text", all_pt=-1),
    "text, all at -margin": Cell("flagrelease-text", all_pt=-1.5),
    "text, all 2 worse": Cell("flagrelease-text", all_pt=-2),
    "text, all 5 worse": Cell("flagrelease-text", all_pt=-5),
    "text, GPQA at -guard": Cell("flagrelease-text", one_pt={"gpqa_pooled": -4}),
    "text, MuSR at -guard": Cell("flagrelease-text", one_pt={"musr": -4}),
    "text, identical, .1 % a side fail": Cell("flagrelease-text", failed=0.001),
    "text, identical, with rates": Cell("flagrelease-text", unlike=True),
    "nightly, identical": Cell("nightly"),
    "nightly, all at -margin": Cell("nightly", all_pt=-2),
    "nightly, all 3 worse": Cell("nightly", all_pt=-3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    heads = (*(verdict.value for verdict in Verdict), "an alert beside accuracy")
    print(f"| cell | comparisons | {' | '.join(heads)} |\n| :-- | --: |{' --: |' * len(heads)}")
    for name in options.cells or CELLS:
        found: Counter[str] = Counter()
        for one in simulated(CELLS[name], options.comparisons, options.seed):
            found[one.verdict.value] += 1
            found[heads[-1]] += any(row.alert for suite in one.suites for row in suite.behaviour)
        shares = (f"{100 * found[head] / options.comparisons:.1f}" for head in heads)
        print(f"| {name} | {options.comparisons:,} | {' | '.join(shares)} |", flush=True)


def simulated(cell: Cell, comparisons: int, seed: int) -> Iterator[Comparison]:
    """So many comparisons of the cell's pack."""
    rng, pack = np.random.default_rng(seed), find_pack(cell.pack)
    truths = [_chances(pack, cell, candidate=side == 1) for side in range(2)]
    tables = [pd.concat([_rows(name, p) for name, p in truth.items()], ignore_index=True) for truth in truths]
    rates = _rates(truths[0], rng) if cell.unlike else None
    options = JudgeOptions(pack=cell.pack, flips=0)
    sides: tuple[Side, Side] | None = None
    for _ in range(comparisons):
        drawn = [_drawn(truth, cell.failed, rates, rng) for truth in truths]
        if sides is None:
            said = [t.assign(score=d.score, status=d.words()) for t, d in zip(tables, drawn, strict=True)]
            told = evalkit.judge(said[0], said[1], options)
            assert told.sides is not None
            sides = told.sides
            made = _judged(sides, truths, drawn, options)
            assert (made.verdict, made.macro) == (told.value.verdict, told.value.macro)
            yield made
        else:
            yield _judged(sides, truths, drawn, options)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came back for each row of a table; `status` counts through `WORDS`."""

    score: FloatArray
    status: NDArray[np.int32]

    def words(self) -> list[str]:
        """The statuses as a table says them."""
        return [WORDS[code] for code in self.status.tolist()]


WORDS: Final = (Status.SCORED.value, Status.FAILED.value, *(status.value for status in STATUSES))


def _judged(
    sides: tuple[Side, Side], truths: list[dict[str, FloatArray]], drawn: list[Drawn], options: JudgeOptions
) -> Comparison:
    """The comparison of the two sides with other answers."""
    one, two = (_with(side, truth, came) for side, truth, came in zip(sides, truths, drawn, strict=True))
    return compare(one, two, policy(options), "")


def _with(side: Side, truth: Mapping[str, FloatArray], drawn: Drawn) -> Side:
    suites, ends = {}, np.cumsum([p.size for p in truth.values()])[:-1]
    for name, score, status in zip(truth, np.split(drawn.score, ends), np.split(drawn.status, ends), strict=True):
        samples, labels = side.suites[name].samples, Labels(status, WORDS)
        samples = replace(samples, value=score, status=labels, truncated=labels.mask(Status.TRUNCATED))
        suites[name] = replace(side.suites[name], samples=samples)
    return replace(side, suites=suites)


def _chances(pack: Pack, cell: Cell, *, candidate: bool) -> dict[str, FloatArray]:
    """The chance of a right answer by suite: a row an item, a column a repeat."""
    found = {}
    for one in pack.suites:
        p = beta_means(MEAN, cell.icc, ITEMS[one.name])
        loss = (cell.all_pt + cell.one_pt.get(one.name, 0.0)) / 100 if candidate else 0.0
        found[one.name] = np.repeat((p * (1 + loss / p.mean()))[:, None], one.repeats or 1, axis=1)
    return found


def _rows(name: str, p: FloatArray) -> pd.DataFrame:
    n, k = p.shape
    return pd.DataFrame(
        {
            "suite": name,
            "item": np.repeat([f"{name}-{number:05}" for number in range(n)], k),
            "repeat": np.tile(np.arange(k), n),
        }
    )


def _rates(truth: Mapping[str, FloatArray], rng: np.random.Generator) -> FloatArray:
    """By row, the chances of the statuses up to each: an item's own, the same for all its repeats and both sides."""
    spread, found = 1 / 0.3 - 1, []
    for p in truth.values():
        items = np.stack([rng.beta(rate * spread, (1 - rate) * spread, p.shape[0]) for rate in STATUSES.values()])
        found.append(np.repeat(items / np.maximum(1.0, items.sum(axis=0)), p.shape[1], axis=1))
    return np.cumsum(np.concatenate(found, axis=1), axis=0)


def _drawn(truth: Mapping[str, FloatArray], failed: float, rates: FloatArray | None, rng: np.random.Generator) -> Drawn:
    p = np.concatenate([chances.ravel() for chances in truth.values()])
    score = (rng.random(p.size) < p).astype(np.float64)
    status = np.zeros(p.size, dtype=np.int32)
    if rates is not None:
        place = (rng.random(p.size) >= rates).sum(axis=0)
        status = np.where(place < len(STATUSES), place + 2, 0).astype(np.int32)
        score[status > 0] = 0.0
    lost = rng.random(p.size) < failed
    score[lost], status[lost] = np.nan, 1
    return Drawn(score, status)


if __name__ == "__main__":
    main()
