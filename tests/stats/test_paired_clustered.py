"""The t method against statsmodels, and its behaviour in strata, clusters and weights."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalkit.stats.paired import (
    ItemTraits,
    Scores,
    clustered_mean,
    floored_difference,
    independent_repeats,
    pair_scores,
)


def layout(n, weight=None, cluster=None, stratum=None):
    plain = ItemTraits.plain(n)
    return ItemTraits(
        plain.weight if weight is None else np.asarray(weight, dtype=float),
        plain.cluster if cluster is None else np.asarray(cluster),
        plain.stratum if stratum is None else np.asarray(stratum),
    )


def sampled(rng, n, k, traits=None):
    p = rng.beta(0.6, 0.4, n)
    item, repeat = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
    sides = [Scores(item, repeat, (rng.random(n * k) < p[item]).astype(float)) for _ in range(2)]
    return pair_scores(*sides, traits)


def test_plain_items_are_the_textbook_mean():
    values = np.array([0.25, -0.5, 0.0, 0.75])
    estimate = clustered_mean(values, layout(4))
    assert estimate.point == pytest.approx(values.mean())
    assert estimate.variance == pytest.approx(values.var(ddof=1) / 4)
    assert (estimate.df, estimate.cluster_square) == (3, 1 / 16)


@pytest.mark.parametrize("weighted", [False, True])
def test_clusters_equal_statsmodels(weighted):
    rng = np.random.default_rng(3)
    n = 120
    cluster = rng.integers(0, 25, n)
    values = rng.normal(0, 0.2, n) + rng.normal(0, 0.2, 25)[cluster]
    weight = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    fit = sm.WLS(values, np.ones(n), weights=weight).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    estimate = clustered_mean(values, layout(n, weight=weight, cluster=cluster))
    assert estimate.point == pytest.approx(fit.params[0])
    assert np.sqrt(estimate.variance) == pytest.approx(fit.bse[0])
    held = np.bincount(cluster, weights=weight) / weight.sum()
    assert estimate.df == pytest.approx(np.sum(held**2) ** 2 / np.sum(held**4) - 1)
    assert estimate.df < np.unique(cluster).size - 1


def test_strata_add_with_squared_weights():
    rng = np.random.default_rng(4)
    stratum = np.repeat([0, 1, 2], [10, 40, 25])
    values = rng.normal(0, 0.3, 75)
    # The headline is the plain mean of three category means.
    weight = 1.0 / np.bincount(stratum)[stratum]
    estimate = clustered_mean(values, layout(75, weight=weight, stratum=stratum))
    groups = [values[stratum == h] for h in range(3)]
    parts = np.array([g.var(ddof=1) / g.size / 9 for g in groups])
    assert estimate.point == pytest.approx(np.mean([g.mean() for g in groups]))
    assert estimate.variance == pytest.approx(parts.sum())
    assert estimate.df == pytest.approx(parts.sum() ** 2 / np.sum(parts**2 / np.array([9, 39, 24])))


def test_lone_strata_are_pooled_around_the_headline():
    values = np.array([0.1, 0.3, -0.2, 0.4])
    estimate = clustered_mean(values, layout(4, stratum=[0, 1, 2, 3]))
    assert estimate.variance == pytest.approx(values.var(ddof=1) / 4)
    assert estimate.df == 3


def test_one_lone_stratum_gets_the_largest_spread_seen():
    values = np.array([0.0, 1.0, 0.5])
    estimate = clustered_mean(values, layout(3, stratum=[0, 0, 1]))
    spread = 0.5  # the variance of 0 and 1
    assert estimate.variance == pytest.approx((2 / 3) ** 2 * spread / 2 + (1 / 3) ** 2 * spread)
    far = clustered_mean(np.array([0.0, 0.0, 0.9]), layout(3, stratum=[0, 0, 1]))
    assert far.variance == pytest.approx((1 / 3) ** 2 * 0.6**2)


def test_clusters_across_strata_join_them():
    values = np.array([0.5, -0.5, 0.5, -0.5, 0.1, 0.2])
    cluster, stratum = np.array([0, 1, 0, 1, 2, 3]), np.array([0, 0, 1, 1, 0, 1])
    joined = clustered_mean(values, layout(6, cluster=cluster, stratum=stratum))
    apart = clustered_mean(values, layout(6, stratum=stratum))
    assert joined.variance > 1.5 * apart.variance  # the repeated questions agree: less information
    assert joined.df == 1


def test_a_copied_item_in_its_cluster_adds_nothing():
    rng = np.random.default_rng(8)
    values = rng.normal(0, 0.3, 40)
    once = clustered_mean(values, layout(40))
    thrice = clustered_mean(np.tile(values, 3), layout(120, cluster=np.tile(np.arange(40), 3)))
    assert thrice.variance == pytest.approx(once.variance)
    assert thrice.cluster_square == pytest.approx(once.cluster_square)
    assert thrice.df == pytest.approx(once.df)


def test_a_few_heavy_items_leave_the_degrees_of_freedom_of_those_few():
    weight = np.r_[np.full(4, 20.0), np.full(196, 20.0 / 196)]
    estimate = clustered_mean(np.random.default_rng(12).normal(0, 0.3, 200), layout(200, weight=weight))
    assert estimate.df == pytest.approx(3, abs=0.02)


@pytest.mark.slow
def test_heavy_weights_do_not_certify_what_is_worse_by_the_margin():
    """With 199 degrees of freedom 8.6 % of such comparisons would be called EQUIVALENT."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(12):
        share = rng.pareto(1.2, 200) + 1
        share = np.minimum(share / share.sum(), 0.3)
        p = rng.beta(0.4, 0.27, 200)
        margin = 2.93 * float(np.sqrt(np.sum((share / share.sum()) ** 2 * 2 * p * (1 - p))))
        q = np.clip(p * (1 - margin / float(share @ p / share.sum())), 0, 1)
        traits = layout(200, weight=share)
        for _ in range(100):
            estimate = clustered_mean((rng.random(200) < q).astype(float) - (rng.random(200) < p), traits)
            reach = stats.t.ppf(0.95, estimate.df) * estimate.standard_error
            found.append(-margin < estimate.point - reach and estimate.point + reach < margin)
    assert np.mean(found) <= 0.06


