"""How often the judgment errs: prints the table of docs/statistics.md, `python benchmarks/simulation.py`.

Seeded and vectorised: the same numbers every time, in about a minute. "False EQ" is the share of comparisons called
EQUIVALENT although the true loss is exactly the margin: nominally at most alpha, 5 %. The tests of `evalkit.stats` are
held to the same simulated comparisons.

A world says how right answers come about: item by item with chances from a Beta distribution, or decided once and for
all. Histograms of item outcomes stand for score columns, so that ten thousand comparisons of 14,042 items take a
second; they are judged by the table of methods that judges every comparison.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.model import Verdict
from evalkit.stats.methods import Evidence, check_margin, decide, intervals
from evalkit.stats.paired import BoolArray, FloatArray, Form, IntArray, unseen_flips

_LEVELS: Final = 60  # kinds of items that stand for a Beta distribution
_SPAN: Final = 250  # simulated comparisons held in memory at once


@dataclass(frozen=True, slots=True)
class World:
    """How items and the two stacks behave.

    `mean` is the reference's expected score and `icc` the share of its variance between items; at icc = 1 every item is
    always right or always wrong and the share `churn` of items differs between equal stacks, half either
    way. With `new_items` each comparison draws its items afresh, otherwise all ask the same benchmark.
    """

    name: str
    mean: float
    icc: float
    churn: float = 0.0
    new_items: bool = False

    def __post_init__(self) -> None:
        if not (0.0 < self.mean < 1.0 and 0.0 < self.icc <= 1.0 and 0.0 <= self.churn <= 1.0):
            raise ValueError(f"impossible world: {self}")


@dataclass(frozen=True, slots=True)
class Design:
    """How a world is looked at: n items, k repeats on either side, a margin (fraction) and a one-sided alpha."""

    n_items: int
    k: int
    margin: float
    alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class VerdictRates:
    """Shares of the simulated comparisons with each verdict; the rest is inconclusive."""

    equivalent: float
    degraded: float
    elevated: float


DESIGNS = {30: (0.05, 0.10), 198: (0.02, 0.05), 756: (0.02, 0.03), 14042: (0.005, 0.01)}
REPEATS = (1, 4, 8)

TYPICAL = World("typical", mean=0.6, icc=0.6)
SATURATED = World("saturated", mean=0.95, icc=0.8)
NEW_TYPICAL = World("typical, new items", mean=0.6, icc=0.6, new_items=True)
NEW_SATURATED = World("saturated, new items", mean=0.95, icc=0.8, new_items=True)
SPARSE = World("decided, new items", mean=0.8, icc=1.0, churn=0.02, new_items=True)

AT_MARGIN = (TYPICAL, SATURATED, NEW_TYPICAL, NEW_SATURATED, SPARSE)
AT_ZERO = (TYPICAL, SATURATED)


@dataclass(frozen=True, slots=True, eq=False)
class _Kinds:
    """Kinds of items: chance of a right answer on either side, and the share of items that are of this kind."""

    reference: FloatArray
    candidate: FloatArray
    share: FloatArray


def verdict_rates(
    world: World, design: Design, delta: float, *, comparisons: int = 4000, seed: int = 0
) -> VerdictRates:
    """How often `judge_difference` would give each verdict at a true difference of delta (a fraction)."""
    check_margin(design.margin, design.alpha)
    rng = np.random.default_rng(seed)
    kinds = kinds_of(world, design.n_items, delta)
    outcomes = Outcomes.of(design.k)
    chances = outcomes.chances(kinds)
    found = dict.fromkeys(Verdict, 0)
    for start in range(0, comparisons, _SPAN):
        size = min(_SPAN, comparisons - start)
        if world.new_items:
            counts = rng.multinomial(design.n_items, kinds.share @ chances, size=size)
        else:
            asked = whole_items(kinds.share, design.n_items)
            counts = rng.multinomial(asked, chances, size=(size, asked.size)).sum(axis=1)
        decisions = decide(*intervals(outcomes.evidence(counts), 1.0 - 2.0 * design.alpha), design.margin)
        for decision in found:
            found[decision] += int(np.sum(decisions == decision))
    shares = (found[one] / comparisons for one in (Verdict.EQUIVALENT, Verdict.DEGRADED, Verdict.ELEVATED))
    return VerdictRates(*shares)


def beta_means(mean: float, icc: float, kinds: int) -> FloatArray:
    """Mid-quantiles of Beta(a, b) with this mean and a + b = 1 / icc - 1: item chances that are equally likely."""
    from scipy.special import betaincinv

    spread = (1.0 - icc) / icc
    middle = (np.arange(kinds) + 0.5) / kinds
    return np.asarray(betaincinv(mean * spread, (1.0 - mean) * spread, middle), dtype=np.float64)


def kinds_of(world: World, n_items: int, delta: float) -> _Kinds:
    """The kinds of items of a world at a true difference of delta."""
    if world.icc == 1.0:
        lost, gained = world.churn / 2.0 + max(0.0, -delta), world.churn / 2.0 + max(0.0, delta)
        share = np.array([world.mean - lost, 1.0 - world.mean - gained, lost, gained])
        if share.min() < 0.0:
            raise ValueError(f"no room for a difference of {delta:g} and churn in {world}")
        return _Kinds(np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0, 1.0]), share)
    size = _LEVELS if world.new_items else min(_LEVELS, n_items)
    reference = beta_means(world.mean, world.icc, size)
    share = np.full(size, 1.0 / size)
    if not world.new_items:  # the shares that whole items allow, so that the difference is delta to the last digit
        share = whole_items(share, n_items) / n_items
    mean = float(share @ reference)
    # Each item loses in proportion to what it has, or gains in proportion to what it lacks.
    candidate = reference * (1.0 + delta / mean) if delta < 0 else reference + (1.0 - reference) * delta / (1.0 - mean)
    if candidate.min() < 0.0 or candidate.max() > 1.0:
        raise ValueError(f"no room for a difference of {delta:g} in {world}")
    return _Kinds(reference, candidate, share)


def whole_items(share: FloatArray, n_items: int) -> IntArray:
    """Numbers of items in these shares that add up to n."""
    edges = np.rint(np.cumsum(share) * n_items).astype(np.int64)
    return np.diff(edges, prepend=0)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What can happen to one item: its difference, and whether its repeats agreed on each side; `joint` maps to it."""

    k: int
    difference: FloatArray
    agrees: tuple[BoolArray, BoolArray]
    joint: IntArray

    @classmethod
    def of(cls, k: int) -> Outcomes:
        """All (right answers of k) x (right answers of k), joined where the judgment cannot tell them apart."""
        right, other = (grid.ravel() for grid in np.meshgrid(np.arange(k + 1), np.arange(k + 1), indexing="ij"))
        agrees = (right % k == 0), (other % k == 0)
        key = np.stack([other - right, agrees[0], agrees[1]], axis=1)
        distinct, joint = np.unique(key, axis=0, return_inverse=True)
        agreed = distinct[:, 1].astype(bool), distinct[:, 2].astype(bool)
        return cls(k, distinct[:, 0] / k, agreed, joint.ravel())

    def chances(self, kinds: _Kinds) -> FloatArray:
        """The chance of each outcome (columns) for each kind of item (rows)."""
        from scipy.stats import binom

        sides = (kinds.reference, kinds.candidate)
        reference, candidate = (binom.pmf(np.arange(self.k + 1), self.k, p[:, None]) for p in sides)
        pairs = (reference[:, :, None] * candidate[:, None, :]).reshape(kinds.share.size, -1)
        chances = np.zeros((kinds.share.size, self.difference.size))
        np.add.at(chances.T, self.joint, pairs.T)
        return np.asarray(chances / chances.sum(axis=1, keepdims=True), dtype=np.float64)

    def evidence(self, counts: IntArray) -> Evidence:
        """What so many items with each outcome (columns) come down to, for each comparison (row)."""
        n = counts.sum(axis=1).astype(np.float64)
        point = counts @ self.difference / n
        variance = np.maximum(0.0, counts @ self.difference**2 / n - point**2) / (n - 1.0)
        # Repeats that agree on every item are one repeat.
        alike = [counts[:, agrees].sum(axis=1) == n for agrees in self.agrees]
        looks = [np.where(copies, 1, self.k) for copies in alike]
        floor = unseen_flips(looks[0], looks[1], 1.0 / n**2)
        lost, gained = (counts[:, sign * self.difference > 0.0].sum(axis=1).astype(np.float64) for sign in (-1, 1))
        unknown = np.full_like(n, np.nan)
        form = Form(*(np.broadcast_to(flag, n.shape) for flag in (alike[0] & alike[1], True, False, False, False)))
        return Evidence(form, n, point, np.sqrt(variance + floor), n - 1.0, lost, gained, unknown, unknown)


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
