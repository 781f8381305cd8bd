"""`evalkit probe REF CAND`: token-level fidelity in minutes; `bisect` finds the operators that make it fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit import api
from evalkit.cli import options
from evalkit.cli.progress import Terminal
from evalkit.errors import UsageError
from evalkit.options import BisectOptions, ContractOptions, ProbeOptions, SweepOptions

if TYPE_CHECKING:
    from evalkit.examine.bisect import Bisection, Result
    from evalkit.examine.contract import Sheet
    from evalkit.examine.probe_report import FidelityReport

DEFAULTS: Final = ProbeOptions()


@click.command("probe")
@options.of("probe", ProbeOptions)
def probe(reference: Path, candidate: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Compare the log-probabilities that two endpoints give the same texts."""
    if given.pop("sweep") or given["regimes"]:
        return _swept(reference, candidate, given, quiet=quiet, as_json=as_json)
    from evalkit.examine.probe import NotSupportedError
    from evalkit.model import Verdict, said

    chosen = options.made(ProbeOptions, given)
    try:
        found = api.probe(reference, candidate, chosen, Terminal(quiet=quiet or as_json))
    except NotSupportedError as error:
        if not as_json:
            raise
        told = {
            "kind": "fidelity probe",
            "supported": False,
            "verdict": Verdict.INVALID.value,
            "reasons": [said(str(error))],
        }
        options.print_json(told)
        return Verdict.INVALID.exit_code
    if as_json:
        options.print_json(found.document)
    else:
        _show(found.report, found.document)
        click.echo(f"stored in {found.folder / 'probe.json'}", err=True)
    return found.verdict.exit_code


def _swept(reference: Path, candidate: Path, given: Mapping[str, Any], *, quiet: bool, as_json: bool) -> int:
    """The map of regimes."""
    for one in fields(ProbeOptions):
        if one.name not in {"overrides", "seed", "out"} and given.get(one.name, one.default) != one.default:
            raise UsageError(f"--{one.name}: has no effect on a sweep, whose regimes say what is asked")
    found = api.sweep(reference, candidate, options.made(SweepOptions, given), Terminal(quiet=quiet or as_json))
    if as_json:
        options.print_json(found.document())
        return found.verdict.exit_code
    from evalkit.render.jinja import own

    click.echo(own("sweep.txt.j2", told=found.document()), nl=False)
    return found.verdict.exit_code


