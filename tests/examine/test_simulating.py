"""A simulated comparison gets the verdict that its score table gets, and shares are those that are known."""

import numpy as np
import pytest
from compare_factory import side, suite

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.examine.simulating import Gate, Shape, World, draws, judge, simulate
from evalkit.model import Verdict

CLUSTERED = Shape(np.array([4, 4, 4, *[1] * 40]), np.array([4.0] * 3 + [1.0] * 40) / 52, np.zeros(43, int))
WEIGHTED = Shape(np.ones(60, int), np.repeat([3.0, 1.0], 30) / 120, np.zeros(60, int))
NESTED = Shape(np.ones(50, int), np.repeat([0.5 / 10, 0.5 / 40], [10, 40]), np.repeat([0, 1], [10, 40]))


def world(shape, repeats, margin=0.22, **more):
    chance = np.linspace(0.2, 0.95, shape.items.size)
    return World(shape, chance, chance, repeats, margin, **more)


def cells(world, right, answered, side_number, rng):
    """The score matrix (items by repeats) of one side of one comparison, NaN where nothing came."""
    repeats, rows = world.repeats[side_number], []
    for items, good, came in zip(world.shape.items, right, answered, strict=True):
        flat = np.concatenate([np.ones(good), np.zeros(came - good), np.full(items * repeats - came, np.nan)])
        rows.append(rng.permutation(flat).reshape(items, repeats))
    return np.concatenate(rows)


def table(name, world, drawn, row, rng):
    """Both sides of a suite as a comparison reads them."""
    shape, facts = world.shape, []
    for number, (items, share, stratum) in enumerate(zip(shape.items, shape.share, shape.stratum, strict=True)):
        one = {"cluster": f"c{number}", "stratum": (str(stratum),), "weight": share / items}
        facts += [{**one, "name": f"{name}-{number}-{item}"} for item in range(items)]
    nested = bool(np.any(shape.stratum))
    for number in (0, 1):
        matrix = cells(world, drawn.right[number][row], drawn.answered[number][row], number, rng)
        yield suite(matrix, name, items=facts, headline="nested" if nested else "micro", margin=world.margin)


@pytest.mark.parametrize("loss", [0.0, -0.2, 0.12])
@pytest.mark.parametrize("failed", [0.0, 0.003])
def test_the_verdicts_are_those_of_the_score_tables(loss, failed):
    rng = np.random.default_rng(1)
    worlds = {
        "once": world(Shape.plain(80), (1, 1), failed=failed),
        "often": world(Shape.plain(60), (3, 2), failed=failed),
        "clustered": world(CLUSTERED, (2, 2), failed=failed),
        "weighted": world(WEIGHTED, (2, 3), failed=failed),
        "nested": world(NESTED, (1, 2), failed=failed),
    }
    gate = Gate(worlds, 0.08).shifted(loss)
    (drawn,) = draws(gate, 12, seed=3)
    found = judge(gate, drawn)
    seen = set()
    for row in range(12):
        pairs = {name: tuple(table(name, gate.suites[name], drawn[name], row, rng)) for name in worlds}
        sides = [side(f"s{number}", *(pair[number] for pair in pairs.values())) for number in (0, 1)]
        told = compare(*sides, Policy(overall_margin=0.08), "")
        reasons = {reason.code for one in told.suites for reason in one.reasons}
        if "coverage" in reasons:  # too few answered: no part of the simulation
            continue
        seen.add(told.verdict)
        assert {one.suite: one.verdict for one in told.suites} == {n: v[row] for n, v in found.suites.items()}
        assert (told.verdict, told.macro.verdict) == (found.overall[row], found.mean[row])
    assert loss or failed or len(seen) > 1


