"""The judgment of one suite: against statsmodels, on known disasters, and by its symmetries."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_items import flipped, pair_single, swapped
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from evalkit.model import Verdict
from evalkit.stats.methods import judge_difference
from evalkit.stats.paired import ItemTraits, PairedItems, Scores, pair_scores


def pairs(reference, candidate, traits=None):
    """Items from two (items x repeats) tables of scores."""

    def side(table):
        table = np.asarray(table, dtype=float)
        item, repeat = np.indices(table.shape)
        return Scores(item.ravel(), repeat.ravel(), table.ravel())

    return pair_scores(side(reference), side(candidate), traits)


def many_repeats(reference, candidate, k=10**7):
    """Item means known so well that the floor vanishes."""
    n = len(reference)
    plain = ItemTraits.plain(n)
    var = np.full(n, 0.1)
    ks = np.full(n, k)
    return PairedItems(
        reference, candidate, ks, ks, var, var, plain.weight, plain.cluster, plain.stratum, np.arange(n), binary=False
    )


def test_t_equals_statsmodels_tost_where_the_floor_vanishes():
    rng = np.random.default_rng(5)
    reference, candidate = rng.uniform(0, 1, 60), rng.uniform(0, 1, 60)
    test = judge_difference(many_repeats(reference, candidate), 0.07)
    p, (t_low, p_low, df), (_, p_high, _) = ttost_paired(candidate, reference, -0.07, 0.07)
    assert test.p_tost == pytest.approx(p, rel=1e-6)
    assert test.p_lower == pytest.approx(p_low, rel=1e-6)
    assert test.p_upper == pytest.approx(p_high, rel=1e-6)
    assert test.df == df
    assert (test.point + 0.07) / test.se == pytest.approx(t_low, rel=1e-6)
    half = stats.t.ppf(0.95, 59) * stats.sem(candidate - reference)
    assert test.ci90.high - test.point == pytest.approx(half, rel=1e-6)
    assert test.method == "paired t"


def test_single_binary_repeats_are_tangos():
    reference, candidate = [1] * 190 + [0] * 8, [1] * 186 + [0] * 8 + [1] * 4
    test = judge_difference(pair_single(reference, candidate), 0.03)
    assert test == judge_difference(flipped(4, 4, 198), 0.03)
    assert test.method == "tango"
    assert (test.ci90.level, test.ci95.level) == (0.9, 0.95)
    assert test.p_degraded == pytest.approx(1 - test.p_lower)
    assert test.p_elevated == pytest.approx(1 - test.p_upper)


@pytest.mark.parametrize(
    ("traits", "method"),
    [
        (ItemTraits(np.ones(40), np.arange(40) // 2, np.zeros(40, int)), "clustered t"),
        (ItemTraits(np.ones(40), np.arange(40), np.arange(40) // 20), "stratified t"),
        (ItemTraits(np.arange(1.0, 41.0), np.arange(40), np.zeros(40, int)), "paired t"),
        (ItemTraits(np.r_[np.ones(39), 0.0], np.arange(40), np.zeros(40, int)), "tango"),
    ],
)
def test_the_design_chooses_the_method(traits, method):
    rng = np.random.default_rng(6)
    test = judge_difference(pairs(rng.integers(0, 2, (40, 1)), rng.integers(0, 2, (40, 1)), traits), 0.05)
    assert test.method == method


def test_graded_or_ragged_scores_are_never_tangos():
    graded = judge_difference(pair_single([0.5] * 30, [0.5] * 30), 0.05)
    assert graded.method == "paired t"
    assert graded.se == pytest.approx(np.sqrt(2) / 30)
    one_against_four = judge_difference(pairs(np.ones((30, 1)), np.tile([1, 1, 1, 0], (30, 1))), 0.05)
    assert one_against_four.method == "paired t"
    assert one_against_four.se == pytest.approx(np.sqrt(1 + 1 / 16) / 30)


def test_greedy_answers_asked_again_prove_no_more():
    rng = np.random.default_rng(7)
    reference = rng.integers(0, 2, (30, 1))
    candidate = np.where(rng.random((30, 1)) < 0.03, 1 - reference, reference)
    once = judge_difference(pairs(reference, candidate), 0.05)
    sixteen = judge_difference(pairs(np.tile(reference, 16), np.tile(candidate, 16)), 0.05)
    assert sixteen == once
    assert once.decision is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("reference", "candidate", "margin", "decision"),
    [
        (np.ones((200, 8)), np.tile([1, 0], (200, 4)), 0.02, Verdict.DEGRADED),  # every item from 8/8 to 4/8
        (np.ones((200, 1)), np.full((200, 1), 0.5), 0.02, Verdict.DEGRADED),  # graded, 1.0 to 0.5
        (np.ones((10, 1)), np.ones((10, 1)), 0.001, Verdict.INCONCLUSIVE),  # ten items, no flips
        (np.zeros((100, 1)), np.tile([0.0, 0.0, 1.0, 1.0], 25)[:, None], 0.02, Verdict.ELEVATED),
    ],
)
def test_known_disasters(reference, candidate, margin, decision):
    assert judge_difference(pairs(reference, candidate), margin).decision is decision


def test_equal_accuracy_with_ten_percent_churn_is_equivalent_at_mmlu_size():
    test = judge_difference(flipped(702, 702, 14042), 0.01)
    assert test.decision is Verdict.EQUIVALENT
    assert test.ci95.high == pytest.approx(0.0052, abs=1e-4)


def test_a_jump_of_nine_points_is_elevated_not_passed():
    assert judge_difference(flipped(300, 1550, 14042), 0.02).decision is Verdict.ELEVATED


def test_half_widths_of_the_specification():
    """95 % half-widths in points for discordance 5 and 20 % without a net change."""
    for n, discordance, width in [(198, 0.05, 3.6), (756, 0.2, 3.2), (14042, 0.1, 0.52)]:
        flips = round(n * discordance / 2)
        assert judge_difference(flipped(flips, flips, n), 0.02).ci95.high * 100 == pytest.approx(width, abs=0.15)


def test_the_alarm_p_is_two_sided_at_the_boundary():
    test = judge_difference(flipped(30, 5, 198), 0.0)
    assert test.p_alarm == pytest.approx(2 * test.p_degraded)
    wide = judge_difference(flipped(60, 5, 198), 0.1)
    assert wide.p_alarm == pytest.approx(wide.p_degraded, rel=1e-3)
    assert wide.decision is Verdict.DEGRADED
    assert wide.leans


@pytest.mark.parametrize(("margin", "alpha"), [(2.0, 0.05), (-0.01, 0.05), (0.02, 0.5), (0.02, 0.0)])
def test_impossible_parameters_are_refused(margin, alpha):
    with pytest.raises(ValueError, match=r"margin|alpha"):
        judge_difference(pair_single([1, 0], [1, 1]), margin, alpha)


MIRROR = {
    Verdict.EQUIVALENT: Verdict.EQUIVALENT,
    Verdict.INCONCLUSIVE: Verdict.INCONCLUSIVE,
    Verdict.DEGRADED: Verdict.ELEVATED,
    Verdict.ELEVATED: Verdict.DEGRADED,
}


@st.composite
def designs(draw):
    """Paired items of every kind: repeats, grades, clusters, strata and weights, or none of them."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    n, k = draw(st.integers(2, 40)), draw(st.integers(1, 4))
    grades = draw(st.sampled_from([[0.0, 1.0], [0.0, 0.5, 1.0]]))
    drift = draw(st.sampled_from([0.0, 0.05, 0.6]))
    reference = rng.choice(grades, (n, k))
    candidate = np.where(rng.random((n, k)) < drift, rng.choice(grades, (n, k)), reference)
    reference[rng.random((n, k)) < 0.1 * (k > 1)] = np.nan
    reference[:, 0] = np.nan_to_num(reference[:, 0])
    if not draw(st.booleans()):
        return reference, candidate, ItemTraits.plain(n)
    cluster = rng.integers(0, n, n)
    return reference, candidate, ItemTraits(rng.uniform(0.2, 2.0, n), cluster, cluster % 2)


