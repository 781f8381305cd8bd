"""Needed repeats: the specification's table, the promised power re-simulated, and honest refusals."""

import math

import numpy as np
import pytest
from designs import assumed_variance, smallest_margin
from paired_items import pair_single
from scipy import stats
from simulated_scores import simulate_scores
from simulation import Design, World, beta_means, verdict_rates

from evalkit.model import Verdict
from evalkit.render.words import say
from evalkit.stats.methods import Goal, judge_difference, power_of
from evalkit.stats.paired import pair_scores
from evalkit.stats.power import repeats_for, repeats_to_decide
from evalkit.stats.variance import DesignVariance

Z_SUM = stats.norm.ppf(0.95) + stats.norm.ppf(0.9)


@pytest.mark.parametrize(
    ("n", "mean", "icc", "margin", "table"),
    [
        (30, 0.73, 0.6, 0.02, 113),
        (30, 0.73, 0.6, 0.03, 51),
        (30, 0.73, 0.4, 0.05, 28),
        (30, 0.73, 0.8, 0.02, 57),
        (198, 0.43, 0.6, 0.02, 22),
        (198, 0.43, 0.4, 0.01, 128),
        (756, 0.60, 0.6, 0.01, 22),
        (756, 0.60, 0.6, 0.02, 6),
    ],
)
def test_the_specifications_table_with_the_t_correction(n, mean, icc, margin, table):
    """Section 6.2 uses normal quantiles; t with n - 1 adds about 6 % at n = 30 and nothing visible at 756."""
    design = assumed_variance(n, mean, icc)
    formula = (design.reference + design.candidate) * (Z_SUM / margin) ** 2
    assert math.ceil(formula) == table
    needed = repeats_for(design, Goal(margin))
    t_sum = stats.t.ppf(0.95, n - 1) + stats.t.ppf(0.9, n - 1)
    corrected = formula * (t_sum / Z_SUM) ** 2
    assert math.floor(corrected) <= needed.repeats <= math.ceil(corrected * 1.03) + 1  # and the floor a little
    assert power_of(design, needed.repeats, needed.repeats, Goal(margin)) >= 0.8
    assert Goal(margin).verdict is Verdict.EQUIVALENT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "n", "margin"),
    [
        (World("competition", 0.73, 0.6), 30, 0.05),
        (World("competition", 0.73, 0.6), 30, 0.03),
        (World("science", 0.43, 0.6), 198, 0.02),
        (World("story", 0.60, 0.4), 756, 0.02),
    ],
)
def test_planned_repeats_have_the_promised_power(world, n, margin):
    # The plan assumes a Beta world; this benchmark's own items have a slightly different spread.
    p = beta_means(world.mean, world.icc, min(60, n))
    within = float(np.mean(p * (1 - p))) / n
    needed = repeats_for(DesignVariance(within, within, 0.0, n**-2, n - 1.0), Goal(margin))
    power = verdict_rates(world, Design(n, needed.repeats, margin), 0.0, comparisons=3000, seed=5).equivalent
    assert 0.75 <= power <= 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("n", "k", "margin"), [(198, 4, 0.02), (30, 8, 0.05)])
def test_repeats_told_by_an_undecided_comparison_have_the_promised_power(n, k, margin):
    world = World("competition", 0.6, 0.6)
    rng = np.random.default_rng(51)
    told = []
    while len(told) < 25:
        paired = pair_scores(*simulate_scores(world, n, k, 0.0, rng))
        test = judge_difference(paired, margin)
        if test.decision is Verdict.INCONCLUSIVE and not test.leans:
            told.append(repeats_to_decide(paired, test).repeats or math.inf)
    typical = int(np.median(told))
    power = verdict_rates(world, Design(n, typical, margin), 0.0, comparisons=2000, seed=6).equivalent
    assert 0.75 <= power <= 0.88


def test_power_agrees_with_simulation():
    world = World("story", 0.6, 0.6)
    p = beta_means(0.6, 0.6, 60)
    within = float(np.mean(p * (1 - p))) / 756
    design = DesignVariance(within, within, 0.0, 756**-2, 755.0)
    for k, delta in [(4, 0.0), (8, 0.0), (8, -0.01), (8, -0.04)]:
        goal = Goal(0.02, shift=delta)
        rates = verdict_rates(world, Design(756, k, 0.02), delta, comparisons=3000, seed=7)
        simulated = rates.equivalent if abs(delta) < 0.02 else rates.degraded
        assert power_of(design, k, k, goal) == pytest.approx(simulated, abs=0.035)


def test_a_shift_costs_repeats_and_names_the_verdict():
    design = assumed_variance(198, 0.43, 0.6)
    still = repeats_for(design, Goal(0.03))
    shifted = repeats_for(design, Goal(0.03, shift=-0.01))
    formula = (design.reference + design.candidate) * ((1.6449 + 0.8416) / 0.02) ** 2
    assert shifted.repeats > still.repeats
    assert shifted.repeats == pytest.approx(formula, rel=0.08)
    worse = repeats_for(design, Goal(0.03, shift=-0.08))
    assert Goal(0.03, shift=-0.08).verdict is Verdict.DEGRADED
    assert worse.repeats < still.repeats
    assert Goal(0.03, shift=0.08).verdict is Verdict.ELEVATED
    assert repeats_for(design, Goal(0.03, shift=0.03)).repeats is None


