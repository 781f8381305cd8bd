"""The simulator against the judgment itself, and the error rates that the documentation promises."""

from pathlib import Path

import numpy as np
import pytest
import simulation
from simulated_scores import simulate_scores
from simulation import Design, Outcomes, World, beta_means, verdict_rates

from evalkit.stats.methods import Evidence, decide, intervals, judge_difference
from evalkit.stats.paired import pair_scores

ROOT = Path(__file__).resolve().parents[2]
TYPICAL = World("typical", 0.6, 0.6)
SATURATED = World("saturated", 0.95, 0.8)
SPARSE = World("sparse", 0.8, 1.0, churn=0.02, new_items=True)
WORLDS = [TYPICAL, SATURATED, World("new", 0.6, 0.6, new_items=True), SPARSE]


def histogram(paired, outcomes):
    """How many items of a comparison had each outcome."""
    right, other = (np.rint(mean * outcomes.k).astype(int) for mean in (paired.reference_mean, paired.candidate_mean))
    return np.bincount(outcomes.joint[right * (outcomes.k + 1) + other], minlength=outcomes.difference.size)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("world", [TYPICAL, World("easy", 0.97, 0.9), SPARSE, World("few", 0.6, 0.6, new_items=True)])
@pytest.mark.parametrize(("n", "margin"), [(5, 0.3), (30, 0.1), (80, 0.05)])
def test_the_simulation_decides_as_the_judge_does(world, k, n, margin):
    """Sixty comparisons a design: the same evidence, the same interval, the same verdict as from the score columns."""
    rng, outcomes = np.random.default_rng(71 + n + k), Outcomes.of(k)
    deltas = rng.choice([-0.02, 0.0], 60)
    compared = [pair_scores(*simulate_scores(world, n, k, float(delta), rng)) for delta in deltas]
    found = outcomes.evidence(np.array([histogram(paired, outcomes) for paired in compared]))
    own = Evidence.together([Evidence.of(paired) for paired in compared])
    for name in ("n", "point", "se", "df"):
        assert getattr(found, name) == pytest.approx(getattr(own, name), rel=1e-12, abs=1e-15)
    settled = np.asarray(own.form.settled)
    assert np.array_equal(found.form.settled, settled)
    assert np.array_equal(found.lost[settled], own.lost[settled])
    assert np.array_equal(found.gained[settled], own.gained[settled])
    for alpha in (0.05, 0.2):
        decisions = decide(*intervals(found, 1 - 2 * alpha), margin)
        assert decisions.tolist() == [judge_difference(paired, margin, alpha).decision for paired in compared]


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


@pytest.fixture(scope="module")
def documented():
    lines = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("| items | k |")) :]
    return table[: table.index("")]


def test_the_documented_table_is_the_printed_one(documented):
    assert documented[:2] == simulation.header().splitlines()
    first_rows = [line for line in documented[2:] if line.startswith("| 30 |")]
    assert first_rows[0] == simulation.row(Design(30, 1, 0.05), comparisons=20_000, seed=2026)
    assert first_rows[3] == simulation.row(Design(30, 1, 0.10), comparisons=20_000, seed=2026)


def test_the_documented_rates_keep_the_promise(documented):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in documented[2:] if line.startswith("| ")]
    assert len(rows) == sum(len(margins) for margins in simulation.DESIGNS.values()) * len(simulation.REPEATS)
    false_equivalents = [float(cell) for row in rows for cell in row[3 : 3 + len(simulation.AT_MARGIN)]]
    assert max(false_equivalents) <= 6.0
    assert sum(rate > 5.5 for rate in false_equivalents) < 0.1 * len(false_equivalents)
