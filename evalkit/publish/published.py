"""What a published table can support: two means a row, a known number of items, no item scores.

Without items there is no pairing, so the interval is that of two independent samples (Miettinen and Nurminen), about
twice as wide as a paired one on the same weights. It can show a large difference, and equivalence on large suites; of
thirty items it shows that the table supports no claim at all, however close the two numbers stand.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from evalkit.compare.validity import DEFAULT_MARGIN
from evalkit.model import Reason, Value, Verdict
from evalkit.stats.methods import DifferenceTest, judge_difference, judge_means
from evalkit.stats.multiplicity import macro_test
from evalkit.stats.paired import PairedItems
from evalkit.stats.tails import normal_quantile, wilson

LEAST_ITEMS: Final = 20
LOSS: Final = 0.10  # a loss (a fraction) that a table of enough items shows
POWER: Final = 0.90

EFFECTIVE_ITEMS: Final[Mapping[int, int]] = MappingProxyType({1192: 493})
"""GPQA's three sets pooled hold 546 questions up to three times; Kish's effective number is 493."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One row. Scores are fractions, None for a hole; `step` is their last printed digit as a fraction, 0 for exact.

    `sizes` are the numbers of items that the label may mean, `trials` how often each was asked. `graded` scores are no
    shares of right answers; they vary less than those, so that the interval is too wide, never too narrow.
    """

    label: str
    reference: float | None
    candidate: float | None
    step: float
    sizes: tuple[int, ...]
    chance: float | None = None
    trials: int = 1
    margin: float = DEFAULT_MARGIN
    graded: bool = False


@dataclass(frozen=True, slots=True)
class PublishedJudgment:
    """What may be said of a row: `reason` has its numbers; INVALID where nothing may be said.

    Intervals are unpaired; `n_items` is None where the number of items is not known or does not fit the scores.
    `needed` is `items_to_decide`, None where the reference's score is a hole or decides nothing.
    """

    label: str
    verdict: Verdict
    reason: Reason
    reference: float | None
    candidate: float | None
    n_items: int | None
    margin: float
    test: DifferenceTest | None = None
    needed: int | None = None


def judge_row(row: PublishedRow, alpha: float = 0.05) -> PublishedJudgment:
    """The judgment on one row of a published table."""
    sizes = possible_sizes(row)
    reason = _problem(row, sizes)
    n_items, test, needed = sizes[0] if sizes else None, None, None
    if row.reference is not None and 0.0 < row.reference < 1.0:
        needed = items_to_decide(row.reference, row.margin, alpha)
    if reason is None and row.reference is not None and row.candidate is not None and n_items is not None:
        test = judge_means(row.reference, row.candidate, EFFECTIVE_ITEMS.get(n_items, n_items), row.margin, alpha)
        reason = _reason(test, n_items, needed)
    verdict = Verdict.INVALID if test is None else test.decision
    reason = reason or Reason("published.no_size")
    return PublishedJudgment(
        row.label, verdict, reason, row.reference, row.candidate, n_items, row.margin, test, needed
    )


def judge_items(label: str, paired: PairedItems, margin: float, alpha: float = 0.05) -> PublishedJudgment:
    """The judgment on a row of which both sides' scores by item are known.

    `needed` is as many as `items_to_decide` wants of items whose scores are independent, times how these differ.
    """
    test, n_items = judge_difference(paired, margin, alpha), paired.n_items
    means = float(np.mean(paired.reference_mean)), float(np.mean(paired.candidate_mean))
    if n_items < LEAST_ITEMS:
        few = Reason("published.few", {"n": n_items, "least": LEAST_ITEMS})
        return PublishedJudgment(label, Verdict.INVALID, few, *means, n_items, margin)
    apart = sum(mean * (1 - mean) for mean in means) / n_items
    alone = items_to_decide(means[0], margin, alpha)
    needed = max(LEAST_ITEMS, math.ceil(alone * min(1.0, test.se**2 / apart if apart else 1.0)))
    reason = _reason(test, n_items, needed)
    return PublishedJudgment(label, test.decision, reason, *means, n_items, margin, test, needed)


def items_to_decide(reference: float, margin: float, alpha: float = 0.05) -> int:
    """Items, asked once on either side, with which two means decide: an equal candidate, and one `LOSS` worse.

    Each is then called EQUIVALENT or DEGRADED with the chance `POWER`, by the normal approximation of K. F. Phillips'
    sample size for two one-sided tests; where the margin is no less than `LOSS`, only the equal one.
    """
    level, worse = normal_quantile(1 - alpha), max(0.0, reference - LOSS)
    spread = reference * (1 - reference)
    needed = 2 * spread * ((level + normal_quantile((1 + POWER) / 2)) / margin) ** 2
    if margin < LOSS:
        both = spread + worse * (1 - worse)
        needed = max(needed, both * ((level + normal_quantile(POWER)) / (LOSS - margin)) ** 2)
    return max(LEAST_ITEMS, math.ceil(needed))


def possible_sizes(row: PublishedRow) -> tuple[int, ...]:
    """The sizes that both scores can be shares of, smallest first (the widest interval); all of them for a hole.

    Where no size gives the printed digits by rounding, those count that give them cut off.
    """
    if row.graded:
        return tuple(sorted(row.sizes))
    scores = [score for score in (row.reference, row.candidate) if score is not None]
    for low, high in ((-row.step / 2, row.step / 2), (0.0, row.step)):
        fitting = [
            size for size in row.sizes if all(_is_share(score, size * row.trials, low, high) for score in scores)
        ]
        if fitting:
            return tuple(sorted(fitting))
    return ()


def _is_share(score: float, answers: int, low: float, high: float) -> bool:
    """True where some number of right answers lies between score + low and score + high."""
    slack = 1e-9
    nearest = (int(score * answers), int(score * answers) + 1)
    return any(low - slack <= right / answers - score <= high + slack for right in nearest)


def _problem(row: PublishedRow, sizes: tuple[int, ...]) -> Reason | None:
    """Why nothing may be said of a row; None where something may."""
    sides = {"reference": row.reference, "candidate": row.candidate}
    for side, score in sides.items():
        if score is None or not 0.0 < score <= 1.0:
            return _no_score(side, score)
    if not row.sizes:
        return Reason("published.no_size")
    if not sizes:
        times = "1" if row.trials == 1 else str(row.trials)
        values = {side: score for side, score in sides.items() if score is not None}
        return Reason("published.no_share", {**values, "sizes": tuple(map(str, row.sizes)), "times": times})
    if sizes[0] < LEAST_ITEMS:
        return Reason("published.few", {"n": sizes[0], "least": LEAST_ITEMS})
    for side, score in sides.items():
        if row.chance and score is not None and wilson(score * sizes[0], sizes[0]).high <= row.chance:
            values = {"mean": score, "chance": row.chance}
            return Reason("published.below_chance", {"side": side, "n": sizes[0], **values})
    return None


def _no_score(side: str, score: float | None) -> Reason:
    if score is None:
        return Reason("published.missing", {"side": side})
    if score == 0.0:
        return Reason("published.zero", {"side": side})
    return Reason("published.beyond", {"side": side, "score": score})


def _reason(test: DifferenceTest, n_items: int, needed: int | None) -> Reason:
    values: dict[str, Value] = {"n": n_items, "interval": test.ci90, "margin": test.margin}
    if test.decision is Verdict.EQUIVALENT:
        return Reason("published.equivalent", values)
    if test.decision is Verdict.DEGRADED:
        return Reason("published.degraded", values)
    if test.decision is Verdict.ELEVATED:
        return Reason("published.elevated", values)
    values |= {"reach": (test.ci90.high - test.ci90.low) / 2, **({"needed": needed} if needed else {})}
    return Reason("published.inconclusive", values)


def mean_over_rows(judgments: Sequence[PublishedJudgment], alpha: float = 0.05) -> DifferenceTest | None:
    """The mean over the rows that may be judged, each counting once; None where none may. It decides nothing."""
    rows = [(test.point, test.se, test.df) for one in judgments if (test := one.test) is not None]
    return macro_test(rows, DEFAULT_MARGIN, alpha) if rows else None
