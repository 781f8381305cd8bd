"""What a comparison says in Chinese: every sentence that the comparator can write is known; others stay as they are."""

import ast
import inspect
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import evalkit
from evalkit.compare.noise import JudgeNoise
from evalkit.compare.policy import NoiseFloor
from evalkit.compare.verdict import overall_reasons, reason_of
from evalkit.foreign import lm_eval, tables
from evalkit.model import BehaviourRow, Interval, NeededRepeats, Verdict
from evalkit.render.explain import explain
from evalkit.render.html import report
from evalkit.render.tables import table_text
from evalkit.render.words import chinese_reason, is_english, localised
from evalkit.resources import data_folder
from evalkit.run import read as run_read
from evalkit.run import sides
from evalkit.stats import power, variance
from evalkit.stats.methods import Decision, DifferenceTest

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
    assert not any("a" <= letter <= "z" for letter in chinese), chinese
    numbers = [
        part
        for part in english.replace("3.4 M", "").replace(",", "").split()
        if part.strip("±+-.").replace(".", "").isdigit()
    ]
    assert all(number.strip("±+-") in chinese.replace(",", "") for number in numbers)


OVERALL = [
    ([], Verdict.INVALID, []),
    ([("A", Verdict.EQUIVALENT)], Verdict.EQUIVALENT, []),
    ([("A", Verdict.EQUIVALENT), ("B", Verdict.EQUIVALENT)], Verdict.EQUIVALENT, []),
    ([("A", Verdict.DEGRADED)], Verdict.DEGRADED, []),
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
    for sentence in ("", example.HOSTILE, "a sentence of nobody; at least 20 are needed", "x" * 5000):
        assert chinese_reason(sentence) == sentence
    mixed = "the 90 % interval -7.56 … +3.52 points is neither inside ±5 nor wholly outside it; ask more items"
    assert (
        chinese_reason(mixed) == "90% 区间 -7.56 … +3.52 个百分点，既不完全在 ±5 之内，也不完全在其外；ask more items"
    )


# ---------------------------------------------------------------- the list is whole

CATALOGUE = yaml.safe_load((data_folder("reports") / "reasons.zh.yaml").read_text(encoding="utf-8"))
# A text that fits a place, by the place's kind.
SAMPLES = {"": "7.25", "text": "Xy-1", "part": "Xy-1", "list": "Xy-1", "side": "candidate", "verdict": "INCONCLUSIVE"}
# What these modules say is printed by commands that speak English only (`plan`, `judge-table`, ...).
NOT_IN_REPORTS = {"planning", "published"}
# Pieces that stand in no report by themselves, and what `plan` alone says.
PIECES = {
    "the {} % interval {} … {} points",
    " (0 is outside it: a real difference, but within tolerance)",
    ", about {} tokens",
    "(not sent)",
    "; the difference of {} is within twice that: no more than the judge itself",
    "the only suite is",
    "all {} suites are",
    "{} of {} suites",
    "{} {}: {}",
    "{} % are needed",
    "{} against {} tokens",
    "{} of {} ({}) in the {}",
    "cannot decide: {}",
    "cannot decide within {} repeats: needs {}",
    "{}; {} show a margin of {} points",
}


def filled(english):
    """A sentence of the list as the comparator would write it."""
    return re.sub(r"\{(\w+)(?::(\w+))?\}", lambda place: SAMPLES[place[2] or ""], english)


def written_sentences(source):
    """Every text of two words or more in a module's source, {} for what is put in; docstrings and errors left out."""
    tree = ast.parse(source)
    others = set()
    for node in ast.walk(tree):
        inside = isinstance(node, ast.Raise | ast.Assert)
        inside |= isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        inside |= isinstance(node, ast.Subscript)
        if inside or isinstance(node, ast.JoinedStr):
            others |= {id(below) for below in ast.walk(node) if below is not node}
    for node in ast.walk(tree):
        if id(node) in others:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text.strip() and len(re.findall("[a-z]{2,}", text)) >= 2:
            yield text


def sources():
    """(where, source) of all that writes sentences into a comparison."""
    for path in sorted((Path(evalkit.__file__).parent / "compare").glob("*.py")):
        if path.stem not in NOT_IN_REPORTS:
            yield path.stem, path.read_text(encoding="utf-8")
    for module in (power, variance):
        yield module.__name__, inspect.getsource(module)
    functions = [run_read._judge_noise, run_read._defects, sides.problems, lm_eval._notes, lm_eval._checked]
    functions += [lm_eval._with_headline, tables._facts, tables.read_table]
    for function in functions:
        yield function.__qualname__, inspect.getsource(function)


def missing(source, catalogue=CATALOGUE):
    """The sentences of a source that no entry of the list is an example of."""
    examples = [filled(entry["en"]) for entry in catalogue]
    for text in written_sentences(source):
        pattern = ".*".join(map(re.escape, text.split("{}")))
        if text not in PIECES and not any(re.fullmatch(pattern, one) for one in examples):
            yield text


@pytest.mark.parametrize(("where", "source"), sources(), ids=[where for where, _ in sources()])
def test_every_sentence_that_the_comparator_writes_is_in_the_list(where, source):
    assert not list(missing(source)), f"{where}: add these to reports/reasons.zh.yaml"


def test_a_sentence_that_is_not_in_the_list_is_found():
    source = 'def rule(n):\n    yield f"the moon has {n} craters too many"\n'
    assert list(missing(source)) == ["the moon has {} craters too many"]
    known = [entry for entry in CATALOGUE if "both sides score exactly 1" not in entry["en"]]
    assert list(missing(inspect.getsource(import_module("evalkit.compare.validity")), known)) == [
        "both sides score exactly 1 on all {} samples: the suite cannot show a difference"
    ]


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["en"][:40])
def test_every_entry_is_used_and_keeps_its_values(entry):
    places = re.findall(r"\{(\w+)(?::\w+)?\}", entry["en"])
    assert sorted(set(places)) == sorted(set(re.findall(r"\{(\w+)\}", entry["zh"])))
    chinese = chinese_reason(filled(entry["en"]))
    shape = re.sub(r"\\\{\w+\\\}", "(?:7.25|Xy-1|待测端|未定)", re.escape(entry["zh"]))
    assert re.fullmatch(shape, chinese), f"an earlier entry takes it: {chinese}"
    assert not is_english(entry["zh"])


