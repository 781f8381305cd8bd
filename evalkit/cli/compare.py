"""`evalkit compare A B`, the main job; `run` asks one endpoint, `score` grades again, `aa` holds one against itself."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from evalkit import api
from evalkit.cli import options
from evalkit.cli.progress import Terminal
from evalkit.errors import StorageError
from evalkit.files import check_place
from evalkit.options import CompareOptions, JudgeOptions, RunOptions

if TYPE_CHECKING:
    from evalkit.model import Comparison
    from evalkit.render.report import Undecided

NOTE: Final = "note.md"
_MOST_SUMMARY_BYTES: Final = 1_000_000  # GitHub takes 1 MiB of summary a step, and shows none of a larger one


@dataclass(frozen=True, slots=True)
class ForCi:
    """Files for continuous integration that are asked for, and what decides what a platform shows."""

    junit: Path | None = None
    openmetrics: Path | None = None
    on_inconclusive: Undecided = "fail"
    as_json: bool = False


@click.command("compare", cls=options.Sectioned, sections=options.sections("compare"))
@options.of("compare", CompareOptions)
def command(reference: Path, candidate: Path, quiet: bool, as_json: bool, behaviour: bool, **given: Any) -> int:
    """Compare CANDIDATE with REFERENCE: run what is missing, pair, judge, print the table."""
    chosen = replace(options.made(CompareOptions, given), doctor=not given["no_doctor"])
    for name in ("junit", "openmetrics"):
        if given[name] is not None:
            check_place(given[name], f"--{name}")
    source = click.get_current_context().get_parameter_source("probe")
    if source is ParameterSource.ENVIRONMENT:
        from evalkit.foreign.sources import kind_of

        if "config" not in {kind_of(path) for path in (reference, candidate)}:
            chosen = replace(chosen, probe=None)
    made = api.compare(reference, candidate, chosen, Terminal(quiet=quiet, as_json=as_json))
    code = show(made, chosen, as_json=as_json, behaviour=behaviour)
    write_for_ci(made.value, made.folder or Path(), options.made(ForCi, {**given, "as_json": as_json}))
    return code


def show(made: api.Comparison, chosen: JudgeOptions, *, as_json: bool, behaviour: bool) -> int:
    """Prints a comparison, says where it is stored and what to know of it, and gives the exit code."""
    from evalkit.render.rows import is_claim, next_step
    from evalkit.render.words import say

    comparison = made.value
    if as_json:
        from evalkit.render.document import to_json

        click.echo(to_json(comparison).decode(), nl=False)
    else:
        _print(comparison, behaviour=behaviour)
        if made.file is not None:
            click.echo(f"stored in {made.file}", err=True)
            if comparison.suites:
                runs = comparison.reference, comparison.candidate
                one, two = (f"{run.name} (run {run.run_id}, {run.started[:16]})" for run in runs)
                click.echo(f"it compares {one} with {two}", err=True)
            click.echo(say(next_step(comparison, str(made.folder)), options.spoken()), err=True)
    for note in comparison.notes:
        # How a stored side came about was said before anything else, and claims stand in the table.
        if note.code != "note.stored" and (as_json or not is_claim(note)):
            click.echo(f"evalkit: {say(note, options.spoken())}", err=True)
    if comparison.verdict.exit_code != comparison.exit_code and chosen.on_inconclusive == "warn":
        why = say(comparison.reasons[0], options.spoken())
        click.echo(f"evalkit: warning: {comparison.verdict.value} is no pass: {why}", err=True)
    return comparison.exit_code


def _print(comparison: Comparison, *, behaviour: bool) -> None:
    from rich.console import Console

    from evalkit.render.tables import TerminalTable

    if behaviour:
        Console().print(TerminalTable(comparison, options.spoken(), behaviour=True))
        return
    alerts = [tuple(row for row in suite.behaviour if row.alert) for suite in comparison.suites]
    suites = tuple(replace(suite, behaviour=rows) for suite, rows in zip(comparison.suites, alerts, strict=True))
    table = TerminalTable(replace(comparison, suites=suites), options.spoken(), behaviour=any(alerts))
    Console().print(table)


def write_for_ci(comparison: Comparison, folder: Path, wanted: ForCi) -> None:
    """Writes the files that are asked for, and what the CI platform of the environment shows.

    GitHub gets a job summary and annotations, GitLab a note in `folder`, the comparison's; with EVALKIT_CI=off neither.

    Raises `StorageError`: a file cannot be written.
    """
    on_platform = os.environ.get("EVALKIT_CI") != "off" and {"GITHUB_ACTIONS", "GITLAB_CI"} & set(os.environ)
    if not (on_platform or wanted.junit or wanted.openmetrics):
        return
    from evalkit.render import report

    if wanted.junit:
        options.deliver(report.junit(comparison, undecided=wanted.on_inconclusive), wanted.junit)
    if wanted.openmetrics:
        options.deliver(report.openmetrics(comparison), wanted.openmetrics)
    platform = None if os.environ.get("EVALKIT_CI") == "off" else report.platform(os.environ)
    if platform == "github":
        _job_summary(comparison)
        # The runner reads workflow commands from both streams; stdout may be one JSON document.
        click.echo(
            report.github_annotations(comparison, undecided=wanted.on_inconclusive), nl=False, err=wanted.as_json
        )
    elif platform == "gitlab":
        options.deliver(report.summary(comparison), folder / NOTE)


def _job_summary(comparison: Comparison) -> None:
    """Appends to the file that GitHub names, as much as it shows."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    before = None
    try:
        before = path.stat().st_size if path.exists() else 0
        with path.open("ab") as out:
            out.write(_fitting_summary(comparison, _MOST_SUMMARY_BYTES - before))
    except OSError as error:
        if before is not None:
            with suppress(OSError):
                os.truncate(path, before)  # other steps' words stay; half of ours is none
        raise StorageError(f"GITHUB_STEP_SUMMARY: {path}: cannot be written: {error.strerror}") from error


