"""What a stored bank saves a candidate, and what it costs in errors: `python benchmarks/decide_bank.py [CELL...]`.

Seeded. Of flagrelease-text's suites a bank holds sixteen answers an item; the bank is drawn anew for each comparison, a
candidate is asked a design's repeats of every item, or by item as `bank:` allots them, and both are judged by the rule
of a pack. The first comparison of each cell is held against what `evalkit.judge` says of the same answers as tables.
Tokens are the candidate's, at 9,728 an answer of AIME, 8,192 of GPQA, LiveBench and MuSR, 4,096 of TheoremQA and 512 of
MMLU.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
from simulation import beta_means

import evalkit
from evalkit.model import Verdict
from evalkit.options import JudgeOptions
from evalkit.stats.allocation import cheapest_repeats, steadied_variance
from evalkit.stats.methods import DifferenceTest, judge_difference
from evalkit.stats.multiplicity import holm, macro_test
from evalkit.stats.paired import FloatArray, IntArray, PairedItems
from evalkit.tasks.suites import find_pack

BANK: Final = 16
ALPHA: Final = 0.05
ITEMS: Final = {
    "aime24": (30, 9728),
    "gpqa_pooled": (546, 8192),
    "livebench": (1000, 8192),
    "mmlu_gen_5shot": (14042, 512),
    "musr": (756, 8192),
    "theoremqa": (800, 4096),
}
"""Distinct items, and tokens an answer."""
DESIGN: Final = {"aime24": 24, "gpqa_pooled": 3, "livebench": 1, "mmlu_gen_5shot": 1, "musr": 2, "theoremqa": 2}

Fault: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""The candidate's chances, from the reference's and from what the bank's answers have for a mean."""


def alike(points: float) -> Fault:
    """Every item loses in proportion to what it has."""
    return lambda p, _seen: p * (1 + points / 100 / p.mean())


def where_unanimous(points: float) -> Fault:
    """The loss strikes only items that the bank always has right: those that are asked least often."""

    def broken(p: FloatArray, seen: FloatArray) -> FloatArray:
        struck = seen == 1.0
        return p - np.where(struck, p * (-points / 100) * p.size / p[struck].sum(), 0.0)

    return broken


@dataclass(frozen=True, slots=True)
class Cell:
    """What is true of the candidate (of all suites, or of `only` one), how it is asked, and the bank's AIME repeats."""

    by_item: bool = True
    fault: Fault = field(default_factory=lambda: alike(0))
    only: str = ""
    icc: float = 0.6
    aime: int = BANK


