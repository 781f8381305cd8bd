"""What continuous integration reads: JUnit XML, GitHub job summary and annotations, GitLab note, OpenMetrics.

`undecided` says what an INCONCLUSIVE suite is to the job: "fail", "warn" or "pass".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree as ET  # only written here; nothing foreign is parsed

from evalkit.model import Comparison, Probe, Reason, SuiteResult, Verdict
from evalkit.render.escape import clean, one_line
from evalkit.render.jinja import render_template
from evalkit.render.private import fit_to_pass_on
from evalkit.render.rows import probe_sentence, sentences
from evalkit.render.words import Language, say, say_all
from evalkit.resources import data_folder

Undecided: TypeAlias = Literal["fail", "warn", "pass"]
Platform: TypeAlias = Literal["github", "gitlab"]

_MOST_DIFFERENCES: Final = 100
_LONGEST_ANNOTATION: Final = 4000
_OUTCOMES: Final[Mapping[Verdict, str]] = {
    Verdict.EQUIVALENT: "pass",
    Verdict.DEGRADED: "failure",
    Verdict.ELEVATED: "failure",
    Verdict.INVALID: "error",
}


def platform(environment: Mapping[str, str]) -> Platform | None:
    """The CI platform that a process environment belongs to, or None."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if environment.get("GITLAB_CI") == "true" else None


def outcome(verdict: Verdict, undecided: Undecided = "fail") -> str:
    """What a verdict is to a test runner: "pass", "failure", "error" or "skipped"."""
    return _OUTCOMES.get(verdict) or ("failure" if undecided == "fail" else "skipped")


