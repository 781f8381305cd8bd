"""What a comparison holds of the fidelity probe stands in every report, whether the suites were asked or not."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from evalkit.model import Interval, Probe, Reason, Verdict, said
from evalkit.render.document import from_json, to_json
from evalkit.render.html import report
from evalkit.render.private import without_hosts
from evalkit.render.report import explain, github_annotations, junit, summary
from evalkit.render.rows import probe_sentence
from evalkit.render.tables import TerminalTable
from evalkit.render.words import say

WHY = "reference's texts: k3 0.11 nats per token (90 % interval 0.1 to 0.12) outside the margin of 0.002"
OUTSIDE = Reason("probe.outside", {"measure": "k3", "x": 0.11, "interval": Interval(0.1, 0.12, 0.9), "margin": 0.002})
SAYS = Reason("probe.of", {"compared": "reference's texts", "why": OUTSIDE})
HOSTILE = "<script>alert(1)</script> \x1b[31m http://secret.example:1/v1"


def probe(verdict, *reasons):
    return Probe(verdict, reasons, texts=64, tokens=7040, mean_abs_nats=0.0123456)


@pytest.fixture
def stopped(comparison):
    reasons = (Reason("stopped.probe"), SAYS)
    found = probe(Verdict.DEGRADED, SAYS)
    return replace(
        comparison, suites=(), flips=(), macro=None, verdict=Verdict.DEGRADED, exit_code=1, reasons=reasons, probe=found
    )


def printed(comparison, language="en"):
    console = Console(width=600, color_system=None)
    with console.capture() as captured:
        console.print(TerminalTable(comparison, language))
    return captured.get()


def test_a_probe_that_let_the_suites_be_asked_stands_beside_them(comparison):
    told = replace(comparison, probe=probe(Verdict.EQUIVALENT))
    line = "Fidelity probe: EQUIVALENT; 7,040 tokens of 64 texts; mean |Δ log-probability| 0.012 nats"
    assert line == probe_sentence(told.probe)
    for text in (printed(told), explain(told), report(told), summary(told).replace("\\|", "|")):
        assert line in text
    assert "保真度探针：等效 EQUIVALENT；64 段文本的 7,040 个词元" in report(told, language="zh")
    assert "保真度探针：等效" in printed(told, "zh")
    assert from_json(to_json(told)) == told
    assert "Fidelity probe" not in printed(comparison) + report(comparison) + summary(comparison) + explain(comparison)


@pytest.mark.parametrize(("verdict", "tag"), [(Verdict.EQUIVALENT, "system-out"), (Verdict.INCONCLUSIVE, "skipped")])
def test_junit_has_a_case_for_it_that_fails_no_job(comparison, verdict, tag):
    root = ET.fromstring(junit(replace(comparison, probe=probe(verdict, SAYS))))
    cases = root.findall(".//testcase")
    assert [case.get("name") for case in cases] == [
        "fidelity probe",
        *(one.suite for one in comparison.suites),
        "overall",
    ]
    assert [child.tag for child in cases[0] if child.tag != "properties"] == [tag]
    assert WHY in cases[0].find(tag).text
    assert int(root.get("tests")) == len(cases)


def test_a_comparison_that_it_stopped_says_so_everywhere(stopped):
    root = ET.fromstring(junit(stopped))
    (case,) = root.findall(".//testcase")
    assert (root.get("failures"), root.get("errors"), case.get("name")) == ("1", "0", "fidelity probe")
    assert WHY in case.find("failure").get("message")
    assert WHY in github_annotations(stopped).replace("%25", "%")
    for text in (printed(stopped), explain(stopped), summary(stopped)):
        assert WHY in text
        assert "At least one suite" not in text
    page = report(stopped, language="zh")
    assert "保真度探针显示待测端与参考端不同，因此没有运行评测集" in page
    assert "参考端生成的文本：k3 每词元 0.11 nat" in page
    assert "Suite" not in printed(stopped), "there is no table without suites"


def test_what_it_says_is_escaped_and_without_hosts(comparison):
    told = replace(
        comparison,
        probe=probe(Verdict.INVALID, said(HOSTILE)),
        suites=(),
        flips=(),
        macro=None,
        reasons=(said(HOSTILE),),
    )
    assert "secret.example" not in say(without_hosts(told).probe.reasons[0])
    for text in (report(told), summary(told), github_annotations(told)):
        assert "secret.example" not in text
        assert "<script>alert(1)" not in text or text.startswith("::")
    assert "\x1b" not in printed(told) + explain(told) + junit(told).decode()
