"""How often something beside accuracy alarms on equal stacks, over a whole pack: `python benchmarks/alerts.py`.

Seeded. Both sides of `flagrelease-text` cut, refuse, leave empty, leave unreadable or only reason at the rates that
benchmarks/decide.py has for them, items unlike one another. For many packs at once it counts, item by item, what the
rules of `compare.behaviour` and `compare.validity` count, by the same sign test.
"""

from __future__ import annotations

import argparse
from typing import Final

import numpy as np
from decide import STATUSES
from decide_bank import ITEMS
from scipy.stats import binom

from evalkit.compare.behaviour import _LEAST_CHANGE
from evalkit.compare.validity import Rules
from evalkit.stats.methods import exact_mcnemar
from evalkit.stats.paired import BoolArray, FloatArray, IntArray
from evalkit.tasks.suites import find_pack

PACK: Final = "flagrelease-text"
INVALID: Final = {"truncated": "truncation_gap", "reasoning_only": "reasoning_only_gap"}
SPREAD: Final = 1 / 0.3 - 1  # Beta of ICC 0.3 over items
_ROWS: Final = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons of the pack")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    alerted, invalid = simulated(options.comparisons, options.seed)
    for what, found in (("an alert beside accuracy", alerted), ("a suite INVALID by its answers", invalid)):
        print(f"{what}: {100 * found.mean():.2f} % of {options.comparisons:,} comparisons")


def simulated(comparisons: int, seed: int) -> tuple[BoolArray, BoolArray]:
    """Which comparisons have an alert on how often something happened, and which a suite that it makes INVALID."""
    rng, pack = np.random.default_rng(seed), find_pack(PACK)
    rules = Rules().among(len(pack.suites))
    alerted, invalid = np.zeros(comparisons, bool), np.zeros(comparisons, bool)
    for suite in pack.suites:
        for status, rate in STATUSES.items():
            chance = rng.beta(rate * SPREAD, (1 - rate) * SPREAD, ITEMS[suite.name][0])
            gap, p = _drawn(chance, suite.repeats or 1, comparisons, rng)
            alerted |= (np.abs(gap) >= _LEAST_CHANGE) & (p <= rules.alert_alpha)
            if (limit := INVALID.get(status.value)) is not None:
                invalid |= (np.abs(gap) > getattr(rules, limit)) & (p <= rules.alert_alpha)
    return alerted, invalid


def _drawn(
    chance: FloatArray, repeats: int, comparisons: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Candidate minus reference rate, and the p-value of the sign test over items, of so many comparisons."""
    gaps, ps = [], []
    for start in range(0, comparisons, _ROWS):
        size = (min(_ROWS, comparisons - start), chance.size)
        change: IntArray = rng.binomial(repeats, chance, size) - rng.binomial(repeats, chance, size)
        rose, fell = (change > 0).sum(axis=1), (change < 0).sum(axis=1)
        gaps.append(change.mean(axis=1) / repeats)
        ps.append(np.minimum(1.0, 2 * binom.cdf(np.minimum(rose, fell), rose + fell, 0.5)))
        if not start:
            assert np.isclose(ps[0][0], exact_mcnemar(int(fell[0]), int(rose[0])).two_sided)
    return np.concatenate(gaps), np.concatenate(ps)


if __name__ == "__main__":
    main()
