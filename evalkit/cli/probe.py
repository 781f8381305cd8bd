"""`evalkit probe REF CAND`: token-level fidelity in minutes, before any benchmark; the exit code is the verdict's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit.cli import options

if TYPE_CHECKING:
    from evalkit.config import EndpointConfig
    from evalkit.endpoint.settings import ClientSettings
    from evalkit.examine.probe import Findings, Plan, Side
    from evalkit.examine.probe_report import FidelityReport
    from evalkit.model import Message, Probe

NAME: Final = "probe.json"
LONGEST_PROMPT_CHARACTERS: Final = 6_000
DEFAULT_PROMPTS: Final = 64
DEFAULT_TOKENS: Final = 128
DEFAULT_GREEDY: Final = 16


@click.command("probe")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--prompts", type=click.IntRange(8, 4096), default=DEFAULT_PROMPTS, show_default=True, help="How many prompts."
)
@click.option(
    "--tokens", type=click.IntRange(8, 4096), default=DEFAULT_TOKENS, show_default=True, help="Longest text, in tokens."
)
@click.option(
    "--greedy",
    type=click.IntRange(min=0),
    default=DEFAULT_GREEDY,
    show_default=True,
    help="Prompts that are also answered greedily, to see where the texts part.",
)
@click.option("--neutral", is_flag=True, help="Use the 64 built-in prompts, not those of the configured suites.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the texts.")
@click.option("--enough", is_flag=True, help="Also say how few of the texts would have given the same verdict.")
@options.overrides
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for probe.json and probe_tokens.jsonl (default: the comparison's, beside the runs).",
)
@options.quiet
@options.as_json
def command(reference: Path, candidate: Path, **given: Any) -> int:
    """Compare the log-probabilities that two endpoints give the same texts.

    REFERENCE and CANDIDATE are endpoint YAML files. The margin comes from the reference compared with itself. Exits 0
    equivalent, 1 degraded, 3 invalid or not supported by a server, 4 inconclusive. A detector of faults, no measure of
    quality: what passes here still has to pass the suites.
    """
    from evalkit.examine.probe import NotSupportedError

    configs = [options.load(path, given["overrides"]) for path in (reference, candidate)]
    messages, source = prompts_for(configs[0], given["prompts"], neutral=given["neutral"])
    plan = _plan(messages, given, configs)
    if not given["quiet"] and not given["as_json"]:
        click.echo(f"asking both endpoints {len(messages)} {source}, texts of up to {given['tokens']} tokens", err=True)
    home = given["out"] or configs[0].runs / f"{configs[0].name}--{configs[1].name}"
    try:
        report, document = probe_and_store(configs, plan, home, enough=given["enough"])
    except NotSupportedError as error:
        if not given["as_json"]:
            raise
        return _unsupported(str(error))
    if given["as_json"]:
        print_document(document)
    else:
        show(report)
        if given["enough"]:
            click.echo(enough_line(document["enough"]))
        click.echo(f"stored in {home / 'probe.json'}", err=True)
    return report.verdict.exit_code


def _plan(messages: tuple[tuple[Message, ...], ...], given: Mapping[str, Any], configs: list[EndpointConfig]) -> Plan:
    from evalkit.examine.probe import Plan

    return Plan(
        prompts=messages,
        tokens=given["tokens"],
        greedy=min(given["greedy"], len(messages)),
        seed=given["seed"],
        at_once=at_once(configs),
    )


def at_once(configs: list[EndpointConfig]) -> int:
    """How many requests at a time both sides take."""
    return min(config.limits.in_flight for config in configs)


def neutral() -> tuple[tuple[Message, ...], ...]:
    """The built-in prompts."""
    from evalkit.examine.probe import neutral_prompts

    return neutral_prompts(DEFAULT_PROMPTS)


def prompts_for(
    config: EndpointConfig, count: int, *, neutral: bool = False
) -> tuple[tuple[tuple[Message, ...], ...], str]:
    """Prompts of the configured suites, evenly spread, or the built-in ones where there are none; and what they are."""
    from evalkit.errors import UsageError
    from evalkit.examine.probe import NEUTRAL, neutral_prompts, spread

    if not neutral and (config.suites or config.pack):
        from evalkit.run.plan import make_plan

        try:
            plan = make_plan(config)
        except UsageError as error:
            click.echo(f"evalkit: the built-in prompts stand in for the suites': {error}", err=True)
        else:
            share = -(-count // len(plan.suites))
            chosen: list[tuple[Message, ...]] = []
            for suite in plan.suites:
                fitting = [item.prompt.messages for item in suite.loaded.items if fits(item.prompt)]
                chosen += spread(fitting, share)
            if chosen:
                return spread(chosen, count), "prompts of the suites"
    return neutral_prompts(count), f"built-in prompts (of {len(NEUTRAL)})"


def fits(prompt: Any) -> bool:
    """Text only, and short enough that a few hundred of them are read in minutes."""
    if not prompt.messages or prompt.images:
        return False
    contents = [message["content"] for message in prompt.messages]
    return all(isinstance(text, str) for text in contents) and sum(map(len, contents)) <= LONGEST_PROMPT_CHARACTERS


def enough_line(found: Mapping[str, int] | None) -> str:
    """With how few texts the verdict stood, in a sentence."""
    if found is None:
        return "no number of texts is enough: the verdict is INVALID"
    return f"the first {found['texts']} texts ({found['tokens']} tokens) give this verdict, and so do any more of them"


def probe_and_store(
    configs: list[EndpointConfig], plan: Plan, home: Path, *, enough: bool = False
) -> tuple[FidelityReport, dict[str, Any]]:
    """Run the probe on two configurations and keep what it found in `home`; gives the report and its document.

    With `enough` the document also says with how few texts the verdict stood: null where it is INVALID.

    Raises:
        NotSupportedError: one of the servers cannot score given tokens.
        EndpointError: one of them does not answer.
        StorageError: where the disk refuses.
    """
    from dataclasses import asdict

    from evalkit.examine import probe_report
    from evalkit.examine.probe import run_probe

    sides = [side_of(config) for config in configs]
    in_turn = any(config.launch is not None and config.launch.sequential for config in configs)
    findings = asyncio.run(run_probe(sides[0], sides[1], plan, in_turn=in_turn))
    more: dict[str, Any] = {}
    if enough:
        found = probe_report.enough(findings)
        more["enough"] = None if found is None else asdict(found)
    return kept(findings, home, more)


def kept(findings: Findings, home: Path, more: Mapping[str, Any]) -> tuple[FidelityReport, dict[str, Any]]:
    """Judges what was found and keeps it in `home`, with `more` in the document; gives the report and the document.

    Raises:
        StorageError: where the disk refuses.
    """
    from datetime import UTC, datetime

    from evalkit import __version__
    from evalkit.examine.probe_report import assess, document

    report = assess(findings)
    told = document(report, findings, datetime.now(UTC).isoformat(timespec="seconds"), __version__) | dict(more)
    _store(home, told, findings)
    return report, told


def as_told(report: FidelityReport) -> Probe:
    """What a comparison holds of the probe."""
    from evalkit.examine.probe_report import FORWARD
    from evalkit.model import Probe

    one = report.comparisons[FORWARD]
    sizes = (0, 0, None) if one is None else (one.sequences, one.tokens, one.mean_abs)
    return Probe(report.verdict, report.reasons, *sizes)


def stored(home: Path, plans: list[str]) -> Probe | None:
    """What an earlier session's probe before the same suites (by the digests of their plans) found, and let pass."""
    import orjson

    from evalkit.examine.probe_report import FORWARD
    from evalkit.model import Probe, Verdict

    try:
        told = orjson.loads((home / NAME).read_bytes())
        if told["plans"] != plans or told["verdict"] == Verdict.DEGRADED.value:
            return None
        one = told["comparisons"][FORWARD] or {"sequences": 0, "tokens": 0, "mean_abs": None}
        sizes = int(one["sequences"]), int(one["tokens"]), one["mean_abs"] and float(one["mean_abs"])
        return Probe(Verdict(told["verdict"]), tuple(map(str, told["reasons"])), *sizes)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # none, or none that can be read: it is made again


