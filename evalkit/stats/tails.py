"""Tail areas and quantiles of the normal and Student's t distribution and of Poisson means, without loading scipy.

scipy.special has them all and takes a third of a second to load, as long as everything else a small comparison does.
The standard library has the normal ones; the others follow from three published formulas and are held against
scipy's by the tests (to 10 digits or better).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STANDARD_NORMAL: Final = NormalDist()
_TINY: Final = 1e-300
_ENOUGH: Final = 1e-16
_MOST_STEPS: Final = 100_000
_ASYMPTOTIC: Final = 40.0
_RATIO: Final = (1.0, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304, 39325 / 33554432)
"""Gamma(a + 1/2) / Gamma(a) / sqrt(a) in powers of 1/a (F. Tricomi and A. Erdelyi, Pacific J. Math. 1, 1951)."""


def normal_sf(z: float) -> float:
    """P(Z > z) for a standard normal Z; accurate far out in the tail, 0 and 1 at +inf and -inf."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def normal_quantile(probability: float) -> float:
    """The z with P(Z <= z) = probability, for a probability strictly between 0 and 1."""
    return _STANDARD_NORMAL.inv_cdf(probability)


def t_sf(t: float, df: float) -> float:
    """P(T > t) for Student's t with df > 0 degrees of freedom; df = inf is the normal distribution.

    Raises:
        ValueError: df is not above 0.
    """
    if math.isnan(t) or math.isnan(df):
        return math.nan
    if df <= 0:
        raise ValueError(f"Student's t needs degrees of freedom above 0, not {df:g}")
    if math.isinf(df) or math.isinf(t):
        return normal_sf(t)
    tail = _t_upper(abs(t), df)
    return tail if t >= 0 else 1.0 - tail


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = probability in (0, 1), for Student's t with df > 0 degrees; df = inf is the normal."""
    if math.isinf(df):
        return normal_quantile(probability)
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a quantile is of a probability between 0 and 1, not {probability:g}")
    if probability == 0.5:
        return 0.0
    upper = min(probability, 1.0 - probability)
    found = _solve(lambda t: t_sf(t, df), upper, max(-normal_quantile(upper), 1e-3))
    return found if probability > 0.5 else -found


def elementwise(function: Callable[[float, float], float], first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """A function of two numbers, such as `t_sf`, over arrays that broadcast."""
    return np.asarray(np.frompyfunc(function, 2, 1)(first, second), dtype=np.float64)


def poisson_lower(events: int, tail: float) -> float:
    """The mean of a Poisson distribution that gives `events` (at least 1) or more with probability `tail`.

    F. Garwood's exact lower limit (Biometrika 28, 1936).
    """
    if events < 1:
        raise ValueError("no events have no lower limit but 0")
    start = min(-normal_quantile(tail) * math.sqrt(events), 0.5 * events)
    return events - _solve(lambda below: _poisson_upper(events, max(_TINY, events - below)), tail, start)


def _poisson_upper(events: int, mean: float) -> float:
    """P(X >= events) for a Poisson X whose mean is below `events`: the terms fall from the first on."""
    term = math.exp(events * math.log(mean) - mean - math.lgamma(events + 1.0))
    total, count = 0.0, events
    while term > _ENOUGH * total:
        total += term
        count += 1
        term *= mean / count
    return total


def _t_upper(t: float, df: float) -> float:
    """P(T > t) for t >= 0: half the incomplete beta function at df / (df + t^2) with parameters df/2 and 1/2."""
    if t == 0.0:
        return 0.5
    a, b, square = df / 2.0, 0.5, t * t / df
    x, rest = 1.0 / (1.0 + square), square / (1.0 + square)
    # x^a (1 - x)^b / B(a, 1/2), with no difference of large logarithms
    factor = math.exp(-a * math.log1p(square)) * math.sqrt(rest) * _gamma_ratio(a) / math.sqrt(math.pi)
    if x < (a + 1.0) / (a + b + 2.0):
        return 0.5 * factor * _beta_fraction(a, b, x) / a
    return 0.5 - 0.5 * factor * _beta_fraction(b, a, rest) / b


def _gamma_ratio(a: float) -> float:
    """Gamma(a + 1/2) / Gamma(a) for a > 0."""
    scale = 1.0
    while a < _ASYMPTOTIC:
        scale *= a / (a + 0.5)
        a += 1.0
    series = 0.0
    for coefficient in reversed(_RATIO):
        series = series / a + coefficient
    return scale * math.sqrt(a) * series


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by W. J. Lentz's method."""
    c, d = 1.0, 1.0 / _kept(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        step = 1.0
        for term in (even, odd):
            d, c = 1.0 / _kept(1.0 + term * d), _kept(1.0 + term / c)
            step = d * c
            value *= step
        if abs(step - 1.0) < 4 * _ENOUGH:
            break
    return value


def _kept(value: float) -> float:
    """The value, kept away from 0."""
    return value if abs(value) > _TINY else _TINY


def _solve(tail: Callable[[float], float], upper: float, start: float) -> float:
    """The point above 0 at which a falling tail area is `upper` (below 1/2): bracketed, then halved with secants."""
    low, high = 0.0, start
    while tail(high) > upper:
        low, high = high, 2.0 * high
    at_low, at_high = tail(low) - upper, tail(high) - upper
    side = 0
    while at_high != 0.0 and high - low > 4e-16 * high:
        # the Illinois variant of the false position: superlinear and never outside the bracket
        middle = high - at_high * (high - low) / (at_high - at_low)
        if not low < middle < high:
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
        value = tail(middle) - upper
        if value > 0.0:
            low, at_low = middle, value
            at_high, side = (at_high / 2.0 if side == 1 else at_high), 1
        elif value < 0.0:
            high, at_high = middle, value
            at_low, side = (at_low / 2.0 if side == -1 else at_low), -1
        else:
            return middle
    return high
