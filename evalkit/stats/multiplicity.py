"""Several suites at once: Holm's correction, and their mean."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from evalkit.stats.methods import DifferenceTest, judge_estimate
from evalkit.stats.paired import FloatArray


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's adjusted p-values (1979), in the order given: reject those at or below alpha.

    Along the first axis; further axes are families of their own.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0.0) & (p <= 1.0)):
        raise ValueError("p-values lie in [0, 1]")
    order, steps = np.argsort(p, axis=0, kind="stable"), np.arange(len(p), 0, -1).reshape(-1, *[1] * (p.ndim - 1))
    adjusted = np.empty_like(p)
    rising = np.maximum.accumulate(np.take_along_axis(p, order, 0) * steps, axis=0)
    np.put_along_axis(adjusted, order, np.minimum(1.0, rising), 0)
    return adjusted


def macro_test(differences: Sequence[tuple[float, float, float]], margin: float, alpha: float = 0.05) -> DifferenceTest:
    """The mean of suite differences against its margin, each suite counting once: SE = sqrt(sum se^2) / B.

    Of each suite the difference, its standard error and degrees of freedom (inf for score methods); the mean has
    Satterthwaite's. Never pooled over items, where the largest suite would decide alone. Raises `ValueError` on an
    empty set.
    """
    if not differences:
        raise ValueError("no suite was judged: there is no mean over none")
    points, errors, freedom = np.array(differences).T
    _point, se, df = macro_error(points, errors, freedom)
    return judge_estimate(math.fsum(points) / points.size, float(se), float(df), margin, alpha)


def macro_error(
    points: FloatArray, errors: FloatArray, freedom: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The mean over suites (the first axis), its standard error and degrees of freedom, by further axes."""
    squares = errors**2
    total, lost = squares.sum(axis=0), np.sum(squares**2 / freedom, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(lost > 0, total**2 / lost, math.inf)
    return points.mean(axis=0), np.sqrt(total) / len(points), df
