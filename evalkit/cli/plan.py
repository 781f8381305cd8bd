"""`evalkit plan`: what a comparison costs and how often its gate answers, before anything is asked; and designs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit import api
from evalkit.cli import options
from evalkit.cli.progress import Terminal
from evalkit.errors import UsageError
from evalkit.files import write_whole
from evalkit.options import PlanOptions

if TYPE_CHECKING:
    from rich.table import Table

    from evalkit.examine.forecast import Forecast


@click.command("plan")
@options.of("plan", PlanOptions)
def plan(reference: Path, candidate: Path, as_json: bool, write: Path | None, **given: Any) -> int:
    """Plan a comparison of two endpoints without asking either, and without their data sets."""
    if write is not None and not given["design"]:
        raise UsageError("--write: has no effect without --design")
    made = api.plan(reference, candidate, options.made(PlanOptions, given), Terminal(quiet=False))
    if write is not None and made.designed:
        write_whole(write, made.pack().encode())
    if as_json:
        options.print_json(made.document())
    else:
        _show_plan(made)
        if made.designed:
            click.echo(f"\n{made.pack()}".rstrip() if write is None else f"{write}: for `pack: {write}` on both sides")
    return 0 if made.can_decide else 4


def _show_plan(made: Forecast) -> None:
    from rich.console import Console
    from rich.text import Text

    from evalkit.render.jinja import own
    from evalkit.render.words import amount

    console = Console()
    console.print(_plan_table(made))
    for one in made.suites:
        read = f" ({amount(one.judge_tokens)} tokens to read)"
        judged = f"; at most {one.judge_calls:,} judge calls{read}" if one.judge_calls else ""
        console.print(Text(f"{one.label}: spread {one.spread}; length {one.length}{judged}"))
    for sentence in made.problems:
        console.print(Text(sentence))
    if made.suites:
        console.print(_chances_table(made))
        console.print(Text(" ".join(own("plan.txt.j2", plan=made).split())))


def _plan_table(made: Forecast) -> Table:
    from evalkit.examine.forecast import percent
    from evalkit.render.terminal import sheet
    from evalkit.render.words import amount

    table = sheet("suite", "items", "k", "margin", "passes", "tokens", "hours", left={"suite"})
    speed = made.options.tokens_per_second
    inside = made.chances[0] if made.chances else None
    for one in made.suites:
        hours = one.hours(speed)
        table.add_row(
            one.label,
            f"{one.items:,}",
            "/".join(dict.fromkeys(str(repeats) for repeats in one.repeats)),
            f"±{one.margin * 100:g}",
            f"{percent(inside.suites[one.suite])} %" if inside else "",
            "?" if one.tokens is None else "/".join(dict.fromkeys(amount(side) for side in one.tokens)),
            "?" if hours is None else f"{hours:.1f}",
        )
    if inside is not None and inside.mean is not None:
        margin = f"±{made.overall_margin * 100:g}"
        table.add_row(f"mean of {len(made.suites)}", "", "", margin, f"{percent(inside.mean)} %", "", "")
    return table


def _chances_table(made: Forecast) -> Table:
    """How the whole comparison ends, by verdict and truth."""
    from evalkit.examine.forecast import percent
    from evalkit.render.terminal import sheet

    truths = ["equal", *(f"{one.loss_pt:g} pt worse" for one in made.chances[1:])]
    table = sheet("were every suite", *truths, left={"were every suite"})
    for verdict in ("EQUIVALENT", "DEGRADED", "INCONCLUSIVE"):
        table.add_row(verdict, *(f"{percent(one.verdicts[verdict])} %" for one in made.chances))
    return table
