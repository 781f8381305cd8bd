"""Several looks: spent errors against published limits, and the errors of whole comparisons, by simulation."""

import numpy as np
import pytest
from scipy import stats

from evalkit.examine.looking import stops
from evalkit.stats.looks import comparison_alphas, look_alphas, spent_evenly, spent_late

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_looks_of_lan_and_demets():
    found = [stats.norm.isf(one) for one in look_alphas(FIFTHS, 0.025)]
    # One-sided 0.025 at five equal looks, as group-sequential programs print them.
    assert found == pytest.approx((2.4380, 2.4268, 2.4101, 2.3966, 2.3859), abs=2e-3)


def test_one_look_has_all_and_a_further_one_changes_none_before_it():
    assert look_alphas((1.0,), 0.05) == (pytest.approx(0.05, abs=1e-6),)
    assert look_alphas(FIFTHS[:3], 0.05) == look_alphas((*FIFTHS[:3], 0.7, 1.0), 0.05)[:3]


def test_late_spending_keeps_most_for_the_last_looks():
    found = look_alphas(FIFTHS, 0.025, spent_late)
    below = stats.norm.isf(found)
    for number in range(1, 6):  # what no look up to this one passes, by another program
        times = np.array(FIFTHS[:number])
        alike = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
        kept = stats.multivariate_normal(np.zeros(number), alike).cdf(below[:number], rng=np.random.default_rng(number))
        assert 1 - kept == pytest.approx(0.025 * times[-1] ** 2, abs=2e-5)
    assert found[0] < look_alphas(FIFTHS, 0.025)[0] / 5
    assert found[-1] > 1.4 * look_alphas(FIFTHS, 0.025)[-1]


@pytest.mark.parametrize("spent", [spent_evenly, spent_late])
@pytest.mark.parametrize("shares", [FIFTHS, (0.1, 0.5, 0.55, 1.0), (0.5, 0.8)])
def test_all_looks_together_err_as_often_as_is_spent(shares, spent):
    rng = np.random.default_rng(61)
    steps = np.sqrt(np.diff(shares, prepend=0.0))
    z = np.cumsum(rng.normal(size=(60_000, len(shares))) * steps, axis=1) / np.sqrt(shares)
    rejected = np.any(z >= stats.norm.isf(look_alphas(shares, 0.05, spent)), axis=1)
    assert rejected.mean() == pytest.approx(spent(shares[-1], 0.05), abs=0.003)
    assert spent(1.0, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("shares", "alpha"), [((), 0.05), ((0.5, 0.5), 0.05), ((0.5, 1.2), 0.05), ((0.0, 1.0), 0.05), (FIFTHS, 0.5)]
)
def test_impossible_designs_are_refused(shares, alpha):
    with pytest.raises(ValueError, match="rise within"):
        look_alphas(shares, alpha)


# ---------------------------------------------------------------- several suites in rounds

UNEQUAL = np.array([[100, 400, 50], [200, 400, 100], [300, 800, 150], [400, 800, 200], [500, 1200, 250]])
"""Samples of three suites at five looks; the second is asked in whole passes, not all of them new."""
SPREAD = 0.3  # standard deviation of one sample's difference
MARGINS = np.array([0.06, 0.04, 0.09, 0.03])  # the last is the mean's


def drawn(truths, n, *, seed, margins=MARGINS):
    """P-values of so many comparisons whose suites have these true differences, at every look: normal, known spread."""
    rng = np.random.default_rng(seed)
    new = np.diff(UNEQUAL, axis=0, prepend=0)[..., None]
    sums = np.cumsum(new * np.array(truths)[:, None] + np.sqrt(new) * SPREAD * rng.normal(size=(5, 3, n)), axis=0)
    point, se = sums / UNEQUAL[..., None], np.broadcast_to(SPREAD / np.sqrt(UNEQUAL[..., None]), (5, 3, n))
    point = np.concatenate([point, point.mean(axis=1, keepdims=True)], axis=1)
    se = np.concatenate([se, np.sqrt((se**2).sum(axis=1, keepdims=True)) / 3], axis=1)
    near, far = (margins[:, None] - np.abs(point)) / se, (margins[:, None] + np.abs(point)) / se
    return stats.norm.sf(near), np.minimum(1.0, stats.norm.sf(-near) + stats.norm.sf(far))


LEVELS = comparison_alphas(UNEQUAL, 0.05)


@pytest.mark.parametrize("at", range(4))
def test_no_row_at_its_margin_passes_more_often_than_alpha_over_all_looks(at):
    truths = [-0.03] * 3 if at == 3 else [-MARGINS[one] if one == at else 0.0 for one in range(3)]
    wide = np.where(np.arange(4) == at, MARGINS, 0.5)  # the others are always inside
    ended = stops(*drawn(truths, 40_000, seed=at, margins=wide), LEVELS)
    assert 0.035 < ended.equivalent.mean() < 0.053


@pytest.mark.parametrize("fast", [0.0, 0.01])
def test_alarms_at_all_margins_together_keep_their_error_over_all_looks(fast):
    levels = comparison_alphas(UNEQUAL, 0.05, fast=fast)
    truths = np.array([-0.06, -0.04, -0.09])
    everywhere = np.append(-truths, 0.19 / 3)
    ended = stops(*drawn(truths, 40_000, seed=6, margins=everywhere), levels)
    assert ended.alarms.any(axis=0).mean() < 0.053 - fast


def test_a_suite_without_new_samples_keeps_its_level_and_is_not_spent_for_again():
    second = LEVELS.alphas[:, 1]
    assert second[0] == second[1] != second[2] == second[3] != second[4]
    assert tuple(second[[0, 2, 4]]) == look_alphas((1 / 3, 2 / 3, 1.0), 0.05, spent_late)


def test_no_step_of_holms_correction_has_more_than_the_level_of_its_own_alpha():
    levels = comparison_alphas(UNEQUAL, 0.05)
    for left in range(1, 5):
        allowed = np.array(look_alphas(FIFTHS, 0.05 / left))
        assert np.all(0.05 / levels.scale[:, 0] / left <= allowed * (1 + 1e-6))


def test_while_the_mean_is_open_no_suite_stops_and_later_only_open_ones_go_on():
    p = np.full((5, 4, 1), 0.5)
    p[0, :2] = 0.0  # equivalent at the first look, and not at the second
    p[2, [0, 3]] = 0.0  # the mean at the third, with the first suite
    p[3, 1] = p[4, 2] = 0.0
    ended = stops(p, np.ones_like(p), LEVELS)
    assert ended.asked[:, 0].tolist() == [3, 4, 5]
    assert ended.equivalent.tolist() == [True]


def test_an_alarm_ends_all_and_one_suite_alone_is_its_own_mean():
    p = np.full((5, 4, 2), 0.5)
    alarm = np.ones_like(p)
    alarm[1, 2, 0] = 0.0
    ended = stops(p, alarm, LEVELS)
    assert ended.asked.T.tolist() == [[2, 2, 2], [5, 5, 5]]
    assert ended.alarms.any(axis=0).tolist() == [True, False]
    alone = comparison_alphas(UNEQUAL[:, :1], 0.05)
    ended = stops(np.array([0.5, 0.0, 0.0, 0.0, 0.0])[:, None, None], np.ones((5, 1, 1)), alone)
    assert (ended.asked.tolist(), ended.equivalent.tolist()) == ([[2]], [True])
