"""Stopping early: Ville's bound by simulation, Jennison and Turnbull's constants, and the speed on broken stacks."""

import numpy as np
import pytest

from evalkit.model import Verdict
from evalkit.stats.multiplicity import (
    Boundary,
    boundary_constant,
    crossing_probability,
    e_process,
    look_alphas,
    watch_stream,
)


@pytest.mark.parametrize(
    ("alpha", "looks", "pocock", "obrien_fleming"),
    [
        # Jennison and Turnbull (2000), tables 2.1 and 2.3.
        (0.05, 1, 1.960, 1.960),
        (0.05, 2, 2.178, 1.977),
        (0.05, 3, 2.289, 2.004),
        (0.05, 4, 2.361, 2.024),
        (0.05, 5, 2.413, 2.040),
        (0.05, 10, 2.555, 2.087),
        (0.10, 2, 1.875, 1.678),
        (0.10, 5, 2.122, 1.751),
        (0.01, 5, 2.986, 2.621),
    ],
)
def test_constants_of_jennison_and_turnbull(alpha, looks, pocock, obrien_fleming):
    assert boundary_constant(looks, alpha, Boundary.POCOCK) == pytest.approx(pocock, abs=6e-4)
    assert boundary_constant(looks, alpha, Boundary.OBRIEN_FLEMING) == pytest.approx(obrien_fleming, abs=6e-4)


def test_crossing_probability_agrees_with_simulation():
    rng = np.random.default_rng(61)
    z = np.cumsum(rng.normal(size=(40_000, 4)), axis=1) / np.sqrt(np.arange(1, 5))
    criticals = (2.8, 2.4, 2.2, 2.0)
    assert crossing_probability(criticals) == pytest.approx(np.mean(np.any(np.abs(z) >= criticals, axis=1)), abs=0.004)


def test_look_alphas_are_for_one_sided_tests():
    assert look_alphas(1, 0.05) == (pytest.approx(0.05, abs=1e-9),)
    pocock = look_alphas(5, 0.05)
    assert pocock == (pytest.approx(0.0169, abs=1e-4),) * 5
    spent = look_alphas(5, 0.05, Boundary.OBRIEN_FLEMING)
    assert list(spent) == sorted(spent)
    assert spent[0] < 1e-4
    assert spent[-1] < 0.05


@pytest.mark.parametrize(("looks", "alpha"), [(0, 0.05), (3, 0.0), (3, 1.0)])
def test_impossible_designs_are_refused(looks, alpha):
    with pytest.raises(ValueError, match="at least one look"):
        boundary_constant(looks, alpha, Boundary.POCOCK)


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
