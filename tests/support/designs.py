"""Designs that tests assume, and what they can show."""

from dataclasses import replace

from evalkit.stats.methods import Goal, power_of
from evalkit.stats.paired import Form
from evalkit.stats.variance import DesignVariance

_RIGHT_OR_WRONG = Form(settled=True)
_HALVINGS = 30  # of a margin: down to 1e-9


def assumed_variance(n_items: int, mean: float, icc: float, form: Form = _RIGHT_OR_WRONG) -> DesignVariance:
    """The variance expected of n right-or-wrong items with this mean score, for two equal stacks.

    `icc` is the share of the score's variance that lies between items (0: all equally hard, 1: each always right or
    always wrong), so one repeat has variance mean * (1 - mean) * (1 - icc).
    """
    return stored_variance(n_items, mean * (1.0 - mean) * (1.0 - icc), form)


def stored_variance(n_items: int, within: float, form: Form = _RIGHT_OR_WRONG) -> DesignVariance:
    """The variance expected from the mean within-item variance (per repeat) that a bank has stored, on both sides."""
    return DesignVariance(within / n_items, within / n_items, 0.0, n_items**-2, n_items - 1.0, form)


def greedy_variance(n_items: int, churn: float, form: Form = _RIGHT_OR_WRONG) -> DesignVariance:
    """The variance expected of answers that never vary, where equal stacks change this share of the items."""
    return DesignVariance(0.0, 0.0, churn / n_items, n_items**-2, n_items - 1.0, form)


def smallest_margin(design: DesignVariance, k_reference: float, k_candidate: float, goal: Goal) -> float:
    """The narrowest margin (fraction) at which so many repeats show equivalence with the goal's power; at most 1."""
    low, high = abs(goal.shift), 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        shown = power_of(design, k_reference, k_candidate, replace(goal, margin=middle)) >= goal.power
        low, high = (low, middle) if shown else (middle, high)
    return high
