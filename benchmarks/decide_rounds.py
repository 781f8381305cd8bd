"""What rounds save, and what they cost in errors: `python benchmarks/decide_rounds.py [CELL...] --comparisons N`.

Seeded. Both sides of flagrelease-text are asked anew. Every comparison draws its answers, and which items of MMLU come
in which round, and looks at them as `evalkit compare` does: rounds, levels and the look before the first round are
those of `evalkit.rounds`, weights, clusters and strata those of the suites, `stops` is the rule that ends it. The
first comparison of each cell is looked at by that module too, from score tables, and must end alike. Tokens are those
of a side, at the lengths of `decide_bank.py`; "against all at once" holds them against the design without rounds that
passes equal stacks as often, between the sizes of the rounds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from decide import as_table
from decide_bank import ITEMS
from simulation import beta_means

import evalkit
from evalkit.compare.columns import Side
from evalkit.examine import simulating
from evalkit.examine.looking import Stops, p_values, stops
from evalkit.examine.priors import shape_of
from evalkit.judging import Case
from evalkit.model import Verdict
from evalkit.options import JudgeOptions
from evalkit.parts import FAST_ITEMS, LARGE, Design, Part, items_of
from evalkit.rounds import FAST_ALPHA, Schedule, Walk, fast_evidence, schedule
from evalkit.stats.paired import BoolArray, FloatArray, IntArray
from evalkit.tasks.suites import find_pack

PACK: Final = find_pack("flagrelease-text")
REPEATS: Final = {one.name: one.repeats or 1 for one in PACK.suites}
MARGINS: Final = {one.name: (one.margin_pt or 0.0) / 100 for one in PACK.suites}
OVERALL: Final = (PACK.overall.margin_pt if PACK.overall else 2.0) / 100
ALPHA: Final = 0.05
_ROWS: Final = 25  # comparisons drawn together: the first items of a small suite are the same for all of them
SHAPES: Final = {name: shape_of(name, ITEMS[name][0]) for name in REPEATS}
TOKENS: Final = np.array([ITEMS[name][1] for name in REPEATS])
SIZES: Final = {
    name: (
        items_of([(f"{name}-{number:05}", (), None) for number in range(ITEMS[name][0])]),
        np.full(ITEMS[name][0], repeats),
    )
    for name, repeats in REPEATS.items()
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What every suite, or one of them, loses in points, and how alike repeats are."""

    all_pt: float = 0.0
    one_pt: Mapping[str, float] = field(default_factory=dict)
    icc: float = 0.6


CELLS: Final = {
    "identical": Cell(),
    "identical, ICC .75": Cell(icc=0.75),
    "all at -margin": Cell(-1.5),
    "GPQA at -guard": Cell(one_pt={"gpqa_pooled": -4}),
    "MMLU at -guard": Cell(one_pt={"mmlu_gen_5shot": -4}),
    "MuSR at -guard": Cell(one_pt={"musr": -4}),
    "all 1 worse": Cell(-1),
    "all 2 worse": Cell(-2),
    "all 5 worse": Cell(-5),
    "all 30 worse": Cell(-30),
    "MuSR alone 40 worse": Cell(one_pt={"musr": -40}),
}


class Drawn(NamedTuple):
    """One side's answers to a suite in many comparisons: the first one right or not, right ones by each look.

    Both have a row a comparison and a column an item: those of a cluster side by side, and where blocks of items are
    asked, in the order in which they come.
    """

    first: BoolArray
    right: list[IntArray]


