"""The table of methods: every entry's interval, test and power agree, and the page that describes it names them all."""

import re
from pathlib import Path

import numpy as np
import pytest
from designs import assumed_variance, greedy_variance
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Design, World, verdict_rates

from evalkit.model import Verdict
from evalkit.stats.methods import METHODS, Evidence, Goal, chosen_methods, decide, intervals, power_of
from evalkit.stats.paired import Form
from evalkit.stats.variance import DesignVariance

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
FORMS = {
    "unpaired score": {"unpaired": True},
    "tango": {"settled": True},
    "stratified t": {"stratified": True, "clustered": True, "plain": False},
    "clustered t": {"clustered": True, "plain": False},
    "paired t": {},
}
BY_NAME = {method.name: method for method in METHODS}


@st.composite
def evidence(draw, name, size=20):
    """Comparisons of the form that the method suits, with numbers of every size."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    n = rng.integers(2, 3000, size).astype(float)
    changed = np.floor(n * rng.choice([0.0, 0.02, 0.4, 1.0], size))
    gained = np.floor(changed * rng.random(size))
    lost = changed - gained
    reference, candidate = rng.integers(0, n + 1) / n, rng.integers(0, n + 1) / n
    point = {"tango": (gained - lost) / n, "unpaired score": candidate - reference}.get(name)
    form = Form(**{"settled": False, "plain": True, **FORMS[name]})
    se, df = rng.uniform(1e-4, 0.2, size), rng.integers(1, 200, size).astype(float)
    point = rng.uniform(-0.3, 0.3, size) if point is None else point
    return Evidence(Form(*(np.full(size, flag) for flag in form)), n, point, se, df, lost, gained, reference, candidate)


def mirrored(one):
    """The same comparisons with the sides exchanged."""
    return Evidence(one.form, one.n, -one.point, one.se, one.df, one.gained, one.lost, one.candidate, one.reference)


each_method = pytest.mark.parametrize("name", FORMS)
levels = st.sampled_from([0.5, 0.6, 0.9, 0.95, 0.99])


def test_the_table_is_the_one_of_the_page():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| design | method"))
    rows = lines[start + 2 : start + 2 + len(METHODS)]
    told = {re.findall(r"`([^`]+)`", row)[-1]: row.split("|")[1].strip() for row in rows}
    assert told == {method.name: method.design for method in METHODS}
    assert not lines[start + 2 + len(METHODS)].strip()


@each_method
def test_each_form_has_its_method(name):
    [(method, rows)] = chosen_methods(Form(**FORMS[name]))
    assert (method.name, rows.tolist()) == (name, True)


def test_every_comparison_has_one_method():
    flags = np.array(np.meshgrid(*[[False, True]] * 5)).reshape(5, -1)
    chosen = [rows for _method, rows in chosen_methods(Form(*flags))]
    assert np.sum(chosen, axis=0).tolist() == [1] * flags.shape[1]


@each_method
@settings(max_examples=60, deadline=None)
@given(data=st.data(), margin=st.sampled_from([0.0, 0.005, 0.02, 0.1, 0.5]), level=levels)
def test_interval_and_test_agree(name, data, margin, level):
    """Inside the margin where both one-sided tests reject, wholly outside where the opposite one does."""
    found, method, alpha = data.draw(evidence(name)), BY_NAME[name], (1 - level) / 2
    above_lower, below_lower = method.test(found, -margin)
    above_upper, below_upper = method.test(found, margin)
    decisions = decide(*method.interval(found, level), margin)
    for p, decision in (
        (np.maximum(above_lower, below_upper), Verdict.EQUIVALENT),
        (below_lower, Verdict.DEGRADED),
        (above_upper, Verdict.ELEVATED),
    ):
        clear = np.abs(p - alpha) > 1e-9
        assert np.array_equal((decisions == decision)[clear], (p < alpha)[clear])


@each_method
@settings(max_examples=40, deadline=None)
@given(data=st.data(), level=levels)
def test_wider_at_a_higher_level_and_falling_in_the_hypothesis(name, data, level):
    found, method = data.draw(evidence(name)), BY_NAME[name]
    low, high = method.interval(found, level)
    lower, higher = method.interval(found, level + (1 - level) / 2)
    assert np.all(lower <= low)
    assert np.all(high <= higher)
    assert np.all((low <= found.point + 1e-9) & (found.point - 1e-9 <= high))
    p = np.array([method.test(found, delta)[0] for delta in np.linspace(-0.9, 0.9, 13)])
    assert np.all(np.diff(p, axis=0) >= -1e-9)  # the larger the hypothesis, the less is it exceeded


@each_method
@settings(max_examples=40, deadline=None)
@given(data=st.data(), margin=st.sampled_from([0.01, 0.2]), level=levels)
def test_exchanged_sides_mirror(name, data, margin, level):
    found, method = data.draw(evidence(name)), BY_NAME[name]
    low, high = method.interval(found, level)
    mirror_low, mirror_high = method.interval(mirrored(found), level)
    assert np.array_equal(low, -mirror_high)
    assert np.array_equal(high, -mirror_low)
    above, below = method.test(found, margin)
    mirror_above, mirror_below = method.test(mirrored(found), -margin)
    assert above == pytest.approx(mirror_below, rel=1e-9, abs=1e-300)
    assert below == pytest.approx(mirror_above, rel=1e-9, abs=1e-300)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_mixed_forms_get_what_each_gets_alone(data):
    parts = [data.draw(evidence(name, size=3)) for name in FORMS]
    together = intervals(Evidence.together(parts), 0.9)
    alone = [BY_NAME[name].interval(part, 0.9) for name, part in zip(FORMS, parts, strict=True)]
    for end in (0, 1):
        assert together[end].tolist() == np.concatenate([ends[end] for ends in alone]).tolist()


@pytest.mark.parametrize("margin", [0.02, 0.05])
@pytest.mark.parametrize("k", [1, 4])
def test_power_falls_with_the_shift_and_rises_with_margin_and_alpha(k, margin):
    design = assumed_variance(198, 0.6, 0.6)
    powers = [power_of(design, k, k, Goal(margin, shift=shift)) for shift in np.linspace(0.0, 0.9 * margin, 5)]
    assert powers == sorted(powers, reverse=True)
    assert power_of(design, k, k, Goal(margin)) <= power_of(design, k, k, Goal(2 * margin))
    assert power_of(design, k, k, Goal(margin, 0.05)) <= power_of(design, k, k, Goal(margin, 0.1))
    beyond = [power_of(design, k, k, Goal(margin, shift=-shift)) for shift in np.linspace(1.1, 6.0, 5) * margin]
    assert beyond == sorted(beyond)
    assert beyond[-1] == pytest.approx(power_of(design, k, k, Goal(margin, shift=6.0 * margin)), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "margin", "churn", "delta"),
    [(30, 0.1, 0.02, 0.0), (198, 0.05, 0.05, 0.0), (198, 0.03, 0.02, -0.01), (756, 0.02, 0.03, -0.04)],
)
def test_power_of_answers_that_never_vary_is_what_simulation_gives(n, margin, churn, delta):
    """Greedy stacks are judged by Tango, however often they are asked: the plan counts on exactly that."""
    world = World("decided", 0.6, 1.0, churn=churn, new_items=True)
    design = greedy_variance(n, churn + abs(delta) - delta**2)
    goal = Goal(margin, shift=delta)
    for k in (1, 4):
        rates = verdict_rates(world, Design(n, k, margin), delta, comparisons=4000, seed=9)
        simulated = rates.equivalent if abs(delta) < margin else rates.degraded
        assert power_of(design, k, k, goal) == pytest.approx(simulated, abs=0.025)


def test_one_look_at_right_or_wrong_items_is_tangos_and_several_are_not():
    once, varying = DesignVariance(1e-3, 1e-3, 0.0, 30**-2, 29.0, Form(settled=True)), Form()
    assert once.form_at(1, 1).settled
    assert not once.form_at(1, 2).settled
    assert not DesignVariance(1e-3, 1e-3, 0.0, 30**-2, 29.0, varying).form_at(1, 1).settled
    assert greedy_variance(30, 0.03).form_at(16, 16).settled
    assert greedy_variance(30, 0.03).standard_error(16, 16) == greedy_variance(30, 0.03).standard_error(1, 1)
