"""Rows: every number rounded once, and no difference without an interval."""

from dataclasses import replace
from decimal import Decimal

from evalkit.model import Interval
from evalkit.publish.cards import CardSubject, card, load_style
from evalkit.render.html import report
from evalkit.render.rows import table_of, value_text


def test_the_example(comparison):
    table = table_of(comparison)
    by_suite = {row.suite: row for row in table.rows}
    assert [row.suite for row in table.rows] == [suite.suite for suite in comparison.suites]
    gpqa = by_suite["gpqa_diamond"]
    assert (gpqa.n, gpqa.k, str(gpqa.reference.score), str(gpqa.candidate.score)) == (198, "8", "70.4", "70.1")
    assert (str(gpqa.change.difference), str(gpqa.change.interval.low), str(gpqa.change.interval.high)) == (
        "-0.3",
        "-1.5",
        "0.9",
    )
    assert str(gpqa.change.interval.level_percent) == "90"
    assert str(by_suite["mmlu_gen_5shot"].reference.score) == "66.89"  # as many decimals as its interval
    assert by_suite["musr"].k == "4/3.98"
    assert by_suite["aime24"].k == "16/8"
    assert str(table.level_percent) == "90"
    assert table.macro.worst_label == "MuSR 多步推理"
    assert table.macro.worst_change == by_suite["musr"].change


def test_a_difference_without_an_interval_is_not_shown(comparison):
    livebench = next(row for row in table_of(comparison).rows if row.suite == "livebench")
    assert livebench.change is None
    assert livebench.candidate.score is None
    bare = replace(comparison.suites[0], ci90=None, difference=0.1234)
    row = table_of(replace(comparison, suites=(bare,), macro=None)).rows[0]
    assert row.change is None
    assert "12.3" not in repr(row)


def test_behaviour_lines_are_in_their_units(comparison):
    tokens, ratio, truncated, refused = table_of(comparison).rows[0].behaviour
    assert (tokens.unit, tokens.reference, tokens.low) == ("tokens", Decimal("412.5"), None)
    assert (ratio.unit, ratio.reference, ratio.low, ratio.high) == ("times", None, Decimal("0.99"), Decimal("1.09"))
    assert (truncated.unit, str(truncated.reference), str(truncated.candidate)) == ("%", "1.2", "4.9")
    assert (str(truncated.low), str(truncated.high)) == ("2.1", "5.4")
    assert (refused.reference, refused.candidate, refused.low) == (None, Decimal("0.0"), None)


def test_behaviour_intervals_are_rounded_outward(comparison):
    suite = comparison.suites[0]
    line = replace(suite.behaviour[0], interval=Interval(0.991239, 1.087611, 0.9))
    shown = table_of(replace(comparison, suites=(replace(suite, behaviour=(line,)),), macro=None)).rows[0].behaviour[0]
    assert (str(shown.low), str(shown.high)) == ("0.9912", "1.088")


def test_a_suite_without_a_label_is_called_by_its_name_and_other_levels_are_shown(comparison):
    suite = replace(comparison.suites[0], label="", ci90=Interval(-0.01, 0.01, 0.95))
    table = table_of(replace(comparison, suites=(suite,), alpha=0.025))
    assert table.rows[0].label == "gpqa_diamond"
    assert str(table.level_percent) == "95"
    assert str(table.rows[0].change.interval.level_percent) == "95"
    assert table.macro.worst_label == "musr"  # not among the suites: by name, without an interval
    assert table.macro.worst_change is None


def test_sampling_parameters_are_printed_as_configuration_files_say_them(comparison):
    sampling = {"temperature": 0.6, "stop": ["\n", "终"], "logprobs": True, "profile": "qwen3"}
    made = replace(comparison, candidate=replace(comparison.candidate, sampling=sampling))
    assert [value_text(value) for value in sampling.values()] == ["0.6", '["\\n", "终"]', "true", "qwen3"]
    assert "<dd>stop [&#34;\\n&#34;, &#34;终&#34;]</dd>" in report(made)
    text = card(made, load_style("evalkit"), CardSubject("x", ""), allow=["invalid"])
    assert r'logprobs true, profile qwen3, stop \["\\n", "终"\], temperature 0.6' in text
