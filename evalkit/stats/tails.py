"""Tail areas and quantiles of distributions, without loading scipy, and the intervals that follow from them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.model import Interval
from evalkit.stats.paired import FloatArray

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

    Raises `ValueError`: df is not above 0.
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
    z = -normal_quantile(upper)  # and from it by the expansion of E. A. Cornish and R. A. Fisher (1938)
    t, step = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df * df), math.inf
    while abs(step) > 1e-8:  # Newton's in the logarithms, where far tails are straight; the next error is its square
        density = math.exp(-(df + 1) / 2 * math.log1p(t * t / df)) * _gamma_ratio(df / 2) / math.sqrt(math.pi * df)
        tail = _t_upper(t, df)
        step = math.log(tail / upper) * tail / (density * t)
        t *= math.exp(step)
    return t if probability > 0.5 else -t


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
    return events - _solve(lambda below: poisson_upper(events, max(_TINY, events - below)), tail, start)


def poisson_upper(events: int, mean: float) -> float:
    """P(X >= events) for a Poisson X whose mean is below `events`: the terms fall from the first on."""
    term = math.exp(events * math.log(mean) - mean - math.lgamma(events + 1.0))
    total, count = 0.0, events
    while term > _ENOUGH * total:
        total += term
        count += 1
        term *= mean / count
    return total


def binomial_upper(hits: int, n: int, probability: float) -> float:
    """P(X >= hits) for so many hits of n, each with this probability (strictly between 0 and 1)."""
    ks = np.arange(hits, n + 1)
    logs = _log_choose(n, ks) + ks * math.log(probability) + (n - ks) * math.log1p(-probability)
    return min(1.0, math.fsum(np.exp(logs).tolist()))


def upper_of_unequal(hits: int, chances: Sequence[float]) -> float:
    """P(X >= hits) for the number of hits among independent trials, each with a chance of its own."""
    spread = np.ones(1)
    for chance in chances:
        spread = np.convolve(spread, [1.0 - chance, chance])
    return min(1.0, math.fsum(spread[hits:].tolist()))


def hypergeometric(drawn: int, marked: int, n: int) -> FloatArray:
    """P(X = 0), P(X = 1), ...: how many of the marked ones are among so many drawn, without giving back, of n."""
    ks = np.arange(min(drawn, marked) + 1)
    possible = drawn - ks <= n - marked
    logs = _log_choose(marked, ks) + _log_choose(n - marked, np.where(possible, drawn - ks, 0)) - _log_choose(n, drawn)
    return np.asarray(np.where(possible, np.exp(logs), 0.0))


def _log_choose(n: int, k: int | NDArray[np.int64]) -> FloatArray:
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return np.asarray(logs[n] - logs[k] - logs[n - k])


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
    if a < _ASYMPTOTIC:
        return math.gamma(a + 0.5) / math.gamma(a)
    series = 0.0
    for coefficient in reversed(_RATIO):
        series = series / a + coefficient
    return math.sqrt(a) * series


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by W. J. Lentz's method."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or _TINY)
    value = d
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        step = 1.0
        for term in (even, odd):
            d, c = 1.0 / (1.0 + term * d or _TINY), 1.0 + term / c or _TINY
            step = d * c
            value *= step
        if abs(step - 1.0) < 4 * _ENOUGH:
            break
    return value


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


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error, that error's degrees of freedom, and an interval of the level asked for."""

    point: float
    standard_error: float
    df: float
    interval: Interval


def ratio_estimate(totals: FloatArray, sizes: FloatArray, level: float = 0.9) -> Estimate:
    """The mean over all units, sum(totals) / sum(sizes), with its standard error over clusters of unequal size.

    From the residuals total - mean * size (W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, section 6.4).
    Raises `ValueError` for fewer than two clusters.
    """
    if totals.size < 2:
        raise ValueError("a standard error over clusters needs at least two of them")
    point = float(totals.sum() / sizes.sum())
    return over_clusters(point, (totals - point * sizes) / float(sizes.sum()), level)


def over_clusters(point: float, pieces: FloatArray, level: float = 0.9) -> Estimate:
    """An estimate from what each of G clusters moves it by: G / (G - 1), t with G - 1 degrees of freedom."""
    groups = pieces.size
    error = math.sqrt(groups / (groups - 1) * float(np.sum(pieces**2)))
    reach = t_quantile(0.5 + level / 2.0, groups - 1) * error
    return Estimate(point, error, groups - 1, Interval(point - reach, point + reach, level))