CELLS: Final = {
    "identical, repeats of each item": Cell(by_item=False),
    "identical": Cell(),
    "identical, AIME 32 times in the bank": Cell(aime=32),
    "identical, ICC .75": Cell(icc=0.75),
    "all at -margin, repeats of each item": Cell(by_item=False, fault=alike(-1.5)),
    "all at -margin": Cell(fault=alike(-1.5)),
    "all at -margin, where the bank is unanimous": Cell(fault=where_unanimous(-1.5)),
    "GPQA at -guard": Cell(fault=alike(-4), only="gpqa_pooled"),
    "GPQA at -guard, where the bank is unanimous": Cell(fault=where_unanimous(-4), only="gpqa_pooled"),
    "all 2 worse": Cell(fault=alike(-2)),
    "all 5 worse": Cell(fault=alike(-5)),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """One suite's numbers of right answers by item, and how often each was asked: the bank's and the candidate's."""

    right: tuple[IntArray, IntArray]
    asked: tuple[IntArray, IntArray]

    def paired(self) -> PairedItems:
        """As a comparison pairs them."""
        (one, v_one), (two, v_two) = (_moments(right, k) for right, k in zip(self.right, self.asked, strict=True))
        n = one.size
        plain = np.ones(n), np.arange(n), np.zeros(n, np.int64), np.arange(n)
        return PairedItems(one, two, *self.asked, v_one, v_two, *plain, binary=True)

    def table(self, suite: str, side: int) -> pd.DataFrame:
        """One side's score table."""
        right, asked = self.right[side], self.asked[side]
        item, repeat = np.repeat(np.arange(asked.size), asked), np.concatenate([np.arange(k) for k in asked])
        luck = np.random.default_rng(side).random(item.size)  # which of an item's answers are right
        score = np.zeros(item.size)
        score[np.lexsort((luck, item))] = repeat < right[item]
        names = [f"{suite}-{number:05}" for number in item.tolist()]
        return pd.DataFrame({"suite": suite, "item": names, "repeat": repeat, "score": score})


def _moments(right: IntArray, asked: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and unbiased variance of right-or-wrong scores."""
    mean = right / asked
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.where(asked > 1, mean * (1 - mean) * asked / (asked - 1), np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    own = sum(n * BANK * tokens for n, tokens in ITEMS.values())
    print(f"The bank itself: {own / 1e6:.0f} M tokens. The design: {DESIGN}.\n")
    heads = (*(verdict.value for verdict in Verdict if verdict is not Verdict.INVALID), "M tokens")
    print(f"| cell | comparisons | {' | '.join(heads)} |\n| :-- | --: |{' --: |' * len(heads)}")
    for name in options.cells or CELLS:
        found, tokens = Counter[str](), 0
        for verdict, spent in simulated(CELLS[name], options.comparisons, options.seed):
            found[verdict.value] += 1
            tokens += spent
        shares = [f"{100 * found[head] / options.comparisons:.1f}" for head in heads[:-1]]
        mean = f"{tokens / options.comparisons / 1e6:.1f}"
        print(f"| {name} | {options.comparisons:,} | {' | '.join([*shares, mean])} |", flush=True)


def simulated(cell: Cell, comparisons: int, seed: int) -> Iterator[tuple[Verdict, int]]:
    """The verdict and the candidate's tokens of so many comparisons."""
    rng, pack = np.random.default_rng(seed), find_pack("flagrelease-text")
    margins = {one.name: (one.margin_pt or 0.0) / 100 for one in pack.suites}
    assert pack.overall is not None
    for number in range(comparisons):
        drawn = _drawn(cell, rng)
        tests = [judge_difference(one.paired(), margins[name], ALPHA) for name, one in drawn.items()]
        verdict = _verdict(tests, pack.overall.margin_pt / 100)
        if number == 0:
            tables = [pd.concat([one.table(name, side) for name, one in drawn.items()]) for side in range(2)]
            told = evalkit.judge(tables[0], tables[1], JudgeOptions(pack="flagrelease-text", flips=0))
            assert told.value.verdict is verdict, (told.value.verdict, verdict)
        yield verdict, sum(int(one.asked[1].sum()) * ITEMS[name][1] for name, one in drawn.items())


def _drawn(cell: Cell, rng: np.random.Generator) -> dict[str, Answers]:
    """A bank, what it allots, and the candidate's answers."""
    chances = {name: beta_means(0.6, cell.icc, n) for name, (n, _tokens) in ITEMS.items()}
    stored = {name: np.full(p.size, cell.aime if name == "aime24" else BANK) for name, p in chances.items()}
    banks = {name: rng.binomial(stored[name], p) for name, p in chances.items()}
    asked = {name: np.full(p.size, DESIGN[name]) for name, p in chances.items()}
    if cell.by_item:
        sizes = [p.size for p in chances.values()]
        within = [steadied_variance(k, _moments(banks[name], k)[1]) for name, k in stored.items()]
        found = cheapest_repeats(
            np.concatenate(within),
            np.concatenate([np.full(n, 1 / n) for n in sizes]),
            np.concatenate([np.full(n, float(tokens)) for n, tokens in ITEMS.values()]),
            np.concatenate(list(asked.values())),
        )
        asked = dict(zip(asked, np.split(found, np.cumsum(sizes)[:-1]), strict=True))
    drawn = {}
    for name, p in chances.items():
        struck = not cell.only or cell.only == name
        q = np.clip(cell.fault(p, banks[name] / stored[name]), 0.0, 1.0) if struck else p
        drawn[name] = Answers((banks[name], rng.binomial(asked[name], q)), (stored[name], asked[name]))
    return drawn


def _verdict(tests: list[DifferenceTest], margin: float) -> Verdict:
    """The rule of `evalkit.compare.tiers`."""
    rows = [*tests, macro_test([(test.point, test.se, test.df) for test in tests], margin, ALPHA)]
    adjusted = holm([row.p_alarm for row in rows])
    kept = [
        Verdict.INCONCLUSIVE if row.decision in {Verdict.DEGRADED, Verdict.ELEVATED} and p > ALPHA else row.decision
        for row, p in zip(rows, adjusted, strict=True)
    ]
    return Verdict.over(kept)


if __name__ == "__main__":
    main()
