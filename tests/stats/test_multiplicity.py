"""Families of suites against statsmodels and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from evalkit.stats.multiplicity import holm, macro_test


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_adjusted_p_values_equal_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_families_side_by_side_are_corrected_each_by_itself():
    p = np.random.default_rng(30).random((5, 7)) / 10
    assert pytest.approx(np.array([holm(column) for column in p.T])) == holm(p).T


def test_p_values_are_checked():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.2, 1.2])


def test_macro_counts_each_suite_once():
    macro = macro_test([(0.04, 0.03, 29), (-0.01, 0.002, math.inf)], 0.02)
    assert macro.point == pytest.approx(0.015)
    assert macro.se == pytest.approx(math.hypot(0.03, 0.002) / 2)
    assert macro.df == pytest.approx((0.03**2 + 0.002**2) ** 2 / (0.03**4 / 29))
    reach = stats.t.ppf(0.95, macro.df) * macro.se
    assert macro.ci90.low == pytest.approx(macro.point - reach)
    assert macro.ci90.level == pytest.approx(0.9)
    assert macro.p_lower == pytest.approx(stats.t.sf((0.015 + 0.02) / macro.se, macro.df))
    assert macro.p_upper == pytest.approx(stats.t.sf((0.02 - 0.015) / macro.se, macro.df))


def test_macro_of_score_intervals_is_normal():
    macro = macro_test([(0.0, 0.01, math.inf)] * 4, 0.02)
    assert macro.df == math.inf
    assert macro.ci90.high == pytest.approx(stats.norm.ppf(0.95) * 0.005)


def test_macro_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no mean over none"):
        macro_test([], 0.02)


def test_macro_of_the_specification():
    """Six benchmarks with k = 4 (MMLU 1) at ICC 0.6: 90 % +-1.1 points; without AIME +-0.64."""
    designs = [(30, 0.73, 4), (198, 0.43, 4), (756, 0.60, 4), (800, 0.5, 4), (1000, 0.5, 4), (14042, 0.67, 1)]
    suites = [(0.0, math.sqrt(2 * mu * (1 - mu) * 0.4 / (n * k)), math.inf) for n, mu, k in designs]
    assert macro_test(suites, 0.02).ci90.high == pytest.approx(0.011, abs=0.001)
    assert macro_test(suites[1:], 0.02).ci90.high == pytest.approx(0.0064, abs=0.0006)


def test_holm_keeps_false_alarms_over_fourteen_suites():
    rng = np.random.default_rng(31)
    alarms = [bool(np.any(holm(rng.random(14)) <= 0.05)) for _ in range(2000)]
    assert 0.035 <= np.mean(alarms) <= 0.065