def side_of(
    config: EndpointConfig, log: Path | None = None, opened: AbstractAsyncContextManager[ClientSettings] | None = None
) -> Side:
    """One side of the probe, from its configuration; a server of its own writes to `log` (default: beside its runs).

    `opened` is the endpoint where it is up already.
    """
    from evalkit.examine.probe import Side
    from evalkit.serve import launch

    sampling = config.sampling
    fields: dict[str, Any] = dict(sampling.extra_body)
    if sampling.chat_template_kwargs:
        fields["chat_template_kwargs"] = sampling.chat_template_kwargs
    file = log or config.runs / config.name / "server.log"
    return Side(config.name, lambda: opened or launch.opened(config, file), fields)


def _store(home: Path, told: Mapping[str, Any], findings: Findings) -> None:
    import orjson

    from evalkit.errors import StorageError
    from evalkit.examine.probe_report import sequences

    lines = b"".join(orjson.dumps(entry) + b"\n" for entry in sequences(findings))
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / NAME).write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        (home / "probe_tokens.jsonl").write_bytes(lines)
    except OSError as error:
        raise StorageError(f"{home}: cannot be written: {error.strerror}") from error


def _unsupported(why: str) -> int:
    from evalkit.model import Verdict

    print_document({"kind": "fidelity probe", "supported": False, "verdict": Verdict.INVALID.value, "reasons": [why]})
    return Verdict.INVALID.exit_code


