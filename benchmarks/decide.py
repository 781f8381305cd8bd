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
from simulation import beta_means

import evalkit
from evalkit.compare.columns import Side
from evalkit.compare.judge import compare
from evalkit.config.suite import Pack
from evalkit.judging import policy
from evalkit.model import Comparison, Verdict
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
    """A truth: what every suite, or one of them, loses in points, how alike repeats are, and what fails for good."""

    pack: str
    icc: float = 0.6
    all_pt: float = 0.0
    one_pt: Mapping[str, float] = field(default_factory=dict)
    failed: float = 0.0


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
    print(f"| cell | comparisons | {' | '.join(Verdict)} |\n| :-- | --: |{' --: |' * len(Verdict)}")
    for name in options.cells or CELLS:
        found = Counter(one.verdict for one in simulated(CELLS[name], options.comparisons, options.seed))
        shares = (f"{100 * found[verdict] / options.comparisons:.1f}" for verdict in Verdict)
        print(f"| {name} | {options.comparisons:,} | {' | '.join(shares)} |", flush=True)


def simulated(cell: Cell, comparisons: int, seed: int) -> Iterator[Comparison]:
    """So many comparisons of the cell's pack."""
    rng, pack = np.random.default_rng(seed), find_pack(cell.pack)
    chances = [_chances(pack, cell, candidate=side == 1) for side in range(2)]
    tables = [pd.concat([_rows(name, p) for name, p in side.items()], ignore_index=True) for side in chances]
    options = JudgeOptions(pack=cell.pack, flips=0)
    sides: tuple[Side, Side] | None = None
    for _ in range(comparisons):
        scores = [_drawn(np.concatenate([p.ravel() for p in side.values()]), cell.failed, rng) for side in chances]
        if sides is None:
            told = evalkit.judge(*(table.assign(score=s) for table, s in zip(tables, scores, strict=True)), options)
            assert told.sides is not None
            sides = told.sides
            made = _judged(sides, chances, scores, options)
            assert (made.verdict, made.macro) == (told.value.verdict, told.value.macro)
            yield made
        else:
            yield _judged(sides, chances, scores, options)


def _judged(
    sides: tuple[Side, Side],
    chances: list[dict[str, FloatArray]],
    scores: list[FloatArray],
    options: JudgeOptions,
) -> Comparison:
    """The comparison of the two sides with other scores."""
    one, two = (_with(side, shape, score) for side, shape, score in zip(sides, chances, scores, strict=True))
    return compare(one, two, policy(options), "")


def _with(side: Side, shape: Mapping[str, FloatArray], scores: FloatArray) -> Side:
    suites, ends = {}, np.cumsum([p.size for p in shape.values()])
    for name, part in zip(shape, np.split(scores, ends[:-1]), strict=True):
        suites[name] = replace(side.suites[name], samples=replace(side.suites[name].samples, value=part))
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


def _drawn(p: FloatArray, failed: float, rng: np.random.Generator) -> FloatArray:
    score = (rng.random(p.size) < p).astype(np.float64)
    score[rng.random(p.size) < failed] = np.nan
    return score


if __name__ == "__main__":
    main()
