"""How often a whole comparison gets each verdict at a known truth: simulated, and judged by the methods that judge.

A suite is a list of clusters (an item that stands alone is one), each with a chance of a right answer on either side.
Answers are drawn, and what they come down to goes through `METHODS`, Holm's correction and the mean over suites, for
many comparisons at once; a test holds that a comparison gets the verdict that its score table gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.tiers import ALARMS
from evalkit.compare.validity import Rules
from evalkit.model import Verdict
from evalkit.stats.methods import Evidence, chosen_methods, decide, intervals
from evalkit.stats.multiplicity import holm, macro_error
from evalkit.stats.paired import BoolArray, FloatArray, Form, IntArray, effective_number, unseen_flips
from evalkit.stats.tails import fisher_exact, normal_quantile

ROWS: Final = 100  # simulated comparisons held in memory at once
_TABLED: Final = 16  # answers a cluster up to which drawing from a table is faster than numpy's binomial


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """How a suite's items make its headline; arrays have one entry a cluster.

    `items` counts a cluster's items, `share` is its part of the headline (they add up to 1), `stratum` its code from 0.
    """

    items: IntArray
    share: FloatArray
    stratum: IntArray

    @classmethod
    def plain(cls, n_items: int) -> Shape:
        """Items that stand alone and weigh the same."""
        return cls(np.ones(n_items, np.int64), np.full(n_items, 1.0 / n_items), np.zeros(n_items, np.int64))

    def first(self, n_items: int) -> Shape:
        """So many of its items, with the strata's parts as they were."""
        return self if n_items >= self.items.sum() else self.of(self.places(n_items))

    def places(self, n_items: int) -> IntArray:
        """Clusters with about so many items, taken evenly over their order."""
        count = max(2, round(n_items / float(self.items.mean())))
        return np.unique(np.linspace(0, self.items.size - 1, min(count, self.items.size)).astype(np.int64))

    def of(self, clusters: IntArray) -> Shape:
        """The shape of these clusters alone."""
        home = self.stratum[clusters]
        whole = np.bincount(self.stratum, weights=self.share)
        left = np.bincount(home, weights=self.share[clusters], minlength=whole.size)
        share = self.share[clusters] * whole[home] / left[home]
        return Shape(self.items[clusters], share / share.sum(), np.unique(home, return_inverse=True)[1])

    @property
    def form(self) -> Form:
        """What decides the method, were no answer to vary."""
        clustered, stratified = bool(np.any(self.items > 1)), bool(np.any(self.stratum > 0))
        alike = bool(np.allclose(self.share, self.share[0]))
        return Form(True, not clustered and not stratified and alike, clustered, stratified)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A suite and the truth about it; chances (`reference`, `candidate`) have one entry a cluster.

    `repeats` are those that tell something new: one, where answers never vary. `failed` is the share of requests that
    are never answered, the same on both sides.
    """

    shape: Shape
    reference: FloatArray
    candidate: FloatArray
    repeats: tuple[int, int]
    margin: float
    right_or_wrong: bool = True
    failed: float = 0.0

    def first(self, n_items: int) -> World:
        """The suite with so many of its items."""
        places = self.shape.places(n_items)
        one, two = self.reference[places], self.candidate[places]
        return replace(self, shape=self.shape.of(places), reference=one, candidate=two)

    def shifted(self, difference: float) -> World:
        """The candidate with another headline: a cluster loses in proportion to its chance."""
        p, share = self.candidate, self.shape.share
        mean = float(share @ p)
        changed = p * (1.0 + difference / mean) if difference < 0 else p + (1.0 - p) * difference / (1.0 - mean)
        return replace(self, candidate=np.clip(changed, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Gate:
    """A comparison's suites by name, in their order; without `overall_margin` (a fraction) there is one suite alone."""

    suites: Mapping[str, World]
    overall_margin: float
    alpha: float = 0.05

    def shifted(self, difference: float | Mapping[str, float]) -> Gate:
        """The candidate with other headlines, in all suites alike or by name (fractions)."""
        by_name = difference if isinstance(difference, Mapping) else dict.fromkeys(self.suites, difference)
        changed = {name: world.shifted(by_name.get(name, 0.0)) for name, world in self.suites.items()}
        return replace(self, suites=changed)


