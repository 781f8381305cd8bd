"""Stopping early: Ville's bound by simulation, spent errors against published limits, and the speed on broken stacks."""

import numpy as np
import pytest
from scipy import stats

from evalkit.model import Verdict
from evalkit.stats.multiplicity import Spending, e_process, look_alphas, watch_stream

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("spending", "criticals"),
    [
        # One-sided 0.025 at five equal looks, as group-sequential programs print them.
        (Spending.OBRIEN_FLEMING, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        (Spending.POCOCK, (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_looks_of_lan_and_demets(spending, criticals):
    found = [stats.norm.isf(one) for one in look_alphas(FIFTHS, 0.025, spending)]
    assert found == pytest.approx(criticals, abs=2e-3)


def test_one_look_has_all_and_a_further_one_changes_none_before_it():
    for spending in Spending:
        assert look_alphas((1.0,), 0.05, spending) == (pytest.approx(0.05, abs=1e-6),)
        assert look_alphas(FIFTHS[:3], 0.05, spending) == look_alphas((*FIFTHS[:3], 0.7, 1.0), 0.05, spending)[:3]


@pytest.mark.parametrize("spending", Spending)
@pytest.mark.parametrize("shares", [FIFTHS, (0.1, 0.5, 0.55, 1.0), (0.5, 0.8)])
def test_all_looks_together_err_as_often_as_is_spent(spending, shares):
    rng = np.random.default_rng(61)
    steps = np.sqrt(np.diff(shares, prepend=0.0))
    z = np.cumsum(rng.normal(size=(60_000, len(shares))) * steps, axis=1) / np.sqrt(shares)
    rejected = np.any(z >= stats.norm.isf(look_alphas(shares, 0.05, spending)), axis=1)
    assert rejected.mean() == pytest.approx(spending.spent(shares[-1], 0.05), abs=0.003)
    assert spending.spent(1.0, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("shares", "alpha"), [((), 0.05), ((0.5, 0.5), 0.05), ((0.5, 1.2), 0.05), ((0.0, 1.0), 0.05), (FIFTHS, 0.5)]
)
def test_impossible_designs_are_refused(shares, alpha):
    with pytest.raises(ValueError, match="rise within"):
        look_alphas(shares, alpha)


@pytest.mark.parametrize(
    ("lost", "gained"),
    [(0.02, 0.0), (0.10, 0.08), (0.30, 0.28), (0.51, 0.49)],  # a true difference of exactly -2 points
)
def test_villes_bound_at_the_margin(lost, gained):
    rng = np.random.default_rng(62)
    x = rng.choice([-1.0, 1.0, 0.0], size=(1000, 1500), p=[lost, gained, 1 - lost - gained])
    crossed = np.any(e_process(x, 0.02) >= 20.0, axis=1)
    assert crossed.mean() <= 0.06


def test_villes_bound_where_nothing_differs():
    rng = np.random.default_rng(63)
    x = rng.choice([-1.0, 1.0, 0.0], size=(400, 3000), p=[0.1, 0.1, 0.8])
    verdicts = [watch_stream(row, 0.02).decision for row in x]
    assert np.mean([verdict is not Verdict.INCONCLUSIVE for verdict in verdicts]) <= 0.02


def test_the_fortune_is_a_martingale_at_the_margin():
    """Mean 1 after any number of items: checked by listing every outcome of four items."""
    values, chance = np.array([-1.0, 0.5, 1.0]), np.array([0.46, 0.2, 0.3])
    values, chance = np.append(values, 0.0), np.append(chance, 0.04)
    margin = -float(values @ chance)
    grid = np.array(np.meshgrid(*[range(4)] * 4)).reshape(4, -1).T
    weights = chance[grid].prod(axis=1)
    assert weights @ e_process(values[grid], margin)[:, -1] == pytest.approx(1.0)


def test_the_fortune_never_turns_negative():
    """The greatest bet is below 1 / (1 + margin): even a stream of +1 leaves a positive fortune."""
    for margin in (0.0, 0.02, 0.4, 0.6):
        assert np.all(e_process(np.ones(50), margin) > 0)


def test_a_broken_stack_is_stopped_within_a_few_dozen_items():
    rng = np.random.default_rng(64)
    stops = []
    for _ in range(50):
        stream = watch_stream(rng.choice([-1.0, 1.0, 0.0], size=3000, p=[0.25, 0.05, 0.7]), 0.02)
        assert stream.decision is Verdict.DEGRADED
        assert stream.e_degraded >= 20.0
        stops.append(stream.stopped_at)
    assert np.median(stops) < 80


def test_streams_mirror():
    rng = np.random.default_rng(65)
    x = rng.choice([-1.0, 1.0, 0.0], size=2000, p=[0.3, 0.05, 0.65])
    worse, better = watch_stream(x, 0.02), watch_stream(-x, 0.02)
    assert (better.decision, better.stopped_at) == (Verdict.ELEVATED, worse.stopped_at)
    assert (better.e_elevated, better.e_degraded) == (worse.e_degraded, worse.e_elevated)


def test_an_endless_stream_does_not_overflow():
    assert watch_stream(-np.ones(100_000), 0.02).decision is Verdict.DEGRADED
    assert np.isinf(e_process(-np.ones(5000), 0.0)[-1]) or e_process(-np.ones(5000), 0.0)[-1] > 1e100


def test_empty_and_impossible_streams():
    assert watch_stream([], 0.02).decision is Verdict.INCONCLUSIVE
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        watch_stream([2.0], 0.02)
