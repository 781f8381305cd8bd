"""The simulator against the judgment itself, and the error rates that the documentation promises."""

import numpy as np
import pytest

from evalkit.stats.methods import Decision, judge_difference
from evalkit.stats.paired import pair_scores
from evalkit.stats.simulate import Design, World, _judge, _Outcomes, beta_means, simulate_scores, verdict_rates

TYPICAL = World("typical", 0.6, 0.6)
SATURATED = World("saturated", 0.95, 0.8)
SPARSE = World("sparse", 0.8, 1.0, churn=0.02, new_items=True)
WORLDS = [TYPICAL, SATURATED, World("new", 0.6, 0.6, new_items=True), SPARSE]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("world", [TYPICAL, World("easy", 0.97, 0.9), SPARSE])
def test_histograms_are_judged_like_scores(world, k):
    rng = np.random.default_rng(71)
    n, design = 40, Design(40, k, 0.08)
    outcomes = _Outcomes.of(k)
    seen = set()
    for _ in range(60):
        paired = pair_scores(*simulate_scores(world, n, k, float(rng.choice([-0.02, 0.0])), rng))
        right, other = np.rint(paired.reference_mean * k).astype(int), np.rint(paired.candidate_mean * k).astype(int)
        counts = np.bincount(outcomes.joint[right * (k + 1) + other], minlength=outcomes.difference.size)
        equivalent, degraded, elevated = (bool(verdict[0]) for verdict in _judge(outcomes, counts[None, :], design))
        decision = judge_difference(paired, design.margin).decision
        assert equivalent == (decision is Decision.EQUIVALENT)
        assert degraded == (decision is Decision.DEGRADED)
        assert elevated == (decision is Decision.ELEVATED)
        seen.add(decision)
    assert seen


@pytest.mark.parametrize("world", WORLDS)
def test_simulated_scores_have_the_promised_difference(world):
    rng = np.random.default_rng(72)
    points = [
        judge_difference(pair_scores(*simulate_scores(world, 198, 2, -0.05, rng)), 0.02).point for _ in range(150)
    ]
    assert np.mean(points) == pytest.approx(-0.05, abs=4 * np.std(points) / np.sqrt(150))


def test_beta_means_have_the_promised_moments():
    p = beta_means(0.7, 0.6, 5000)
    assert p.mean() == pytest.approx(0.7, abs=1e-3)
    assert p.var() == pytest.approx(0.6 * 0.7 * 0.3, rel=0.01)


@pytest.mark.parametrize(("n", "margin"), [(30, 0.10), (198, 0.05), (198, 0.02), (756, 0.02), (14042, 0.01)])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("world", WORLDS)
def test_false_equivalents_at_the_margin(world, n, k, margin):
    rates = verdict_rates(world, Design(n, k, margin), -margin, comparisons=4000, seed=n + k)
    assert rates.equivalent <= 0.06


@pytest.mark.parametrize(("n", "k", "margin"), [(30, 16, 0.05), (198, 4, 0.02), (756, 1, 0.02), (14042, 1, 0.01)])
@pytest.mark.parametrize("world", WORLDS)
def test_a_stack_against_itself_seldom_alarms(world, n, k, margin):
    rates = verdict_rates(world, Design(n, k, margin), 0.0, comparisons=1500, seed=n + k)
    assert rates.degraded + rates.elevated <= 0.02


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_cover(world):
    rng = np.random.default_rng(73)
    n, k, delta = 198, 4, -0.03
    covered = []
    for _ in range(300):
        test = judge_difference(pair_scores(*simulate_scores(world, n, k, delta, rng)), 0.02)
        covered.append(test.ci90.low <= delta <= test.ci90.high)
    assert np.mean(covered) >= 0.85


def test_a_real_loss_is_found():
    rates = verdict_rates(TYPICAL, Design(198, 8, 0.02), -0.08, comparisons=1000)
    assert rates.degraded > 0.95
    assert verdict_rates(TYPICAL, Design(198, 8, 0.02), 0.08, comparisons=1000).elevated > 0.95


def test_the_seed_decides():
    design = Design(30, 4, 0.1)
    assert verdict_rates(TYPICAL, design, 0.0, comparisons=300, seed=1) == verdict_rates(
        TYPICAL, design, 0.0, comparisons=300, seed=1
    )


def test_impossible_worlds_are_refused():
    with pytest.raises(ValueError, match="impossible world"):
        World("none", 1.0, 0.5)
    with pytest.raises(ValueError, match="no room"):
        verdict_rates(World("low", 0.01, 0.5), Design(30, 1, 0.02), -0.02)
    with pytest.raises(ValueError, match="no room"):
        verdict_rates(World("low", 0.01, 1.0), Design(30, 1, 0.02), -0.02)