def junit(comparison: Comparison, *, undecided: Undecided = "fail") -> bytes:
    """JUnit XML with one case a suite, named once each; a comparison of no suites is one error, never a pass."""
    cases = [_case(suite, undecided) for suite in comparison.suites] or [_empty_case(comparison)]
    if comparison.probe is not None and comparison.suites:
        cases.insert(0, _probe_case(comparison.probe))
    outcomes = [child.tag for case in cases for child in case if child.tag in {"failure", "error", "skipped"}]
    counts = {
        "tests": str(len(cases)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": "0",
    }
    name = clean(f"evalkit {comparison.candidate.name} against {comparison.reference.name}")
    root = ET.Element("testsuites", {"name": "evalkit", **counts})
    group = ET.SubElement(root, "testsuite", {"name": name, "timestamp": clean(comparison.created), **counts})
    properties = ET.SubElement(group, "properties")
    for key, value in _properties(comparison).items():
        ET.SubElement(properties, "property", {"name": key, "value": clean(value)})
    group.extend(cases)
    if comparison.notes:
        ET.SubElement(group, "system-err").text = clean(_lines(comparison.notes))
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _case(suite: SuiteResult, undecided: Undecided) -> ET.Element:
    """One suite; its text is the explanation and the reasons."""
    case = ET.Element("testcase", {"classname": "evalkit", "name": clean(suite.suite), "time": "0"})
    result = outcome(suite.verdict, undecided)
    _add_codes(case, suite.reasons)
    explanation = "\n".join((*sentences(suite), *map(say, suite.reasons)))
    if result == "pass":
        ET.SubElement(case, "system-out").text = clean(explanation)
    else:
        message = one_line(f"{suite.verdict.value}: {say_all(suite.reasons) or sentences(suite)[2]}")
        attributes = {"message": message} if result == "skipped" else {"message": message, "type": suite.verdict.value}
        ET.SubElement(case, result, attributes).text = clean(explanation)
    return case


def _empty_case(comparison: Comparison) -> ET.Element:
    """Nothing was asked: a failure where the probe shows a difference, else an error; never a pass."""
    name = "fidelity probe" if comparison.probe is not None else "comparison"
    case = ET.Element("testcase", {"classname": "evalkit", "name": name, "time": "0"})
    _add_codes(case, comparison.reasons)
    message = say_all(comparison.reasons) or "the comparison holds no suites"
    shown = comparison.verdict is Verdict.DEGRADED
    kind, verdict = ("failure", Verdict.DEGRADED) if shown else ("error", Verdict.INVALID)
    ET.SubElement(case, kind, {"message": one_line(message), "type": verdict.value}).text = clean(
        _lines(comparison.reasons)
    )
    return case


def _probe_case(probe: Probe) -> ET.Element:
    """The probe where the suites were asked: it did not stop them, so it passes, or was open and is skipped."""
    case = ET.Element("testcase", {"classname": "evalkit", "name": "fidelity probe", "time": "0"})
    _add_codes(case, probe.reasons)
    told = "\n".join((probe_sentence(probe), *map(say, probe.reasons)))
    if probe.verdict is Verdict.EQUIVALENT:
        ET.SubElement(case, "system-out").text = clean(told)
    else:
        message = one_line(f"{probe.verdict.value}: {say_all(probe.reasons)}")
        ET.SubElement(case, "skipped", {"message": message}).text = clean(told)
    return case


def _add_codes(case: ET.Element, reasons: Iterable[Reason]) -> None:
    """The codes of the reasons as properties, for programs that read the file."""
    codes = list(dict.fromkeys(reason.code for reason in reasons))
    if codes:
        properties = ET.SubElement(case, "properties")
        for code in codes:
            ET.SubElement(properties, "property", {"name": "reason", "value": clean(code)})


def _lines(reasons: Iterable[Reason]) -> str:
    return "\n".join(map(say, reasons))


def _properties(comparison: Comparison) -> dict[str, str]:
    return {
        "verdict": comparison.verdict.value,
        "evalkit_version": comparison.evalkit_version,
        "reference_run": comparison.reference.run_id,
        "candidate_run": comparison.candidate.run_id,
    }


def summary(comparison: Comparison, *, language: Language = "en", brief: bool = False) -> str:
    """Markdown for `$GITHUB_STEP_SUMMARY` or a GitLab merge request note: verdict, table, differing configuration.

    Others read it, so it says neither where the endpoints are nor in which folders their files lie. `brief` leaves out
    all but verdict and table.
    """
    comparison = fit_to_pass_on(comparison)
    if brief:
        comparison = replace(comparison, differences=())
    options = {"behaviour": not brief, "most_differences": _MOST_DIFFERENCES}
    return render_template(data_folder("reports") / "summary.md.j2", comparison, language=language, options=options)


def github_annotations(comparison: Comparison, *, undecided: Undecided = "fail") -> str:
    """GitHub workflow commands, one line for each suite that is not EQUIVALENT; "" where all are.

    As the summary, they do not say where the endpoints are.
    """
    comparison = fit_to_pass_on(comparison)
    lines = []
    for suite in comparison.suites:
        level = _level(suite.verdict, undecided)
        if level:
            title = f"evalkit: {one_line(suite.label or suite.suite)} is {suite.verdict.value}"
            _, found, means = sentences(suite)
            codes = ", ".join(dict.fromkeys(reason.code for reason in suite.reasons))
            reasons = f" Reasons: {say_all(suite.reasons)} ({codes})." if suite.reasons else ""
            text = f"{found} {means}{reasons}"[:_LONGEST_ANNOTATION]
            lines.append(f"::{level} title={_property(title)}::{_message(text)}\n")
    if not comparison.suites:
        text = say_all(comparison.reasons)[:_LONGEST_ANNOTATION] or "the comparison holds no suites"
        lines.append(f"::error title=evalkit is {comparison.verdict.value}::{_message(text)}\n")
    return "".join(lines)


def _level(verdict: Verdict, undecided: Undecided) -> str | None:
    if verdict is Verdict.INCONCLUSIVE:
        return {"fail": "error", "warn": "warning", "pass": "notice"}[undecided]
    return None if verdict is Verdict.EQUIVALENT else "error"


def _message(text: str) -> str:
    """Text as the data of a workflow command."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Text as a property of a workflow command."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


@dataclass(frozen=True, slots=True)
class _Metric:
    """One gauge: its name (with the unit last), its help, and its samples as (labels, value)."""

    name: str
    help: str
    samples: list[tuple[dict[str, str], float]]


def openmetrics(comparison: Comparison) -> str:
    """OpenMetrics text for GitLab's metrics report or a Prometheus textfile collector. Ratios are fractions."""
    run = {"reference": comparison.reference.name, "candidate": comparison.candidate.name}
    code = _Metric("evalkit_exit_code", "Exit code of the comparison; 0 is equivalent.", [(run, comparison.exit_code)])
    metrics = [code, *_suite_metrics(comparison)]
    lines = []
    for metric in metrics:
        if metric.samples:
            lines.append(f"# TYPE {metric.name} gauge")
            if metric.name.endswith("_ratio"):
                lines.append(f"# UNIT {metric.name} ratio")
            lines.append(f"# HELP {metric.name} {metric.help}")
            lines += [f"{metric.name}{_labels(labels)} {float(value)!r}" for labels, value in metric.samples]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _suite_metrics(comparison: Comparison) -> list[_Metric]:
    """One gauge for each figure, with a sample for each suite that has it."""
    suites = comparison.suites
    bounded = [(suite.suite, suite.difference, suite.ci90) for suite in suites]
    scores = [
        ({"suite": suite.suite, "side": side}, summary.mean)
        for suite in suites
        for side, summary in (("reference", suite.reference), ("candidate", suite.candidate))
        if summary.mean is not None
    ]
    differences = [({"suite": name}, value) for name, value, ci in bounded if value is not None and ci is not None]
    bounds = [
        ({"suite": name, "bound": bound}, end)
        for name, value, ci in bounded
        if value is not None and ci is not None
        for bound, end in (("low", ci.low), ("high", ci.high))
    ]
    verdicts = [({"suite": s.suite, "verdict": v.value}, float(s.verdict is v)) for s in suites for v in Verdict]
    margins = [({"suite": suite.suite}, suite.margin) for suite in suites]
    coverage = [({"suite": suite.suite}, suite.coverage) for suite in suites]
    items = [({"suite": suite.suite}, float(suite.n_items)) for suite in suites]
    return [
        _Metric("evalkit_suite_verdict", "1 for the verdict that the suite has, 0 for the others.", verdicts),
        _Metric("evalkit_suite_score_ratio", "Mean score of a side.", scores),
        _Metric("evalkit_suite_difference_ratio", "Candidate minus reference.", differences),
        _Metric("evalkit_suite_difference_bound_ratio", "Ends of the interval of the difference.", bounds),
        _Metric("evalkit_suite_margin_ratio", "Largest difference that is tolerated.", margins),
        _Metric("evalkit_suite_coverage_ratio", "Share of the planned pairs that exist.", coverage),
        _Metric("evalkit_suite_items", "Questions of the suite.", items),
    ]


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{_label_value(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}"


def _label_value(value: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", one_line(value))
