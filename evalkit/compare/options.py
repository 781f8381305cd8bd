"""Suites that weigh options by log-likelihood: how far the two sides' log-probabilities lie apart, option by option.

By far the most sensitive row of a comparison: it is free of sampling, and a kernel that moves every number a little
shows here long before an argmax changes.
"""

from __future__ import annotations

import math

import numpy as np

from evalkit.compare.inputs import SuiteSide
from evalkit.model import BehaviourRow, Interval
from evalkit.stats.tails import t_quantile


def option_rows(reference: SuiteSide, candidate: SuiteSide) -> list[BehaviourRow]:
    """Mean |difference| of the options' log-probabilities (nats, with a t interval over items) and changed answers."""
    shared = sorted(set(reference.options) & set(candidate.options))
    pairs = [(reference.options[key], candidate.options[key]) for key in shared]
    pairs = [(one, two) for one, two in pairs if len(one) == len(two)]
    if len(pairs) < 2:
        return []
    left, right = (np.asarray([pair[side] for pair in pairs]) for side in (0, 1))
    distance = np.abs(left - right).mean(axis=1)
    mean, n = float(distance.mean()), len(pairs)
    reach = t_quantile(0.975, n - 1) * float(distance.std(ddof=1)) / math.sqrt(n)
    changed = float((left.argmax(axis=1) != right.argmax(axis=1)).mean())
    return [
        BehaviourRow(
            "|Δ log-probability| of an option", None, mean, "nats", Interval(mean - reach, mean + reach, 0.95)
        ),
        BehaviourRow("|Δ log-probability|, largest", None, float(np.abs(left - right).max()), "nats"),
        BehaviourRow("questions whose likeliest option changed", None, changed, "share"),
    ]
