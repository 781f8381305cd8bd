"""McNemar, flips, the variance split and length ratios against scipy, statsmodels and hand counts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_items import pair_single
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from evalkit.stats.methods import count_flips, exact_mcnemar
from evalkit.stats.paired import ItemTraits, Scores, pair_scores
from evalkit.stats.variance import item_excess, item_variance, known_within, log_ratio, mean_within, repeat_noise


def sampled(rng, p, q, k):
    n = len(p)
    item, repeat = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
    sides = [Scores(item, repeat, (rng.random(n * k) < rate[item]).astype(float)) for rate in (p, q)]
    return pair_scores(*sides, ItemTraits.plain(n))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_statsmodels_and_the_binomial(lost, gained):
    p = exact_mcnemar(lost, gained)
    table = [[100, lost], [gained, 100 - lost - gained + 120]]
    assert p.two_sided == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert p.degraded == pytest.approx(stats.binom.cdf(gained, lost + gained, 0.5))
    assert p.elevated == pytest.approx(stats.binom.cdf(lost, lost + gained, 0.5))


def test_mcnemar_far_out():
    p = exact_mcnemar(2000, 1000)
    assert p.degraded == pytest.approx(stats.binom.cdf(1000, 3000, 0.5), rel=1e-9)
    assert exact_mcnemar(5000, 0).degraded == 0.0  # 2^-5000


def test_published_mcnemar():
    """Fagerland, Lydersen and Laake (2014): 6 and 16 discordant pairs, exact conditional p = 0.052479."""
    assert exact_mcnemar(16, 6).two_sided == pytest.approx(0.052479, abs=1e-6)


def test_flips_count_items_both_ways_and_ignore_rounding():
    paired = pair_single([1.0, 0.5, 0.1 + 0.2, 0.0], [0.0, 0.75, 0.3, 0.0])
    flips = count_flips(paired)
    assert (flips.regressed, flips.improved, flips.churn) == (1, 1, 0.5)


def test_variance_split_finds_noise_and_difference():
    rng = np.random.default_rng(11)
    p = rng.uniform(0.2, 0.8, 4000)
    equal = sampled(rng, p, p, 4)
    noise = float(np.mean(p * (1 - p)))
    assert mean_within(equal.reference_k, equal.reference_var) == pytest.approx(noise, rel=0.03)
    assert item_variance(equal) < 0.01
    q = np.clip(p + rng.choice([-0.2, 0.2], 4000), 0, 1)
    assert item_variance(sampled(rng, p, q, 4)) == pytest.approx(0.04, rel=0.15)


def test_the_split_adds_up():
    rng = np.random.default_rng(13)
    paired = sampled(rng, rng.uniform(0.1, 0.9, 12), rng.uniform(0.1, 0.9, 12), 3)
    spread = float(paired.difference.var(ddof=1))
    assert float(item_excess(paired).mean()) == pytest.approx(spread - float(repeat_noise(paired).mean()))


def test_variance_split_of_single_repeats_is_unknown():
    once = pair_single([1, 0, 1], [1, 1, 0])
    assert (mean_within(once.reference_k, once.reference_var), item_variance(once)) == (None, None)


def test_items_asked_once_borrow_the_mean_noise():
    reference = Scores(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([1.0, 0.0, 1.0]))
    paired = pair_scores(reference, reference)
    assert known_within(paired.reference_k, paired.reference_var).tolist() == [0.5, 0.5]
    assert repeat_noise(paired).tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match="no item was repeated"):
        known_within(np.array([1]), np.array([np.nan]))


def test_log_ratio_equals_scipy_and_mirrors():
    rng = np.random.default_rng(12)
    reference = rng.lognormal(5, 1, 50)
    candidate = reference * rng.lognormal(0.1, 0.2, 50)
    ratio = log_ratio(reference, candidate)
    logs = np.log(candidate / reference)
    low, high = stats.t.interval(0.95, 49, logs.mean(), stats.sem(logs))
    assert (ratio.interval.low, ratio.interval.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert ratio.ratio == pytest.approx(stats.gmean(candidate) / stats.gmean(reference))
    back = log_ratio(candidate, reference)
    assert back.ratio == pytest.approx(1 / ratio.ratio)
    assert back.interval.low == pytest.approx(1 / ratio.interval.high)


def test_log_ratio_skips_empty_answers():
    assert log_ratio(np.array([0.0, 5.0, np.nan]), np.array([3.0, 5.0, 2.0])) is None
    assert log_ratio(np.array([0.0, 5.0, 2.0]), np.array([3.0, 5.0, 2.0])).n == 2
