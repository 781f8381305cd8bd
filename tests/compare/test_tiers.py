"""Several suites: the overall row and the guards, Holm over all rows, and one word for what is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from compare_factory import NOW, judged, many, shifted
from paired_items import pair_single
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy, Rules
from evalkit.model import Verdict
from evalkit.render.words import say
from evalkit.stats.methods import judge_difference


def test_both_tiers_equivalent_need_no_correction():
    made = compare(*many((14042, 300, 300), (14042, 250, 260)), Policy(), NOW)
    assert (made.verdict, made.exit_code) == (Verdict.EQUIVALENT, 0)
    assert told(made.reasons) == ["all 2 suites are shown equivalent within their margins, and their mean within ±2"]
    assert (made.macro.verdict, made.macro.margin) == (Verdict.EQUIVALENT, 0.02)


@pytest.mark.parametrize(
    ("lost", "overall", "verdict"),
    [(0, 0.015, Verdict.EQUIVALENT), (280, 0.02, Verdict.INCONCLUSIVE), (280, 0.01, Verdict.DEGRADED)],
)
def test_suites_inside_their_guards_are_no_pass_where_their_mean_is_not_inside_its_margin(lost, overall, verdict):
    """Every suite two points worse is inside a guard of four, and no release engineer calls it the same model."""
    policy = Policy(default_margin=0.04, overall_margin=overall, on_inconclusive="pass")
    made = compare(*many((14042, lost, 0), (14042, lost, 0), (14042, lost, 0)), policy, NOW)
    assert [one.verdict for one in made.suites] == [Verdict.EQUIVALENT] * 3
    assert made.macro.verdict is made.verdict is verdict
    assert made.exit_code == (1 if verdict is Verdict.DEGRADED else 0)
    if verdict is not Verdict.EQUIVALENT:
        assert told(made.reasons) == [f"the mean over 3 suites is {verdict.value}"]


def test_a_mean_inside_its_margin_is_no_pass_where_a_suite_breaks_its_guard():
    made = compare(*many((14042, 0, 0), (14042, 0, 0), (14042, 0, 0), (756, 60, 0)), Policy(overall_margin=0.05), NOW)
    assert (made.macro.verdict, made.verdict, made.exit_code) == (Verdict.EQUIVALENT, Verdict.DEGRADED, 1)
    assert told(made.reasons)[1:] == ["1 of 4 suites DEGRADED: S3"]


def test_one_undecided_suite_leaves_the_comparison_undecided():
    made = compare(*many((14042, 300, 300), (200, 4, 4)), Policy(), NOW)
    assert (made.verdict, made.exit_code) == (Verdict.INCONCLUSIVE, 4)
    assert told(made.reasons) == ["the mean over 2 suites is EQUIVALENT", "1 of 2 suites INCONCLUSIVE: S1"]


def test_degraded_stands_over_elevated():
    made = compare(*many((400, 60, 0), (400, 0, 60)), Policy(on_inconclusive="pass"), NOW)
    assert (made.verdict, made.exit_code) == (Verdict.DEGRADED, 1)
    assert told(made.reasons)[1:] == ["1 of 2 suites DEGRADED: S0", "1 of 2 suites ELEVATED: S1"]


def test_one_suite_has_no_overall_row():
    made = compare(*many((400, 60, 0)), Policy(overall_margin=0.9), NOW)
    assert (made.macro, made.verdict) == (None, Verdict.DEGRADED)


def test_an_alarm_that_holm_does_not_leave_is_printed_nowhere():
    """The word after the correction is the suite's only one; what it would be alone is in its reason."""
    weak = next(lost for lost in range(9, 60) if judged(*shifted(400, lost)).verdict is Verdict.DEGRADED)
    assert compare(*many((400, weak, 0)), Policy(), NOW).exit_code == 1
    made = compare(*many((400, weak, 0), *[(2000, 40, 40)] * 9), Policy(), NOW)
    assert (made.suites[0].verdict, made.verdict, made.exit_code) == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, 4)
    assert made.suites[0].reasons[0].code == "uncorrected"
    assert "by itself would be DEGRADED at ±2, but not among 11 rows" in say(made.suites[0].reasons[0])
    strong = compare(*many((400, 60, 0), *[(2000, 40, 40)] * 9), Policy(on_inconclusive="pass"), NOW)
    assert (strong.suites[0].verdict, strong.verdict, strong.exit_code) == (Verdict.DEGRADED, Verdict.DEGRADED, 1)


