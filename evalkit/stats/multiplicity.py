"""Several suites at once: "all equivalent", Holm for alarms, Benjamini-Hochberg for browsing, the macro mean.

"All suites are equivalent" is an intersection-union test (R. L. Berger, Technometrics 24 (1982) 295-300): each suite is
tested at alpha without correction and the joint claim still has level alpha, because one
suite outside its margin is enough to make it false. The price is power, not error. Alarms are the other way round: each
suite is one more chance of a false one, so their p-values are adjusted by Holm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.model import Interval
from evalkit.stats.equivalence import t_interval
from evalkit.stats.paired import FloatArray


@dataclass(frozen=True, slots=True)
class SuiteDifference:
    """One suite's difference with its standard error and degrees of freedom (inf for score methods)."""

    point: float
    se: float
    df: float


@dataclass(frozen=True, slots=True)
class MacroMean:
    """The unweighted mean difference over suites; `interval` is at level 1 - 2 alpha."""

    point: float
    se: float
    df: float
    interval: Interval


def all_equivalent_p(p_tost: Sequence[float]) -> float:
    """The p-value of "every suite is equivalent": the largest of theirs. Raises `ValueError` on an empty set."""
    if not p_tost:
        raise ValueError("no suite was judged: an empty set is not equivalent")
    return max(p_tost)


def holm(p_values: Sequence[float]) -> FloatArray:
    """Holm's adjusted p-values (1979), in the order given: reject those at or below alpha."""
    p, order = _sorted(p_values)
    adjusted = np.minimum(1.0, np.maximum.accumulate(p * np.arange(p.size, 0, -1)))
    return _unsorted(adjusted, order)


def benjamini_hochberg(p_values: Sequence[float]) -> FloatArray:
    """Benjamini and Hochberg's adjusted p-values (1995), in the order given: bounds the share of false discoveries."""
    p, order = _sorted(p_values)
    raised = p * p.size / np.arange(1, p.size + 1)
    adjusted = np.minimum(1.0, np.minimum.accumulate(raised[::-1])[::-1])
    return _unsorted(adjusted, order)


def macro_mean(suites: Sequence[SuiteDifference], alpha: float = 0.05) -> MacroMean:
    """The mean of suite differences, each suite counting once: SE = sqrt(sum se^2) / B, Satterthwaite's df.

    Never pooled over items, where the largest suite would decide alone. Raises `ValueError` on an empty set.
    """
    if not suites:
        raise ValueError("no suite was judged: there is no mean over none")
    squares = np.array([suite.se**2 for suite in suites])
    total = float(squares.sum())
    lost = float(np.sum(squares**2 / np.array([suite.df for suite in suites])))
    df = total**2 / lost if lost > 0 else math.inf
    point, se = math.fsum(suite.point for suite in suites) / len(suites), math.sqrt(total) / len(suites)
    return MacroMean(point, se, df, t_interval(point, se, df, 1.0 - 2.0 * alpha))


def _sorted(p_values: Sequence[float]) -> tuple[FloatArray, NDArray[np.intp]]:
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0.0) & (p <= 1.0)):
        raise ValueError("p-values lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _unsorted(adjusted: FloatArray, order: NDArray[np.intp]) -> FloatArray:
    placed = np.empty_like(adjusted)
    placed[order] = adjusted
    return placed