# Score intervals of proportions: one rate, the difference of two on the same items, and of two independent ones
# A score interval holds every value that a test with the variance under that very value does not reject; it keeps its
# width where nothing happened, and where everything did.


Pair: TypeAlias = tuple[ArrayLike, ArrayLike]  # something of the reference, and the same of the candidate

_MOST_HALVINGS: Final = 200  # some ten are needed
_PRECISION: Final = 1e-14
_WIDER: Final = 1.5  # than the guess where the bracket begins
_NO_DISTANCE: Final = 1e-12  # between an estimate and a hypothesis: rounding
_EQUALLY_LIKELY: Final = 1e-7  # relative to a chance, less is rounding


def proportion(hits: float, n: float) -> float:
    """The rate of `hits` in `n`; fractions are allowed, since a mean of graded scores times n is one.

    Raises `ValueError` for what is no count of n.
    """
    if not (n > 0 and 0 <= hits <= n):
        raise ValueError(f"impossible count: {hits:g} of {n:g}")
    return hits / n


def wilson(hits: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a `proportion` (1927)."""
    z, rate = normal_quantile(0.5 + level / 2.0), proportion(hits, n)
    centre = (hits + z * z / 2.0) / (n + z * z)
    variance = rate * (1.0 - rate) / n + (z / (2.0 * n)) ** 2
    reach = z * math.sqrt(variance) / (1.0 + z * z / n)
    return Interval(max(0.0, centre - reach) if hits else 0.0, min(1.0, centre + reach) if hits < n else 1.0, level)


def fisher_exact(hits: tuple[int, int], cells: tuple[int, int]) -> float:
    """The two-sided p-value of equal chances behind so many hits among so many cells of two independent samples.

    R. A. Fisher's exact test: given the hits together, the chance of a split that is no likelier than the one seen.
    """
    chances = hypergeometric(cells[0], sum(hits), sum(cells))
    return float(min(1.0, chances[chances <= chances[hits[0]] * (1.0 + _EQUALLY_LIKELY)].sum()))


def tango_statistic(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, delta: ArrayLike) -> FloatArray:
    """Tango's z for H0: difference = delta, of n paired items of which some were `lost` and `gained`; arrays broadcast.

    T. Tango, Statistics in Medicine 17 (1998) 891-908, equations 11 to 13. It falls as delta rises. Where the variance
    under H0 is zero (delta at -1 or 1) it is 0 for a perfect fit, otherwise infinite.
    """
    b, c, n, signed = (np.asarray(value, dtype=np.float64) for value in (lost, gained, n, delta))
    # Negative deltas are mirrored: the root below then never loses digits, and swapped sides give the same digits.
    b, c, d = np.where(signed < 0, c, b), np.where(signed < 0, b, c), np.abs(signed)
    slope = 2.0 * n * d - (b + c) - (c - b) * d
    constant = -b * d * (1.0 - d)
    larger = np.sqrt(slope * slope - 8.0 * n * constant) + np.abs(slope)
    distance = c - b - n * d
    with np.errstate(divide="ignore", invalid="ignore"):
        # The admissible root of 2n q^2 + slope q + constant = 0, in the form that does not cancel.
        q_lost = np.where(slope <= 0, larger / (4.0 * n), -2.0 * constant / larger)
        z = distance / np.sqrt(n * (2.0 * q_lost + d * (1.0 - d)))
    z = np.where(np.abs(distance) <= _NO_DISTANCE * n, 0.0, z)
    return np.asarray(np.where(signed < 0, -z, z), dtype=np.float64)


def tango_limits(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, z: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of the differences that Tango's test keeps at a critical `z`; arrays broadcast.

    Unlike Wald's interval it keeps its width when no item flips: +-z^2 / (n + z^2).
    """
    lost, gained, n, z = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (lost, gained, n, z)))
    b, c = np.stack([lost, gained]), np.stack([gained, lost])  # the upper end is the lower one of the mirrored table
    ends = _lower_limit(lambda delta: tango_statistic(b, c, n, delta), (c - b) / n, z, z * np.sqrt(b + c + z * z) / n)
    return ends[0], -ends[1]


