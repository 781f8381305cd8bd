"""A comparison in any format by its name, or through a template of one's own; and the table that a notebook shows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from evalkit.errors import UsageError, did_you_mean
from evalkit.model import Comparison, Reason, Verdict
from evalkit.options import ReportOptions
from evalkit.render.jinja import own, render_template
from evalkit.render.private import fit_to_pass_on
from evalkit.render.rows import beside_label, claims, overall, part_text, probe_sentence, sentences, stopped_by
from evalkit.render.words import Language, markdown, one_line, say, say_all
from evalkit.resources import data_folder

FORMATS: Final = ("terminal", "markdown", "csv", "latex", "json", "html", "junit", "openmetrics", "summary")
_WIDTH: Final = 100


def check_format(form: str, options: ReportOptions) -> None:
    """Raises `UsageError` for a format that there is not, or an option that it does not know: it would do nothing."""
    template = form.endswith(".j2")
    if form not in FORMATS and not template:
        raise UsageError(
            f"--format {form!r} is not known{did_you_mean(form, FORMATS)}; a template of your own is NAME.FORMAT.j2"
        )
    if options.behaviour and not template and form not in {"terminal", "markdown", "latex"}:
        raise UsageError(f"--behaviour: has no effect on {form}: it adds rows to terminal, markdown and latex")
    for option in ("include_questions", "include_hosts"):
        if getattr(options, option) and form != "html":
            raise UsageError(f"--{option.replace('_', '-')}: has no effect on {form}: it is about --format html")


def rendered(comparison: Comparison, form: str, options: ReportOptions) -> str | bytes:
    """The comparison in a format. Raises `UsageError`: as `check_format`, and for a template that cannot be used."""
    check_format(form, options)
    language = options.language
    if form == "terminal":
        return _terminal(comparison, options)
    if form == "html":
        from evalkit.render.html import report

        questions, hosts = options.include_questions, options.include_hosts
        return report(comparison, language=language, include_questions=questions, include_hosts=hosts)
    if form in {"junit", "openmetrics", "summary"}:
        if form == "summary":
            return summary(comparison, language=language)
        return junit(comparison) if form == "junit" else openmetrics(comparison)
    if form.endswith(".j2"):
        return render_template(Path(form), comparison, language=language, options={"behaviour": options.behaviour})
    from evalkit.render.tables import table_text

    return table_text(comparison, form, language=language, behaviour=options.behaviour)  # type: ignore[arg-type]


def _terminal(comparison: Comparison, options: ReportOptions) -> str:
    """The table as `evalkit compare` prints it, without colours."""
    import io

    from rich.console import Console

    from evalkit.render.tables import TerminalTable

    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(TerminalTable(comparison, options.language, options.behaviour))
    return text.getvalue()


def explain(comparison: Comparison, suite: str | None = None, *, language: Language = "en") -> str:
    """The overall verdict in one sentence and each suite in three; or one suite only, by its name.

    Raises `UsageError`: the comparison has no such suite.
    """
    names = [result.suite for result in comparison.suites]
    if suite is not None and suite not in names:
        raise UsageError(f"the comparison has no suite {suite!r}{did_you_mean(suite, names)}")
    told = own(
        "explain.txt.j2",
        language,
        comparison=comparison,
        suites=[result for result in comparison.suites if suite in {None, result.suite}],
        whole=suite is None,
        stopped=stopped_by(comparison),
        overall=overall(comparison, language),
        claims=claims(comparison, language),
        probe=probe_sentence(comparison.probe, language),
    )
    return told.strip() + "\n"


def notebook(comparison: Comparison) -> str:
    """The verdict and the table as HTML for a notebook; what models and servers said is escaped."""
    from markdown_it import MarkdownIt

    from evalkit.render.tables import table_text

    text = f"**{comparison.verdict.value}** {markdown(overall(comparison))}\n\n{table_text(comparison, 'markdown')}"
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


# What continuous integration reads: JUnit XML, GitHub job summary and annotations, GitLab note, OpenMetrics
# `undecided` says what an INCONCLUSIVE suite is to the job: "fail", "warn" or "pass".


Undecided: TypeAlias = Literal["fail", "warn", "pass"]
Platform: TypeAlias = Literal["github", "gitlab"]

_MOST_DIFFERENCES: Final = 100
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


def outcome(verdict: Verdict, undecided: Undecided = "fail", *, waived: bool = False) -> str:
    """What a verdict is to a test runner: "pass", "failure", "error" or "skipped", as one that is `waived`."""
    if waived:
        return "skipped"
    return _OUTCOMES.get(verdict) or ("failure" if undecided == "fail" else "skipped")


def junit(comparison: Comparison, *, undecided: Undecided = "fail") -> bytes:
    """JUnit XML: a case for each suite and one for their mean; a comparison of no suites is one error, never a pass."""
    cases = []
    for suite in comparison.suites:
        explained = [*sentences(suite), *map(say, suite.reasons[1:])]  # the sentences hold the first
        part = part_text(suite)
        message = f"{suite.verdict.value}{beside_label(part, 'en')}: {say_all(suite.reasons) or explained[2]}"
        explained = [f"{part}.", *explained] if part else explained
        result = outcome(suite.verdict, undecided, waived=suite.waiver is not None)
        cases.append(_case(suite.suite, result, suite.verdict, suite.reasons, explained, message=message))
    if (row := comparison.macro) is not None:
        message = f"{row.verdict.value}: {say_all(row.reasons)}"
        result = outcome(row.verdict, undecided, waived=row.waiver is not None)
        cases.append(_case("overall", result, row.verdict, row.reasons, message=message))
    probe = comparison.probe
    if cases and (stopped := stopped_by(comparison)):
        cases.insert(0, _case("endpoint", "error", Verdict.INVALID, stopped, message=say_all(stopped)))
    if not cases:
        # Nothing was asked: a failure where the probe shows a difference, else an error; never a pass.
        shown = comparison.verdict is Verdict.DEGRADED
        told = "fidelity probe" if probe else "comparison", "failure" if shown else "error"
        message = say_all(comparison.reasons) or "the comparison holds no suites"
        verdict = Verdict.DEGRADED if shown else Verdict.INVALID
        cases = [_case(*told, verdict, comparison.reasons, message=message)]
    elif probe:  # it did not stop the suites, so it passes, or was open and is skipped
        result = "pass" if probe.verdict is Verdict.EQUIVALENT else "skipped"
        message = f"{probe.verdict.value}: {say_all(probe.reasons)}"
        explained = [probe_sentence(probe), *map(say, probe.reasons)]
        cases.insert(0, _case("fidelity probe", result, probe.verdict, probe.reasons, explained, message=message))
    notes = "\n".join(map(say, comparison.notes))
    return own("junit.xml.j2", comparison=comparison, cases=cases, notes=notes).encode()


def _case(
    name: str, result: str, verdict: Verdict, reasons: Sequence[Reason], explained: Sequence[str] = (), *, message: str
) -> dict[str, Any]:
    return {
        "name": name,
        "outcome": result,
        "verdict": verdict.value,
        "alone": next((one.values["verdict"] for one in reasons if one.code == "uncorrected"), verdict.value),
        "codes": list(dict.fromkeys(reason.code for reason in reasons)),
        "message": one_line(message),
        "text": "\n".join(explained or map(say, reasons)),
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
    """GitHub workflow commands, one line for each suite that is not EQUIVALENT, and for their mean; "" where all are.

    As the summary, they do not say where the endpoints are.
    """
    shown = fit_to_pass_on(comparison)
    open_level = {"fail": "error", "warn": "warning", "pass": "notice"}[undecided]
    return own("annotations.txt.j2", comparison=shown, stopped=stopped_by(shown), open_level=open_level)


def openmetrics(comparison: Comparison) -> str:
    """OpenMetrics text for GitLab's metrics report or a Prometheus textfile collector. Ratios are fractions."""
    partial = [suite.suite for suite in comparison.suites if part_text(suite)]
    return own("metrics.txt.j2", comparison=comparison, verdicts=list(Verdict), partial=partial)
