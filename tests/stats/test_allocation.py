"""Where repeats are spent: the specification's savings, the promise of equal precision, and what unanimity may not hide."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import beta_means

from evalkit.stats.allocation import cheapest_repeats, steadied_variance
from evalkit.stats.paired import fold


def plain(within, repeats):
    n = within.size
    return cheapest_repeats(within, np.full(n, 1 / n), np.ones(n), np.full(n, repeats))


@pytest.mark.parametrize(("icc", "ratio"), [(0.4, 0.81), (0.6, 0.62), (0.8, 0.36)])
def test_it_saves_what_the_specification_says(icc, ratio):
    p = beta_means(0.7, icc, 4000)
    assert plain(p * (1 - p), 400).sum() / (400 * 4000) == pytest.approx(ratio, abs=0.02)


def test_the_cheapest_of_all_choices_is_found():
    rng = np.random.default_rng(5)
    for _ in range(20):
        v, share, cost = rng.uniform(0, 0.25, 4), rng.dirichlet(np.ones(4)), rng.integers(1, 9, 4).astype(float)
        each = np.full(4, 2)
        goal, best = np.sum(share**2 * v / each), np.inf
        for k in itertools.product(range(1, 9), repeat=4):
            if np.sum(share**2 * v / np.array(k)) <= goal:
                best = min(best, float(cost @ np.array(k)))
        found = float(cost @ cheapest_repeats(v, share, cost, each))
        # Greedy buys whole repeats: beyond the best by less than the dearest of them.
        assert best <= found < best + cost.max() + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 0.25), min_size=2, max_size=40), st.integers(1, 12), st.integers(0, 2**31))
def test_by_item_is_as_precise_as_so_many_each_and_never_dearer(within, repeats, seed):
    rng, v = np.random.default_rng(seed), np.array(within)
    share, cost = rng.uniform(0.01, 1, v.size), rng.uniform(0.5, 20, v.size)
    share /= share.sum()
    each = np.full(v.size, repeats)
    found = cheapest_repeats(v, share, cost, each)
    assert found.min() >= 1
    assert cost @ found <= cost @ each + cost.max()
    assert np.sum(share**2 * v / found) <= np.sum(share**2 * v / each) * (1 + 1e-9)


def test_where_nothing_varies_all_is_left_as_it_is():
    assert plain(np.zeros(4), 3).tolist() == [3, 3, 3, 3]


def test_unanimous_repeats_do_not_say_that_none_will_vary():
    scores = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, np.nan]], dtype=float)
    k, _means, variance = fold(np.repeat(np.arange(4), 4), scores.ravel(), 4)
    found = steadied_variance(k, variance)
    assert found[0] == found[2] > 0
    assert found[3] > found[0]  # of fewer repeats, so less is known
    assert found[1] < variance[1]
    with pytest.raises(ValueError, match="no item was repeated"):
        steadied_variance(np.ones(4, dtype=np.int64), np.full(4, np.nan))


@pytest.mark.parametrize(("bank", "saved"), [(4, 0.93), (16, 0.82), (64, 0.75)])
def test_what_a_bank_shows_is_as_precise_as_promised(bank, saved):
    """At the true variances, which a bank only estimates."""
    rng, p = np.random.default_rng(8), beta_means(0.6, 0.6, 2000)
    right = (rng.random((2000, bank)) < p[:, None]).astype(float)
    k, _means, variance = fold(np.repeat(np.arange(2000), bank), right.ravel(), 2000)
    found = plain(steadied_variance(k, variance), 8)
    assert np.sum(p * (1 - p) / found) / np.sum(p * (1 - p) / 8) < 1.06
    assert found.sum() < saved * 8 * 2000