class Seen(NamedTuple):
    """P-values at every look, each (looks, rows, comparisons), and what the first items say, (suites, comparisons)."""

    p_tost: FloatArray
    p_alarm: FloatArray
    evidence: FloatArray

    @property
    def fast(self) -> BoolArray:
        """Which comparisons end before the first round."""
        return np.asarray(self.evidence.max(axis=0) * FAST_ALPHA >= len(REPEATS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    fixed: dict[float, float] = {}
    print(f"| cell | comparisons | EQUIVALENT | DEGRADED | {' | '.join(HEADS)} |")
    print(f"| :-- | --: | --: | --: |{' --: |' * len(HEADS)}")
    for name in options.cells or CELLS:
        cells = told(CELLS[name], options.comparisons, options.seed, fixed)
        print(f"| {name} | {options.comparisons:,} | {' | '.join(cells)} |", flush=True)


HEADS: Final = ("before round 1", "looks", "M tokens a side", "against all at once")


def told(cell: Cell, comparisons: int, seed: int, fixed: dict[float, float]) -> list[str]:
    """A cell's numbers: EQUIVALENT, DEGRADED and `HEADS`; `fixed` keeps the tokens of the fixed design by ICC."""
    seen, steps = simulated(cell, comparisons, seed), schedule(Design(PACK.rounds, seed, fast=True), SIZES)
    ended, tokens = ends(seen, steps)
    if cell.icc not in fixed:
        equal = seen if cell == Cell(icc=cell.icc) else simulated(Cell(icc=cell.icc), 400, seed)
        fixed[cell.icc] = fixed_tokens(equal, steps)
    shares = [ended.equivalent & ~seen.fast, ended.alarms.any(axis=0) | seen.fast, seen.fast]
    looks, mean = np.where(seen.fast, 0, ended.asked.max(axis=0)).mean(), tokens.mean()
    cost = [f"{looks:.1f}", f"{mean / 1e6:.1f}", f"{mean / fixed[cell.icc]:.2f}"]
    return [*(f"{100 * one.mean():.1f}" for one in shares), *cost]


def simulated(cell: Cell, comparisons: int, seed: int) -> Seen:
    """So many comparisons of the cell; the first ends as `evalkit.rounds` ends it."""
    rng, found = np.random.default_rng(seed), []
    steps = schedule(Design(PACK.rounds, seed, fast=True), SIZES)
    for start in range(0, comparisons, _ROWS):
        drawn = _drawn(cell, steps, min(_ROWS, comparisons - start), rng)
        found.append(_seen(drawn, steps, SHAPES))
        if start == 0:
            _held_against_the_judge(drawn, steps)
    return Seen(*(np.concatenate(part, axis=-1) for part in zip(*found, strict=True)))


def ends(seen: Seen, steps: Schedule) -> tuple[Stops, FloatArray]:
    """How comparisons end that go beyond the first items, and the tokens of a side of all."""
    ended = stops(seen.p_tost, seen.p_alarm, steps.levels(ALPHA))
    first = float(TOKENS @ np.minimum(FAST_ITEMS, [size[1].size for size in SIZES.values()]))
    tokens = TOKENS @ steps.samples[ended.asked - 1, np.arange(len(REPEATS))[:, None]]
    return ended, np.where(seen.fast, first, tokens)


def fixed_tokens(seen: Seen, steps: Schedule) -> float:
    """Tokens of a side of the design that passes at one look as often as these comparisons do in rounds.

    Between the sizes of the looks the quantile of the chance is taken to be straight over the root of the tokens.
    """
    normal, (ended, _tokens) = NormalDist(), ends(seen, steps)
    shares = [(ended.equivalent & ~seen.fast).mean(), *(seen.p_tost <= ALPHA).all(axis=1).mean(axis=1)]
    wanted, *passes = (normal.inv_cdf(min(0.999, max(0.001, float(share)))) for share in shares)
    return float(np.interp(wanted, passes, np.sqrt(steps.samples @ TOKENS))) ** 2


def _drawn(cell: Cell, steps: Schedule, size: int, rng: np.random.Generator) -> dict[str, tuple[Drawn, Drawn]]:
    """The answers of both sides by suite; where blocks of items are asked, each comparison has an order of its own."""
    drawn = {}
    for number, name in enumerate(REPEATS):
        shape = SHAPES[name]
        p = np.repeat(rng.permutation(beta_means(0.6, cell.icc, shape.items.size)), shape.items)
        chances = np.tile(p, (size, 1))
        if p.size >= LARGE:
            chances = rng.permuted(chances, axis=1)
        mean = float(p @ np.repeat(shape.share / shape.items, shape.items))
        loss = (cell.all_pt + cell.one_pt.get(name, 0.0)) / 100
        repeats = np.maximum(1, steps.samples[:, number] // p.size)
        sides = [_answers(q, repeats, rng) for q in (chances, np.maximum(0.0, chances * (1 + loss / mean)))]
        drawn[name] = sides[0], sides[1]
    return drawn


def _answers(chances: FloatArray, repeats: IntArray, rng: np.random.Generator) -> Drawn:
    first = rng.random(chances.shape) < chances
    right = [first + (rng.binomial(repeats[0] - 1, chances) if repeats[0] > 1 else 0)]
    for more in np.diff(repeats).tolist():
        right.append(right[-1] + (rng.binomial(more, chances) if more else 0))
    return Drawn(first, right)


def _seen(drawn: Mapping[str, tuple[Drawn, Drawn]], steps: Schedule, shapes: Mapping[str, simulating.Shape]) -> Seen:
    looks, tost = [], []
    for look in range(len(steps.rounds)):
        asked = steps.samples[look].tolist()
        rows = [_row(name, shapes[name], drawn[name], look, n) for name, n in zip(REPEATS, asked, strict=True)]
        rows.append(simulating.mean_row(rows, simulating.Gate({}, OVERALL, ALPHA)))
        looks.append(rows)
        tost.append([row.p_tost(np.ones(row.decision.size, np.bool_)) for row in rows])
    alarm = p_values(looks, steps.levels(ALPHA))[1]
    evidence = [_first(shapes[name], *two, MARGINS[name]) for name, two in drawn.items()]
    return Seen(np.array(tost), alarm, np.array(evidence))


def _first(shape: simulating.Shape, one: Drawn, two: Drawn, margin: float) -> list[float]:
    """What the first items say of each comparison: nothing where items do not weigh the same."""
    each = shape.share / shape.items
    if not np.allclose(each, each[0]):
        return [0.0] * len(one.first)
    return [fast_evidence(part, margin) for part in two.first[:, :FAST_ITEMS] * 1.0 - one.first[:, :FAST_ITEMS]]


def _row(name: str, shape: simulating.Shape, sides: tuple[Drawn, Drawn], look: int, samples: int) -> simulating.Row:
    n = ITEMS[name][0]
    repeats = max(1, samples // n)
    if samples < n:
        shape = simulating.Shape.plain(samples)
    starts = np.cumsum(shape.items) - shape.items
    right = [np.add.reduceat(side.right[look][:, : min(n, samples)], starts, axis=1) for side in sides]
    empty = np.empty(starts.size)
    world = simulating.World(shape, empty, empty, (repeats, repeats), MARGINS[name])
    k = np.broadcast_to(repeats * shape.items, right[0].shape)
    drawn = simulating.Drawn((right[0], right[1]), (k, k))
    return simulating.test_row(simulating.cases(world, drawn)[0], MARGINS[name], ALPHA)


def _held_against_the_judge(drawn: Mapping[str, tuple[Drawn, Drawn]], steps: Schedule) -> None:
    """Has `evalkit.rounds` look at the first comparison's answers, as score tables, and compares how both end.

    A table has no weights, and counts strata alike.
    """
    seen = _seen(drawn, steps, {name: as_table(shape) for name, shape in SHAPES.items()})
    tables = [pd.concat([_table(name, two[at], steps) for name, two in drawn.items()]) for at in range(2)]
    options = JudgeOptions(pack=PACK.name, flips=0)
    whole = evalkit.judge(tables[0], tables[1], options).sides
    assert whole is not None

    def at(part: Part) -> Case:
        return Case((_part_of(whole[0], part), _part_of(whole[1], part)), (), Path())

    told = Walk(steps, options).result(at).comparison
    ended, fast = ends(seen, steps)[0], bool(seen.fast[0])
    alarmed = bool(ended.alarms[:, 0].any()) or fast
    passed = bool(ended.equivalent[0]) and not fast
    assert told.rounds is not None
    assert (told.verdict is Verdict.DEGRADED, told.verdict is Verdict.EQUIVALENT) == (alarmed, passed), told.verdict
    assert told.rounds.look == (0 if fast else ended.asked[:, 0].max()), (told.rounds, ended.asked[:, 0])


def _table(name: str, side: Drawn, steps: Schedule) -> pd.DataFrame:
    """One side's answers to a suite in the first comparison, items by their place in the order of the design."""
    items, most = SIZES[name][0], REPEATS[name]
    parts = [Part(steps.design, {name: number}) for number in range(PACK.rounds + 1)]
    order = np.argsort(-np.sum([part.repeats(name, *SIZES[name]) for part in parts], axis=0), kind="stable")
    if SHAPES[name].stratum.any():  # the first items are of all strata, and weigh differently
        order = np.arange(order.size)
    score = np.zeros((len(items.names), most))
    before = 0
    for look, number in enumerate(steps.rounds):
        repeats = most if ITEMS[name][0] >= LARGE else math.ceil(most * number / PACK.rounds)
        came = side.right[look][0] - (side.right[look - 1][0] if look and repeats > before else 0)
        if repeats > before:
            if before == 0:
                score[:, 0], came, before = side.first[0], came - side.first[0], 1
            score[:, before:repeats] = np.arange(repeats - before) < came[:, None]
            before = repeats
    names, repeat = np.repeat(np.array(items.names)[order], most), np.tile(np.arange(most), len(order))
    table = pd.DataFrame({"suite": name, "item": names, "repeat": repeat, "score": score.ravel()})
    shape = SHAPES[name]
    cluster = np.repeat(np.repeat(np.arange(shape.items.size), shape.items), most)
    if np.any(shape.items > 1):
        table["cluster"] = [f"{name}-{number}" for number in cluster.tolist()]
    return table.assign(stratum=shape.stratum[cluster].astype(str)) if shape.stratum.any() else table


def _part_of(side: Side, part: Part) -> Side:
    suites = {}
    for name, one in side.suites.items():
        place = {item: number for number, item in enumerate(SIZES[name][0].names)}
        due = part.repeats(name, *SIZES[name])[[place[item] for item in one.samples.items.name]]
        rows = np.flatnonzero(one.samples.repeat < due[one.samples.item])
        suites[name] = replace(one, samples=one.samples.rows(rows))
    return replace(side, suites=suites)


if __name__ == "__main__":
    main()
