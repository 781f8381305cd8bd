"""What happens before the expensive part of `evalkit compare`: the doctor's quick check, and the fidelity probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from evalkit.errors import EvalkitError

if TYPE_CHECKING:
    from evalkit.endpoint.client import ClientSettings
    from evalkit.endpoint.doctor import Finding, Report
    from evalkit.run.execute import Examine, SideRun, Watch

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--no-doctor",
        is_flag=True,
        envvar="EVALKIT_NO_DOCTOR",
        help="Skip the quick check of both endpoints (two short requests each) before they are asked.",
    ),
    click.option(
        "--probe",
        is_flag=True,
        help="First compare log-probabilities as `evalkit probe` does; a DEGRADED candidate is not asked any further.",
    ),
)


class UnfitError(EvalkitError):
    """An endpoint in whose state no comparison is worth its cost."""

    exit_code = 3


def options(function: Function) -> Function:
    """`--no-doctor` and `--probe`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def examiner(given: Mapping[str, Any]) -> Callable[[Watch], Examine] | None:
    """What looks at each endpoint once it is up and before it is asked; None where that is to be skipped."""
    return None if given["no_doctor"] else _Examiner


class _Examiner:
    """Examines each side, and the pair as soon as both are known; warnings become notices of the run.

    Raises:
        UnfitError: a problem at one endpoint, or between the two.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._reports: list[Report] = []

    async def __call__(self, side: SideRun, settings: ClientSettings) -> None:
        from evalkit.cli.doctor import needs_of_planned, subject_of
        from evalkit.endpoint.doctor import between, quick_check

        needs = [needs_of_planned(suite) for suite in side.plan.suites]
        report = await quick_check(subject_of(side.config, settings, needs))
        self._raise_or_note(side.config.name, report.findings)
        for other in self._reports:
            self._raise_or_note(f"{other.name} and {report.name}", between(other, report))
        self._reports.append(report)

    def _raise_or_note(self, name: str, findings: Sequence[Finding]) -> None:
        for finding in findings:
            sentence = f"{name}: {finding.check}: {finding.what}" + (f" ({finding.why})" if finding.why else "")
            if finding.severity == "problem":
                fix = f"; {finding.fix}" if finding.fix else ""
                raise UnfitError(f"{sentence}{fix}; --no-doctor goes on all the same")
            if finding.severity == "warning":
                self._watch.notices.append(sentence)


def stage_zero(sides: Sequence[SideRun], given: Mapping[str, Any]) -> None:
    """The fidelity probe, where it is asked for, there are two endpoints, and something is left to ask.

    A server that cannot score given tokens is no reason to stop, and neither is an open verdict: both are said.

    Raises:
        click.exceptions.Exit: with the verdict's exit code, where the candidate is shown to differ.
        EndpointError: an endpoint does not answer.
    """
    if not given["probe"]:
        return
    if len(sides) < 2:
        click.echo("evalkit: --probe needs both endpoints: one side is a stored run", err=True)
        return
    if not any(side.missing for side in sides):
        return
    from evalkit.cli import probe
    from evalkit.endpoint.fidelity import NotSupportedError, Plan
    from evalkit.endpoint.prompts import spread

    configs = [side.config for side in sides]
    fitting = [
        item.prompt.messages for suite in sides[0].plan.suites for item in suite.loaded.items if probe.fits(item.prompt)
    ]
    messages = spread(fitting, probe.DEFAULT_PROMPTS) or probe.neutral()
    plan = Plan(messages, probe.DEFAULT_TOKENS, probe.DEFAULT_GREEDY, at_once=probe.at_once(configs))
    home = given["out"] or configs[0].runs / f"{configs[0].name}--{configs[1].name}"
    try:
        report, document = probe.probe_and_store(configs, plan, home)
    except NotSupportedError as error:
        click.echo(f"evalkit: {error}; going on with the suites", err=True)
        return
    if report.verdict == "DEGRADED":
        if given["as_json"]:
            probe.print_document(document)
        else:
            probe.show(report)
        click.echo("evalkit: the suites are not asked: the probe shows that the candidate differs", err=True)
        raise click.exceptions.Exit(report.verdict.exit_code)
    if not given["quiet"]:
        click.echo(f"probe: {report.verdict.value}; stored in {home / 'probe.json'}", err=True)
