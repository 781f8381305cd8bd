"""How often a night is red: `python benchmarks/nights.py [CELL...] --comparisons N`, by the rule of `--rerun-on-fail`.

Seeded. A bank of 16 repeats is drawn for each night, and the candidate as the pack asks it; a night that is not
EQUIVALENT is asked again and judged by all its answers, through the functions that `evalkit compare` calls. The chances
of items are those of benchmarks/decide.py (Beta, mean 0.6); a loss takes from each item in proportion to what it has.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from simulation import beta_means

import evalkit
from evalkit import nights
from evalkit.compare.columns import Side
from evalkit.compare.judge import compare
from evalkit.judging import policy
from evalkit.model import Comparison, Verdict
from evalkit.options import JudgeOptions
from evalkit.stats.paired import FloatArray
from evalkit.tasks.suites import find_pack

ITEMS: Final = {"mmlu_gen_5shot_lite": 1430, "musr": 756, "gpqa_diamond": 198, "theoremqa": 800, "livebench": 1000}
MEAN: Final = 0.6
BANK: Final = 16
PACK: Final = "nightly"
ALPHA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Cell:
    """A truth: what every suite loses in points, and how alike repeats are."""

    all_pt: float = 0.0
    icc: float = 0.6


CELLS: Final = {
    "identical": Cell(),
    "identical, ICC .75": Cell(icc=0.75),
    "all at -margin": Cell(all_pt=-2),
    "all 3 worse": Cell(all_pt=-3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated nights for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    heads = ("red", "asked again", *(verdict.value for verdict in Verdict))
    print(f"| cell | nights | {' | '.join(heads)} |\n| :-- | --: |{' --: |' * len(heads)}")
    for name in options.cells or CELLS:
        found: Counter[str] = Counter()
        for looks in simulated(CELLS[name], options.comparisons, options.seed):
            found[looks[-1].verdict.value] += 1
            found["red"] += looks[-1].exit_code != 0
            found["asked again"] += len(looks) > 1
        shares = (f"{100 * found[head] / options.comparisons:.1f}" for head in heads)
        print(f"| {name} | {options.comparisons:,} | {' | '.join(shares)} |", flush=True)


def simulated(cell: Cell, comparisons: int, seed: int) -> Iterator[list[Comparison]]:
    """So many nights: the one or two looks at each."""
    rng, pack = np.random.default_rng(seed), find_pack(PACK)
    asked = {one.name: (_items(one.name, one.limit), one.repeats or 1) for one in pack.suites}
    bank = {name: _chances(n, BANK, cell.icc, 0.0) for name, (n, _k) in asked.items()}
    night = {name: _chances(n, k, cell.icc, cell.all_pt) for name, (n, k) in asked.items()}
    told = evalkit.judge(_table(bank, rng), _table(night, rng), JudgeOptions(pack=PACK, flips=0))
    assert told.sides is not None
    levels = [policy(JudgeOptions(pack=PACK, flips=0, alpha=alpha)) for alpha in nights.alphas(ALPHA)]
    for _ in range(comparisons):
        reference, first = _drawn(told.sides[0], bank, rng), _drawn(told.sides[1], night, rng)
        looks = [compare(reference, first, levels[0], "")]
        if suites := nights.to_confirm(looks[0]):
            second = _drawn(told.sides[1], {name: night[name] for name in suites}, rng)
            looks.append(compare(reference, nights.joined(first, second), levels[1], ""))
        yield looks


def _items(name: str, limit: int | None) -> int:
    return min(ITEMS[name], limit or ITEMS[name])


def _chances(items: int, repeats: int, icc: float, loss_pt: float) -> FloatArray:
    p = beta_means(MEAN, icc, items)
    return np.repeat((p * (1 + loss_pt / 100 / p.mean()))[:, None], repeats, axis=1)


def _table(chances: Mapping[str, FloatArray], rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for name, p in chances.items():
        items = np.repeat([f"{name}-{number:05}" for number in range(p.shape[0])], p.shape[1])
        score = (rng.random(p.size) < p.ravel()).astype(np.float64)
        repeat = np.tile(np.arange(p.shape[1]), p.shape[0])
        rows.append(pd.DataFrame({"suite": name, "item": items, "repeat": repeat, "score": score}))
    return pd.concat(rows, ignore_index=True)


def _drawn(side: Side, chances: Mapping[str, FloatArray], rng: np.random.Generator) -> Side:
    """The side with new answers to these suites alone."""
    suites = {}
    for name, p in chances.items():
        value = (rng.random(p.size) < p.ravel()).astype(np.float64)
        suites[name] = replace(side.suites[name], samples=replace(side.suites[name].samples, value=value))
    return replace(side, suites=suites)


if __name__ == "__main__":
    main()
