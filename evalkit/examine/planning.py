"""Before a GPU is touched: what the suites of a comparison cost, and which of its gates can decide at all.

Variances come from a stored run of the reference with repeats where there is one; otherwise they are assumed, and the
assumption is said. A greedy suite is taken to change a few items at random, which repeats do not average out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.pair import headline
from evalkit.model import Reason
from evalkit.stats.methods import Goal, power_of
from evalkit.stats.paired import Form, fold
from evalkit.stats.power import Repeats, repeats_for, smallest_margin
from evalkit.stats.variance import DesignVariance, assumed_variance, greedy_variance, mean_within, stored_variance

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
class SuiteAsk:
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
    note: Reason
    judge_calls: int = 0

    def hours(self, tokens_per_second: float) -> float | None:
        """Time of the slower side, both being asked at once."""
        return None if self.tokens is None else max(self.tokens) / tokens_per_second / 3600


def plan_gate(ask: SuiteAsk, goal: Goal, most_repeats: int) -> PlannedGate | None:
    """The plan of one suite; None where its number of items is not known."""
    if ask.items is None or ask.items < 2:
        return None
    design, variance = _variance(ask, ask.items)
    bank = float(ask.repeats[0]) if ask.bank else None
    needed = repeats_for(design, goal, bank)
    repeats = needed.repeats if needed.repeats is not None and needed.repeats <= most_repeats else None
    smallest = smallest_margin(design, bank or most_repeats, most_repeats, goal)
    power = power_of(design, *ask.repeats, goal)
    if repeats is None:
        note = _why_not(ask.items if ask.greedy else None, needed, most_repeats, smallest)
    else:
        note = Reason("plan.decides") if power >= goal.power else Reason("plan.needs", {"repeats": repeats})
    samples = (0 if ask.bank else ask.items * ask.repeats[0], ask.items * ask.repeats[1])
    mean, length = _length(ask)
    return PlannedGate(
        suite=ask.suite,
        label=ask.label,
        items=ask.items,
        repeats=ask.repeats,
        margin=ask.margin,
        power=power,
        needed_repeats=repeats,
        smallest_margin=smallest,
        samples=samples,
        tokens=None if mean is None else (samples[0] * mean, samples[1] * mean),
        can_decide=repeats is not None,
        variance=variance,
        length=length,
        note=note,
        judge_calls=sum(
            judging.repeats * (ask.items * repeats + min(judging.noise_items, ask.items))
            for judging, repeats in zip(ask.judged or (), ask.repeats, strict=ask.judged is not None)
        ),
    )


def _why_not(greedy_items: int | None, needed: Repeats, most: int, smallest: float) -> Reason:
    """Why no number of repeats that is allowed decides; `greedy_items` is there where answers repeat themselves."""
    if greedy_items is not None:
        return Reason("plan.greedy", {"n": greedy_items, "smallest": smallest})
    if needed.repeats is None:
        return Reason("plan.never", {"why": needed.note})
    return Reason("plan.too_many", {"most": most, "repeats": needed.repeats, "smallest": smallest})


def _variance(ask: SuiteAsk, items: int) -> tuple[DesignVariance, str]:
    form = _form(ask.stored)
    if ask.greedy:
        source = f"assumed: equal greedy stacks change {ASSUMED_CHURN * 100:g} % of the items"
        return greedy_variance(items, ASSUMED_CHURN, form), source
    mean, told = ASSUMED_MEAN, "assumed"
    if ask.stored is not None:
        samples = ask.stored.samples
        k, _means, variances = fold(samples.item, samples.value, len(samples.items))
        within, known = mean_within(k, variances), headline(ask.stored)
        if within is not None:
            return stored_variance(items, within, form), f"measured on the stored reference: {within:.4f} within items"
        mean, told = (mean, told) if known is None else (known, "measured")
    source = f"mean {mean:.2f} {told}, ICC {ASSUMED_ICC:g} assumed"
    return assumed_variance(items, mean, ASSUMED_ICC, form), source


def _form(stored: SuiteSide | None) -> Form:
    """What a single repeat would be, as a stored run shows it; without one, right-or-wrong items that stand alone."""
    if stored is None:
        return Form(settled=True)
    table, value = stored.samples.items, stored.samples.value
    clustered = len(set(filter(None, table.cluster))) < sum(map(bool, table.cluster))
    stratified = stored.facts.headline != "micro"
    plain = not clustered and not stratified and bool(np.all(table.weight == table.weight[0]))
    return Form(bool(np.all((value == 0.0) | (value == 1.0) | np.isnan(value))), plain, clustered, stratified)


def _length(ask: SuiteAsk) -> tuple[float | None, str]:
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
    return math.prod(gate.power for gate in gates)
