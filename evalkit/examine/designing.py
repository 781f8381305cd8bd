"""The cheapest repeats and items with which a comparison passes an equal port often enough; margins are left alone.

A repeat goes where it buys most for its tokens, so that samples come to stand as spread over root of cost; what the
search arrives at by normal approximations is then simulated, and it goes on until the simulation agrees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from evalkit.examine.looking import Trial, outcome
from evalkit.examine.planning import PlannedSuite
from evalkit.examine.simulating import Gate
from evalkit.model import Verdict
from evalkit.stats.tails import normal_quantile, normal_sf

_LARGE: Final = 2_000  # items above which a part of them may be asked
_PART: Final = 0.1  # of a large suite's items: the step by which fewer are asked
_MOST_STEPS: Final = 400


@dataclass(frozen=True, slots=True)
class Goal:
    """What a design shall reach: the chance that equal stacks pass, within so many repeats, judged over so many suites.

    `subsets` lets it ask a part of the items of large suites, which then claims no more than those items.
    """

    power: float
    most_repeats: int
    subsets: bool
    trial: Trial


@dataclass(frozen=True, slots=True)
class _Step:
    """One suite's size: the candidate's repeats, and the share of its items that is asked."""

    repeats: int
    part: float = 1.0

    @property
    def samples(self) -> float:
        return self.repeats * self.part


def cheapest(gate: Gate, suites: Sequence[PlannedSuite], goal: Goal) -> tuple[PlannedSuite, ...] | None:
    """The suites with the repeats (and items) that reach the goal for the fewest tokens; None where nothing does.

    The reference's repeats follow the candidate's, but for a stored bank, which stays as it is.
    """
    sizes = {one.suite: _Step(1, _PART if goal.subsets and one.items > _LARGE else 1.0) for one in suites}
    target = goal.power
    for _ in range(_MOST_STEPS):
        while _approximate(gate, suites, sizes) < target:
            better = _bought(gate, suites, sizes, goal)
            if better is None:
                return None
            sizes |= better
        sizes = _pruned(gate, suites, sizes, target)
        made = tuple(_sized(one, sizes[one.suite]) for one in suites)
        found = outcome(replace(gate, suites={one.suite: one.world for one in made}), goal.trial)
        passed = found.verdicts[Verdict.EQUIVALENT]
        if passed >= goal.power:
            return made
        target = min(1.0 - 1e-9, target + 0.5 * (goal.power - passed) * (1.0 - target) / (1.0 - goal.power) + 0.001)
    return None


def _bought(gate: Gate, suites: Sequence[PlannedSuite], sizes: dict[str, _Step], goal: Goal) -> dict[str, _Step] | None:
    """The next step of one suite: the one that gains most of the log of the chance for its tokens."""
    now, options = math.log(_approximate(gate, suites, sizes)), []
    for one in suites:
        step = _larger(sizes[one.suite], one, goal)
        if step is not None:
            gain = math.log(_approximate(gate, suites, {**sizes, one.suite: step})) - now
            cost = (step.samples - sizes[one.suite].samples) * one.items * (one.answer_tokens or 1.0)
            options.append((gain / cost, one.suite, step))
    if not options or max(options)[0] <= 0.0:
        return None
    _gain, name, step = max(options)
    return {name: step}


def _larger(size: _Step, suite: PlannedSuite, goal: Goal) -> _Step | None:
    if size.part < 1.0:
        return replace(size, part=min(1.0, size.part + _PART))
    return None if suite.greedy or size.repeats >= goal.most_repeats else replace(size, repeats=size.repeats + 1)


def _pruned(gate: Gate, suites: Sequence[PlannedSuite], sizes: dict[str, _Step], target: float) -> dict[str, _Step]:
    """Without the repeats that turned out not to be needed, the dearest first."""
    for one in sorted(suites, key=lambda one: -one.items * (one.answer_tokens or 1.0)):
        while sizes[one.suite].repeats > 1:
            fewer = {**sizes, one.suite: replace(sizes[one.suite], repeats=sizes[one.suite].repeats - 1)}
            if _approximate(gate, suites, fewer) < target:
                break
            sizes = fewer
    return sizes


def _approximate(gate: Gate, suites: Sequence[PlannedSuite], sizes: dict[str, _Step]) -> float:
    """The chance that every row lies inside its margin, by normal distributions that know nothing of each other."""
    variances = [_variance(one, sizes[one.suite]) for one in suites]
    rows = [(one.margin, variance) for one, variance in zip(suites, variances, strict=True)]
    if len(suites) > 1:
        rows.append((gate.overall_margin, sum(variances) / len(suites) ** 2))
    z = normal_quantile(1.0 - gate.alpha)
    return math.prod(max(1e-12, 1.0 - normal_sf(margin / math.sqrt(v) - z)) ** 2 for margin, v in rows)


def _variance(suite: PlannedSuite, size: _Step) -> float:
    """Of the headline difference of equal stacks."""
    world = suite.world
    (one, two), share = (world.reference, world.candidate), world.shape.share**2 / world.shape.items
    repeats = (suite.repeats[0] if suite.bank else size.repeats, size.repeats) if not suite.greedy else (1, 1)
    parts = [float(share @ (p * (1.0 - p))) / k for p, k in zip((one, two), repeats, strict=True)]
    moved = float(world.shape.share**2 @ (two - one) ** 2)
    return max(1e-12, (sum(parts) + moved) / size.part)


def _sized(suite: PlannedSuite, size: _Step) -> PlannedSuite:
    """The suite with that many repeats and items."""
    items = math.ceil(suite.items * size.part)
    repeats = (suite.repeats[0] if suite.bank else size.repeats, size.repeats)
    samples = (0 if suite.bank else items * repeats[0], items * repeats[1])
    world = suite.world.first(items) if items < suite.items else suite.world
    world = replace(world, repeats=(1, 1) if suite.greedy else repeats)
    tokens = suite.tokens and (samples[0] * (suite.answer_tokens or 0.0), samples[1] * (suite.answer_tokens or 0.0))
    part = items if items < suite.items else suite.part
    return replace(suite, items=items, part=part, repeats=repeats, samples=samples, tokens=tokens, world=world)