def test_items_of_weight_zero_do_not_exist():
    rng = np.random.default_rng(9)
    values = rng.normal(0, 0.3, 30)
    weight = np.where(np.arange(30) < 20, 1.0, 0.0)
    assert clustered_mean(values, layout(30, weight=weight)) == clustered_mean(values[:20], layout(20))


def test_a_single_item_has_no_spread_but_a_degree_of_freedom():
    estimate = clustered_mean(np.array([0.4]), layout(1))
    assert (estimate.variance, estimate.df) == (0.0, 1)


def test_the_floor_is_one_unseen_flip_a_side():
    paired = sampled(np.random.default_rng(1), 50, 4)
    floored = floored_difference(paired)
    assert floored.floor == pytest.approx((1 / 16 + 1 / 16) / 50**2)
    d = paired.difference
    assert floored.standard_error == pytest.approx(np.sqrt(d.var(ddof=1) / 50 + floored.floor))
    assert floored.variance == pytest.approx(d.var(ddof=1) / 50)


def test_the_floor_uses_the_harmonic_mean_of_repeats():
    rng = np.random.default_rng(2)
    k = rng.integers(1, 6, 40)
    item = np.repeat(np.arange(40), k)
    repeat = np.concatenate([np.arange(count) for count in k])
    reference = Scores(item, repeat, (rng.random(item.size) < 0.5).astype(float))
    candidate = Scores(np.arange(40), np.zeros(40, dtype=int), (rng.random(40) < 0.5).astype(float))
    floor = floored_difference(pair_scores(reference, candidate)).floor
    assert floor == pytest.approx((np.mean(1 / k) ** 2 + 1.0) / 40**2)


def test_copies_of_one_answer_are_one_answer():
    assert independent_repeats(np.array([8, 8]), np.array([0.0, 0.0])) == 1.0
    assert independent_repeats(np.array([8, 8]), np.array([0.0, 0.1])) == pytest.approx(8.0)
    assert independent_repeats(np.array([1, 1]), np.array([np.nan, np.nan])) == 1.0


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.booleans())
def test_order_and_scale_of_weights_are_irrelevant(seed, n, strata):
    rng = np.random.default_rng(seed)
    values = rng.choice([-1.0, -0.5, 0.0, 0.25], n)
    weight = rng.uniform(0.1, 3.0, n)
    cluster = rng.integers(0, n, n)
    stratum = cluster % 3 if strata else np.zeros(n, dtype=int)
    estimate = clustered_mean(values, layout(n, weight, cluster, stratum))
    order = rng.permutation(n)
    moved = clustered_mean(values[order], layout(n, 7 * weight[order], 5 * cluster[order] + 2, stratum[order]))
    assert moved.point == pytest.approx(estimate.point, abs=1e-12)
    assert moved.variance == pytest.approx(estimate.variance, rel=1e-9, abs=1e-18)
    assert moved.df == pytest.approx(estimate.df, rel=1e-6)
    assert estimate.variance >= 0
    assert estimate.df >= 1 - 1e-9
