"""Reasons: one catalogue says each of them in English and Chinese, and the code says none that is not in it."""

import ast
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import reasons as any_reason
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evalkit
from evalkit import codec
from evalkit.compare.behaviour import BehaviourRow
from evalkit.compare.verdict import reason_of
from evalkit.examine.contract import catalogue
from evalkit.model import Interval, NeededRepeats, Reason, Status, Verdict, said
from evalkit.render import words
from evalkit.render.document import from_json, to_json
from evalkit.render.html import report
from evalkit.render.report import explain
from evalkit.render.tables import table_text
from evalkit.render.words import ReasonError, check, is_english, say, words_of
from evalkit.resources import data_folder
from evalkit.stats.methods import DifferenceTest

FUTURE = "from __future__ import annotations"
CATALOGUE = tomllib.loads((data_folder("reports") / "reasons.toml").read_text(encoding="utf-8"))
MARGIN = {"interval": Interval(-0.0133, 0.0133, 0.9), "margin": 0.02}


# ---------------------------------------------------------------- the catalogue is whole, and nothing in it is unused


def calls_of(tree):
    """The first arguments of all calls that make a reason."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason":
            yield node.args[0]


def written_codes(node):
    """The codes that an expression can be; a code is written out where it is used, or taken from another reason."""
    if isinstance(node, ast.Constant):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return written_codes(node.body) | written_codes(node.orelse)
    if isinstance(node, ast.Attribute) and node.attr == "code":
        return set()
    if isinstance(node, ast.JoinedStr) and ast.unparse(node) == "f'between.{side}'":
        return {"between.better", "between.worse", "between.either"}
    if isinstance(node, ast.JoinedStr) and node.values[0].value == "lead.":  # as reports/contract.toml says
        return {f"lead.{told['lead']}" for told in catalogue().values()}
    raise AssertionError(f"line {node.lineno}: write the code of a reason out: {ast.unparse(node)}")


def used_codes():
    found = {"said"}
    folder = Path(evalkit.__file__).parent
    for path in (*folder.rglob("*.py"), folder.parent / "skills" / "evalkit" / "gate.py"):
        for argument in calls_of(ast.parse(path.read_text(encoding="utf-8"))):
            found |= written_codes(argument) if path.name != "model.py" else set()
    return found


def test_every_code_that_is_written_is_in_the_catalogue_and_no_entry_is_unused():
    assert used_codes() == set(CATALOGUE)


@pytest.mark.parametrize("code", CATALOGUE)
def test_both_languages_have_the_same_places_and_formats_that_are_known(code):
    assert set(CATALOGUE[code]) == {"en", "zh"}
    assert words.places(code, "en") == words.places(code, "zh")
    for language in ("en", "zh"):
        for forms in any_reason.places(code, language).values():
            for form in forms - words._FORMATS.keys():
                assert format(1234.5 if "f" in form or "g" in form else 12, form)
    english, chinese = (re.sub("{.*?}", "", CATALOGUE[code][language]) for language in ("en", "zh"))
    assert not is_english(chinese) or not re.search("[a-z]", english)


def test_words_that_sentences_and_rows_look_up_are_there():
    known = words_of("en")
    assert {f"status_{status.value}" for status in Status} <= set(known)
    assert {f"verdict_{verdict.value}" for verdict in Verdict} <= set(known)
    sources = (Path(evalkit.__file__).parent / "compare").glob("*.py")
    tree = ast.parse("\n".join(path.read_text(encoding="utf-8").replace(FUTURE, "") for path in sources))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    rows = {name.removeprefix("row_") for name in known if name.startswith("row_")}
    units = {name.removeprefix("unit_") for name in known if name.startswith("unit_")}
    assert rows | units <= strings, "no row or unit is unused"
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BehaviourRow"
    ]
    named = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}
    assert named <= rows


# ---------------------------------------------------------------- any reason


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_reason.reasons())
def test_any_reason_is_told_in_both_languages_and_survives_the_document(reason):
    check(reason)
    for language in words.LANGUAGES:
        assert isinstance(say(reason, language), str)
    assert codec.read(Reason, codec.encode(codec.dump(reason))) == reason


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_reason.reasons(), st.data())
def test_a_reason_that_lacks_a_value_is_refused_by_name(reason, data):
    needed = sorted(any_reason.needed(reason.code) & reason.values.keys())
    if needed:
        gone = data.draw(st.sampled_from(needed))
        broken = Reason(reason.code, {name: value for name, value in reason.values.items() if name != gone})
        with pytest.raises(ReasonError, match=re.escape(reason.code)):
            check(broken)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (Reason("the_moon"), "'the_moon' is no reason that this evalkit knows"),
        (Reason("said", {"text": Interval(0, 1, 0.9)}), "said: text cannot be"),
        (Reason("degraded", {"interval": Interval(0, 1, 0.9), "margin": "2"}), "cannot be"),
        (Reason("note.columns", {"file": "a", "columns": (said("x"),)}), "columns cannot be"),
        (Reason("said", {"text": "x", "more": 1}), "has no place for 'more'"),
    ],
)
def test_what_no_sentence_says_is_refused(reason, sentence):
    with pytest.raises(ReasonError, match=sentence):
        check(reason)


# ---------------------------------------------------------------- what is told

NEEDED = [
    (None, "", ""),
    (
        NeededRepeats(4, None, None, 0.8),
        "; 4 repeats of every item would decide with 80 % power",
        "；每题重复 4 次，有 80%",
    ),
    (
        NeededRepeats(4, 12_345, None, 0.8),
        "; 4 repeats of every item (12,345 samples) would",
        "（12,345 个样本），有 80%",
    ),
    (NeededRepeats(64, 12_345, 3_400_000, 0.8), "(12,345 samples, about 3.4 M tokens) would", "约 340 万个词元"),
    (NeededRepeats(64, 12_345, 950, 0.975), "about 950 tokens) would decide with 97.5 % power", "约 950个词元"),
]


def difference_test(low, high, wider=0.01, alpha=0.05):
    """A test with these ends; `wider` is what the 95 % interval has more at each end."""
    ci90, ci95 = Interval(low, high, 1 - 2 * alpha), Interval(low - wider, high + wider, 0.95)
    return DifferenceTest((low + high) / 2, 0.01, 99.0, ci90, ci95, 0.5, 0.5, 0.5, 0.5, 0.02, alpha, "paired t")


@pytest.mark.parametrize(("needed", "english", "chinese"), NEEDED)
def test_an_undecided_suite_says_what_would_decide(needed, english, chinese):
    reason = reason_of(difference_test(-0.03, 0.0301), needed)
    assert reason.code == "inconclusive"
    assert f"interval -3.0 … +3.1 points is neither inside ±2 nor wholly outside it{english}"[:60] in say(reason)
    assert english in say(reason)
    assert chinese in say(reason, "zh")


@pytest.mark.parametrize(
    ("test", "decision", "code", "english"),
    [
        (difference_test(-0.01, 0.012), Verdict.EQUIVALENT, "equivalent", "the 90 % interval -1.0 … +1.2 points lies inside ±2"),
        (difference_test(0.001, 0.012, alpha=0.025), Verdict.EQUIVALENT, "equivalent.differs", "the 95 % interval +0.1 … +1.2 points"),
        (difference_test(-0.08, -0.05), Verdict.DEGRADED, "degraded", "-8.0 … -5.0 points lies wholly below -2"),
        (difference_test(0.05, 0.08), Verdict.ELEVATED, "elevated", "+5.0 … +8.0 points lies wholly above +2: suspect"),
        (difference_test(-0.05, -0.001, 0.0001), Verdict.INCONCLUSIVE, "inconclusive.worse", ", leaning worse"),
        (difference_test(0.001, 0.05, 0.0001), Verdict.INCONCLUSIVE, "inconclusive.better", ", leaning better"),
    ],
)  # fmt: skip
def test_a_verdict_s_reason_has_a_code_and_the_numbers_that_decided(test, decision, code, english):
    assert test.decision is decision
    reason = reason_of(test, None)
    assert (reason.code, reason.values) == (code, {"interval": test.ci90, "margin": 0.02})
    assert english in say(reason)
    assert not re.search("[a-z]{2}", say(reason, "zh"))


def test_the_same_interval_has_the_same_digits_wherever_it_stands(comparison):
    """Outward, and so many decimals that an end inside the margin never reads as one that touches it."""
    near = Interval(-0.0133, 0.01996, 0.9)
    reason = Reason("equivalent", {"interval": near, "margin": 0.02})
    suite = replace(
        comparison.suites[0], ci90=near, difference=0.0033, margin=0.02, noise_floor=near, reasons=(reason,)
    )
    made = replace(comparison, suites=(suite,), macro=None)
    ends, words_of_it = ("-1.330", "+1.996"), "between 1.330 points worse and 1.996 points better"
    assert f"[{ends[0]}, {ends[1]}]" in table_text(made, "markdown")
    assert f"{ends[0]} … {ends[1]} points lies inside ±2" in table_text(made, "markdown")
    assert explain(made).count(words_of_it) == 2, "the difference and the noise floor"
    page = report(made)
    assert f"[{ends[0]}, {ends[1]}]" in page
    assert f"{ends[0]} … {ends[1]}" in page
    assert not re.search(r"1\.3[34]?\b(?!30)|2\.00\b", table_text(made, "markdown").replace("1.330", ""))


@pytest.mark.parametrize(
    ("interval", "margin", "english"),
    [
        (Interval(0.00212, 0.00298, 0.9), 0.002, "(90 % interval 0.0021 to 0.003) outside the margin of 0.002"),
        (Interval(0.002004, 0.003, 0.9), 0.002, "(90 % interval 0.002004 to 0.003) outside the margin of 0.002"),
        (Interval(0.00216, 0.003, 0.9), 0.00214, "(90 % interval 0.00216 to 0.003) outside the margin of 0.00214"),
    ],
)
def test_an_interval_in_nats_is_rounded_outward_and_keeps_its_side_of_the_margin(interval, margin, english):
    reason = Reason("probe.outside", {"measure": "k3", "x": 0.0025, "interval": interval, "margin": margin})
    assert english in say(reason)


def test_names_are_bounded_and_say_that_there_are_more():
    items = Reason("differ.items", {"n": 5, "all": 9, "items": ("a", "b", "c")})
    only = Reason("differ.only", {"n": 2, "side": "reference", "items": ("x", "y")})
    told = Reason("differ.data", {"parts": (items, only)})
    assert say(told) == (
        "the two sides differ in data: 5 of 9 items differ (a, b, c, …); 2 items only in the reference (x, y)"
    )
    assert say(told, "zh") == "两端的数据不同：9 道题中有 5 道不同（a、b、c、…）；2 道题只在参考端（x、y）"


def test_sentences_inside_sentences_are_in_the_same_language():
    second = Reason(
        "second_run.same", {"reason": Reason("degraded", {"interval": Interval(-0.09, -0.05, 0.9), "margin": 0.02})}
    )
    assert say(second, "zh") == (
        "加上第二次运行的回答后结论不变；仅第一次运行时，90% 区间 -9.0 … -5.0 个百分点，完全低于 -2"
    )
    foreign = Reason("stopped.doctor", {"name": "cand", "check": "template", "what": "a mark", "fix": "mend it"})
    assert say(foreign) == "cand: template: a mark; mend it; --no-doctor goes on all the same"


def test_rows_beside_accuracy_are_in_the_reader_s_language(comparison):
    rows = (
        BehaviourRow("refusals", 0.1, 0.3, "share", None, Reason("alert.rose", {"name": "refusals", "reference": 0.1, "candidate": 0.3, "n": 90})),
        BehaviourRow("answer_length", 10, 20, "tokens"),
        BehaviourRow("a row of nobody", 1, 2, "parsecs"),
    )  # fmt: skip
    made = replace(comparison, suites=(replace(comparison.suites[0], behaviour=rows),))
    text = table_text(made, "markdown", language="zh", behaviour=True)
    assert "| 拒答（%） | 10.0 | 30.0 | — | 拒答由 90 个样本的 10.0% 升至 30.0% |" in text
    assert "回答长度（平均）（词元）" in text
    assert "a row of nobody（parsecs）" in text
    assert "| refusals (%) | 10.0 | 30.0 | — | refusals rose from 10.0 to 30.0 % of 90 samples |" in table_text(
        made, "markdown", behaviour=True
    )


def test_reports_in_chinese_mark_what_stays_english(comparison):
    suites = (replace(comparison.suites[0], reasons=(Reason("equivalent", MARGIN), said("only 3 of 9 {x} answers"))),)
    whole = replace(comparison, suites=(*suites, *comparison.suites[1:]))
    html = report(whole, language="zh")
    assert "<li>90% 区间 -1.4 … +1.4 个百分点，完全落在 ±2 之内</li>" in html
    assert '<li lang="en">only 3 of 9 {x} answers</li>' in html
    assert 'lang="en">' not in report(whole).replace('<html lang="en">', "")
    invalid = replace(whole, suites=(replace(suites[0], verdict=Verdict.INVALID),))
    assert "无法得出结论：90% 区间" in explain(invalid, language="zh")


def test_a_document_says_its_codes(comparison):
    document = json.loads(to_json(comparison))
    said_codes = {reason["code"] for suite in document["suites"] for reason in suite["reasons"]}
    assert said_codes <= set(CATALOGUE)
    assert from_json(to_json(comparison)) == comparison
