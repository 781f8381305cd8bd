"""Headlines of suites whose items weigh differently, for plain lm-eval (evalkit computes its own from the weights)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.scoring import hooks


def weighted_choice(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, tuple[float, float]]:
    """`process_results` of a multiple-choice suite whose documents carry their weight in `subsets`."""
    return {"acc": (hooks.choice(doc, results)["acc"], float(doc["subsets"]))}


def needs_judge(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:  # noqa: ARG001 - lm-eval's call
    """`process_results` of a suite that a judge model grades: plain lm-eval has no judge, so there is no score."""
    return {}


def weighted_mean(values: Sequence[tuple[float, float]]) -> float:
    """The mean of (value, weight) pairs by weight; the weights must not all be zero."""
    return sum(value * weight for value, weight in values) / sum(weight for _value, weight in values)