def independent_statistic(rates: Pair, sizes: Pair, delta: ArrayLike) -> FloatArray:
    """Miettinen and Nurminen's z for H0: candidate - reference = delta, of two rates over samples of these sizes.

    O. Miettinen and M. Nurminen, "Comparative analysis of two rates", Statistics in Medicine 4 (1985) 213-226. Pairs
    hold the reference first; arrays broadcast. It falls as delta rises.
    """
    arrays = (np.asarray(value, dtype=np.float64) for value in (*rates, *sizes, delta))
    reference, candidate, n_reference, n_candidate, delta = arrays
    distance = candidate - reference - delta
    first, second = _constrained_rates(reference, candidate, n_reference / n_candidate, delta)
    total = n_reference + n_candidate
    variance = first * (1.0 - first) / n_candidate + second * (1.0 - second) / n_reference
    variance = variance * total / np.maximum(total - 1.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0.0, distance / np.sqrt(variance), np.copysign(np.inf, distance))
    return np.where(np.abs(distance) <= _NO_DISTANCE, 0.0, z)


def independent_limits(rates: Pair, sizes: Pair, z: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of the differences that Miettinen and Nurminen's test keeps at a critical `z`."""
    arrays = (np.asarray(value, dtype=np.float64) for value in (*rates, *sizes, z))
    one, two, n_one, n_two, z = np.broadcast_arrays(*arrays)
    # Exchanging the roles mirrors the statistic, so one search serves both ends.
    sides, n = (np.stack([one, two]), np.stack([two, one])), (np.stack([n_one, n_two]), np.stack([n_two, n_one]))
    reach = z * np.sqrt(0.25 / n[0] + 0.25 / n[1])
    ends = _lower_limit(lambda delta: independent_statistic(sides, n, delta), sides[1] - sides[0], z, reach)
    return ends[0], -ends[1]


def _constrained_rates(
    reference: FloatArray, candidate: FloatArray, theta: FloatArray, delta: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The likeliest candidate and reference rates that differ by delta: the middle root of a cubic (appendix I)."""
    a = 1.0 + theta
    b = -(1.0 + theta + candidate + theta * reference + delta * (theta + 2.0))
    c = delta * delta + delta * (2.0 * candidate + theta + 1.0) + candidate + theta * reference
    d = -candidate * delta * (1.0 + delta)
    v = (b / (3.0 * a)) ** 3 - b * c / (6.0 * a * a) + d / (2.0 * a)
    u = np.copysign(np.sqrt(np.maximum(0.0, (b / (3.0 * a)) ** 2 - c / (3.0 * a))), v)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(u == 0.0, 0.0, v / u**3)
    angle = (math.pi + np.arccos(np.clip(cosine, -1.0, 1.0))) / 3.0
    first = 2.0 * u * np.cos(angle) - b / (3.0 * a)
    first = np.minimum(np.minimum(1.0, 1.0 + delta), np.maximum(np.maximum(0.0, delta), first))
    return first, np.clip(first - delta, 0.0, 1.0)


def _lower_limit(
    statistic: Callable[[FloatArray], FloatArray], estimate: FloatArray, z: FloatArray, reach: FloatArray
) -> FloatArray:
    """The end in [-1, estimate] at which a statistic that falls from there to 0 crosses z; -1 where it is never above.

    Always on the side that is rejected, and within 1e-14 of the true end, relative to it. The Illinois variant of the
    false position: superlinear and never outside the bracket, which begins about `reach` below the estimate. Each entry
    is solved by itself, so that a comparison among ten thousand gets the digits that it gets alone.
    """
    high, at_high = np.broadcast_to(estimate, reach.shape), np.broadcast_to(-z, reach.shape)
    low = np.maximum(-1.0, estimate - _WIDER * reach)
    at_low = statistic(low) - z
    if not np.all(at_low > 0.0):
        low = np.where(at_low > 0.0, low, -1.0)
        at_low = statistic(low) - z
    unsolved = (at_low > 0.0) & (low < high)
    side = np.zeros(reach.shape)
    for _ in range(_MOST_HALVINGS):
        with np.errstate(invalid="ignore"):
            middle = high - at_high * (high - low) / (at_high - at_low)
        middle = np.where((low < middle) & (middle < high), middle, 0.5 * (low + high))
        unsolved &= high - low > _PRECISION * np.abs(middle)
        if not unsolved.any():
            break
        value = statistic(middle) - z
        above, below = unsolved & (value > 0.0), unsolved & (value <= 0.0)
        # An end that stays for a second time is given half its height: the next step then lands beyond the root.
        at_high = np.where(above & (side > 0), at_high / 2.0, np.where(below, value, at_high))
        at_low = np.where(below & (side < 0), at_low / 2.0, np.where(above, value, at_low))
        low, high = np.where(above, middle, low), np.where(below, middle, high)
        side = np.where(above, 1.0, np.where(below, -1.0, side))
    return low