class Drawn(NamedTuple):
    """What came back of one suite on both sides: right answers, and answers, by comparison (rows) and cluster."""

    right: tuple[IntArray, IntArray]
    answered: tuple[IntArray, IntArray]


class Row(NamedTuple):
    """The tests of one row of the table in many comparisons at once; `se` and `df` are what the mean is made from."""

    evidence: Evidence
    margin: float
    se: FloatArray
    df: FloatArray
    decision: NDArray[np.object_]

    def p_alarm(self, chosen: BoolArray) -> FloatArray:
        """`DifferenceTest.p_alarm` of the chosen comparisons."""
        above, below, over, under = self._tests(chosen)
        return np.asarray(np.minimum(1.0, np.minimum(below, over) + np.minimum(above, under)))

    def p_tost(self, chosen: BoolArray) -> FloatArray:
        """`DifferenceTest.p_tost` of the chosen comparisons."""
        above, _below, _over, under = self._tests(chosen)
        return np.asarray(np.maximum(above, under))

    def _tests(self, chosen: BoolArray) -> FloatArray:
        """P-values of above and below -margin, and of above and below margin; shape (4, comparisons)."""
        part = self.evidence.rows(chosen)
        found = np.empty((4, part.point.size))
        for method, rows in chosen_methods(part.form):
            found[:, rows] = [p for one in (-self.margin, self.margin) for p in method.test(part.rows(rows), one)]
        return found


class Outcome(NamedTuple):
    """The verdicts of many comparisons as they are printed: over all, of the mean (None for one suite), by suite."""

    overall: NDArray[np.object_]
    mean: NDArray[np.object_] | None
    suites: Mapping[str, NDArray[np.object_]]

    def share(self, verdict: Verdict) -> float:
        """The share of comparisons with this verdict."""
        return float(np.mean(self.overall == verdict))


def simulate(gate: Gate, comparisons: int, seed: int = 0) -> Outcome:
    """So many comparisons of the gate. The same seed draws the same luck, so that truths are compared without noise."""
    parts = [judge(gate, drawn) for drawn in draws(gate, comparisons, seed)]
    means = [part.mean for part in parts if part.mean is not None]
    return Outcome(
        np.concatenate([part.overall for part in parts]),
        np.concatenate(means) if means else None,
        {name: np.concatenate([part.suites[name] for part in parts]) for name in gate.suites},
    )


def draws(gate: Gate, comparisons: int, seed: int) -> Iterator[dict[str, Drawn]]:
    """The answers of so many comparisons, a hundred at a time."""
    streams = {name: np.random.default_rng([seed, number]) for number, name in enumerate(gate.suites)}
    for start in range(0, comparisons, ROWS):
        size = min(ROWS, comparisons - start)
        yield {name: _drawn(world, size, streams[name]) for name, world in gate.suites.items()}


def _drawn(world: World, size: int, rng: np.random.Generator) -> Drawn:
    right, answered = [], []
    for chance, repeats in zip((world.reference, world.candidate), world.repeats, strict=True):
        asked = world.shape.items * repeats
        came = np.broadcast_to(asked, (size, asked.size))
        if world.failed:
            came = rng.binomial(asked, 1.0 - world.failed, (size, asked.size))
        answered.append(came)
        right.append(rng.binomial(came, chance) if world.failed else right_answers(asked, chance, size, rng))
    return Drawn((right[0], right[1]), (answered[0], answered[1]))


