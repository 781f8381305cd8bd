"""Before a GPU is touched: what the suites of a comparison cost, and which of its gates can decide at all.

Variances come from a stored run of the reference with repeats where there is one; otherwise they are assumed, and the
assumption is said. A greedy suite is taken to change a few items at random, which repeats do not average out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.pair import headline
from evalkit.stats.methods import Goal, power_of
from evalkit.stats.power import SuitePlan, plan_suite
from evalkit.stats.variance import DesignVariance, assumed_variance, greedy_variance, stored_variance

ASSUMED_MEAN: Final = 0.6
ASSUMED_ICC: Final = 0.6
"""The share of a score's variance that lies between items; 0.4 to 0.8 on reasoning suites."""
ASSUMED_CHURN: Final = 0.03
"""The share of items that greedy runs of equal stacks change: 1 to 3 % on short answers (arXiv 2602.10144)."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How one side's answers are graded by a judge: gradings of each, and answers that are graded a second time."""

    repeats: int
    noise_items: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A suite as both sides will run it.

    `items` is None where nobody knows; `repeats` are the reference's and the candidate's; `stored` is what an earlier
    run of the reference holds, with `bank` where it will be reused as it is; `limit` is `max_tokens`; `mean_tokens`
    is the user's word on the length of an answer. `judged` says how a judge grades each side, where one does.
    """

    suite: str
    label: str
    items: int | None
    repeats: tuple[int, int]
    margin: float
    greedy: bool
    limit: int | None = None
    mean_tokens: float | None = None
    stored: SuiteSide | None = None
    bank: bool = False
    judged: tuple[Judging, Judging] | None = None


@dataclass(frozen=True, slots=True)
class PlannedGate:
    """What one suite will cost and can decide.

    `power` is the chance of EQUIVALENT, were the stacks equal, with the repeats as configured; `needed_repeats` those
    of the candidate (and of the reference, unless it is a bank) that reach the goal, None where none below the limit
    does; `smallest_margin` what the most repeats allowed can show (a fraction). `samples` and `tokens` are what is
    still to be asked as configured, by side; tokens are None where lengths are unknown. `judge_calls` is the most that
    a judge is asked, were every answer another and none graded before (a reply that cannot be read is asked again).
    """

    suite: str
    label: str
    items: int
    repeats: tuple[int, int]
    margin: float
    power: float
    needed_repeats: int | None
    smallest_margin: float
    samples: tuple[int, int]
    tokens: tuple[float, float] | None
    can_decide: bool
    variance: str
    length: str
    note: str
    judge_calls: int = 0

    def hours(self, tokens_per_second: float) -> float | None:
        """Time of the slower side, both being asked at once."""
        return None if self.tokens is None else max(self.tokens) / tokens_per_second / 3600


def plan_gate(ask: Ask, goal: Goal, most_repeats: int) -> PlannedGate | None:
    """The plan of one suite; None where its number of items is not known."""
    if ask.items is None or ask.items < 2:
        return None
    design, variance = _variance(ask, ask.items)
    bank = float(ask.repeats[0]) if ask.bank else None
    made = plan_suite(design, goal, most_repeats=most_repeats, bank_repeats=bank)
    power = power_of(design, *ask.repeats, goal)
    samples = (0 if ask.bank else ask.items * ask.repeats[0], ask.items * ask.repeats[1])
    mean, length = _length(ask)
    return PlannedGate(
        suite=ask.suite,
        label=ask.label,
        items=ask.items,
        repeats=ask.repeats,
        margin=ask.margin,
        power=power,
        needed_repeats=made.repeats,
        smallest_margin=made.smallest_margin,
        samples=samples,
        tokens=None if mean is None else (samples[0] * mean, samples[1] * mean),
        can_decide=made.repeats is not None,
        variance=variance,
        length=length,
        note=_note(ask, made, power, goal),
        judge_calls=_judge_calls(ask, ask.items),
    )


def _judge_calls(ask: Ask, items: int) -> int:
    if ask.judged is None:
        return 0
    return sum(
        judging.repeats * (items * repeats + min(judging.noise_items, items))
        for judging, repeats in zip(ask.judged, ask.repeats, strict=True)
    )


def _note(ask: Ask, made: SuitePlan, power: float, goal: Goal) -> str:
    needed, why, smallest = made.repeats, made.note, made.smallest_margin
    if needed is None and ask.greedy:
        return (
            f"cannot decide: greedy answers repeat themselves, and {ask.items:,} of them show a margin of "
            f"{smallest * 100:.1f} points; ask more items, widen the margin, or sample with repeats"
        )
    if needed is None:
        return why
    if power >= goal.power:
        return "decides as configured"
    return f"needs {needed} repeats"


def _variance(ask: Ask, items: int) -> tuple[DesignVariance, str]:
    if ask.greedy:
        source = f"assumed: equal greedy stacks change {ASSUMED_CHURN * 100:g} % of the items"
        return greedy_variance(items, ASSUMED_CHURN), source
    within = None if ask.stored is None else mean_within(ask.stored)
    if within is not None:
        return stored_variance(items, within), f"measured on the stored reference: {within:.4f} within items"
    mean = None if ask.stored is None else headline(ask.stored)
    known = ASSUMED_MEAN if mean is None else mean
    source = f"mean {known:.2f} {'assumed' if mean is None else 'measured'}, ICC {ASSUMED_ICC:g} assumed"
    return assumed_variance(items, known, ASSUMED_ICC), source


def mean_within(side: SuiteSide) -> float | None:
    """The mean variance between repeats of an item, None where no item has two scores."""
    samples = side.samples
    valued = ~np.isnan(samples.value)
    item, value = samples.item[valued], samples.value[valued]
    n_items = len(samples.items)
    counts = np.bincount(item, minlength=n_items)
    sums = np.bincount(item, weights=value, minlength=n_items)
    several = counts > 1
    if not several.any():
        return None
    means = sums / np.maximum(counts, 1)
    squares = np.bincount(item, weights=(value - means[item]) ** 2, minlength=n_items)
    return float(np.mean(squares[several] / (counts[several] - 1)))


def _length(ask: Ask) -> tuple[float | None, str]:
    if ask.mean_tokens is not None:
        return ask.mean_tokens, "as given"
    if ask.stored is not None:
        known = ask.stored.samples.completion_tokens
        known = known[~np.isnan(known)]
        if known.size:
            return float(known.mean()), "measured on the stored reference"
    if ask.limit is not None:
        return ask.limit / 4, f"assumed: a quarter of the token limit {ask.limit:,}"
    return None, "unknown"


def power_of_all(gates: Sequence[PlannedGate]) -> float:
    """The chance that every suite comes out EQUIVALENT, were the stacks equal and the suites independent."""
    chance = 1.0
    for gate in gates:
        chance *= gate.power
    return chance
