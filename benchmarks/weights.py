"""How often the interval errs where items weigh unequally: `python benchmarks/weights.py --comparisons N`.

Seeded. Weights come from a Pareto distribution (the smaller its exponent, the more a few items hold) and are drawn anew
for each comparison; where one item holds more than a tenth the comparison is refused, by `evalkit.compare.validity`.
The candidate is worse by exactly the margin: nominally at most 5 % are EQUIVALENT, and at most 5 % DEGRADED.
"""

from __future__ import annotations

import argparse

import numpy as np

from evalkit.compare.validity import Rules
from evalkit.model import Verdict
from evalkit.stats.methods import judge_difference
from evalkit.stats.paired import ItemTraits, Scores, pair_scores

EXPONENTS = (1.2, 1.5, 2.0, 3.0)
ITEMS = (50, 200, 1000)
REPEATS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons for each line")
    options = parser.parse_args()
    print("| exponent | items | margin (points) | refused % | of the others: EQUIVALENT % | DEGRADED % |")
    print("| --: | --: | --: | --: | --: | --: |")
    for exponent in EXPONENTS:
        for n in ITEMS:
            refused, equivalent, degraded = rates(exponent, n, options.comparisons)
            told = " | ".join(f"{100 * rate:.1f}" for rate in (refused, equivalent, degraded))
            print(f"| {exponent} | {n} | {100 * margin_of(n):.0f} | {told} |", flush=True)


def margin_of(n: int) -> float:
    """A margin (fraction) that items of equal weight would show with some power."""
    return min(0.3, 1.4 / n**0.5)


def rates(exponent: float, n: int, comparisons: int, seed: int = 2026) -> tuple[float, float, float]:
    """The share of comparisons that are refused, and of the others those called EQUIVALENT and DEGRADED."""
    rng, margin, found, refused = np.random.default_rng(seed), margin_of(n), [], 0
    item, repeat = np.repeat(np.arange(n), REPEATS), np.tile(np.arange(REPEATS), n)
    while len(found) + refused < comparisons:
        weight = rng.pareto(exponent, n) + 1
        share = weight / weight.sum()
        if share.max() > Rules().largest_share:
            refused += 1
            continue
        p = rng.beta(0.4, 0.27, n)
        q = p * (1 - margin / float(share @ p))
        if q.min() < 0:
            continue
        sides = [Scores(item, repeat, (rng.random(item.size) < chance[item]).astype(float)) for chance in (p, q)]
        traits = ItemTraits(weight, np.arange(n), np.zeros(n, np.int64))
        found.append(judge_difference(pair_scores(*sides, traits), margin).decision)
    count = max(len(found), 1)
    return refused / comparisons, found.count(Verdict.EQUIVALENT) / count, found.count(Verdict.DEGRADED) / count


if __name__ == "__main__":
    main()
