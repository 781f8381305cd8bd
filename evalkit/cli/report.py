"""`evalkit report CMP` renders a stored comparison in any format; `explain` says its verdict in plain sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalkit import api
from evalkit.cli import options
from evalkit.options import ReportOptions
from evalkit.render.report import FORMATS, check_format


@click.command("report")
@options.comparison
@click.option(
    "--format",
    "form",
    default="terminal",
    show_default=True,
    metavar="FORMAT",
    help=f"One of {', '.join(FORMATS)}; or the path of a template, NAME.md.j2 (.html, .tex, .csv, .txt, .xml, .json).",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not to stdout.")
@options.language
@click.option("--behaviour", is_flag=True, help="Add the rows beside accuracy (terminal, markdown, latex).")
@click.option(
    "--include-questions", is_flag=True, help="HTML: print questions, answers and replies of gated data sets too."
)
@click.option("--include-hosts", is_flag=True, help="HTML: print where the endpoints are, and whole paths.")
def report(comparison: Path, form: str, out: Path | None, **given: Any) -> None:
    """Render a stored comparison.

    CMP is the folder that `evalkit compare` stored, or the comparison.json in it. Nothing is run or judged anew.
    """
    made = api.load_comparison(comparison)
    chosen = options.made(ReportOptions, given)
    if form == "html" and out is None:
        options.refuse_terminal("--out")
    if form == "terminal" and out is None:
        check_format(form, chosen)
        from rich.console import Console

        from evalkit.render.tables import TerminalTable

        Console().print(TerminalTable(made.value, chosen.language, chosen.behaviour))
        return
    options.deliver(made.report(form, chosen), out)


@click.command("explain")
@options.comparison
@click.argument("suite", required=False)
@options.language
def explain(comparison: Path, suite: str | None, language: api.Language) -> None:
    """Say the verdict in three plain sentences a suite: what was asked, what came out, what may be said.

    CMP is the folder that `evalkit compare` stored, or the comparison.json in it; SUITE is one of its suites, and
    without it all of them are explained.
    """
    options.deliver(api.load_comparison(comparison).explain(suite, language=language), None)
