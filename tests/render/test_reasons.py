"""The reasons in Chinese: every sentence of a verdict that the comparator writes is known; others stay as they are."""

from dataclasses import replace

import pytest

from evalkit.compare.sentences import overall_reasons, reason_of
from evalkit.model import Interval, NeededRepeats, Verdict
from evalkit.render.explain import explain
from evalkit.render.html import report
from evalkit.render.reasons import chinese_reason, is_english, localised
from evalkit.render.tables import table_text
from evalkit.stats.equivalence import Decision, DifferenceTest

NEEDED = [
    None,
    NeededRepeats(4, None, None, 0.8),
    NeededRepeats(4, 12_345, None, 0.8),
    NeededRepeats(64, 12_345, 3_400_000, 0.8),
    NeededRepeats(64, 12_345, 950, 0.9),
]


def difference_test(low, high, wider=0.01, alpha=0.05):
    """A test with these ends; `wider` is what the 95 % interval has more at each end."""
    ci90, ci95 = Interval(low, high, 0.9), Interval(low - wider, high + wider, 0.95)
    return DifferenceTest((low + high) / 2, 0.01, 99.0, ci90, ci95, 0.5, 0.5, 0.5, 0.5, 0.02, alpha, "paired t")


TESTS = {
    Decision.EQUIVALENT: [difference_test(-0.01, 0.012), difference_test(0.001, 0.012, alpha=0.025)],
    Decision.DEGRADED: [difference_test(-0.08, -0.05)],
    Decision.ELEVATED: [difference_test(0.05, 0.08)],
    Decision.INCONCLUSIVE: [
        difference_test(-0.05, -0.001, 0.0001),
        difference_test(0.001, 0.05, 0.0001),
        difference_test(-0.03, 0.03),
    ],
}


@pytest.mark.parametrize("needed", NEEDED)
@pytest.mark.parametrize(
    ("decision", "test"), [(decision, test) for decision, tests in TESTS.items() for test in tests]
)
def test_every_reason_of_a_suite_is_known(decision, test, needed):
    assert test.decision is decision
    english = reason_of(test, needed if test.decision is Decision.INCONCLUSIVE else None)
    chinese = chinese_reason(english)
    assert not any("a" <= letter <= "z" for letter in chinese.replace(" k ", "").replace(" M ", "")), chinese
    numbers = [part for part in english.replace(",", "").split() if part.strip("±+-.").replace(".", "").isdigit()]
    assert all(number.strip("±+-") in chinese.replace(",", "") for number in numbers)


OVERALL = [
    ([], Verdict.INVALID, []),
    ([("A", Verdict.EQUIVALENT)], Verdict.EQUIVALENT, []),
    ([("A", Verdict.EQUIVALENT), ("B", Verdict.EQUIVALENT)], Verdict.EQUIVALENT, []),
    ([("A", Verdict.DEGRADED), ("B", Verdict.INVALID), ("C", Verdict.INCONCLUSIVE)], Verdict.INVALID, ["A"]),
    ([("A", Verdict.ELEVATED), ("B: x; y", Verdict.ELEVATED)], Verdict.INCONCLUSIVE, ["A", "B: x; y"]),
]


@pytest.mark.parametrize("case", OVERALL)
def test_every_reason_of_a_comparison_is_known(case):
    for english in overall_reasons(*case):
        chinese = chinese_reason(english)
        assert not is_english(chinese), english
        assert "suites" not in chinese


def test_what_is_not_known_stays(example):
    for sentence in ("", example.HOSTILE, "6 items have a score on both sides; at least 20 are needed", "x" * 5000):
        assert chinese_reason(sentence) == sentence
    mixed = "the 90 % interval -7.56 … +3.52 points is neither inside ±5 nor wholly outside it; ask more items"
    assert (
        chinese_reason(mixed) == "90% 区间 -7.56 … +3.52 个百分点，既不完全在 ±5 之内，也不完全在其外；ask more items"
    )


def test_reports_in_chinese_use_them_and_mark_what_stays_english(comparison):
    known = "the 90 % interval -1.00 … +1.00 points lies inside ±2"
    suites = (replace(comparison.suites[0], reasons=(known, "only 3 of 9 {x} answers")), *comparison.suites[1:])
    whole = replace(comparison, suites=suites)
    assert localised(whole, "en") is whole
    html = report(whole, language="zh")
    assert "<li>90% 区间 -1.00 … +1.00 个百分点，完全落在 ±2 之内</li>" in html
    assert '<li lang="en">only 3 of 9 {x} answers</li>' in html
    assert "90% 区间" in table_text(whole, "markdown", language="zh")
    assert 'lang="en">' not in report(whole).replace('<html lang="en">', "")
    invalid = replace(whole, suites=(replace(suites[0], verdict=Verdict.INVALID),))
    assert "无法得出结论：90% 区间" in explain(invalid, language="zh")
