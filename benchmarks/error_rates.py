"""How often the judgment errs: prints the table of docs/statistics.md, `python benchmarks/error_rates.py`.

Seeded and vectorised: the same numbers every time, in about a minute. "False EQ" is the share of comparisons called
EQUIVALENT although the true loss is exactly the margin: nominally at most alpha, 5 %.
"""

from __future__ import annotations

import argparse
import sys
import time

from simulation import Design, World, verdict_rates

DESIGNS = {30: (0.05, 0.10), 198: (0.02, 0.05), 756: (0.02, 0.03), 14042: (0.005, 0.01)}
REPEATS = (1, 4, 8)

TYPICAL = World("typical", mean=0.6, icc=0.6)
SATURATED = World("saturated", mean=0.95, icc=0.8)
NEW_TYPICAL = World("typical, new items", mean=0.6, icc=0.6, new_items=True)
NEW_SATURATED = World("saturated, new items", mean=0.95, icc=0.8, new_items=True)
SPARSE = World("decided, new items", mean=0.8, icc=1.0, churn=0.02, new_items=True)

AT_MARGIN = (TYPICAL, SATURATED, NEW_TYPICAL, NEW_SATURATED, SPARSE)
AT_ZERO = (TYPICAL, SATURATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=20_000, help="simulated comparisons for each number")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    started = time.perf_counter()
    print(header())
    for n_items, margins in DESIGNS.items():
        for margin in margins:
            for k in REPEATS:
                print(row(Design(n_items, k, margin), options.comparisons, options.seed), flush=True)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


def header() -> str:
    """Two header lines of a Markdown table."""
    columns = ["items", "k", "margin, pt"]
    columns += [f"false EQ, {world.name}" for world in AT_MARGIN]
    columns += [f"power, {world.name}" for world in AT_ZERO]
    columns += [f"A/A alarms, {world.name}" for world in AT_ZERO]
    return f"| {' | '.join(columns)} |\n|{'---:|' * len(columns)}"


def row(design: Design, comparisons: int, seed: int) -> str:
    """One line of the table, shares in per cent."""
    false = [
        verdict_rates(world, design, -design.margin, comparisons=comparisons, seed=seed).equivalent
        for world in AT_MARGIN
    ]
    equal = [verdict_rates(world, design, 0.0, comparisons=comparisons, seed=seed) for world in AT_ZERO]
    shares = false + [rates.equivalent for rates in equal] + [rates.degraded + rates.elevated for rates in equal]
    cells = [f"{design.n_items:,}", str(design.k), f"{100 * design.margin:g}"]
    return f"| {' | '.join(cells + [f'{100 * share:.1f}' for share in shares])} |"


if __name__ == "__main__":
    main()
