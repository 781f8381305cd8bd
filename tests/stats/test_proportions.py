"""Intervals of rates against statsmodels, and their behaviour at nought and all."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.proportion import test_proportions_2indep as two_rates_test

from evalkit.stats.tails import independent_limits, independent_statistic, proportion, wilson


class Count(NamedTuple):
    hits: int
    n: int

    @property
    def rate(self):
        return proportion(self.hits, self.n)


def limits(reference, candidate):
    """The 95 % interval of the difference of two counts."""
    z = stats.norm.ppf(0.975)
    return tuple(map(float, independent_limits((reference.rate, candidate.rate), (reference.n, candidate.n), z)))


def statistic(reference, candidate, delta):
    return float(independent_statistic((reference.rate, candidate.rate), (reference.n, candidate.n), delta))


counts = st.integers(1, 300).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))


@settings(max_examples=80, deadline=None)
@given(counts, st.sampled_from([0.9, 0.95]))
def test_one_rate_equals_statsmodels(count, level):
    low, high = proportion_confint(count.hits, count.n, 1 - level, "wilson")
    interval = wilson(*count, level)
    assert interval.low == pytest.approx(low, abs=1e-9)
    assert interval.high == pytest.approx(high, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(counts, counts)
def test_two_rates_invert_their_own_statistic_and_mirror(reference, candidate):
    low, high = limits(reference, candidate)
    assert -1.0 <= low <= candidate.rate - reference.rate <= high <= 1.0
    assert limits(candidate, reference) == (-high, -low)
    if low > -0.999:
        assert statistic(reference, candidate, low) == pytest.approx(1.959964, abs=1e-4)


def test_published_interval():
    """Newcombe (1998), Statistics in Medicine 17:873-890, table II, 56/70 - 48/80 by Miettinen and Nurminen's method."""
    assert tuple(round(end, 4) for end in limits(Count(48, 80), Count(56, 70))) == (0.0528, 0.3382)


def oracle_statistic(reference, candidate, delta):
    """The same statistic with the constrained likelihood maximised numerically."""

    def negative_log_likelihood(p):
        terms = (
            (candidate.hits, p),
            (candidate.n - candidate.hits, 1 - p),
            (reference.hits, p - delta),
            (reference.n - reference.hits, 1 - p + delta),
        )
        return -sum(count * math.log(max(rate, 1e-300)) for count, rate in terms if count)

    low, high = max(0.0, delta), min(1.0, 1.0 + delta)
    best = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    p = min([low, high, best.x], key=negative_log_likelihood)
    n1, n0 = candidate.n, reference.n
    variance = (p * (1 - p) / n1 + (p - delta) * (1 - p + delta) / n0) * (n1 + n0) / (n1 + n0 - 1)
    return (candidate.rate - reference.rate - delta) / math.sqrt(variance)


@settings(max_examples=150, deadline=None)
@given(counts, counts, st.floats(-0.9, 0.9).filter(lambda delta: abs(delta) > 1e-3))
def test_statistic_agrees_with_the_numerical_likelihood(reference, candidate, delta):
    expected = oracle_statistic(reference, candidate, delta)
    assert statistic(reference, candidate, delta) == pytest.approx(expected, rel=5e-4, abs=5e-4)


@pytest.mark.parametrize(
    ("x1", "n1", "x0", "n0"), [(7, 34, 1, 34), (21, 30, 23, 30), (62, 800, 61, 800), (3, 100, 12, 250), (5, 10, 2, 40)]
)
def test_the_test_of_no_difference_equals_statsmodels(x1, n1, x0, n0):
    p = two_rates_test(x1, n1, x0, n0, method="score", compare="diff").pvalue
    z = statistic(Count(x0, n0), Count(x1, n1), 0.0)
    assert 2 * stats.norm.sf(abs(z)) == pytest.approx(p, rel=1e-6)


def test_no_hits_keep_their_width():
    none = Count(0, 200)
    low, high = limits(none, none)
    assert statistic(none, none, 0.0) == 0.0
    assert high == pytest.approx(-low)
    assert 0.01 < high < 0.03
    assert limits(Count(0, 20), Count(20, 20))[1] == 1.0
    assert 2 * stats.norm.sf(statistic(Count(0, 20), Count(20, 20), 0.0)) < 1e-8


@pytest.mark.parametrize("count", [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ValueError, match="impossible count"):
        wilson(*count)
