"""Published tables: two means, a number of items, nothing else."""

import pytest
from scipy import stats

from evalkit.model import Verdict
from evalkit.stats.methods import judge_means
from evalkit.stats.tails import independent_limits


@pytest.mark.parametrize(
    ("reference", "candidate", "n", "margin", "decision", "low", "high"),
    [
        # Rows of the kind that model cards print, with the 95 % intervals in points of the specification's section 6.3.
        (0.669, 0.758, 14042, 0.02, Verdict.ELEVATED, 7.8, 10.0),
        (21 / 30, 23 / 30, 30, 0.05, Verdict.INCONCLUSIVE, -15.4, 27.9),
        (0.410, 0.444, 1192, 0.02, Verdict.INCONCLUSIVE, -0.6, 7.4),
        (0.669, 0.673, 14042, 0.02, Verdict.EQUIVALENT, -0.7, 1.5),
        (0.590, 0.602, 756, 0.02, Verdict.INCONCLUSIVE, -3.7, 6.1),
        (0.077, 0.076, 800, 0.02, Verdict.INCONCLUSIVE, -2.8, 2.5),
    ],
)
def test_what_published_rows_support(reference, candidate, n, margin, decision, low, high):
    test = judge_means(reference, candidate, n, margin)
    assert test.decision is decision
    assert test.method == "unpaired score"
    tolerance = 1.1 if n == 30 else 0.15  # the specification prints Wald intervals, ours are score intervals
    assert 100 * test.ci95.low == pytest.approx(low, abs=tolerance)
    assert 100 * test.ci95.high == pytest.approx(high, abs=tolerance)


def test_p_values_agree_with_the_interval():
    for candidate in (0.60, 0.63, 0.66, 0.70, 0.74):
        test = judge_means(0.66, candidate, 900, 0.05)
        assert (test.decision is Verdict.EQUIVALENT) == (test.p_tost < 0.05)
        assert (test.decision is Verdict.ELEVATED) == (test.p_elevated < 0.05)


def test_it_is_the_score_interval_of_two_samples():
    test = judge_means(0.5, 0.6, 200, 0.02)
    low, high = independent_limits((0.5, 0.6), (200, 200), stats.norm.ppf(0.975))
    assert (test.ci95.low, test.ci95.high) == pytest.approx((low, high), abs=1e-12)


def test_fewer_effective_items_widen_the_interval():
    assert judge_means(0.41, 0.444, 495, 0.02).ci95.high == pytest.approx(0.096, abs=0.003)


def test_sides_mirror():
    test, mirror = judge_means(0.3, 0.4, 120, 0.05), judge_means(0.4, 0.3, 120, 0.05)
    assert mirror.ci90.low == -test.ci90.high
    assert mirror.p_degraded == pytest.approx(test.p_elevated, rel=1e-12)


@pytest.mark.parametrize("means", [(1.2, 0.5), (0.5, -0.1)])
def test_percentages_are_refused(means):
    with pytest.raises(ValueError, match="impossible count"):
        judge_means(*means, 100, 0.02)
