"""CI formats: parsed by the parsers that read them, hostile text included."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from evalkit.model import Interval, Reason, Verdict, said
from evalkit.render.report import explain, github_annotations, junit, openmetrics, outcome, platform, summary
from evalkit.render.words import LANGUAGES


@pytest.mark.parametrize(
    ("verdict", "undecided", "expected"),
    [
        (Verdict.EQUIVALENT, "fail", "pass"),
        (Verdict.DEGRADED, "pass", "failure"),
        (Verdict.ELEVATED, "pass", "failure"),
        (Verdict.INVALID, "pass", "error"),
        (Verdict.INCONCLUSIVE, "fail", "failure"),
        (Verdict.INCONCLUSIVE, "warn", "skipped"),
        (Verdict.INCONCLUSIVE, "pass", "skipped"),
    ],
)
def test_outcomes(verdict, undecided, expected):
    assert outcome(verdict, undecided) == expected


@pytest.mark.parametrize("undecided", ["fail", "warn"])
def test_junit_golden_and_counts(comparison, golden, undecided):
    data = junit(comparison, undecided=undecided)
    golden(f"junit-{undecided}.xml", data)
    root = ET.fromstring(data)
    cases = root.findall("./testsuite/testcase")
    assert [case.get("name") for case in cases] == [*(suite.suite for suite in comparison.suites), "overall"]
    for element in (root, root.find("testsuite")):
        assert int(element.get("tests")) == len(cases)
        for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(plural)) == len(root.findall(f".//{tag}"))
    expected = [outcome(row.verdict, undecided) for row in (*comparison.suites, comparison.macro)]
    got = [
        next((child.tag for child in case if child.tag not in {"properties", "system-out"}), "pass") for case in cases
    ]
    assert got == expected
    properties = root.findall(".//testcase[@name='musr']/properties/property[@name='reason']")
    assert [one.get("value") for one in properties] == ["degraded", "second_run.same"]
    degraded = root.find(".//testcase[@name='musr']/failure")
    assert degraded.get("type") == "DEGRADED"
    assert degraded.get("message").startswith("DEGRADED: the 90 % interval -9.0 … -5.2 points lies wholly below -2")
    assert "between 5.2 and 9.0 points worse" in degraded.text


def test_a_part_of_a_data_set_is_marked_in_every_output_of_a_job(comparison):
    parts = [replace(one, notes=(Reason("note.part", {"n": 40, "all": 200}),)) for one in comparison.suites]
    made = replace(comparison, suites=tuple(parts))
    cases = ET.fromstring(junit(made)).findall(".//testcase")[: len(parts)]
    for case, suite in zip(cases, parts, strict=True):
        (told,) = [child for child in case if child.tag != "properties"]
        assert told.text.startswith("40 of 200 items.\n")
        assert told.get("message", f"{suite.verdict.value} (40 of").startswith(f"{suite.verdict.value} (40 of")
    rows = [line for line in github_annotations(made).splitlines() if "mean over" not in line]
    assert rows
    assert all("(40 of 200 items)::" in line for line in rows)
    (marked,) = [
        one for one in text_string_to_metric_families(openmetrics(made)) if one.name == "evalkit_suite_partial"
    ]
    assert [one.labels["suite"] for one in marked.samples] == [suite.suite for suite in parts]
    assert "40 of 200 items" not in junit(comparison).decode() + github_annotations(comparison)
    assert "evalkit_suite_partial" not in openmetrics(comparison)


def test_junit_holds_hostile_text_and_no_control_characters(comparison, example):
    evil = replace(comparison.suites[-1], suite="a\x00b\x1b[31m]]>\ud800", reasons=(said(example.HOSTILE),))
    root = ET.fromstring(junit(replace(comparison, suites=(evil,))))
    assert root.find(".//testcase").get("name") == "a\ufffdb\ufffd[31m]]>\ufffd"
    assert "</script><img src=x onerror=alert(1)>" in root.find(".//error").get("message")


def test_a_comparison_without_suites_is_an_error_everywhere(comparison):
    empty = replace(comparison, suites=(), macro=None, reasons=())
    root = ET.fromstring(junit(empty))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    assert github_annotations(empty) == "::error title=evalkit is INVALID::the comparison holds no suites\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_summary_golden(comparison, golden, language):
    text = summary(comparison, language=language)
    golden(f"summary.{language}.md", text)
    assert "| Suite |" in text or "| 评测集 |" in text
    assert "USE_FLAGGEMS" in text
    assert "<script" not in re.sub(r"\\.", "", text)


def test_a_summary_stays_under_githubs_megabyte(comparison):
    from evalkit.model import Difference

    many = tuple(Difference(f"key{i}", "a" * 5000, "b" * 5000) for i in range(2000))
    text = summary(replace(comparison, differences=many))
    assert len(text.encode()) < 1_000_000
    assert "(2000)" in text


def test_annotations_golden_and_escaping(comparison, example, golden):
    text = github_annotations(comparison)
    golden("annotations.txt", text)
    lines = text.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert re.fullmatch(r"::(error|warning|notice) title=[^:,\r\n]+::[^\r\n]+", line), line
    assert lines[-2].count("::error") == 2  # its own, and the hostile one inside the data, where it is harmless
    assert "100%25" in lines[-2]
    assert "title=evalkit%3A the mean over suites is INVALID::" in lines[-1]


def test_undecided_changes_only_the_undecided(comparison):
    levels = {
        u: re.findall("^::(\\w+)", github_annotations(comparison, undecided=u), re.MULTILINE)
        for u in ("fail", "warn", "pass")
    }
    assert levels == {
        "fail": ["error", "error", "error", "error", "error"],
        "warn": ["error", "error", "warning", "error", "error"],
        "pass": ["error", "error", "notice", "error", "error"],
    }
    assert github_annotations(replace(comparison, suites=comparison.suites[:2], macro=None)) == ""


def test_openmetrics_is_read_by_its_own_parser(comparison, golden):
    text = openmetrics(comparison)
    golden("metrics.txt", text)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    scores = {(s.labels["suite"], s.labels["side"]): s.value for s in families["evalkit_suite_score_ratio"].samples}
    assert scores["musr", "candidate"] == 0.5731
    assert ("livebench", "candidate") not in scores
    verdicts = {
        s.labels["suite"]: s.labels["verdict"] for s in families["evalkit_suite_verdict"].samples if s.value == 1
    }
    assert verdicts == {suite.suite: suite.verdict.value for suite in comparison.suites}
    differences = {s.labels["suite"] for s in families["evalkit_suite_difference_ratio"].samples}
    bounded = {s.labels["suite"] for s in families["evalkit_suite_difference_bound_ratio"].samples}
    assert differences == bounded == {suite.suite for suite in comparison.suites} - {"livebench"}


def test_openmetrics_escapes_labels(comparison):
    evil = replace(comparison.suites[0], suite='a"} 1\n# EOF\nb\\')
    families = list(text_string_to_metric_families(openmetrics(replace(comparison, suites=(evil,)))))
    assert {s.labels["suite"] for f in families for s in f.samples if "suite" in s.labels} == {'a"} 1 # EOF b\\'}


def test_platforms():
    assert platform({"GITHUB_ACTIONS": "true"}) == "github"
    assert platform({"GITLAB_CI": "true"}) == "gitlab"
    assert platform({"GITHUB_ACTIONS": "false"}) is None


STOPPED = Reason(
    "side.stopped", {"name": "cand", "why": "connection refused at http://10.0.0.7:8000/v1", "n": 30, "all": 100}
)


def test_what_stopped_a_side_is_a_case_an_annotation_and_the_first_word_of_the_summary_once(comparison):
    stopped = replace(comparison, verdict=Verdict.INVALID, reasons=(STOPPED, *comparison.reasons))
    case = ET.fromstring(junit(stopped)).find(".//testcase")
    words = "cand: connection refused at http://10.0.0.7:8000/v1, 30 of 100 answered"
    assert (case.get("name"), case.find("error").get("message")) == ("endpoint", words)
    notes = github_annotations(stopped)
    assert notes.startswith(
        "::error title=evalkit%3A an endpoint was not asked to the end::cand: connection refused at"
    )
    for text in (notes, summary(stopped), explain(stopped)):
        assert text.count("connection refused") == 1
    assert "10.0.0.7" not in notes + summary(stopped)
    assert explain(stopped).startswith(words)


def test_a_comparison_that_nobody_answered_says_so_first_everywhere(comparison):
    empty = replace(comparison, verdict=Verdict.INVALID, suites=(), probe=None, reasons=(STOPPED,))
    assert explain(empty).startswith("cand: connection refused at http://10.0.0.7:8000/v1, 30 of 100 answered\n")
    for text in (
        junit(empty).decode().partition("<error message=")[2].partition("type=")[0],
        github_annotations(empty),
    ):
        assert text.count("connection refused") == 1
    assert summary(empty).count("connection refused") == explain(empty).count("connection refused") == 1


def test_why_a_suite_is_invalid_is_said_once_below_its_message(comparison):
    why = Reason(
        "missing.why", {"side": "candidate", "n": 0, "all": 910, "kinds": (), "why": "connection refused at x"}
    )
    last = replace(comparison.suites[-1], reasons=(why, said("and another thing")))
    made = replace(comparison, suites=(last,), macro=None)
    error = ET.fromstring(junit(made)).find(".//error")
    assert error.get("message").startswith("INVALID: candidate: 0 of 910")
    assert error.text.count("connection refused at x") == error.text.count("and another thing") == 1
    (line,) = github_annotations(made).splitlines()
    assert line.count("connection refused at x") == line.count("and another thing") == 1
    assert "::No verdict is possible: candidate: 0 of 910" in line


def test_a_case_has_its_verdict_and_the_one_that_it_would_have_alone(comparison):
    values = {"interval": Interval(-0.08, -0.03, 0.9), "margin": 0.02, "verdict": "DEGRADED", "n": 6, "p": 0.08}
    suite = replace(
        comparison.suites[0], verdict=Verdict.INCONCLUSIVE, reasons=(Reason("uncorrected", values),), waiver=None
    )
    told = junit(replace(comparison, suites=(suite,), macro=None, reasons=())).decode()
    assert '<property name="verdict" value="INCONCLUSIVE" />' in told
    assert '<property name="verdict_before_correction" value="DEGRADED" />' in told