def test_a_cached_bank():
    """Section 6.2: a bank of 64 cuts the candidate's repeats to 42 (AIME +-3) and 13 (GPQA +-2), and raises AIME +-2."""
    aime, gpqa = assumed_variance(30, 0.73, 0.6), assumed_variance(198, 0.43, 0.6)
    assert repeats_for(aime, Goal(0.03), bank_repeats=64).repeats == pytest.approx(42 * 1.12, abs=4)
    assert repeats_for(gpqa, Goal(0.02), bank_repeats=64).repeats == pytest.approx(13, abs=1)
    assert repeats_for(aime, Goal(0.02), bank_repeats=64).repeats > 400
    small = repeats_for(aime, Goal(0.02), bank_repeats=32)
    assert small.repeats is None
    assert "bank alone" in say(small.note)


def test_repeats_cannot_help_where_the_stacks_differ_item_by_item():
    design = DesignVariance(1e-4, 1e-4, 4e-4, 1e-6, 100.0)
    needed = repeats_for(design, Goal(0.02))
    assert needed.repeats is None
    assert "repeats cannot help" in say(needed.note)
    assert "2.00 points" in say(needed.note)


def test_greedy_answers_cannot_be_decided_by_repeats():
    rng = np.random.default_rng(53)
    once = rng.integers(0, 2, 30).astype(float)
    greedy = pair_scores(*[_copies(once, 4)] * 2)
    needed = repeats_to_decide(greedy, judge_difference(greedy, 0.05))
    assert needed.repeats is None
    assert "same answer" in say(needed.note)
    single = pair_single(once, once)
    assert repeats_to_decide(single, judge_difference(single, 0.05)).repeats >= 2


def test_an_unlucky_comparison_is_not_told_to_ask_less():
    world, rng = World("competition", 0.6, 0.6), np.random.default_rng(54)
    seen = 0
    while seen < 10:
        paired = pair_scores(*simulate_scores(world, 198, 24, 0.0, rng))
        test = judge_difference(paired, 0.02)
        if test.decision is Verdict.INCONCLUSIVE:
            seen += 1
            needed = repeats_to_decide(paired, test)
            assert needed.repeats is None or needed.repeats > 24


def test_what_a_design_can_show():
    design, large = assumed_variance(30, 0.73, 0.6), assumed_variance(14042, 0.67, 0.6)
    assert repeats_for(design, Goal(0.01)).repeats > 64
    assert power_of(design, 64, 64, Goal(smallest_margin(design, 64, 64, Goal(0.01)))) == pytest.approx(0.8, abs=1e-6)
    assert power_of(design, 1, 1, Goal(0.01)) == 0.0
    assert repeats_for(large, Goal(0.01)).repeats == 2
    assert repeats_for(large, Goal(0.01), bank_repeats=4).repeats == 1


def test_each_side_has_its_own_repeats():
    noisy_reference = DesignVariance(8e-4, 1e-4, 0.0, 1e-6, 100.0)
    assert power_of(noisy_reference, 16, 4, Goal(0.03)) > power_of(noisy_reference, 4, 16, Goal(0.03)) + 0.2
    assert smallest_margin(noisy_reference, 16, 4, Goal(0.03)) < smallest_margin(noisy_reference, 4, 16, Goal(0.03))


def test_more_repeats_never_hurt():
    design = assumed_variance(198, 0.43, 0.6)
    powers = [power_of(design, k, k, Goal(0.02)) for k in range(1, 60)]
    margins = [smallest_margin(design, k, k, Goal(0.02)) for k in (1, 2, 8, 32)]
    assert np.all(np.diff(powers) >= -1e-12)  # the sum over items and the t approximation differ by that much
    assert margins == sorted(margins, reverse=True)


def test_fourteen_suites():
    each = 0.8 ** (1 / 14)
    assert each == pytest.approx(0.984, abs=5e-4)
    design = assumed_variance(198, 0.43, 0.6)
    one, all_of_them = repeats_for(design, Goal(0.02)), repeats_for(design, Goal(0.02, power=each))
    assert all_of_them.repeats / one.repeats == pytest.approx(1.92, abs=0.1)


@pytest.mark.parametrize(
    "parameters", [{"margin": 2.0}, {"margin": 0.02, "alpha": 0.7}, {"margin": 0.02, "power": 1.0}]
)
def test_impossible_goals_are_refused(parameters):
    with pytest.raises(ValueError, match=r"margin|alpha|power"):
        Goal(**parameters)


def _copies(once, k):
    from evalkit.stats.paired import Scores

    n = once.size
    return Scores(np.repeat(np.arange(n), k), np.tile(np.arange(k), n), np.repeat(once, k))