@settings(max_examples=120, deadline=None)
@given(designs(), st.sampled_from([0.005, 0.05, 0.3]))
def test_swapping_sides_mirrors_everything(design, margin):
    paired = pairs(*design)
    test, mirror = judge_difference(paired, margin), judge_difference(swapped(paired), margin)
    assert mirror.point == -test.point
    assert mirror.ci90.low == pytest.approx(-test.ci90.high, abs=1e-12)
    assert mirror.ci95.high == pytest.approx(-test.ci95.low, abs=1e-12)
    assert mirror.p_tost == pytest.approx(test.p_tost, rel=1e-9)
    assert mirror.p_alarm == pytest.approx(test.p_alarm, rel=1e-9)
    assert mirror.p_degraded == pytest.approx(test.p_elevated, rel=1e-9)
    assert mirror.decision is MIRROR[test.decision]


@settings(max_examples=80, deadline=None)
@given(designs(), st.integers(0, 10**6))
def test_the_order_of_items_is_irrelevant(design, seed):
    paired = pairs(*design)
    test = judge_difference(paired, 0.05)
    moved = judge_difference(paired.select(np.random.default_rng(seed).permutation(paired.n_items)), 0.05)
    assert moved.point == pytest.approx(test.point, abs=1e-12)
    assert moved.se == pytest.approx(test.se, rel=1e-9)
    assert moved.p_tost == pytest.approx(test.p_tost, rel=1e-6, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(designs())
def test_intervals_are_nested_and_agree_with_the_p_values(design):
    paired = pairs(*design)
    for alpha in (0.025, 0.05, 0.2):
        test = judge_difference(paired, 0.05, alpha)
        assert test.ci90.level == pytest.approx(1 - 2 * alpha)
        assert test.ci90.low <= test.point + 1e-12
        assert test.ci90.high >= test.point - 1e-12
        if test.ci90.level <= 0.95:
            assert test.ci95.low <= test.ci90.low + 1e-12
            assert test.ci90.high <= test.ci95.high + 1e-12
        if abs(test.p_tost - alpha) > 1e-6:
            assert (test.decision is Verdict.EQUIVALENT) == (test.p_tost < alpha)
        if abs(test.p_degraded - alpha) > 1e-6:
            assert (test.decision is Verdict.DEGRADED) == (test.p_degraded < alpha)


@settings(max_examples=80, deadline=None)
@given(designs())
def test_duplicating_every_repeat_changes_neither_difference_nor_unfloored_error(design):
    from evalkit.stats.paired import floored_difference

    reference, candidate, traits = design
    once = floored_difference(pairs(reference, candidate, traits))
    twice = floored_difference(pairs(np.tile(reference, 2), np.tile(candidate, 2), traits))
    assert twice.point == pytest.approx(once.point, abs=1e-12)
    assert math.sqrt(twice.variance) == pytest.approx(math.sqrt(once.variance), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(designs(), st.sampled_from([0.0, 0.5, 1.0]))
def test_an_item_that_is_the_same_on_both_sides_never_flips_the_sign(design, value):
    reference, candidate, traits = design
    k = reference.shape[1]
    more = ItemTraits(
        np.r_[traits.weight, traits.weight[0]],
        np.r_[traits.cluster, traits.cluster.max() + 1],
        np.r_[traits.stratum, 0],
    )
    row = np.full((1, k), value)
    before = judge_difference(pairs(reference, candidate, traits), 0.02)
    after = judge_difference(pairs(np.r_[reference, row], np.r_[candidate, row], more), 0.02)
    if np.all(traits.stratum == 0):
        assert after.point * before.point >= -1e-15
    opposite = {Verdict.DEGRADED, Verdict.ELEVATED}
    assert {before.decision, after.decision} != opposite


@pytest.mark.parametrize("scores", [([1.0], [1.0]), ([1.0], [0.0]), ([0.25], [0.75])])
def test_a_single_item_is_never_decided(scores):
    test = judge_difference(pair_single(*scores), 0.1)
    assert test.decision is Verdict.INCONCLUSIVE
    assert -1.0 <= test.ci95.low <= test.ci90.low <= test.ci90.high <= test.ci95.high <= 1.0