def test_numbers_as_the_comparator_writes_them_are_numbers():
    for number in ("0", "-7.56", "+3.52", "12,345", "1e+03", "inf", "nan", "0.0007"):
        assert number in chinese_reason(
            f"the reference bank alone leaves a standard error of {number} points: give it more repeats first"
        )
    for english, chinese in (("3.4 M", "340 万个"), ("24.4 M", "2440 万个"), ("12 k", "1.2 万个"), ("3 G", "30 亿个")):
        text = f"4 repeats of every item (9 samples, about {english} tokens) would decide with 80 % power"
        assert f"约 {chinese}词元" in chinese_reason(text)


def test_sentences_inside_sentences_are_translated_too():
    second = "DEGRADED again in an independent second run; in the first the 90 % interval -9 … -5 points lies wholly below -2"
    assert (
        chinese_reason(second) == "独立的第二次运行结论仍为“下降”；第一次运行中，90% 区间 -9 … -5 个百分点，完全低于 -2"
    )
    data = "the two sides differ in data: 3 of 9 items differ (a, b, …); 2 items only in the reference (x, y)"
    assert chinese_reason(data) == "两端的数据不同：9 道题中有 3 道不同（a, b, …）；2 道题只在参考端（x, y）"
    noise = "noise floor: halves of the reference's repeats against each other"
    assert chinese_reason(noise) == "噪声基线：参考端的两半重复互相比较"


def test_a_judge_s_own_noise_is_told_in_chinese():
    noise = JudgeNoise(NoiseFloor(Interval(-0.012, 0.008, 0.9), Verdict.EQUIVALENT, ""), -0.002, 90, 517, 0.011, 0.43)
    for floor in (noise.floor, replace(noise.floor, interval=None)):
        for difference in (0.004, 0.4):
            english = replace(noise, floor=floor).sentence(difference)
            chinese = chinese_reason(english)
            assert not re.search("[a-z]{2}", chinese), chinese
            assert all(number in chinese for number in re.findall(r"[-+]?\d+\.\d+", english))


def test_rows_beside_accuracy_and_what_would_decide_are_localised(comparison):
    rows = (
        BehaviourRow("refusals", 0.1, 0.3, "share", None, "refusals rose from 10.0 to 30.0 % of 90 samples"),
        BehaviourRow("answer length, mean", 10, 20, "tokens"),
        BehaviourRow("a row of nobody", 1, 2, "parsecs"),
    )
    note = "the difference lies on the margin itself: no number of repeats decides"
    suite = replace(
        comparison.suites[0], behaviour=rows, needed_repeats=NeededRepeats(None, None, None, 0.8, note), notes=(note,)
    )
    made = localised(replace(comparison, suites=(suite,), notes=(note,)), "zh")
    assert [(row.name, row.unit) for row in made.suites[0].behaviour] == [
        ("拒答", "share"),
        ("回答长度（平均）", "词元"),
        ("a row of nobody", "parsecs"),
    ]
    assert made.suites[0].behaviour[0].alert == "拒答由 90 个样本的 10.0% 升至 30.0%"
    assert made.suites[0].needed_repeats.note == made.suites[0].notes[0] == made.notes[0] != note
    assert "| 拒答（%） | 10.0 | 30.0 |" in table_text(
        replace(comparison, suites=(suite,)), "markdown", language="zh", behaviour=True
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
