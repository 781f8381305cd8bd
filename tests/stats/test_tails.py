"""Tails and quantiles against scipy.stats, which is too slow to load for the product itself."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from evalkit.stats.paired import median, quantile
from evalkit.stats.tails import normal_quantile, normal_sf, poisson_lower, t_quantile, t_sf


@pytest.mark.parametrize("z", [-40.0, -8.0, -1.5, 0.0, 1.0, 3.0, 9.0, 30.0])
def test_normal_tail(z):
    assert normal_sf(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize("df", [1, 2.5, 29, 14041])
@pytest.mark.parametrize("t", [-6.0, -0.3, 0.0, 2.0, 12.0])
def test_t_tail(t, df):
    assert t_sf(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-8)


@pytest.mark.parametrize("probability", [1e-6, 0.05, 0.5, 0.9, 0.975, 0.999999])
def test_quantiles(probability):
    assert normal_quantile(probability) == pytest.approx(stats.norm.ppf(probability), abs=1e-12)
    assert t_quantile(probability, 7.5) == pytest.approx(stats.t.ppf(probability, 7.5), abs=1e-8)


def test_endless_degrees_of_freedom_are_the_normal():
    assert t_sf(1.3, math.inf) == normal_sf(1.3)
    assert t_quantile(0.9, math.inf) == normal_quantile(0.9)


def test_the_tail_ends():
    assert normal_sf(math.inf) == 0.0
    assert normal_sf(-math.inf) == 1.0
    assert t_sf(math.inf, 4) == 0.0


@pytest.mark.parametrize("df", [0.3, 1, 1.7, 2, 7.5, 29, 755.4, 14041, 249_999])
@pytest.mark.parametrize("t", [1e-3, 0.4, 1.6, 1.75, 3.0, 8.0, 40.0])
def test_the_t_tail_is_scipys_to_ten_digits(t, df):
    expected = special.stdtr(df, -t)
    assert t_sf(t, df) == pytest.approx(expected, rel=1e-10, abs=1e-300)
    assert t_sf(-t, df) == pytest.approx(1 - expected, rel=1e-12)


def test_the_t_tail_is_right_where_scipys_is_not():
    assert t_sf(1e-8, 1) == pytest.approx(0.5 - math.atan(1e-8) / math.pi, rel=1e-15)  # Cauchy
    assert t_sf(1.74, 1e9) == pytest.approx(normal_sf(1.74), rel=1e-7)


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0.5, 1e6))
def test_a_t_quantile_has_its_probability_below_it(probability, df):
    assert 1 - t_sf(t_quantile(probability, df), df) == pytest.approx(probability, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("df", [1, 19, 56, 197, 14041])
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.4999, 0.9, 0.975])
def test_t_quantiles_are_scipys(probability, df):
    assert t_quantile(probability, df) == pytest.approx(special.stdtrit(df, probability), rel=1e-10)


def test_impossible_questions_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        t_sf(1.0, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        t_quantile(1.0, 5)
    with pytest.raises(ValueError, match="no events"):
        poisson_lower(0, 0.05)
    assert math.isnan(t_sf(math.nan, 5))


@pytest.mark.parametrize("tail", [0.025, 0.05, 0.4])
@pytest.mark.parametrize("events", [1, 2, 7, 60, 3000, 40_000])
def test_the_lower_poisson_limit_is_garwoods(events, tail):
    assert poisson_lower(events, tail) == pytest.approx(special.gammaincinv(events, tail), rel=1e-10)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_quantiles_are_numpys(numbers, share):
    values = np.asarray(numbers)
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-12, abs=1e-9)
    assert median(values) == pytest.approx(float(np.median(values)), rel=1e-12, abs=1e-9)
