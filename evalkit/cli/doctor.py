"""`evalkit doctor REF [CAND]`: is an endpoint fit to be asked for hours, and are two of them two stacks alike?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit.cli import options

if TYPE_CHECKING:
    from evalkit.config import EndpointConfig
    from evalkit.endpoint.settings import ClientSettings
    from evalkit.examine.checks import SuiteNeeds
    from evalkit.examine.doctor import Finding, Report, Subject
    from evalkit.model import Difference
    from evalkit.run.plan import PlannedSuite

EXIT_PROBLEM: Final = 3
_COLOURS: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_LISTED_CHECK: Final = 15


@click.command("doctor")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path), required=False)
@click.option("--no-data", is_flag=True, help="Do not look at the data sets of the suites.")
@options.overrides
@options.quiet
@options.as_json
def command(reference: Path, candidate: Path | None, **given: Any) -> int:
    """Check an endpoint with some sixty short requests; with two files, also what differs between the stacks.

    Each finding says what was seen, why it matters and how to mend it. Exits 0 without a problem, 3 with one. Nothing
    is stored; data sets are not fetched.
    """
    paths = [path for path in (reference, candidate) if path is not None]
    configs = [options.load(path, given["overrides"]) for path in paths]
    reports = [asyncio.run(_examined(config, needs=() if given["no_data"] else needs_of(config))) for config in configs]
    differences: tuple[Difference, ...] = ()
    across: tuple[Finding, ...] = ()
    if len(configs) == 2:
        from evalkit.config import differences as differ
        from evalkit.examine.doctor import between

        differences, across = differ(*configs), between(*reports)
    everything = [*(one for report in reports for one in report.findings), *across]
    code = EXIT_PROBLEM if any(one.severity == "problem" for one in everything) else 0
    if given["as_json"]:
        _print_json(reports, across, differences, code)
    else:
        for report in reports:
            show_report(report, quiet=given["quiet"])
        if len(configs) == 2:
            _show_across(across, differences, quiet=given["quiet"])
    return code


async def _examined(config: EndpointConfig, needs: Sequence[SuiteNeeds]) -> Report:
    from dataclasses import replace

    from evalkit.examine.checks import check_data, check_disk
    from evalkit.examine.doctor import examine
    from evalkit.serve.launch import opened
    from evalkit.waits import announce

    async with opened(config, config.runs / config.name / "server.log") as settings:
        announce(f"asking {config.name} some sixty short questions")
        report = await examine(subject_of(config, settings, needs))
    own = [check_disk(config.runs, needs), *check_data(needs), *_said_by_configuration(config)]
    return replace(report, findings=(*report.findings, *own))


def subject_of(config: EndpointConfig, settings: ClientSettings, needs: Sequence[SuiteNeeds] = ()) -> Subject:
    """The endpoint of a configuration as the doctor sees it."""
    from evalkit.examine.checks import Subject

    return Subject(
        name=config.name,
        settings=settings,
        parameters=config.parameters(),
        client=config.client,
        wants_logprobs=config.logprobs,
        closing_tags=config.thinking.closing_tags,
        suites=tuple(needs),
        launched=config.launch is not None,
    )


def needs_of(config: EndpointConfig) -> tuple[SuiteNeeds, ...]:
    """What each configured suite needs; a suite whose data is not on this machine says so. Fetches nothing."""
    from evalkit.errors import UsageError
    from evalkit.examine.checks import SuiteNeeds
    from evalkit.run.plan import chosen_suites, make_plan

    if not config.suites and config.pack is None:
        return ()
    # Read by the hub's library when it is imported, which make_plan does.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    needs = []
    for chosen in chosen_suites(config):
        alone = config.model_copy(update={"pack": None, "suites": (chosen.choice,)})
        try:
            plan = make_plan(alone)
        except UsageError as error:
            needs.append(SuiteNeeds(chosen.suite.name, problem=str(error)))
        else:
            needs.append(needs_of_planned(plan.suites[0]))
    return tuple(needs)


def needs_of_planned(suite: PlannedSuite) -> SuiteNeeds:
    """What one planned suite asks of an endpoint."""
    from evalkit.examine.checks import SuiteNeeds

    prompts = [item.prompt for item in suite.loaded.items]
    return SuiteNeeds(
        name=suite.name,
        max_tokens=suite.parameters.get("max_tokens"),
        longest_prompt_characters=max(map(_characters, prompts), default=0),
        samples=suite.planned,
        pictures=any(prompt.images for prompt in prompts),
        stops=bool(suite.parameters.get("stop")),
    )


def _characters(prompt: Any) -> int:
    """Characters of text; Chinese ones count for three, because each is about a token."""
    if prompt.text is not None:
        return len(prompt.text)
    total = 0
    for message in prompt.messages:
        content = message["content"]
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        total += sum(len(part) + 2 * sum(character >= "\u2e80" for character in part) for part in parts)
    return total


def _said_by_configuration(config: EndpointConfig) -> list[Finding]:
    from evalkit.config import warnings_for
    from evalkit.examine.doctor import Finding, Severity

    return [Finding("configuration", Severity.WARNING, sentence) for sentence in warnings_for(config)]


def show_report(report: Report, *, quiet: bool = False, err: bool = False) -> None:
    """The findings of one endpoint; `quiet` leaves out what is well."""
    click.echo(f"{report.name} ({', '.join(report.urls)})", err=err)
    for finding in report.findings:
        show_finding(finding, quiet=quiet, err=err)
    counts = {name: sum(one.severity == name for one in report.findings) for name in ("problem", "warning", "note")}
    told = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    click.echo(f"  {told}; {report.requests} request{'s' * (report.requests != 1)}", err=err)


def show_finding(finding: Finding, *, quiet: bool = False, err: bool = False) -> None:
    """One finding on a line, with why and how to mend it below where something is amiss."""
    severity = finding.severity.value
    if quiet and severity in {"ok", "note"}:
        return
    word = click.style(f"{severity:<8}", fg=_COLOURS[severity])
    click.echo(f"  {word} {finding.check:<{_LISTED_CHECK}} {finding.what}", err=err)
    indent = " " * (_LISTED_CHECK + 12)
    for label, text in (("why: ", finding.why), ("fix: ", finding.fix)):
        if text and severity != "ok":
            click.echo(f"{indent}{label}{text}", err=err)


def _show_across(across: Sequence[Finding], differences: Sequence[Difference], *, quiet: bool) -> None:
    click.echo("between the two")
    for finding in across:
        show_finding(finding, quiet=quiet)
    if not quiet:
        for one in differences:
            click.echo(f"  {'file':<8} {one.key}: {one.reference} | {one.candidate}")
    if not across and not differences:
        click.echo("  nothing differs")


def _print_json(
    reports: Sequence[Report], across: Sequence[Finding], differences: Sequence[Difference], code: int
) -> None:
    from dataclasses import asdict

    import orjson

    document = {
        "format": 1,
        "kind": "doctor",
        "exit_code": code,
        "endpoints": [asdict(report) for report in reports],
        "between": [asdict(one) for one in across],
        "differences": [asdict(one) for one in differences],
    }
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
