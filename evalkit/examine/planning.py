"""Before a GPU is touched: what a suite of a comparison costs, and how its items and answers are simulated.

Spread, shape and lengths come from a stored run of either side where there is one; otherwise they are assumed
(`priors.py`), and that is said. A greedy suite is taken to change a few items at random, which repeats do not mend.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.pair import align, headline
from evalkit.compare.validity import Rules
from evalkit.examine.priors import Spread, change, shape_of, tokens_of
from evalkit.examine.simulating import Shape, World
from evalkit.scoring.answers.judge import Case, judge_messages
from evalkit.stats.paired import fold
from evalkit.stats.tails import normal_quantile, normal_sf
from evalkit.stats.variance import mean_within

_ASKED_OF_JUDGE: Final = sum(len(str(message)) for message in judge_messages(Case("", "", "")))
"""Characters of what a judge is asked beside the question, the truth and the answer."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How one side's answers are graded by a judge: gradings of each, and answers that are graded a second time."""

    repeats: int
    noise_items: int


@dataclass(frozen=True, slots=True)
class SuiteAsk:
    """A suite as both sides will run it.

    `items` is None where nobody knows; `repeats` are the reference's and the candidate's; `stored` is what an earlier
    run of a side holds, with `bank` where it is the reference's and will be reused as it is; `limit` is `max_tokens`,
    `mean_tokens` the user's word on the length of an answer, `profile` names how answers are drawn, and `failed` is the
    share of requests that are never answered. `part` is the number of items where fewer are asked than there are.
    `judged` says how a judge grades each side, where one does; `chance` is the mean of blind guesses, and
    `p_gold_margin` the margin of the further row of a suite by log-likelihood.
    """

    suite: str
    label: str
    items: int | None
    repeats: tuple[int, int]
    margin: float
    greedy: bool
    right_or_wrong: bool = True
    limit: int | None = None
    mean_tokens: float | None = None
    profile: str | None = None
    stored: SuiteSide | None = None
    bank: bool = False
    judged: tuple[Judging, Judging] | None = None
    failed: float = 0.0
    part: int | None = None
    chance: float | None = None
    p_gold_margin: float | None = None


@dataclass(frozen=True, slots=True)
class PlannedSuite:
    """What one suite will cost, and what its answers are taken to be.

    `samples` and `tokens` are what is still to be asked, by side; `tokens` are None where lengths are unknown.
    `answer_tokens` is the length of a mean answer, `part` the number of items where some are left out. `spread` and
    `length` say whence.
    """

    suite: str
    label: str
    items: int
    repeats: tuple[int, int]
    margin: float
    samples: tuple[int, int]
    tokens: tuple[float, float] | None
    answer_tokens: float | None
    greedy: bool
    bank: bool
    part: int | None
    spread: str
    length: str
    judged: tuple[Judging, Judging] | None
    world: World = field(repr=False, compare=False)

    @property
    def judge_calls(self) -> int:
        """The most that a judge is asked, were every answer another, none graded before and every reply readable."""
        return sum(
            judging.repeats * (self.items * repeats + min(judging.noise_items, self.items))
            for judging, repeats in zip(self.judged or (), self.repeats, strict=self.judged is not None)
        )

    @property
    def judge_tokens(self) -> float:
        """What a judge reads for that: its instructions (four characters a token) and the answers."""
        return self.judge_calls * (_ASKED_OF_JUDGE / 4 + (self.answer_tokens or 0.0))

    def obstacles(self, ask: SuiteAsk, power: float, alpha: float) -> Iterator[str]:
        """What keeps equal stacks from passing and is not simulated: missing pairs, chance, a p(gold) of few items."""
        if (1.0 - ask.failed) ** 2 < Rules().coverage:
            yield f"{ask.failed:.1%} of requests without an answer leave too few pairs: INVALID"
        shape, p = self.world.shape, self.world.reference
        mean = float(shape.share @ p)
        variance = (p - mean) ** 2 + p * (1.0 - p) / shape.items / self.world.repeats[0]
        reach = max(self.margin, normal_quantile(0.975) * math.sqrt(float(shape.share**2 @ variance)))
        if ask.chance and mean - reach <= ask.chance:
            yield f"a mean of {mean:.0%} is not shown to lie above chance, {ask.chance:.0%}: never EQUIVALENT"
        if ask.p_gold_margin is not None:
            z = ask.p_gold_margin * math.sqrt(self.items) / change("p_gold")
            passes = max(0.0, 1.0 - 2.0 * normal_sf(z - normal_quantile(1.0 - alpha)))
            if passes < power:
                yield f"its p(gold) row passes only {math.floor(100 * passes)} % of equal stacks with so few items"

    def hours(self, tokens_per_second: float) -> float | None:
        """Time of the slower side, both being asked at once."""
        return None if self.tokens is None else max(self.tokens) / tokens_per_second / 3600


