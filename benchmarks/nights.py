"""How often a night is red: `python benchmarks/nights.py [CELL...] --comparisons N`, by the rule of `--rerun-on-fail`.

Seeded. A bank of 16 repeats is drawn for each night, and the candidate as the pack asks it; a night that is not
EQUIVALENT is asked again and judged by all its answers, at the levels of `evalkit.nights`. Nights are simulated as
`plan` simulates comparisons; the first of a cell also go through the functions that `evalkit compare` calls, and must
get the same verdicts. The chances of items are those of benchmarks/decide.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from simulation import beta_means

import evalkit
from evalkit import nights
from evalkit.compare.columns import Side
from evalkit.compare.judge import compare
from evalkit.examine.simulating import Drawn, Gate, Shape, World, draws, judge
from evalkit.judging import policy
from evalkit.model import DEFAULT_MARGIN_PT, Verdict
from evalkit.options import JudgeOptions
from evalkit.stats.paired import BoolArray, FloatArray
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


class Night(NamedTuple):
    """What many nights came to: the last look's verdicts, and which nights were looked at twice."""

    verdict: NDArray[np.object_]
    twice: BoolArray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    parser.add_argument("--comparisons", type=int, default=4000, help="simulated nights for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    heads = ("red", "asked again", *(verdict.value for verdict in Verdict))
    print(f"| cell | nights | {' | '.join(heads)} |\n| :-- | --: |{' --: |' * len(heads)}")
    for name in options.cells or CELLS:
        made = simulated(CELLS[name], options.comparisons, options.seed)
        found = [np.mean(made.verdict != Verdict.EQUIVALENT), np.mean(made.twice)]
        found += [np.mean(made.verdict == verdict) for verdict in Verdict]
        print(
            f"| {name} | {options.comparisons:,} | {' | '.join(f'{100 * share:.1f}' for share in found)} |", flush=True
        )


def gate_of(cell: Cell) -> Gate:
    """The pack against the bank, the candidate as often as the pack asks."""
    pack, suites = find_pack(PACK), {}
    for one in pack.suites:
        p = beta_means(MEAN, cell.icc, min(ITEMS[one.name], one.limit or ITEMS[one.name]))
        worse = p * (1 + cell.all_pt / 100 / p.mean())
        margin = (one.margin_pt or DEFAULT_MARGIN_PT) / 100
        suites[one.name] = World(Shape.plain(p.size), p, worse, (BANK, one.repeats or 1), margin)
    overall = DEFAULT_MARGIN_PT if pack.overall is None else pack.overall.margin_pt
    return Gate(suites, overall / 100, ALPHA)


def simulated(cell: Cell, comparisons: int, seed: int) -> Night:
    """So many nights."""
    gate, (one, two) = gate_of(cell), nights.alphas(ALPHA)
    parts: list[Night] = []
    for first, again in zip(draws(gate, comparisons, seed), draws(gate, comparisons, seed + 1), strict=True):
        looked = judge(replace(gate, alpha=one), first)
        open_mean = looked.mean != Verdict.EQUIVALENT
        asked = {name: open_mean | (verdict != Verdict.EQUIVALENT) for name, verdict in looked.suites.items()}
        joined = {name: _joined(first[name], again[name], asked[name]) for name in first}
        often = {name: replace(world, repeats=(BANK, 2 * world.repeats[1])) for name, world in gate.suites.items()}
        confirmed = judge(replace(gate, suites=often, alpha=two), joined)
        twice = looked.overall != Verdict.EQUIVALENT
        parts.append(Night(np.where(twice, confirmed.overall, looked.overall), twice))
        if len(parts) == 1:
            _held(gate, (first, again), parts[0])
    return Night(np.concatenate([part.verdict for part in parts]), np.concatenate([part.twice for part in parts]))


def _joined(first: Drawn, again: Drawn, asked: BoolArray) -> Drawn:
    """The candidate's answers of both runs, where the suite was asked again, against the same reference."""
    more = asked[:, None]
    right, answered = (
        one[1] + two[1] * more for one, two in ((first.right, again.right), (first.answered, again.answered))
    )
    return Drawn((first.right[0], right), (first.answered[0], answered))


# ---------------------------------------------------------------- the same nights by the functions that judge


def _held(gate: Gate, drawn: tuple[Mapping[str, Drawn], Mapping[str, Drawn]], made: Night, most: int = 2) -> None:
    """Holds the first nights that end either way against what a comparison of their answers says."""
    for verdict in (made.twice, ~made.twice):
        for night in np.flatnonzero(verdict)[:most].tolist():
            bank, first = (_table(gate, drawn[0], side, night) for side in (0, 1))
            again = _table(gate, drawn[1], 1, night)
            assert _night(bank, first, again) == made.verdict[night], night


def _night(bank: pd.DataFrame, first: pd.DataFrame, again: pd.DataFrame) -> Verdict:
    levels = [JudgeOptions(pack=PACK, flips=0, alpha=alpha) for alpha in nights.alphas(ALPHA)]
    looked = evalkit.judge(bank, first, levels[0])
    suites = nights.to_confirm(looked.value)
    if not suites:
        return looked.verdict
    second = evalkit.judge(bank, again, levels[1]).sides
    assert looked.sides is not None
    assert second is not None
    chosen: Side = replace(second[1], suites={name: second[1].suites[name] for name in suites})
    return compare(looked.sides[0], nights.joined(looked.sides[1], chosen), policy(levels[1]), "").verdict


def _table(gate: Gate, drawn: Mapping[str, Drawn], side: int, night: int) -> pd.DataFrame:
    rows = []
    for name, world in gate.suites.items():
        k, right = world.repeats[side], drawn[name].right[side][night]
        items = np.repeat([f"{name}-{number:05}" for number in range(right.size)], k)
        repeat = np.tile(np.arange(k), right.size)
        score: FloatArray = (repeat < np.repeat(right, k)).astype(np.float64)
        rows.append(pd.DataFrame({"suite": name, "item": items, "repeat": repeat, "score": score}))
    return pd.concat(rows, ignore_index=True)


if __name__ == "__main__":
    main()