def right_answers(asked: IntArray, chance: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """Numbers of right answers: binomial, by inversion where a cluster has few, which is five times as fast."""
    found = np.zeros((size, asked.size), np.int64)
    luck = rng.random(found.shape, np.float32)
    for number in np.unique(asked).tolist():
        columns = np.flatnonzero(asked == number)
        if number > _TABLED:
            found[:, columns] = rng.binomial(number, chance[columns], found[:, columns].shape)
            continue
        some, p = luck[:, columns] if columns.size < asked.size else luck, chance[columns]
        term, below = (1.0 - p) ** number, np.zeros_like(p)
        odds = p / np.maximum(1.0 - p, 1e-300)
        counts = np.zeros(some.shape, np.int8)
        for right in range(number):
            below += term
            counts += some >= below.astype(np.float32)
            term = term * odds * ((number - right) / (right + 1))
        counts[:, p == 1.0] = number
        found[:, columns] = counts
    return found


def judge(gate: Gate, drawn: Mapping[str, Drawn]) -> Outcome:
    """The verdicts of comparisons that came out like this, by the rules of `compare.tiers` and `unequal_failures`.

    Too few pairs (`Rules.coverage`) are not looked at: what fails so often is known before anything is drawn.
    """
    tests = {
        name: [test_row(case, world.margin, gate.alpha) for case in cases(world, drawn[name])]
        for name, world in gate.suites.items()
    }
    waits = {name: _turned(several) for name, several in tests.items()}
    rows, unequal = [several[0] for several in tests.values()], _unequal(gate, drawn)
    if len(rows) < 2:
        ((name, row),) = zip(gate.suites, rows, strict=True)
        alone = np.where(waits[name], Verdict.INCONCLUSIVE, row.decision)
        alone[unequal[0]] = Verdict.INVALID
        return Outcome(alone, None, {name: alone})
    means = [mean_row(several, gate) for several in zip(*tests.values(), strict=True)]
    everything = [*rows, means[0]]
    alarms: BoolArray = np.array([np.isin(row.decision, ALARMS) for row in everything], np.bool_)
    some: BoolArray = np.any(alarms, axis=0)  # where no row alarms there is nothing to correct
    if some.any():
        alarms[:, some] &= holm(np.stack([row.p_alarm(some) for row in everything])) > gate.alpha
    opened = [*waits.values(), _turned(means)]
    held = [
        np.where(bad, Verdict.INVALID, np.where(taken | wait, Verdict.INCONCLUSIVE, row.decision))
        for row, taken, wait, bad in zip(everything, alarms, opened, [*unequal, unequal.any(axis=0)], strict=True)
    ]
    overall = np.array([Verdict.over(column) for column in zip(*held, strict=True)], object)
    return Outcome(overall, held[-1], dict(zip(gate.suites, held, strict=False)))


def _unequal(gate: Gate, drawn: Mapping[str, Drawn]) -> BoolArray:
    """Where items lack an answer on one side more often than on the other, by Holm: (suites, comparisons)."""
    found = np.ones((len(gate.suites), len(next(iter(drawn.values())).right[0])))
    for number, (name, world) in enumerate(gate.suites.items()):
        if not world.failed:  # what was not asked for lacks nowhere
            continue
        items, n = world.shape.items, int(world.shape.items.sum())
        asked = zip(world.repeats, drawn[name].answered, strict=True)
        one, two = (np.minimum(items, items * k - came).sum(axis=1).tolist() for k, came in asked)
        found[number] = [
            fisher_exact(lacking, (n, n)) if any(lacking) else 1.0 for lacking in zip(one, two, strict=True)
        ]
    return np.asarray(holm(found) <= Rules().failure_alpha)


def _turned(tests: Sequence[Row]) -> BoolArray:
    """Where what was never answered would change the decision, were it all against one side."""
    decided = tests[0].decision != Verdict.INCONCLUSIVE
    turned = [tests[0].decision != case.decision for case in tests[1:]]
    return np.asarray(decided & np.any(turned, axis=0) if turned else np.zeros_like(decided), np.bool_)


def test_row(evidence: Evidence, margin: float, alpha: float) -> Row:
    """The tests of `judge_difference`, many at once."""
    low, high = intervals(evidence, 1.0 - 2.0 * alpha)
    df = np.empty_like(evidence.df)
    for method, rows in chosen_methods(evidence.form):
        df[rows] = method.df(evidence.rows(rows))
    width = (high - low) / (2.0 * normal_quantile(1.0 - alpha))
    return Row(evidence, margin, np.where(np.isinf(df), width, evidence.se), df, decide(low, high, margin))


def mean_row(tests: Sequence[Row], gate: Gate) -> Row:
    """The tests of `macro_test`, many at once."""
    point, se, df = macro_error(
        np.stack([one.evidence.point for one in tests]),
        np.stack([one.se for one in tests]),
        np.stack([one.df for one in tests]),
    )
    unknown = np.full_like(point, np.nan)
    form = Form(*(np.full(point.shape, flag) for flag in Form()))
    return test_row(Evidence(form, unknown, point, se, df, *[unknown] * 4), gate.overall_margin, gate.alpha)


def cases(world: World, drawn: Drawn) -> list[Evidence]:
    """The evidence of what was answered, and were the rest all against the candidate, and all for it."""
    asked = [world.shape.items * repeats for repeats in world.repeats]
    with np.errstate(invalid="ignore"):
        one, two = (right / answered for right, answered in zip(drawn.right, drawn.answered, strict=True))
    found = [_evidence(world, _filled(two - one), drawn)]
    if world.failed:
        missing = [whole - came for whole, came in zip(asked, drawn.answered, strict=True)]
        for against in (0, 1):
            right = list(drawn.right)
            right[against] = right[against] + missing[against]
            worst = Drawn((right[0], right[1]), (drawn.answered[0] + missing[0], drawn.answered[1] + missing[1]))
            found.append(_evidence(world, right[1] / asked[1] - right[0] / asked[0], worst))
    return found


def _filled(difference: FloatArray) -> FloatArray:
    """Clusters without an answer on one side are no pair: the mean of the others stands in for them."""
    lacking = np.isnan(difference)
    if not lacking.any():
        return difference
    return np.where(lacking, np.nanmean(difference, axis=1, keepdims=True), difference)


def _evidence(world: World, difference: FloatArray, drawn: Drawn) -> Evidence:
    """What the clusters' differences come down to: `paired.floored_difference`, many at once."""
    shape, size = world.shape, len(difference)
    point = difference @ shape.share
    variance, df = _variance(shape, difference)
    several = [repeats > 1 for repeats in world.repeats]
    varied = [
        np.any((right > 0) & (right < came), axis=1) & more
        for right, came, more in zip(drawn.right, drawn.answered, several, strict=True)
    ]
    looks = [np.where(some, repeats, 1) for some, repeats in zip(varied, world.repeats, strict=True)]
    floor = unseen_flips(looks[0], looks[1], float(np.mean(shape.share**2)))
    settled = ~(varied[0] | varied[1]) & world.right_or_wrong
    form = shape.form
    unknown = np.full(size, np.nan)
    lost, gained = ((sign * difference > 0).sum(axis=1).astype(np.float64) for sign in (-1, 1))
    flags = (settled, *(np.full(size, flag) for flag in form[1:]))
    n = np.full(size, float(shape.items.sum()))
    return Evidence(Form(*flags), n, point, np.sqrt(variance + floor), df, lost, gained, unknown, unknown)


def _variance(shape: Shape, difference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`paired.clustered_mean`, many at once; strata of one cluster are taken together as one stratum."""
    stratum = _joined(shape.stratum)
    parts, freedom = [], []
    for code in range(int(stratum.max()) + 1):
        rows = stratum == code
        rows = slice(None) if rows.all() else rows
        held, some = shape.share[rows], difference[:, rows]
        mean = some @ held / held.sum()
        residual = (some - mean[:, None]) * held
        n = held.size
        parts.append(n / max(n - 1, 1) * np.einsum("ij,ij->i", residual, residual))
        freedom.append(max(min(float(n), effective_number(held)) - 1.0, 1.0))
    total = np.sum(parts, axis=0)
    lost = np.sum([part**2 / free for part, free in zip(parts, freedom, strict=True)], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(total > 0.0, total**2 / lost, float(np.sum(freedom)))
    return total, df


def _joined(stratum: IntArray) -> IntArray:
    lone = np.bincount(stratum)[stratum] < 2
    if not lone.any():
        return stratum
    return np.unique(np.where(lone, -1, stratum), return_inverse=True)[1]
