"""What a published table can support: two means a row, a known number of items, no item scores.

Without items there is no pairing, so the interval is that of two independent samples (Miettinen and Nurminen), about
twice as wide as a paired one on the same weights. It can show a large difference, and equivalence on large suites; of
thirty items it shows that the table supports no claim at all, however close the two numbers stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from evalkit.compare.policy import DEFAULT_MARGIN
from evalkit.model import Macro, Verdict
from evalkit.stats.methods import Decision, DifferenceTest, judge_means
from evalkit.stats.multiplicity import macro_of
from evalkit.stats.proportions import Count, wilson

LEAST_ITEMS: Final = 20

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
    """What may be said of a row: `reason` is one sentence with its numbers; INVALID where nothing may be said.

    Intervals are unpaired; `n_items` is None where the number of items is not known or does not fit the scores.
    """

    label: str
    verdict: Verdict
    reason: str
    reference: float | None
    candidate: float | None
    n_items: int | None
    margin: float
    test: DifferenceTest | None = None


def judge_row(row: PublishedRow, alpha: float = 0.05) -> PublishedJudgment:
    """The judgment on one row of a published table."""
    sizes = possible_sizes(row)
    reason = _problem(row, sizes)
    n_items, test = sizes[0] if sizes else None, None
    if not reason and row.reference is not None and row.candidate is not None and n_items is not None:
        test = judge_means(row.reference, row.candidate, EFFECTIVE_ITEMS.get(n_items, n_items), row.margin, alpha)
        reason = _reason(test, n_items)
    verdict = Verdict.INVALID if test is None else Verdict[test.decision.name]
    return PublishedJudgment(row.label, verdict, reason, row.reference, row.candidate, n_items, row.margin, test)


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


def _problem(row: PublishedRow, sizes: tuple[int, ...]) -> str:
    """Why nothing may be said of a row; empty where something may."""
    for side, score in (("reference", row.reference), ("candidate", row.candidate)):
        if score is None or not 0.0 < score <= 1.0:
            return _no_score(side, score)
    if not row.sizes:
        return "the number of items is not known: without it two means support nothing"
    if not sizes:
        listed = ", ".join(str(size) for size in row.sizes)
        times = "once" if row.trials == 1 else f"{row.trials} times"
        return (
            f"{row.reference:.4g} and {row.candidate:.4g} cannot both be shares of {listed} items asked {times}: "
            "another number of items, several runs, or a slip"
        )
    if sizes[0] < LEAST_ITEMS:
        return f"{sizes[0]} items are fewer than {LEAST_ITEMS}"
    for side, score in (("reference", row.reference), ("candidate", row.candidate)):
        if row.chance and score is not None and wilson(Count(score * sizes[0], sizes[0])).high <= row.chance:
            return f"the {side} scores {score:.3f}, below chance ({row.chance:.2f}) on {sizes[0]} items"
    return ""


def _no_score(side: str, score: float | None) -> str:
    if score is None:
        return f"the {side}'s score is missing: there is nothing to compare"
    if score == 0.0:
        return f"the {side} scores exactly 0: a failed run, or nothing to compare"
    return f"the {side}'s score {score:g} is no share of right answers"


def _reason(test: DifferenceTest, n_items: int) -> str:
    low, high, m = test.ci90.low * 100, test.ci90.high * 100, test.margin * 100
    interval = f"two single means over {n_items} items: the unpaired interval {low:+.1f} … {high:+.1f} points"
    if test.decision is Decision.EQUIVALENT:
        return f"{interval} lies inside ±{m:g}: the table supports equivalence, even without pairing"
    if test.decision is Decision.DEGRADED:
        return f"{interval} lies below -{m:g}: the table shows a loss, even without pairing"
    if test.decision is Decision.ELEVATED:
        return f"{interval} lies above +{m:g}: not noise; suspect another protocol, or a copied or mis-run reference"
    reach = (test.ci90.high - test.ci90.low) * 50
    return (
        f"{interval} is neither inside ±{m:g} nor outside: at this size a table resolves ±{reach:.1f} points, so it "
        "supports neither `consistent` nor `worse`; pair the items, with repeats"
    )


def macro_over_rows(judgments: Sequence[PublishedJudgment], alpha: float = 0.05) -> Macro | None:
    """The mean over the rows that may be judged, each counting once; None where none may."""
    judged = [(one, one.test) for one in judgments]
    rows = [(one.label, one.reference or 0.0, one.candidate or 0.0, test) for one, test in judged if test is not None]
    return macro_of(rows, alpha)


def gravest(judgments: Sequence[PublishedJudgment]) -> Verdict:
    """The gravest verdict of the rows; INVALID without any."""
    order = (Verdict.INVALID, Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)
    return next((verdict for verdict in order if any(one.verdict is verdict for one in judgments)), Verdict.INVALID)
