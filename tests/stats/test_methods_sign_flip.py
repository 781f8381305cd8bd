"""The sign-flip test against McNemar, scipy's permutation test, and its own mirror image."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_items import pair_single
from scipy import stats

from evalkit.stats.methods import difference_test, exact_mcnemar, sign_flip
from evalkit.stats.paired import ItemTraits, Scores, pair_scores


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 5))
def test_on_right_or_wrong_items_it_is_mcnemar(lost, gained, same):
    p = sign_flip(np.array([-1.0] * lost + [1.0] * gained + [0.0] * same))
    exact = exact_mcnemar(lost, gained)
    assert p.exact
    assert p.degraded == pytest.approx(exact.degraded)
    assert p.elevated == pytest.approx(exact.elevated)
    assert p.two_sided == pytest.approx(exact.two_sided)


@pytest.mark.parametrize("kind", ["listed", "few sizes", "many sizes"])
def test_agrees_with_scipy(kind):
    rng = np.random.default_rng(21)
    values = {
        "listed": rng.normal(-0.2, 0.5, 12),
        "few sizes": rng.choice([-0.5, -0.25, 0.0, 0.25], 200, p=[0.1, 0.2, 0.6, 0.1]),
        "many sizes": rng.normal(-0.02, 0.3, 200),
    }[kind]
    p = sign_flip(values, draws=20_000, seed=1)
    assert p.exact == (kind == "listed")
    for name, alternative in [("two_sided", "two-sided"), ("degraded", "less"), ("elevated", "greater")]:
        oracle = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=20_000, alternative=alternative, rng=2
        )
        assert getattr(p, name) == pytest.approx(oracle.pvalue, abs=0.012)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_swapping_sides_mirrors(seed, n, few):
    rng = np.random.default_rng(seed)
    values = rng.choice([-0.75, -0.5, 0.0, 0.25], n) if few else rng.normal(0, 1, n)
    p, mirror = sign_flip(values, draws=500), sign_flip(-values, draws=500)
    assert (mirror.two_sided, mirror.degraded, mirror.elevated) == (p.two_sided, p.elevated, p.degraded)


@pytest.mark.parametrize("n", [9, 30])
def test_ties_survive_rounding(n):
    """0.1 + 0.2 and 0.3 are one sum: tenths must give the p-values of the same whole numbers."""
    rng = np.random.default_rng(22)
    for seed in range(20):
        whole = rng.integers(-3, 4, n).astype(float)
        tenths, ones = sign_flip(whole * 0.1, seed=seed), sign_flip(whole, seed=seed)
        assert (tenths.two_sided, tenths.degraded) == (ones.two_sided, ones.degraded)


def test_sampled_p_values_are_never_zero_and_repeat_with_the_seed():
    values = np.random.default_rng(3).uniform(0.5, 1.0, 300)
    p = sign_flip(values, draws=1000, seed=4)
    assert p.two_sided == pytest.approx(1 / 1001)
    assert p == sign_flip(values, draws=1000, seed=4)


def test_no_change_is_no_evidence():
    p = sign_flip(np.zeros(100))
    assert (p.two_sided, p.degraded, p.elevated) == (1.0, 1.0, 1.0)


def test_memory_is_bounded_at_mmlu_size():
    values = np.random.default_rng(5).normal(0, 1, 14042)
    tracemalloc.start()
    sign_flip(values, draws=2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def test_the_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(6)
    p = [sign_flip(rng.choice([-0.5, -0.25, 0.25, 0.5], 40), draws=400, seed=s).two_sided for s in range(600)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.075


def test_difference_test_chooses_by_design():
    p, name = difference_test(pair_single([1, 1, 1, 0], [0, 0, 0, 0]))
    assert name == "exact McNemar"
    assert p.two_sided == pytest.approx(0.25)
    p, name = difference_test(pair_single([0.5, 1.0, 0.0], [0.0, 0.5, 0.0]))
    assert name == "sign flip"
    assert p.two_sided == 0.5
    side = Scores(np.arange(6), np.zeros(6, int), np.ones(6))
    worse = Scores(np.arange(6), np.zeros(6, int), np.zeros(6))
    copies = ItemTraits(np.ones(6), np.array([0, 0, 0, 1, 1, 1]), np.zeros(6, int))
    p, name = difference_test(pair_scores(side, worse, copies))
    assert name == "sign flip"
    assert p.two_sided == 0.5  # two questions three times each, not six
