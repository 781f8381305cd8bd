"""What happens before the expensive part of `evalkit compare`: the doctor's quick check, and the fidelity probe.

    both endpoints are up  ->  each is looked at  ->  the probe compares them  ->  the suites are asked

What is found there can end the comparison: then nothing is asked, and why is its verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from evalkit.errors import EndpointError, EvalkitError
from evalkit.model import Probe, Verdict

if TYPE_CHECKING:
    from evalkit.endpoint.settings import ClientSettings
    from evalkit.examine.doctor import Finding, Report
    from evalkit.examine.probe import Plan
    from evalkit.run.execute import Examine, SideRun, Watch

Function = TypeVar("Function", bound=Callable[..., Any])

WORTH_SAMPLES: Final = 2_000
WORTH_TOKENS: Final = 200_000
"""The probe generates ten thousand tokens a side at most, and reads every prompt several times: by itself it runs where
the suites ask for much more. docs/validation.md has what it took on a GPU."""

_OPTIONS: Final = (
    click.option(
        "--no-doctor",
        is_flag=True,
        envvar="EVALKIT_NO_DOCTOR",
        help="Skip the quick check of both endpoints (two short requests each) before they are asked.",
    ),
    click.option(
        "--probe/--no-probe",
        default=None,
        envvar="EVALKIT_PROBE",
        help="First compare log-probabilities as `evalkit probe` does; a DEGRADED candidate is not asked any further. "
        "By itself where much is to be asked, both are up at once, and each scores a text in one request.",
    ),
)


class StoppedError(EvalkitError):
    """What was found before the suites were asked makes the comparison not worth its cost: its verdict, and why."""

    def __init__(self, verdict: Verdict, reasons: tuple[str, ...], probe: Probe | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.verdict = verdict
        self.reasons = reasons
        self.probe = probe
        self.exit_code = verdict.exit_code


def options(function: Function) -> Function:
    """`--no-doctor` and `--probe`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class Before:
    """All that is done with the endpoints of one comparison before its suites are asked; `probe` is what was found.

    `home` is the comparison's folder, where the probe keeps its tokens.
    """

    def __init__(self, sides: Sequence[SideRun], given: Mapping[str, Any], home: Path) -> None:
        self.probe: Probe | None = None
        self._sides, self._given, self._home = sides, given, home
        self._doctor = not given["no_doctor"]
        self._turns = any(side.config.launch is not None and side.config.launch.sequential for side in sides)
        self._up: dict[str, ClientSettings] = {}
        self._reports: list[Report] = []
        self._within = self._look_at_the_probe()

    def ahead(self) -> None:
        """The probe that is asked for by name where the suites do not have both servers up at once.

        Raises:
            StoppedError: the candidate is shown to differ.
            EndpointError: an endpoint does not answer.
        """
        if not self._given["probe"] or self._within or not any(side.missing for side in self._sides):
            return
        if len(self._sides) < 2:
            click.echo("evalkit: --probe needs both endpoints: one side is a stored run", err=True)
            return
        from evalkit.cli import probe

        for trouble in asyncio.run(self._probed([probe.side_of(side.config) for side in self._sides], self._plan())):
            click.echo(f"evalkit: {trouble}", err=True)

    def examiner(self) -> Callable[[Watch], Examine] | None:
        """What looks at each endpoint once it is up and before it is asked; None where nothing is to be done."""
        if not self._doctor and not self._within:
            return None

        def of(watch: Watch) -> Examine:
            async def examine(side: SideRun, settings: ClientSettings) -> None:
                if self._doctor:
                    await self._examine(side, settings, watch)
                self._up[side.config.name] = settings
                if self._within and len(self._up) == len(self._sides):
                    watch.notices.extend(await self._probe_both())

            return examine

        return of

    def _look_at_the_probe(self) -> bool:
        """Whether the probe runs while the servers are up for the suites; takes what an earlier session found."""
        wanted = self._given["probe"]
        if wanted is False or len(self._sides) < 2:
            return False
        from evalkit.cli import probe

        self.probe = probe.stored(self._home, self._plans())
        if self._turns or not all(side.missing for side in self._sides):
            return False
        return bool(wanted) or (self.probe is None and _worth_it(self._sides[1]))

    def _plans(self) -> list[str]:
        return [side.plan.digest for side in self._sides]

    def _plan(self) -> Plan:
        """The built-in prompts: short, and answered at length.

        Suites' own are asked by the suites; many (five shots, an answer of one letter) cost much and say little here.
        """
        from evalkit.cli import probe
        from evalkit.examine.probe import Plan

        return Plan(
            probe.neutral(),
            probe.DEFAULT_TOKENS,
            probe.DEFAULT_GREEDY,
            at_once=probe.at_once([side.config for side in self._sides]),
            slow_methods=bool(self._given["probe"]),
        )

    async def _probe_both(self) -> list[str]:
        """The probe with the servers that are up; where nobody asked for it, its own trouble is only said."""
        from evalkit.cli import probe

        sides = [probe.side_of(side.config, opened=nullcontext(self._up[side.config.name])) for side in self._sides]
        try:
            return await self._probed(sides, self._plan())
        except EndpointError as error:
            if self._given["probe"]:
                raise
            return [f"the fidelity probe came to nothing: {error}"]

    async def _probed(self, sides: Sequence[Any], plan: Plan) -> list[str]:
        """Runs the probe and keeps what it found; why it could not, where it could not.

        A server that cannot score given tokens is no reason to stop, and neither is an open verdict.
        """
        from evalkit.cli import probe
        from evalkit.examine.probe import NotSupportedError, run_probe

        self._say(f"probe: asking both endpoints {len(plan.prompts)} built-in prompts first")
        started = time.perf_counter()
        try:
            findings = await run_probe(sides[0], sides[1], plan, in_turn=self._turns)
        except NotSupportedError as error:
            return [f"{error}; going on with the suites"]
        seconds = time.perf_counter() - started
        more = {"plans": self._plans(), "seconds": round(seconds, 1)}
        report, _told = probe.kept(findings, self._home, more)
        self.probe = probe.as_told(report)
        if report.verdict is Verdict.DEGRADED:
            raise StoppedError(report.verdict, (NOT_ASKED, *report.reasons), self.probe)
        self._say(f"probe: {report.verdict.value} after {seconds:.0f} s; stored in {self._home / probe.NAME}")
        return []

    def _say(self, sentence: str) -> None:
        if not self._given["quiet"]:
            click.echo(f"evalkit: {sentence}", err=True)

    async def _examine(self, side: SideRun, settings: ClientSettings, watch: Watch) -> None:
        """The doctor's word on a side, and on the pair as soon as both are known; warnings become notices."""
        from evalkit.cli.doctor import needs_of_planned, subject_of
        from evalkit.examine.doctor import between, quick_check

        needs = [needs_of_planned(suite) for suite in side.plan.suites]
        report = await quick_check(subject_of(side.config, settings, needs))
        _raise_or_note(side.config.name, report.findings, watch)
        for other in self._reports:
            _raise_or_note(f"{other.name} and {report.name}", between(other, report), watch)
        self._reports.append(report)


NOT_ASKED: Final = (
    "the suites are not asked, because the fidelity probe shows that the candidate differs "
    "(--no-probe asks them all the same)"
)


def _worth_it(side: SideRun) -> bool:
    """Whether what is left to ask of a side costs much more than the probe."""
    samples = tokens = 0
    left = side.missing / max(1, sum(suite.planned for suite in side.plan.suites))
    for suite in side.plan.suites:
        samples += suite.planned
        tokens += suite.planned * int(suite.parameters.get("max_tokens") or 1)
    return samples * left >= WORTH_SAMPLES or tokens * left >= WORTH_TOKENS


def _raise_or_note(name: str, findings: Sequence[Finding], watch: Watch) -> None:
    for finding in findings:
        sentence = f"{name}: {finding.check}: {finding.what}" + (f" ({finding.why})" if finding.why else "")
        if finding.severity == "problem":
            fix = f"; {finding.fix}" if finding.fix else ""
            raise StoppedError(Verdict.INVALID, (f"{sentence}{fix}; --no-doctor goes on all the same",))
        if finding.severity == "warning":
            watch.notices.append(sentence)
