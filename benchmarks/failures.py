"""How often the failure-rate rule is wrong about equal stacks, and finds what one side alone has: run it for the table.

Seeded. Two runs of one suite are stamped with times; requests fail each by itself, or in outages that meet some of what
is in flight. The sides go through `evalkit.compare.judge.compare`, whose INVALID is counted; beside it stands what
Fisher's test on the items alone would have said.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

import evalkit
from evalkit.compare.columns import Labels, Side
from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.model import Comparison, Status
from evalkit.options import JudgeOptions
from evalkit.stats.paired import BoolArray, FloatArray
from evalkit.stats.tails import fisher_exact

ITEMS: Final = 756
REPEATS: Final = 4
LEVEL: Final = 0.01


@dataclass(frozen=True, slots=True)
class Trouble:
    """What becomes of one side's requests: a share fails by itself; `outages` on the mean, each of `length` requests on
    the mean, of which `meets` fail.
    """

    share: float = 0.0
    outages: float = 0.0
    length: float = 12.0
    meets: float = 0.7


CELLS: Final = {
    "equal, .1 % fail": (Trouble(0.001), Trouble(0.001)),
    "equal, .5 % fail": (Trouble(0.005), Trouble(0.005)),
    "equal, an outage a side on the mean": (Trouble(outages=1), Trouble(outages=1)),
    "equal, .1 % and three short outages": (Trouble(0.001, 3, 8), Trouble(0.001, 3, 8)),
    "candidate alone, one outage": (Trouble(), Trouble(outages=1)),
    "candidate alone, .5 % fail": (Trouble(), Trouble(0.005)),
    "candidate alone, 1 % fail": (Trouble(), Trouble(0.01)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    print("| cell | comparisons | unequal | by items alone | INVALID |\n| :-- | --: | --: | --: | --: |")
    for name, cell in CELLS.items():
        unequal = invalid = alone = 0
        for made, lacking in simulated(cell, options.comparisons, options.seed):
            reasons = [reason.code for suite in made.suites for reason in suite.reasons]
            unequal += "unequal.failures" in reasons
            invalid += made.verdict is evalkit.Verdict.INVALID
            alone += fisher_exact(lacking, (ITEMS, ITEMS)) <= LEVEL
        shares = (f"{100 * count / options.comparisons:.1f}" for count in (unequal, alone, invalid))
        print(f"| {name} | {options.comparisons:,} | {' | '.join(shares)} |", flush=True)


def simulated(
    cell: tuple[Trouble, Trouble], comparisons: int, seed: int
) -> Iterator[tuple[Comparison, tuple[int, int]]]:
    """So many comparisons, each with the numbers of items that lack a score on either side."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "suite": "quiz",
            "item": np.repeat([f"item{number:04}" for number in range(ITEMS)], REPEATS),
            "repeat": np.tile(np.arange(REPEATS), ITEMS),
            "score": (rng.random(ITEMS * REPEATS) < 0.6).astype(float),
        }
    )
    told = evalkit.judge(table, table.copy(), JudgeOptions(flips=0))
    assert told.sides is not None
    for _ in range(comparisons):
        lost = [_lost(trouble, rng) for trouble in cell]
        one, two = (_with(side, *came, rng) for side, came in zip(told.sides, lost, strict=True))
        items = [int(gone.reshape(ITEMS, REPEATS).any(axis=1).sum()) for gone, _sent in lost]
        yield compare(one, two, Policy(flips=0), ""), (items[0], items[1])


def _lost(trouble: Trouble, rng: np.random.Generator) -> tuple[BoolArray, FloatArray]:
    """Which requests fail, by item and repeat, and when each was sent (seconds): in an order of its own."""
    lost = rng.random(ITEMS * REPEATS) < trouble.share
    for _ in range(rng.poisson(trouble.outages)):
        start, length = rng.integers(lost.size), rng.geometric(1 / trouble.length)
        lost[start : start + length] |= rng.random(lost[start : start + length].size) < trouble.meets
    place = rng.permutation(lost.size)
    return lost[place], place / 10 + 1.7e9


def _with(side: Side, gone: BoolArray, sent: FloatArray, rng: np.random.Generator) -> Side:
    """The side with new answers; what is gone has no score."""
    samples = side.suites["quiz"].samples
    seconds: FloatArray = rng.exponential(30.0, gone.size)
    value = np.where(gone, np.nan, rng.random(gone.size) < 0.6)
    status = Labels(gone.astype(np.int32), (Status.SCORED.value, Status.FAILED.value))
    at, took = np.where(gone, sent, sent + seconds), np.where(gone, np.nan, seconds)
    samples = replace(samples, value=value, status=status, at=at, seconds=took)
    return replace(side, suites={"quiz": replace(side.suites["quiz"], samples=samples)})


if __name__ == "__main__":
    main()
