"""`evalkit plan REF CAND`: what a comparison will cost and which of its gates can decide, before anything is asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit import api
from evalkit.cli import options
from evalkit.cli.progress import Terminal
from evalkit.options import PlanOptions

if TYPE_CHECKING:
    from evalkit.run.forecast import Forecast


def _number(_context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A number that is one: a range lets NaN through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number", param=parameter)
    return value


@click.command("plan")
@click.argument("reference", type=options.FILE)
@click.argument("candidate", type=options.FILE)
@options.overrides
@options.limit
@options.margin("Tolerance in percentage points, for all suites or for one, in place of the files' own.")
@options.alpha("Level of each one-sided test.")
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    help="Wanted chance of EQUIVALENT for each suite, were the stacks equal.",
)
@options.items("How many items a suite has, where its description does not say.")
@click.option("--most-repeats", type=click.IntRange(min=1), default=64, help="Repeats beyond this are too many.")
@click.option(
    "--tokens-per-second",
    type=click.FloatRange(0, 1e9, min_open=True),
    callback=_number,
    default=1000.0,
    help="What each endpoint generates in all; both are asked at once.",
)
@click.option(
    "--tokens-per-answer",
    type=click.FloatRange(0, 1e9, min_open=True),
    callback=_number,
    help="Mean length of an answer, where no stored run tells (then a quarter of max_tokens is assumed).",
)
@options.as_json
def command(reference: Path, candidate: Path, as_json: bool, **given: Any) -> int:
    """Plan a comparison of two endpoints without asking either, and without their data sets.

    For each suite: items x repeats, the chance that equal stacks come out EQUIVALENT, the repeats that would be
    needed, tokens, hours, the most calls of a judge, and whether the gate can decide at all. A stored run of the
    reference gives its measured variances and lengths; what is assumed otherwise is said. Exits 0 where every gate
    can decide, else 4.
    """
    made = api.plan(reference, candidate, options.made(PlanOptions, given), Terminal(quiet=False))
    if as_json:
        options.print_json(made.document())
    else:
        _print(made)
    return 0 if made.can_decide else 4


def _print(made: Forecast) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.render.words import amount, say
    from evalkit.run.forecast import percent

    gates, speed = made.gates, made.options.tokens_per_second
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("suite", "items", "k", "margin", "power", "k needed", "tokens", "hours", "decides"):
        table.add_column(head, justify="left" if head in {"suite", "decides"} else "right", no_wrap=head != "suite")
    for gate in gates:
        k = "/".join(dict.fromkeys(str(repeats) for repeats in gate.repeats))
        hours = gate.hours(speed)
        table.add_row(
            Text(gate.label),
            f"{gate.items:,}",
            k,
            f"±{gate.margin * 100:g}",
            f"{percent(gate.power)} %",
            "-" if gate.needed_repeats is None else str(gate.needed_repeats),
            "?" if gate.tokens is None else amount(sum(gate.tokens)),
            "?" if hours is None else f"{hours:.1f}",
            "yes" if gate.can_decide else "NO",
        )
    console = Console()
    console.print(table)
    for gate in gates:
        judged = f"; at most {gate.judge_calls:,} judge calls" if gate.judge_calls else ""
        console.print(Text(f"{gate.label}: {say(gate.note)}; variance {gate.variance}; length {gate.length}{judged}"))
    for sentence in made.problems:
        console.print(Text(sentence))
    if gates:
        tokens = sum(sum(gate.tokens) for gate in gates if gate.tokens is not None)
        samples = sum(sum(gate.samples) for gate in gates)
        calls = sum(gate.judge_calls for gate in gates)
        judged = f"at most {calls:,} judge calls, " if calls else ""
        cost = f"{samples:,} samples, {judged}{amount(tokens)} tokens, "
        cost += f"{made.hours:.1f} hours at {speed:g} tokens/s on each side"
        suites = "the only suite" if len(gates) == 1 else f"all {len(gates)} suites"
        chance = f"{suites} would be EQUIVALENT with a chance of {percent(made.power_of_all)} %"
        console.print(Text(f"in all {cost}; were the stacks equal, {chance}"))
