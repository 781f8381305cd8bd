"""Tango's score method against published numbers, and against a slow oracle that knows no closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from evalkit.stats.tails import tango_limits, tango_statistic

Z90, Z95 = stats.norm.ppf(0.95), stats.norm.ppf(0.975)


def limits(lost, gained, n, level):
    low, high = tango_limits(lost, gained, n, stats.norm.ppf(0.5 + level / 2))
    return float(low), float(high)


def oracle_statistic(lost, gained, n, delta):
    """The score statistic with the constrained likelihood maximised numerically on a bracket."""
    low, high = max(0.0, -delta), (1.0 - delta) / 2.0

    def negative_log_likelihood(q):
        terms = ((lost, q), (gained, q + delta), (n - lost - gained, 1.0 - 2.0 * q - delta))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    best = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    q = min([low, high, best.x], key=negative_log_likelihood)
    return (gained - lost - n * delta) / math.sqrt(n * (2.0 * q + delta * (1.0 - delta)))


def test_tango_1998_section_6_1():
    """44 pairs, one discordant, margin 0.1: Z = 1.709, p = 0.044."""
    z = float(tango_statistic(1, 0, 44, -0.1))
    assert round(z, 3) == 1.709
    assert round(float(stats.norm.sf(z)), 3) == 0.044
    assert round(limits(1, 0, 44, 0.90)[0], 3) == -0.096


@pytest.mark.parametrize(
    ("lost", "gained", "n", "level", "low", "high"),
    [
        # Fagerland, Lydersen and Laake (2014): airway hyper-responsiveness (21 pairs), complete response (161 pairs).
        (7, 1, 21, 0.95, -0.5172, -0.0260),
        (16, 6, 161, 0.95, -0.1240, -0.0054),
        # R, PropCIs::scoreci.mp(25, 28, 618, 0.90).
        (25, 28, 618, 0.90, -0.0148, 0.0247),
    ],
)
def test_published_intervals(lost, gained, n, level, low, high):
    assert tuple(round(end, 4) for end in limits(lost, gained, n, level)) == (low, high)


@pytest.mark.parametrize("n", [1, 10, 30, 198, 14042])
def test_no_flips_keep_their_width(n):
    low, high = limits(0, 0, n, 0.90)
    assert high == pytest.approx(Z90**2 / (n + Z90**2), rel=1e-12)
    assert low == -high


@pytest.mark.parametrize(("lost", "gained"), [(1, 0), (9, 0), (0, 9)])
def test_every_item_flipped(lost, gained):
    low, high = limits(lost, gained, lost + gained, 0.95)
    assert min(low, -high) == -1.0
    assert low < high
    assert low <= (gained - lost) / (lost + gained) <= high


def test_the_ends_of_the_scale():
    assert tango_statistic(0, 5, 5, 1.0) == 0.0
    assert tango_statistic(5, 0, 5, -1.0) == 0.0
    assert tango_statistic(1, 3, 5, 1.0) == -math.inf
    assert tango_statistic(1, 3, 5, -1.0) == math.inf


def test_the_statistic_takes_arrays():
    z = tango_statistic(np.array([3, 5]), np.array([4, 1]), 30, np.array([[-0.1], [0.1]]))
    assert z.shape == (2, 2)
    assert z[1, 1] == tango_statistic(5, 1, 30, 0.1)


tables = st.integers(1, 400).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)


@settings(max_examples=150, deadline=None)
@given(tables, st.floats(-0.95, 0.95).filter(lambda delta: abs(delta) > 1e-3))
def test_statistic_agrees_with_the_numerical_likelihood(table, delta):
    lost, gained, n = table
    expected = oracle_statistic(lost, gained, n, delta)
    assert float(tango_statistic(lost, gained, n, delta)) == pytest.approx(expected, rel=2e-4, abs=2e-4)


@settings(max_examples=60, deadline=None)
@given(tables, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_limits_invert_the_numerical_test(table, level):
    lost, gained, n = table
    low, high = limits(lost, gained, n, level)
    z = stats.norm.ppf(0.5 + level / 2)
    if low > -1.0:
        assert oracle_statistic(lost, gained, n, low) == pytest.approx(z, abs=2e-3)
    if high < 1.0:
        assert oracle_statistic(lost, gained, n, high) == pytest.approx(-z, abs=2e-3)


@settings(max_examples=150, deadline=None)
@given(tables)
def test_mirrored_nested_and_around_the_estimate(table):
    lost, gained, n = table
    wide, narrow = limits(lost, gained, n, 0.95), limits(lost, gained, n, 0.90)
    assert -1.0 <= wide[0] <= narrow[0] <= (gained - lost) / n <= narrow[1] <= wide[1] <= 1.0
    assert limits(gained, lost, n, 0.95) == (-wide[1], -wide[0])


@settings(max_examples=100, deadline=None)
@given(tables)
def test_the_statistic_falls(table):
    lost, gained, n = table
    z = tango_statistic(lost, gained, n, np.linspace(-0.99, 0.99, 199))
    assert np.all(np.diff(z) <= 1e-9)


@pytest.mark.parametrize(("b_rate", "c_rate", "n"), [(0.06, 0.04, 198), (0.02, 0.02, 756), (0.10, 0.05, 30)])
def test_coverage(b_rate, c_rate, n):
    rng = np.random.default_rng(20261)
    counts = rng.multinomial(n, [b_rate, c_rate, 1 - b_rate - c_rate], size=4000)
    z = tango_statistic(counts[:, 0], counts[:, 1], n, c_rate - b_rate)
    assert 0.93 <= np.mean(np.abs(z) <= Z95) <= 0.985


@settings(max_examples=60, deadline=None)
@given(st.lists(tables, min_size=2, max_size=30), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_among_many_each_gets_the_digits_that_it_gets_alone(several, level):
    lost, gained, n = np.array(several).T
    low, high = tango_limits(lost, gained, n, stats.norm.ppf(0.5 + level / 2))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [limits(*table, level) for table in several]