def test_holm_takes_the_two_sided_p_of_a_difference_inside_the_margin():
    """The smaller of two one-sided p-values, as if the direction had been chosen beforehand, alarms twice too often."""
    margin = 0.001
    tests = {lost: judge_difference(pair_single(*shifted(400, lost)), margin) for lost in range(2, 20)}
    lost = next(n for n, test in tests.items() if test.p_degraded <= 0.05 / 3 < test.p_alarm)
    made = compare(*many((400, lost, 0), (400, 0, 0)), Policy(default_margin=margin, overall_margin=0.5), NOW)
    assert made.suites[0].verdict is Verdict.INCONCLUSIVE


def test_an_invalid_member_makes_both_tiers_invalid_and_the_others_keep_their_words():
    one, two = many((400, 60, 0), (400, 1, 1), (400, 1, 1))
    broken = replace(two.suites["s2"].facts, digests={"scorer": "another"})
    facts = replace(one.suites["s2"].facts, digests={"scorer": "one"})
    one = replace(one, suites={**one.suites, "s2": replace(one.suites["s2"], facts=facts)})
    two = replace(two, suites={**two.suites, "s2": replace(two.suites["s2"], facts=broken)})
    made = compare(one, two, Policy(on_inconclusive="pass"), NOW)
    assert [suite.verdict for suite in made.suites][::2] == [Verdict.DEGRADED, Verdict.INVALID]
    assert (made.macro.verdict, made.verdict, made.exit_code) == (Verdict.INVALID, Verdict.INVALID, 3)
    assert told(made.macro.reasons) == ["the mean cannot be judged: 1 of 3 suites INVALID: S2"]


def test_the_overall_margin_is_the_policy_s_else_the_sides_own():
    one, two = many((400, 1, 1), (400, 1, 1))
    said = replace(one, overall_margin=0.015), replace(two, overall_margin=0.015)
    assert compare(*said, Policy(), NOW).macro.margin == 0.015
    assert compare(said[0], two, Policy(), NOW).macro.margin == 0.015
    assert compare(*said, Policy(overall_margin=0.03), NOW).macro.margin == 0.03
    other = replace(two, overall_margin=0.03)
    unlike = compare(said[0], other, Policy(), NOW)
    assert (unlike.macro.verdict, unlike.verdict) == (Verdict.INVALID, Verdict.INVALID)
    assert "choose with --overall-margin" in told(unlike.reasons)[0]
    assert compare(said[0], other, Policy(overall_margin=0.03), NOW).verdict is not Verdict.INVALID


def test_macro_mean_counts_suites_once():
    made = compare(*many((14042, 700, 0), (200, 0, 10)), Policy(default_margin=0.1), NOW)
    one, two = made.suites
    assert made.macro.difference == pytest.approx((one.difference + two.difference) / 2)
    assert made.macro.difference == pytest.approx(made.macro.candidate - made.macro.reference)
    assert made.macro.ci90.low < made.macro.difference < made.macro.ci90.high
    assert (made.macro.worst_suite, made.macro.worst_difference) == ("s1", two.difference)


def test_the_worst_suite_is_the_one_nearest_to_its_own_margin():
    policy = Policy(margins={"s0": 0.01, "s1": 0.10})
    made = compare(*many((14042, 100, 0), (400, 0, 10)), policy, NOW)
    assert made.macro.worst_suite == "s0"


def test_the_worst_case_of_all_suites_together_keeps_the_mean_open():
    """Each suite may stand whatever its few missing answers would have been, and the mean not: they add up."""
    sides = many(*[(2000, 20, 20)] * 3)
    columns = [one.samples.value.copy() for one in sides[1].suites.values()]
    for column in columns:
        column[500:508] = float("nan")
    holes = {
        name: replace(one, samples=replace(one.samples, value=column))
        for (name, one), column in zip(sides[1].suites.items(), columns, strict=True)
    }
    lacking = replace(sides[1], suites=holes)
    policy = Policy(default_margin=0.05, overall_margin=0.005, rules=Rules(failure_alpha=0.0))
    assert compare(*sides, policy, NOW).verdict is Verdict.EQUIVALENT
    made = compare(sides[0], lacking, policy, NOW)
    assert [one.verdict for one in made.suites] == [Verdict.EQUIVALENT] * 3
    assert made.macro.verdict is made.verdict is Verdict.INCONCLUSIVE
    assert "would turn EQUIVALENT into INCONCLUSIVE" in told(made.macro.reasons)[0]
