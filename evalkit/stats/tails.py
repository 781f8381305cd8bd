"""Tail areas and quantiles of the normal and Student's t distribution, without the load time of scipy.stats.

The normal ones need the standard library only, so that a comparison of single-repeat suites never loads scipy.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

_STANDARD_NORMAL: Final = NormalDist()


def normal_sf(z: float) -> float:
    """P(Z > z) for a standard normal Z; accurate far out in the tail, 0 and 1 at +inf and -inf."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def normal_quantile(probability: float) -> float:
    """The z with P(Z <= z) = probability, for a probability strictly between 0 and 1."""
    return _STANDARD_NORMAL.inv_cdf(probability)


def t_sf(t: float, df: float) -> float:
    """P(T > t) for Student's t with df > 0 degrees of freedom; df = inf is the normal distribution."""
    if math.isinf(df) or math.isinf(t):
        return normal_sf(t)
    from scipy.special import stdtr

    return float(stdtr(df, -t))


def t_quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = probability, for Student's t with df > 0 degrees of freedom; df = inf is the normal."""
    if math.isinf(df):
        return normal_quantile(probability)
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))
