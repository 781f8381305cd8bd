"""Variance parts: measured from comparisons with known noise, and as designs assume them."""

import numpy as np
import pytest
from designs import assumed_variance, stored_variance
from paired_items import pair_single, swapped

from evalkit.render.words import say
from evalkit.stats.paired import ItemTraits, Scores, pair_scores
from evalkit.stats.variance import measured_variance


def compared(rng, p, q, k_reference, k_candidate, traits=None):
    def side(rate, k):
        item, repeat = np.repeat(np.arange(rate.size), k), np.tile(np.arange(k), rate.size)
        return Scores(item, repeat, (rng.random(item.size) < rate[item]).astype(float))

    return pair_scores(side(p, k_reference), side(q, k_candidate), traits)


def test_assumed_is_the_formula_of_the_specification():
    design = assumed_variance(30, 0.73, 0.6)
    assert design.reference == pytest.approx(0.73 * 0.27 * 0.4 / 30)
    assert design.variance(4, 2) == pytest.approx(design.reference / 4 + design.candidate / 2)
    assert design.standard_error(2, 2) ** 2 == pytest.approx(design.variance(2, 2) + 0.5 / 900)
    assert stored_variance(30, 0.73 * 0.27 * 0.4) == design


def test_repeats_measure_the_noise():
    rng = np.random.default_rng(41)
    p = rng.beta(0.4, 0.3, 3000)
    measured = measured_variance(compared(rng, p, p, 4, 8))
    noise = float(np.mean(p * (1 - p))) / 3000
    assert measured.design.reference == pytest.approx(noise, rel=0.05)
    assert measured.design.candidate == pytest.approx(noise, rel=0.05)
    assert measured.design.between == 0.0
    assert measured.repeatable


def test_a_difference_by_item_is_told_from_noise():
    rng = np.random.default_rng(42)
    p = rng.uniform(0.3, 0.7, 800)
    q = p + rng.choice([-0.3, 0.3], 800)
    measured = measured_variance(compared(rng, p, q, 4, 4))
    assert measured.design.between == pytest.approx(0.09 / 800, rel=0.15)


def test_equal_stacks_are_seldom_said_to_differ_item_by_item():
    rng = np.random.default_rng(43)
    p = rng.beta(0.4, 0.3, 60)
    found = [measured_variance(compared(rng, p, p, 4, 4)).design.between > 0 for _ in range(400)]
    assert np.mean(found) < 0.03


def test_single_repeats_take_all_difference_for_noise():
    paired = pair_single([1] * 20 + [0] * 20, [1] * 18 + [0] * 20 + [1] * 2)
    measured = measured_variance(paired)
    spread = paired.difference.var(ddof=1) / 40
    assert measured.design.variance(1, 1) == pytest.approx(spread + 2 / 40**2)
    assert "one repeat" in say(measured.note)


@pytest.mark.parametrize("swap", [False, True])
def test_a_bank_on_one_side_leaves_the_rest_to_the_other(swap):
    rng = np.random.default_rng(44)
    p = rng.beta(0.4, 0.3, 3000)
    paired = compared(rng, p, p, 16, 1)
    design = measured_variance(swapped(paired) if swap else paired).design
    bank, single = (design.candidate, design.reference) if swap else (design.reference, design.candidate)
    noise = float(np.mean(p * (1 - p))) / 3000
    assert bank == pytest.approx(noise, rel=0.05)
    assert single == pytest.approx(noise, rel=0.12)


def test_repeats_that_never_vary_are_no_repeats():
    side = Scores(np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30), np.ones(120))
    assert not measured_variance(pair_scores(side, side)).repeatable


def test_weights_and_clusters_reach_the_parts():
    rng = np.random.default_rng(45)
    p = rng.beta(0.4, 0.3, 200)
    traits = ItemTraits(rng.uniform(0.2, 3.0, 200), np.arange(200) // 2, np.zeros(200, int))
    paired = compared(rng, p, p, 4, 4, traits)
    design = measured_variance(paired).design
    assert design.reference == pytest.approx(float(np.sum(paired.share**2 * paired.reference_var)))
    held = paired.share.reshape(100, 2).sum(axis=1)
    assert design.df == pytest.approx(np.sum(held**2) ** 2 / np.sum(held**4) - 1)
