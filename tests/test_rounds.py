"""Looks at a comparison in rounds, on sides that are there whole: the rule of the simulations is the one that judges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compare_factory import beta_chances, binary, revalued, side, suite

from evalkit.examine.looking import stops
from evalkit.judging import Case
from evalkit.model import Verdict
from evalkit.options import JudgeOptions
from evalkit.parts import Design, items_of
from evalkit.rounds import Walk, fast_evidence, schedule

SHAPES = {"one": (60, 8), "two": (200, 4), "three": (100, 5)}
OPTIONS = JudgeOptions(margins_pt={"one": 12, "two": 8, "three": 8}, overall_margin_pt=5, flips=0)
DESIGN = Design(5, 7)
SIZES = {
    name: (items_of([(f"item{one:05d}", (), None) for one in range(n)]), np.full(n, k))
    for name, (n, k) in SHAPES.items()
}


def part_of(whole, part):
    """A whole side as a look sees it."""
    suites = {}
    for name, one in whole.suites.items():
        due = part.repeats(name, SIZES[name][0], SIZES[name][1])
        rows = np.flatnonzero(one.samples.repeat < due[one.samples.item])
        suites[name] = replace(one, samples=one.samples.rows(rows))
    return replace(whole, suites=suites)


def walked(sides, design=DESIGN, options=OPTIONS, most=None, parts=None):
    """The comparison of two whole sides, looked at in rounds; `parts` hears what each look asks."""

    def at(part):
        if parts is not None:
            parts.append(part)
        return Case((part_of(sides[0], part), part_of(sides[1], part)), (), Path("nowhere"))

    return Walk(schedule(design, SIZES), options).result(at, most).comparison


@pytest.fixture(scope="module")
def drawn():
    """Draws two whole sides: item chances, less what each suite loses (a fraction)."""
    rng = np.random.default_rng(3)
    chances = {name: beta_chances(rng, n) for name, (n, _k) in SHAPES.items()}
    shapes = {name: suite(np.zeros((n, k)), name, margin=None) for name, (n, k) in SHAPES.items()}

    def draw(seed, loss=0.0):
        rng = np.random.default_rng(seed)
        made = []
        for less in (0.0, loss):
            scores = {n: binary(rng, p * (1 - less / p.mean()), SHAPES[n][1]) for n, p in chances.items()}
            made.append(side("a", *(revalued(shapes[name], one) for name, one in scores.items())))
        return made

    return draw


def test_equal_sides_pass_at_a_look_and_what_is_decided_is_asked_no_further(drawn):
    ends = [walked(drawn(seed)) for seed in range(8)]
    assert {one.verdict for one in ends} <= {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}
    assert sum(one.verdict is Verdict.EQUIVALENT for one in ends) >= 4
    for one in ends:
        assert one.rounds.most == 5
        assert one.rounds.alpha_spent + one.rounds.alpha_left == pytest.approx(0.05)
        if one.verdict is Verdict.EQUIVALENT:
            assert max(one.rounds.decided.values()) == one.rounds.look


def test_the_rule_of_the_simulations_ends_each_comparison_as_the_judge_does(drawn):
    """`stops` knows the p-values of all looks beforehand; the judge learns them look by look."""
    levels = schedule(DESIGN, SIZES).levels(0.05)
    for seed in range(8):
        sides = drawn(seed, loss=(0.0, 0.02, 0.06, 0.12)[seed % 4])
        found = walked(sides)
        tost, alarm = all_p_values(sides)
        ended = stops(tost[..., None], alarm[..., None], levels)
        assert bool(ended.equivalent[0]) == (found.verdict is Verdict.EQUIVALENT)
        assert bool(ended.alarms.any()) == (found.verdict is Verdict.DEGRADED)
        asked = [found.rounds.decided.get(name, found.rounds.look) for name in SHAPES]
        assert ended.asked[:, 0].tolist() == asked


def all_p_values(sides):
    """P-values at every look of a comparison that is asked to the end: each (looks, rows)."""
    from evalkit.compare.pair import align
    from evalkit.stats.methods import judge_difference
    from evalkit.stats.multiplicity import macro_test

    steps, tost, alarm = schedule(DESIGN, SIZES), [], []
    for look in range(len(steps.rounds)):
        part = steps.part(look, {})
        one, two = (part_of(whole, part) for whole in sides)
        tests = [
            judge_difference(align(one.suites[name], two.suites[name]).paired, OPTIONS.margins_pt[name] / 100)
            for name in SHAPES
        ]
        tests.append(macro_test([(test.point, test.se, test.df) for test in tests], 0.05))
        tost.append([test.p_tost for test in tests])
        alarm.append([test.p_alarm for test in tests])
    return np.array(tost), np.array(alarm)


def test_a_comparison_that_is_looked_at_again_ends_as_before_and_may_be_cut_short(drawn):
    sides = drawn(1)
    first, again = walked(sides), walked(sides)
    assert replace(first, created="") == replace(again, created="")
    assert walked(sides, most=1).rounds.look == 1


def test_a_decided_mean_is_kept_while_an_open_suite_goes_on(drawn):
    options = replace(OPTIONS, margins_pt={**OPTIONS.margins_pt, "one": 5})
    ends = []
    for seed in range(6):
        parts = []
        found = walked(drawn(seed), options=options, parts=parts)
        asked = [len({part.rounds[name] for part in parts}) for name in SHAPES]
        ends.append(asked[0] > asked[1])
        if asked[0] > asked[1]:
            assert found.macro.verdict is Verdict.EQUIVALENT
            assert found.suites[1].verdict is Verdict.EQUIVALENT
            assert found.rounds.decided["two"] < found.rounds.look
    assert any(ends)


def test_a_suite_that_is_broken_is_found_before_the_first_round_and_a_good_one_is_not(drawn):
    design = replace(DESIGN, fast=True)
    broken = drawn(2)
    spoilt = broken[1].suites["two"]
    broken[1].suites["two"] = revalued(spoilt, np.where(spoilt.samples.item % 10 < 6, 0.0, spoilt.samples.value))
    parts = []
    found = walked(broken, design, parts=parts)
    assert (found.verdict, found.exit_code, found.rounds.look) == (Verdict.DEGRADED, 1, 0)
    assert len(parts) == 1
    assert [one.reasons[0].code for one in found.suites] == ["inconclusive.fast", "degraded.fast", "inconclusive.fast"]
    assert found.macro.verdict is Verdict.INCONCLUSIVE
    assert all(walked(drawn(seed), design).rounds.look > 0 for seed in range(3))


def test_a_round_that_asks_nothing_new_has_no_look():
    few = {"one": (SIZES["one"][0], np.full(60, 2))}
    assert schedule(DESIGN, few).rounds == (1, 3)
    assert schedule(DESIGN, few).samples.tolist() == [[60], [120]]
    assert schedule(DESIGN, {"one": (SIZES["one"][0], np.full(60, 1))}).rounds == (1,)


@pytest.mark.parametrize(
    ("chances", "losses"),
    [((0.6,) * 60, (0.1,) * 60), ((1.0,) * 30 + (0.0,) * 30, (0.2,) * 30 + (0.0,) * 30)],
)
def test_at_the_margin_evidence_from_half_of_a_suite_is_rarely_much(chances, losses):
    """Items drawn without replacement, with answers that vary: at a margin of 10 points the truth is the margin."""
    rng, p = np.random.default_rng(62), np.array(chances)
    found = []
    for _ in range(6000):
        items = rng.permutation(60)[:40]
        one, two = rng.random(40) < p[items], rng.random(40) < (p - losses)[items]
        found.append(fast_evidence(two.astype(float) - one, 0.1))
    assert np.mean(np.array(found) >= 20.0) <= 0.05
    assert np.mean(found) <= 1.0 + 3 * np.std(found) / len(found) ** 0.5


def test_the_evidence_has_mean_one_at_the_margin_where_items_are_drawn_anew():
    """Checked by listing every outcome of four items."""
    values, chance = np.array([-1.0, 0.5, 1.0, 0.0]), np.array([0.46, 0.2, 0.3, 0.04])
    grid = np.array(np.meshgrid(*[range(4)] * 4)).reshape(4, -1).T
    found = [fast_evidence(row, -float(values @ chance)) for row in values[grid]]
    assert chance[grid].prod(axis=1) @ found == pytest.approx(1.0)


def test_a_broken_stack_shows_within_64_items_and_a_good_one_does_not():
    rng = np.random.default_rng(64)
    broken = [fast_evidence(rng.choice([-1.0, 1.0, 0.0], 64, p=[0.5, 0.05, 0.45]), 0.04) for _ in range(200)]
    equal = [fast_evidence(rng.choice([-1.0, 1.0, 0.0], 64, p=[0.25, 0.25, 0.5]), 0.04) for _ in range(2000)]
    assert np.mean(np.array(broken) >= 700) > 0.8
    assert max(equal) < 700


def test_evidence_is_finite_never_negative_and_of_scores_only():
    assert fast_evidence(-np.ones(100_000), 0.02) > 1e300
    assert all(fast_evidence(np.ones(50), margin) > 0 for margin in (0.0, 0.02, 0.4, 0.6))
    assert fast_evidence([], 0.02) == 1.0
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        fast_evidence([2.0], 0.02)
