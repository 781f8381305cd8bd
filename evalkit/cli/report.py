"""A stored comparison: `evalkit report` renders it, `explain` says its verdict, `flips` lists what changed."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from evalkit import api
from evalkit.cli import options
from evalkit.errors import UsageError
from evalkit.model import Comparison, Flip
from evalkit.options import ReportOptions
from evalkit.render.report import FORMATS, check_format


@click.command("report")
@click.option(
    "--format",
    "form",
    default="terminal",
    metavar="FORMAT",
    help=f"One of {', '.join(FORMATS)}; or the path of a template, NAME.md.j2 (.html, .tex, .csv, .txt, .xml, .json).",
)
@options.of("report", ReportOptions)
def report(comparison: Path, form: str, out: Path | None, **given: Any) -> None:
    """Render a stored comparison."""
    made = api.load_comparison(comparison)
    chosen = options.made(ReportOptions, given)
    if form == "html" and out is None and sys.stdout.isatty():
        raise UsageError("this is a page for a browser: give --out FILE.html")
    if form == "terminal" and out is None:
        check_format(form, chosen)
        from rich.console import Console

        from evalkit.render.tables import TerminalTable

        Console().print(TerminalTable(made.value, chosen.language, chosen.behaviour))
        return
    options.deliver(made.report(form, chosen), out)


@click.command("explain")
@options.of("explain")
def explain(comparison: Path, suite: str | None, language: api.Language) -> None:
    """Say the verdict in three plain sentences a suite: what was asked, what came out, what may be said."""
    options.deliver(api.load_comparison(comparison).explain(suite, language=language), None)


_CONTEXT: Final = 60  # characters shown before the first differing word
_SHOWN: Final = 700  # characters of a reply shown after it


@click.command("flips")
@options.of("flips")
def flips(comparison: Path, suite: str | None, whole: bool, as_json: bool, **given: Any) -> None:
    """List the items that changed between two runs, the strongest evidence first."""
    made = api.load_comparison(comparison)
    found, of_the_runs = made.changed(
        suite,
        given["kinds"] or api.FLIP_KINDS[:2],
        item=given["item"],
        most=given["number"],
        include_questions=given["include_questions"],
    )
    if not of_the_runs:
        click.echo("evalkit: the runs cannot be read as they were: showing what the comparison holds of them", err=True)
    gated = {one.suite for one in made.value.suites if one.gated}
    if not given["include_questions"] and any(flip.suite in gated for flip in found):
        click.echo("evalkit: what gated data sets and replies to them say is left out: --include-questions", err=True)
    if as_json:
        options.print_json([asdict(flip) for flip in found])
        return
    if not found and not made.value.suites:
        from evalkit.render.words import say_all

        click.echo(f"the suites were not asked: {say_all(made.value.reasons) or 'the comparison holds none'}")
    elif not found:
        click.echo("no item changed" if suite is None else f"no item of {suite} changed")
    for flip in found:
        _print_flip(flip, made.value, whole=whole)


def _print_flip(flip: Flip, made: Comparison, *, whole: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.render.words import clean, one_line, without_commands

    label = next((suite.label for suite in made.suites if suite.suite == flip.suite), flip.suite)
    scores = f"{flip.reference_score:.3g} -> {flip.candidate_score:.3g}"
    heading = f"{label}, item {flip.item}, repeat {flip.repeat}: {flip.kind} {scores}, evidence {flip.evidence:.1f}"

    def text(content: str, style: str = "") -> Text:
        return Text(without_commands(content), style=style)

    console = Console()
    console.print(text(one_line(heading), style="bold"))
    if flip.question is not None:
        console.print(text(f"question: {clean(flip.question)}"))
    if flip.target:
        console.print(text(f"expected: {one_line(flip.target)}"))
    one, two, alike = _windows(flip, whole=whole)
    if alike:
        console.print(Text(f"the first {alike} characters are alike", style="dim"))
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for side, status, answer in (
        (made.reference.name, flip.reference_status, flip.reference_answer),
        (made.candidate.name, flip.candidate_status, flip.candidate_answer),
    ):
        told = status if answer is None else f"{status}, answer {answer}"
        table.add_column(text(one_line(f"{side}: {told}")), overflow="fold", ratio=1)
    table.add_row(text(clean(one)), text(clean(two)))
    console.print(table)
    console.print()


def _windows(flip: Flip, *, whole: bool) -> tuple[str, str, int]:
    """What is shown of both replies, and how many characters before it are alike and left out."""
    from evalkit.codec import first_difference
    from evalkit.compare.behaviour import word_start

    one, two = flip.reference_text, flip.candidate_text
    if whole:
        return one, two, 0
    shared = first_difference(one, two)
    position = min(len(one), len(two)) if shared is None else shared
    start = max(0, word_start(one, position) - _CONTEXT)
    return _window(one, start), _window(two, start), start


def _window(text: str, start: int) -> str:
    end = start + _CONTEXT + _SHOWN
    head = "…" if start else ""
    return f"{head}{text[start:]}" if len(text) <= end + 40 else f"{head}{text[start:end]}… ({len(text) - end} more)"
