"""`evalkit judge-table FILE`: what published tables of two means can support, and what they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit import api
from evalkit.cli import options
from evalkit.options import TableOptions

if TYPE_CHECKING:
    from evalkit.compare.published import PublishedJudgment


@click.command("judge-table")
@click.argument("files", nargs=-1, required=True, type=options.FILE)
@options.margin("Tolerance in percentage points, for all rows or for one (default 2).", "METRIC")
@options.items("How many items a metric has, where evalkit does not know.", "METRIC")
@options.alpha("Level of each one-sided test; intervals are at 1 - 2 alpha.")
@options.as_json
def command(files: tuple[Path, ...], as_json: bool, **given: Any) -> int:
    """Judge published tables: two means a row, a known number of items, no item scores.

    FILES are model cards (Markdown), a JSON list of collected tables (objects with card, columns and rows of metric,
    ref, candidate), or CSV files with the columns metric, reference, candidate and optionally n (items), k (repeats)
    and card. Scores may be fractions or percent.

    The intervals are unpaired, about twice as wide as a comparison of item scores would give. Each row gets a
    sentence: what the table supports, or why it supports nothing. Exits with the gravest verdict of all rows.
    """
    from evalkit.compare.published import gravest

    chosen = options.made(TableOptions, given)
    tables = api.judge_tables(files, chosen)
    if as_json:
        options.print_json({"alpha": chosen.alpha, "tables": [table.document(chosen.alpha) for table in tables]})
    else:
        for table in tables:
            _print(table.name, table.judgments)
    return gravest([one for table in tables for one in table.judgments]).exit_code


def _print(name: str, judgments: Sequence[PublishedJudgment]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.compare.published import macro_over_rows
    from evalkit.render import numbers
    from evalkit.render.words import one_line, say

    console = Console()
    table = Table(title=Text(one_line(name)), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("metric", "n", "ref.", "cand.", "difference [interval]", "verdict"):
        table.add_column(head, justify="left" if head in {"metric", "verdict"} else "right")
    for one in judgments:
        scores = ["-" if score is None else f"{score * 100:.2f}" for score in (one.reference, one.candidate)]
        change = "-"
        if one.test is not None:
            change = numbers.change_text(numbers.change(one.test.point, one.test.ci90, one.margin))
        cells = [one.label, "?" if one.n_items is None else str(one.n_items), *scores, change, one.verdict.value]
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    console.print(table)
    for one in judgments:
        console.print(Text(one_line(f"{one.label}: {say(one.reason)}")))
    macro = macro_over_rows(judgments)
    if macro is not None:
        mean = numbers.change_text(numbers.change(macro.difference, macro.ci90, 0.0))
        console.print(Text(f"mean of {macro.suites} rows: {mean} points"))
    console.print()