def print_document(document: Mapping[str, Any]) -> None:
    """The probe's document as JSON, on stdout."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def show(report: FidelityReport) -> None:
    """The probe's result for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("tokens", "shift", "k3", "mean|Δ|", "p99", "top-1", "verdict"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in (*report.noise.items(), *report.comparisons.items()):
        judged = report.judged.get(name)
        verdict = "own noise" if name in report.noise else judged.verdict.value if judged else "INVALID"
        if one is None:
            table.add_row(name, "0", *[""] * 5, verdict)
            continue
        share = one.agreement.share if one.agreement else None
        figures = (one.nll_shift.point, one.k3.point, one.mean_abs, one.p99_abs)
        agreed = "" if share is None else f"{share:.1%}"
        table.add_row(name, str(one.tokens), *(f"{value:.2g}" for value in figures), agreed, verdict)
    console = Console()
    console.print(table)
    for line in summary(report):
        console.print(line, highlight=False, markup=False)


def summary(report: FidelityReport) -> list[str]:
    """The lines under the table: margins, greedy texts, costs, verdict with its reasons."""
    lines = []
    if report.margins is not None:
        lines.append(
            f"margins from the reference's own noise: nll shift {report.margins.nll_shift:.2g}, "
            f"k3 {report.margins.k3:.2g} nats per token"
        )
    greedy = report.greedy
    if greedy.compared:
        lines.append(f"greedy texts: {greedy.identical} of {greedy.compared} identical{_parting(report)}")
    for name, asked in report.asked.items():
        lines.append(
            f"{name}: {asked.requests} requests, {asked.prompt_tokens} tokens read, {asked.completion_tokens} "
            f"generated; by {asked.method}"
        )
    lines.append(f"{report.verdict.value}: {_MEANINGS[report.verdict.value]}")
    return lines + [f"  {reason}" for reason in report.reasons]


def _parting(report: FidelityReport) -> str:
    from statistics import median

    greedy = report.greedy
    if not greedy.first_differences:
        return ""
    where = f"; the others part at token {median(greedy.first_differences) + 1:g} (median)"
    return where + (f", {greedy.near_ties} of them at a near-tie" if greedy.near_ties else "")


_MEANINGS: Final = {
    "EQUIVALENT": "shown to give the same tokens the same probabilities, within the margins",
    "DEGRADED": "shown to differ by more than the margins",
    "INCONCLUSIVE": "neither shown; more prompts or longer texts would narrow the intervals",
    "INVALID": "cannot be judged",
}
