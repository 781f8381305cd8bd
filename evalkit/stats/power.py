"""How many repeats would decide, and what a design can show.

The classical sample size for two one-sided tests (K. F. Phillips, J. Pharmacokin. Biopharm. 18 (1990) 137-144), turned
to repeats of given items: k = (s_ref^2 + s_cand^2) / n * ((z_(1-alpha) + z_(1-beta/2)) / m)^2 at no difference. Here
the same is solved with t quantiles and the floor of the test itself, so that the answer is the k with which
`judge_difference` has the promised power.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from evalkit.model import Reason
from evalkit.stats.methods import DifferenceTest, Goal, power_of
from evalkit.stats.paired import PairedItems, harmonic_mean
from evalkit.stats.variance import DesignVariance, measured_variance

_MOST: Final = 10**6  # repeats beyond this are "never"


@dataclass(frozen=True, slots=True)
class Repeats:
    """Repeats an item that reach a goal: on both sides, or on the candidate's where the reference is a stored bank.

    `repeats` is None where no number does, and `note` says why; otherwise `note` states what was assumed.
    """

    repeats: int | None
    note: Reason


def repeats_for(design: DesignVariance, goal: Goal, bank_repeats: float | None = None) -> Repeats:
    """The fewest repeats an item that give the goal's power, on both sides or against a bank of so many repeats."""
    if goal.margin == abs(goal.shift):
        return Repeats(None, Reason("needed.on_the_margin"))

    def power(k: int) -> float:
        return power_of(design, bank_repeats or k, k, goal)

    if power(_MOST) < goal.power:
        if design.between > 0.0 and power_of(design, _MOST, _MOST, goal) < goal.power:
            return Repeats(None, Reason("needed.items_differ", {"error": math.sqrt(design.between)}))
        return Repeats(None, Reason("needed.bank", {"error": math.sqrt(design.reference / (bank_repeats or 1.0))}))
    low, high = 0, 1
    while power(high) < goal.power:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= goal.power else (middle, high)
    return Repeats(high, Reason("needed.assumed", {"power": goal.power, "shift": goal.shift}))


def repeats_to_decide(
    paired: PairedItems, test: DifferenceTest, power: float = 0.80, *, bank_repeats: float | None = None
) -> Repeats:
    """What an undecided comparison needs, from its own variances.

    The true difference is taken to be 0, unless the 95 % interval excludes that or the answer would be fewer repeats
    than the comparison had (it was unlucky, or there is a difference): then it is the estimate. With `bank_repeats` the
    reference is a stored bank of so many repeats and only the candidate is asked again.
    """
    measured = measured_variance(paired)
    goal = Goal(test.margin, test.alpha, power, test.point if test.leans else 0.0)
    if not measured.repeatable:
        return Repeats(None, Reason("needed.same_answers"))
    needed = repeats_for(measured.design, goal, bank_repeats)
    had = harmonic_mean(paired.candidate_k)
    if needed.repeats is not None and needed.repeats <= had:
        needed = repeats_for(measured.design, replace(goal, shift=test.point), bank_repeats)
    if needed.repeats is None:
        return needed
    return replace(needed, note=Reason(needed.note.code, {**needed.note.values, "variance": measured.note}))