@pytest.mark.parametrize("alone", [False, True])
def test_a_side_that_answers_less_often_is_invalid_as_its_tables_are(alone):
    shape, rng = Shape.plain(900), np.random.default_rng(4)
    one = World(shape, np.full(900, 0.6), np.full(900, 0.6), (2, 2), 0.1, failed=0.0005)
    gate = Gate({"lost": one} if alone else {"lost": one, "whole": one}, 0.1)
    (drawn,) = draws(gate, 40, seed=3)
    came = drawn["lost"].answered[1].copy()
    came[20:, :14] = 0  # of half the comparisons, the candidate lacks fourteen more items
    right = drawn["lost"].right[0], np.minimum(drawn["lost"].right[1], came)
    drawn["lost"] = drawn["lost"]._replace(right=right, answered=(drawn["lost"].answered[0], came))
    found, invalid = judge(gate, drawn), []
    for row in [*range(0, 40, 4)]:
        pairs = [tuple(table(name, gate.suites[name], drawn[name], row, rng)) for name in gate.suites]
        told = compare(
            *(side(f"s{at}", *(pair[at] for pair in pairs)) for at in (0, 1)), Policy(overall_margin=0.1), ""
        )
        assert (told.verdict, told.suites[0].verdict) == (found.overall[row], found.suites["lost"][row])
        invalid.append(told.verdict is Verdict.INVALID)
    assert 0 < sum(invalid) < len(invalid)
    assert found.share(Verdict.INVALID) < 0.6


def test_one_suite_alone_is_judged_by_itself():
    gate = Gate({"once": world(Shape.plain(400), (1, 1), 0.2)}, 0.04)
    found = simulate(gate, 200, seed=1)
    assert found.mean is None
    assert found.share(Verdict.EQUIVALENT) == 1.0
    assert simulate(gate.shifted(-0.5), 50).share(Verdict.DEGRADED) == 1.0


def test_the_shares_at_the_margin_are_alpha():
    gate = Gate({"once": world(Shape.plain(700), (2, 2), 0.05)}, 0.04).shifted(-0.05)
    assert simulate(gate, 3000, seed=2).share(Verdict.EQUIVALENT) == pytest.approx(0.05, abs=0.012)


def test_draws_have_the_chances_that_were_asked_for():
    shape = Shape(np.array([1, 1, 6, 20]), np.full(4, 0.25), np.zeros(4, int))
    chance = np.array([0.3, 1.0, 0.8, 0.5])
    one = World(shape, chance, chance * 0.5, (2, 1), 0.1)
    parts = list(draws(Gate({"q": one}, 0.1), 4000, seed=5))
    for number, p in enumerate((chance, chance * 0.5)):
        right = np.concatenate([part["q"].right[number] for part in parts])
        asked = shape.items * one.repeats[number]
        assert right.mean(axis=0) / asked == pytest.approx(p, abs=0.02)
        assert right.var(axis=0) == pytest.approx(asked * p * (1 - p), rel=0.12, abs=0.01)


def test_the_same_seed_draws_the_same_luck_for_another_truth():
    gate = Gate({"once": world(Shape.plain(300), (2, 2))}, 0.04)
    (one,), (two,) = (list(draws(g, 50, seed=9)) for g in (gate, gate.shifted(-0.02)))
    assert np.array_equal(one["once"].right[0], two["once"].right[0])
    assert np.all(two["once"].right[1] <= one["once"].right[1])


def test_a_shift_moves_the_headline_by_as_much():
    for shape in (WEIGHTED, NESTED, CLUSTERED):
        one = world(shape, (1, 1))
        for by in (-0.03, 0.03):
            assert shape.share @ (one.shifted(by).candidate - one.candidate) == pytest.approx(by)


def test_fewer_items_keep_the_parts_of_the_strata():
    few = NESTED.first(20)
    assert few.items.sum() == 20
    assert np.bincount(few.stratum, weights=few.share) == pytest.approx([0.5, 0.5])
    assert NESTED.first(50) is NESTED
    assert few.share.sum() == pytest.approx(1.0)
