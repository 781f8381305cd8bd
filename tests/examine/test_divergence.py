"""The distance between two servers' log-probabilities: exact on small cases, honest in simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.examine.divergence import Choice, ScoredText, divergence, near_tie_nats
from evalkit.stats.tails import ratio_estimate


def texts(*columns):
    return [ScoredText(tuple(column)) for column in columns]


def test_a_case_worked_by_hand():
    first = texts([-1.0, -2.0, -3.0], [-1.0])
    second = texts([-1.5, -2.0, -2.0], [-1.2])
    found = divergence(first, second)
    # differences -0.5, 0, 1 and -0.2: the shift is minus their mean
    assert found.tokens == 4
    assert found.nll_shift.point == pytest.approx(-0.075)
    k3 = [math.exp(d) - 1 - d for d in (-0.5, 0.0, 1.0, -0.2)]
    assert found.k3.point == pytest.approx(sum(k3) / 4)
    assert (found.mean_abs, found.max_abs) == (pytest.approx(0.425), pytest.approx(1.0))
    assert found.share_large == 0.25
    assert found.by_sequence == pytest.approx((0.5, 0.2))
    # residuals of the sums -0.5 and 0.2 around -0.075 * (3, 1): -0.275 and 0.275
    assert found.nll_shift.standard_error == pytest.approx(math.sqrt(2 * 2 * 0.275**2) / 4)
    assert found.nll_shift.df == 1


def test_the_standard_error_is_that_of_statsmodels_for_clusters():
    import statsmodels.api as sm

    rng = np.random.default_rng(4)
    sizes = rng.integers(3, 30, 25)
    columns = [rng.normal(rng.normal(0, 0.3), 1.0, n) for n in sizes]
    flat = np.concatenate(columns)
    groups = np.repeat(np.arange(25), sizes)
    fit = sm.OLS(flat, np.ones(flat.size)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    ours = ratio_estimate(np.array([c.sum() for c in columns]), sizes.astype(float))
    assert ours.point == pytest.approx(float(fit.params[0]))
    assert ours.standard_error == pytest.approx(float(fit.bse[0]))


def test_the_trend_is_that_of_statsmodels_for_clusters():
    import statsmodels.api as sm

    rng = np.random.default_rng(5)
    columns = [np.abs(rng.normal(0.002 * np.arange(n), 0.05)) for n in rng.integers(20, 60, 30)]
    found = divergence(texts(*(-1.0 - c for c in columns)), texts(*(-1.0 + 0 * c for c in columns)))
    position = np.concatenate([np.arange(c.size) for c in columns]) / 100
    groups = np.repeat(np.arange(30), [c.size for c in columns])
    fit = sm.OLS(np.concatenate(columns), sm.add_constant(position)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}
    )
    # statsmodels has a further (n - 1) / (n - 2) for the two coefficients
    usual = math.sqrt((position.size - 2) / (position.size - 1))
    assert found.trend.point == pytest.approx(float(fit.params[1]))
    assert found.trend.standard_error == pytest.approx(float(fit.bse[1]) * usual)
    assert found.trend.interval.low > 0


def test_both_estimates_meet_the_true_divergence_and_their_intervals_cover_it():
    """Tokens sampled from p, scored by p and q: the mean of both estimates is KL(p || q)."""
    rng = np.random.default_rng(7)
    vocabulary, positions = 30, 12
    logits = rng.normal(0, 1.5, (positions, vocabulary))
    other = logits + rng.normal(0, 0.25, logits.shape)
    p, q = (np.exp(x - np.log(np.exp(x).sum(1, keepdims=True))) for x in (logits, other))
    truth = float(np.mean(np.sum(p * np.log(p / q), 1)))
    shifts, k3s, covered = [], [], {"shift": 0, "k3": 0}
    runs = 300
    rows, edges = np.arange(positions), p.cumsum(1)
    log_p, log_q = np.log(p), np.log(q)
    for _ in range(runs):
        drawn = (rng.random((40, positions, 1)) > edges).sum(2).clip(max=vocabulary - 1)
        found = divergence(texts(*log_p[rows, drawn]), texts(*log_q[rows, drawn]))
        shifts.append(found.nll_shift.point)
        k3s.append(found.k3.point)
        covered["shift"] += found.nll_shift.interval.low <= truth <= found.nll_shift.interval.high
        covered["k3"] += found.k3.interval.low <= truth <= found.k3.interval.high
    assert np.mean(shifts) == pytest.approx(truth, rel=0.08)
    assert np.mean(k3s) == pytest.approx(truth, rel=0.03)
    assert np.std(k3s) < np.std(shifts)
    assert 0.86 <= covered["shift"] / runs <= 0.94
    assert 0.86 <= covered["k3"] / runs <= 0.94


def test_what_is_no_number_is_an_event_and_enters_no_mean():
    first = texts([-1.0, None, -1.0, -1.0, -math.inf], [-2.0, -2.0, math.nan])
    second = texts([-1.0, -1.0, -math.inf, math.nan, -math.inf], [-2.0, None, -2.0])
    found = divergence(first, second)
    assert found.tokens == 2
    assert found.mean_abs == 0.0
    assert found.events.first == {"missing": 1, "impossible": 1, "nan": 1}
    assert found.events.second == {"missing": 1, "impossible": 2, "nan": 1}
    assert found.events.sudden == 2


def test_a_text_without_numbers_keeps_its_place_and_too_little_is_none():
    found = divergence(texts([-1.0], [None], [-1.0]), texts([-1.1], [-1.0], [-1.3]))
    assert found.sequences == 2
    assert found.by_sequence[0] == pytest.approx(0.1)
    assert math.isnan(found.by_sequence[1])
    assert divergence(texts([-1.0, -2.0]), texts([-1.0, -2.0])) is None
    assert divergence([], []) is None


def test_different_texts_are_refused():
    with pytest.raises(ValueError, match="token for token"):
        divergence(texts([-1.0, -2.0]), texts([-1.0]))
    with pytest.raises(ValueError, match="token for token"):
        divergence(texts([-1.0]), texts([-1.0], [-1.0]))


def test_agreement_leaves_near_ties_out():
    def text(*choices):
        return ScoredText((-1.0,) * len(choices), choices)

    ours = text(Choice(1, 2.0), Choice(1, 0.005), Choice(3, 1.0), None, Choice(5, 0.5))
    theirs = text(Choice(1, 1.0), Choice(2, 0.1), Choice(4, 1.0), Choice(1, 1.0), None)
    found = divergence([ours, ours], [theirs, ours], near_tie=0.01)
    assert (found.agreement.agreeing, found.agreement.considered, found.agreement.near_ties) == (4, 5, 2)
    assert found.agreement.share == pytest.approx(0.8)
    assert found.first_disagreements == (2, None)
    assert divergence(texts([-1.0], [-1.0]), texts([-1.0], [-1.0])).agreement is None


def test_a_near_tie_is_what_the_own_noise_can_turn_round():
    noise = divergence(texts([-1.0] * 50, [-1.0] * 50), texts([-1.02] * 50, [-1.02] * 50))
    assert near_tie_nats(noise) == pytest.approx(0.04)
    still = divergence(texts([-1.0], [-1.0]), texts([-1.0], [-1.0]))
    assert near_tie_nats(still) == 0.01


@given(
    st.lists(st.lists(st.tuples(st.floats(-30, 0), st.floats(-30, 0)), min_size=1, max_size=8), min_size=2, max_size=6)
)
def test_exchanged_sides_turn_the_shift_round_and_k3_is_never_negative(columns):
    one, other = texts(*([a for a, _ in c] for c in columns)), texts(*([b for _, b in c] for c in columns))
    there, back = divergence(one, other), divergence(other, one)
    assert there.nll_shift.point == pytest.approx(-back.nll_shift.point, abs=1e-9)
    assert there.mean_abs == pytest.approx(back.mean_abs)
    assert there.k3.point >= 0
    assert there.p99_abs <= there.max_abs