def _fitting_summary(comparison: Comparison, room: int) -> bytes:
    """The longest summary that fits: whole, verdict and table, or a line."""
    from evalkit.render import report

    for brief in (False, True):
        text = report.summary(comparison, brief=brief).encode()
        if len(text) <= room:
            return text
    return f"\n**evalkit: {comparison.verdict.value}** (the table is too long for this page)\n".encode()


NAMED: Final = 10  # so many reasons why samples have no value are named for people, by suite
ALIKE: Final = 3  # so many samples are named for each reason
REASON: Final = 240  # so much of a reason is shown, in characters


@click.command("run")
@options.of("run")
def run(file: Path, overrides: tuple[str, ...], limit: int | None, quiet: bool, as_json: bool, **reuse: bool) -> int:
    """Run the suites of one endpoint."""
    done = api.run(file, RunOptions(overrides=overrides, limit=limit), Terminal(quiet=quiet), **reuse)
    report = _print_run(done, as_json=as_json)
    return 0 if done.whole and not any(suite["counts"].get("grade_error") for suite in report["suites"]) else 3


@click.command("score")
@options.of("score")
def score(file: Path, overrides: tuple[str, ...], limit: int | None, as_json: bool) -> int:
    """Grade the stored replies of a run again; no endpoint is asked."""
    done = api.score(file, RunOptions(overrides=overrides, limit=limit))
    report = _print_run(done, as_json=as_json)
    return 0 if all(suite["valued"] == suite["planned"] for suite in report["suites"]) else 3


@click.command("aa")
@options.of("aa", CompareOptions)
def aa(reference: Path, quiet: bool, as_json: bool, behaviour: bool, **given: Any) -> int:
    """Compare an endpoint with itself: how large is a difference that means nothing?"""
    chosen = options.made(CompareOptions, given)
    made = api.aa(reference, chosen, Terminal(quiet=quiet, as_json=as_json))
    return show(made, chosen, as_json=as_json, behaviour=behaviour)


def _print_run(done: api.Run, *, as_json: bool) -> dict[str, Any]:
    report = done.summary()
    if as_json:
        options.print_json(report)
    else:
        click.echo("\n".join(_lines(report, said=str(done.problem or ""))))
    for sentence in done.problems:
        click.echo(f"evalkit: {sentence}", err=True)
    return report


def _lines(report: dict[str, Any], said: str = "") -> list[str]:
    """For people; a reason that `said` holds, which is said elsewhere, is not repeated."""
    from evalkit.compare.validity import counts_of
    from evalkit.render.words import say

    lines = [f"{report['run']}: {report['asked']} requests asked"]
    for suite in report["suites"]:
        mean = "no value" if suite["mean"] is None else f"{suite['mean']:.4f}"
        counts = say(counts_of(suite["counts"], suite["failures"]))
        line = f"  {suite['label']}: {mean} over {suite['valued']} of {suite['planned']} samples ({counts})"
        without, lacking = suite["without_value"], suite["planned"] - suite["valued"]
        if lacking and suite["valued"]:
            line += f"; {suite['mean_if_others_wrong']:.4f} if the {lacking} without a value were wrong"
        lines.append(line)
        if ungraded := suite["counts"].get("grade_error"):
            lines.append(f"    {ungraded} of {suite['suite']} could not be graded: `evalkit score` tries them again")
        alike: dict[str, list[str]] = {}
        for sample in without:
            alike.setdefault(_why(sample, said), []).append(_named(sample))
        told = list(alike.items())[:NAMED]
        for why, names in told:  # what is alike is said once
            more = f"; and {len(names) - ALIKE} more" if len(names) > ALIKE else ""
            lines.append(f"    {'; '.join(names[:ALIKE])}{more}: {why}")
        unsaid = len(without) - sum(len(names) for _why, names in told)
        if unsaid:
            lines.append(f"    and {unsaid} more for other reasons: `--json` lists them all")
    return lines


def _named(sample: dict[str, Any]) -> str:
    return f"{sample['item']}, repeat {sample['repeat']}" if sample["repeat"] else str(sample["item"])


def _why(sample: dict[str, Any], said: str) -> str:
    error = "" if sample["error"] in said else " ".join(sample["error"].split())[:REASON]
    why = ": ".join(part for part in (sample["failure"], error) if part)
    return str(sample["status"]).replace("_", " ") + (f" ({why})" if why else "")
