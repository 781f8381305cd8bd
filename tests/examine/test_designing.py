"""Designs: they reach the power in the simulation, spend tokens where they buy most, and leave margins alone."""

from dataclasses import replace

import pytest

from evalkit.examine.forecast import planned_suites
from evalkit.examine.planning import SuiteAsk, plan_suite
from evalkit.options import PlanOptions

SMALL = SuiteAsk("small", "Small", 60, (1, 1), 0.08, greedy=False, mean_tokens=1000.0)
LARGE = SuiteAsk("large", "Large", 3000, (1, 1), 0.05, greedy=False, mean_tokens=100.0)


def designed(*asks, overall=0.03, **options):
    chosen = PlanOptions(design=True, comparisons=300, **options)
    return planned_suites(tuple(plan_suite(ask) for ask in asks), overall, chosen)


def repeats_of(found):
    return {one.suite: one.repeats for one in found.suites}


def test_a_design_reaches_the_power_and_hardly_more():
    found = designed(SMALL, LARGE)
    assert found.designed
    assert 0.9 <= found.power < 0.97
    fewer = [
        planned_suites(
            tuple(
                plan_suite(replace(ask, repeats=(k - (one is ask), k - (one is ask))))
                for ask, (k, _k) in zip((SMALL, LARGE), repeats_of(found).values(), strict=True)
            ),
            0.03,
            PlanOptions(comparisons=300),
        ).power
        for one in (SMALL, LARGE)
        if repeats_of(found)[one.suite][0] > 1
    ]
    assert all(power < 0.93 for power in fewer)
    assert [one.margin for one in found.suites] == [0.08, 0.05]


def test_a_dear_suite_gets_fewer_repeats():
    cheap, dear = (replace(SMALL, suite=name, mean_tokens=tokens) for name, tokens in (("a", 100.0), ("b", 3000.0)))
    found = repeats_of(designed(cheap, dear))
    assert found["a"][0] > 1.5 * found["b"][0]


def test_a_bank_stays_as_it_is_and_saves_repeats():
    both = repeats_of(designed(SMALL, LARGE))
    bank = designed(*(replace(ask, repeats=(16, 1), bank=True) for ask in (SMALL, LARGE)))
    assert {one[0] for one in repeats_of(bank).values()} == {16}
    assert repeats_of(bank)["small"][1] < both["small"][1]
    assert all(one.samples[0] == 0 for one in bank.suites)


def test_a_part_of_a_large_suite_only_where_that_is_wanted():
    wide = replace(LARGE, margin=0.2)
    assert [one.part for one in designed(wide, overall=0.2).suites] == [None]
    (few,) = designed(wide, overall=0.2, subsets=True).suites
    assert few.part == few.items < 3000
    assert few.world.shape.items.size == pytest.approx(few.items, abs=1)


def test_what_no_repeats_reach_is_said():
    found = designed(replace(SMALL, margin=0.01), most_repeats=4)
    assert (found.designed, found.can_decide) == (False, False)
    assert found.problems == ("no 4 repeats reach the power of 0.9 with these margins",)
    greedy = designed(replace(SMALL, greedy=True, margin=0.02))
    assert not greedy.designed


def test_the_pack_of_a_design_can_be_read(tmp_path):
    from evalkit.tasks.suites import find_pack

    found = designed(SMALL, replace(LARGE, margin=0.2), subsets=True)
    file = tmp_path / "designed.yaml"
    file.write_text(found.pack())
    pack = find_pack(str(file))
    assert (pack.name, pack.overall.margin_pt) == ("designed", 3)
    assert [(one.name, one.repeats, one.margin_pt, one.limit) for one in pack.suites] == [
        (one.suite, one.repeats[1], round(one.margin * 100, 6), one.part) for one in found.suites
    ]
    assert "Passes 9" in found.pack()


def test_rounds_cost_passes_and_save_tokens():
    gate = tuple(plan_suite(replace(ask, repeats=(6, 6))) for ask in (SMALL, replace(LARGE, repeats=(1, 1))))
    once, rounds = (planned_suites(gate, 0.05, PlanOptions(comparisons=400), number) for number in (1, 5))
    assert once.power > rounds.power > 0.5
    assert (
        rounds.expected_tokens[0]
        < 0.9 * once.expected_tokens[0]
        == pytest.approx(0.9 * sum(one.tokens[0] for one in gate))
    )
    assert rounds.chances[-1].verdicts["DEGRADED"] == pytest.approx(once.chances[-1].verdicts["DEGRADED"], abs=0.15)