def plan_suite(ask: SuiteAsk) -> PlannedSuite | None:
    """The plan of one suite; None where its number of items is not known."""
    if ask.items is None or ask.items < 2:
        return None
    samples = (0 if ask.bank else ask.items * ask.repeats[0], ask.items * ask.repeats[1])
    mean, length = _length(ask)
    held = None if ask.stored is None else _stored_shape(ask.stored)
    shape = shape_of(ask.suite, ask.items) if held is None or held.items.sum() < ask.items else held.first(ask.items)
    spread, moved = _spread(ask), 100 * change("churn")
    told = f"assumed: equal greedy stacks change {moved:g} % of the items" if ask.greedy else spread.told
    same = ("suite", "label", "items", "repeats", "margin", "greedy", "bank", "part", "judged")
    return PlannedSuite(
        **{name: getattr(ask, name) for name in same},
        samples=samples,
        tokens=None if mean is None else (samples[0] * mean, samples[1] * mean),
        answer_tokens=mean,
        spread=told,
        length=length,
        world=_world(ask, shape, spread),
    )


def _world(ask: SuiteAsk, shape: Shape, spread: Spread) -> World:
    """Two equal stacks: the same chances, or, where answers do not vary, a few items that come out the other way."""
    if not ask.greedy:
        chances = spread.chances(shape.items.size)
        return World(shape, chances, chances, ask.repeats, ask.margin, ask.right_or_wrong, ask.failed)
    right = Spread(spread.mean, 1.0, "").chances(shape.items.size)
    mean = float(right.mean())  # as many right items are lost as wrong ones gained, the share `churn` in all
    lost, gained = (min(0.5, change("churn") / 2.0 / part) if part else 0.0 for part in (mean, 1.0 - mean))
    changed = np.where(right > 0.5, 1.0 - lost, gained)
    return World(shape, right, changed, (1, 1), ask.margin, ask.right_or_wrong, ask.failed)


def _spread(ask: SuiteAsk) -> Spread:
    if ask.stored is None:
        return Spread.assumed()
    samples, mean = ask.stored.samples, headline(ask.stored)
    k, _means, variances = fold(samples.item, samples.value, len(samples.items))
    within = mean_within(k, variances)
    if mean is None or within is None or ask.greedy:
        return Spread.assumed(mean)
    return Spread.measured(mean, within)


def _stored_shape(stored: SuiteSide) -> Shape:
    """How the items of a stored run make its headline."""
    layout = align(stored, stored).layout
    traits = layout.traits(np.arange(len(layout.items)))
    kept = traits.weight > 0
    first, cluster, items = np.unique(traits.cluster[kept], return_index=True, return_inverse=True, return_counts=True)[
        1:
    ]
    share = np.bincount(cluster, weights=traits.weight[kept])
    stratum = np.unique(traits.stratum[kept][first], return_inverse=True)[1]
    return Shape(items.astype(np.int64), share / share.sum(), stratum)


def _length(ask: SuiteAsk) -> tuple[float | None, str]:
    if ask.mean_tokens is not None:
        return ask.mean_tokens, "as given"
    if ask.stored is not None:
        known = ask.stored.samples.completion_tokens
        known = known[~np.isnan(known)]
        if known.size:
            return float(known.mean()), "measured on a stored run"
    if (prior := tokens_of(ask.suite, ask.profile)) is not None:
        return prior
    if ask.limit is not None:
        return ask.limit / 4, f"assumed: a quarter of the token limit {ask.limit:,}"
    return None, "unknown"
