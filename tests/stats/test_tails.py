"""Tails and quantiles against scipy.stats, which is too slow to load for the product itself."""

import math

import pytest
from scipy import stats

from evalkit.stats.tails import normal_quantile, normal_sf, t_quantile, t_sf


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