def _show(report: FidelityReport, document: Mapping[str, Any]) -> None:
    """The probe's result for people, on stdout."""
    from statistics import median

    from rich.console import Console
    from rich.table import Table

    from evalkit.render.jinja import fill
    from evalkit.resources import data_folder

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("tokens", "shift", "k3", "|Δ|", "worst", "loss", ">.5", ">2", "top-1", "verdict"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in (*report.noise.items(), *report.comparisons.items()):
        judged = report.judged.get(name)
        verdict = "own noise" if name in report.noise else judged.verdict.value if judged else "INVALID"
        if one is None:
            table.add_row(name, "0", *[""] * 8, verdict)
            continue
        share = one.agreement.share if one.agreement else None
        figures = (one.nll_shift.point, one.k3.point, one.mean_abs, one.worst_text, one.largest_loss)
        lost = (str(losses.tokens) for losses in one.losses)
        agreed = "" if share is None else f"{share:.1%}"
        table.add_row(name, str(one.tokens), *(f"{value:.2g}" for value in figures), *lost, agreed, verdict)
    console = Console()
    console.print(table)
    parting = median(report.greedy.first_differences or [0]) + 1
    told = {"report": report, "document": document, "parting": parting}
    console.print(fill(data_folder("reports") / "probe.txt.j2", told), end="", highlight=False, markup=False)


@click.command("contract")
@options.of("contract", ContractOptions)
def contract(reference: Path, candidate: Path | None, as_json: bool, **given: Any) -> int:
    """Hold an endpoint to what its API promises, with some 390 short requests; with two files, one against another."""
    if candidate is None and given["out"] is not None:
        raise UsageError("--out: has no effect on one endpoint: nothing is stored")
    found = api.contract(reference, candidate, options.made(ContractOptions, given))
    if found.comparison is not None:
        _show_pair(found.comparison, found.sheets, as_json=as_json)
        return found.exit_code
    (sheet,) = found.sheets
    if as_json:
        told = {"requests": sheet.requests, "tokens": sheet.tokens, "promises": [asdict(one) for one in found.kept]}
        options.print_json({"kind": "contract", "name": sheet.config.name, "exit_code": found.exit_code, **told})
        return found.exit_code
    for one in found.kept:
        word = "broken" if one.problem else "once" if one.broken else "kept"
        colour = {"broken": "red", "once": "yellow", "kept": "green"}[word]
        line = f"{one.broken or one.cases:>4} of {one.cases:<4} {one.name}"
        click.echo(f"{click.style(f'{word:<7}', fg=colour)}{line}{f'; {one.first}' if one.first else ''}")
    if not sheet.answered:
        click.echo(f"{sheet.config.name} answers nothing: {sheet.trials[0].seen}")
    _show_cost(found.sheets)
    return found.exit_code


def _show_pair(made: api.Comparison, sheets: Sequence[Sheet], *, as_json: bool) -> None:
    """What the candidate breaks and the reference keeps; the table of all is in the report."""
    from evalkit.model import Verdict
    from evalkit.render.document import to_json
    from evalkit.render.words import SYMBOLS, say

    if as_json:
        click.echo(to_json(made.value).decode(), nl=False)
        return
    language = options.spoken()
    kept = [row for row in made.value.suites if row.verdict is Verdict.EQUIVALENT]
    click.echo(f"{SYMBOLS[Verdict.EQUIVALENT]} {len(kept)} promises of {len(made.value.suites)}: no difference")
    for row in made.value.suites:
        # What both sides break alike is no difference, and worth a line.
        if row.verdict is not Verdict.EQUIVALENT or "both" in row.reasons[0].values:
            click.echo(f"{SYMBOLS[row.verdict]} {row.label}: {say(row.reasons[0], language)}")
    for note in made.value.notes:
        click.echo(f"  {say(note, language)}")
    click.echo(f"{SYMBOLS[made.verdict]} {made.verdict.value}: {say(made.value.reasons[0], language)}")
    _show_cost(sheets)
    click.echo(f"stored in {made.file}; `evalkit report {made.folder}` shows every promise", err=True)


def _show_cost(sheets: Sequence[Sheet]) -> None:
    for one in sheets:
        left = f"; {one.left} requests were left out, as it is slow" if one.left else ""
        click.echo(f"{one.config.name}: {one.requests} requests, {one.tokens:,} tokens, {one.seconds:.0f} s{left}")


@click.command("bisect")
@options.of("bisect", BisectOptions)
def bisect(reference: Path, candidate: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Find the operators that make CANDIDATE fail the fidelity probe against REFERENCE."""
    from evalkit.examine.bisect import most_tests, operators

    chosen = options.made(BisectOptions, {**given, "operators": operators(given["operators"])})
    names = list(chosen.operators)

    def tell(number: int, result: Result) -> None:
        if not quiet:
            click.echo(f"{number:3}: {len(result.on)} on: {effect(result)}", err=True)

    if not quiet:
        bound = ", ".join(f"{most_tests(len(names), k)} for {k}" for k in (1, 2, 3))
        click.echo(f"{len(names)} operators; at most so many probes by the number of guilty ones: {bound}", err=True)
    found = api.bisect(reference, candidate, chosen, tell)
    if as_json:
        options.print_json(found.document())
    else:
        click.echo(_told(found), nl=False)
        click.echo(f"{found.asked} probes asked, {found.stored} were stored; all are in {found.folder}", err=True)
    return found.exit_code


def _told(bisection: Bisection) -> str:
    """The result for people."""
    from evalkit.render.jinja import own

    found, results, names = bisection.found, bisection.results, frozenset(bisection.names)
    rest = names.difference(*found.culprits)
    tried: dict[str, Any] = {"none": results.get(frozenset()), "all": results.get(names), "left": results.get(rest)}
    return own("bisect.txt.j2", found=found, results=results, rest=rest, effect=effect, **tried)


def effect(result: Result) -> str:
    """A result in a few words: the crash's cause, or the verdict and its size."""
    from evalkit.render.words import say, say_all

    if result.kind == "crash":
        return f"crash: {say(result.reasons[0]).splitlines()[0] if result.reasons else 'no reason is known'}"
    if result.k3 is None:
        return f"{result.verdict.value}: {say_all(result.reasons)}"
    return (
        f"{result.verdict.value}, k3 {result.k3:.2g} and mean |Δ logprob| {result.mean_abs:.2g} nats per token "
        f"over {result.tokens} tokens"
    )
