"""`evalkit run FILE`: asks one endpoint what is missing and stores every reply."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from evalkit.cli import options


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@options.overrides
@options.limit
@options.quiet
@options.as_json
def command(file: Path, overrides: tuple[str, ...], limit: int | None, quiet: bool, as_json: bool) -> int:
    """Run the suites of one endpoint.

    FILE is the endpoint's YAML. Answers that are stored already are not asked for again; the run folder is
    RUNS/NAME of the configuration. Exits 0 when every sample has an answer, 3 when some have none.
    """
    from evalkit.run import execute

    config = options.load(file, overrides, limit)
    side = execute.prepare(config)
    (outcome,) = run_with_display([side], quiet=quiet)
    report = summary(outcome)
    if as_json:
        import orjson

        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo("\n".join(_lines(report)))
    for sentence in problems(outcome):
        click.echo(f"evalkit: {sentence}", err=True)
    return 0 if outcome.problem is None and not outcome.failed and not outcome.stopped else 3


def run_with_display(sides: list[Any], *, quiet: bool) -> list[Any]:
    """Runs the sides with the progress shown on stderr, and then what was noticed on the way."""
    from evalkit.cli import progress
    from evalkit.run import execute

    watch = execute.Watch()
    for sentence in _warnings(sides):
        click.echo(f"evalkit: {sentence}", err=True)
    context, show = progress.display(watch, quiet=quiet)
    with context:
        outcomes = asyncio.run(execute.run_sides(sides, watch, show))
    for notice in watch.notices:
        click.echo(f"evalkit: {notice}", err=True)
    return outcomes


def _warnings(sides: list[Any]) -> list[str]:
    """What does as it says but perhaps not as it was meant, said before anything is paid for."""
    from evalkit.config import warnings_for

    return [
        sentence
        for side in sides
        for sentence in warnings_for(side.config, {suite.name: suite.repeats for suite in side.plan.suites})
    ]


def problems(outcome: Any) -> list[str]:
    """A sentence for everything that kept a side from being whole."""
    sentences = [f"{outcome.side.config.name}: {suite}: {why}" for suite, why in outcome.stopped.items()]
    if outcome.problem is not None:
        sentences.insert(0, str(outcome.problem))
    elif outcome.failed:
        sentences.append(
            f"{outcome.side.config.name}: {outcome.failed} requests have no answer; run again to ask them again"
        )
    return sentences


def summary(outcome: Any) -> dict[str, Any]:
    """What a run ended with, per suite: means over the samples that have a value, and counts by status."""
    from collections import Counter

    import numpy as np

    from evalkit.run.read import read_run

    side = read_run(outcome.side.folder)
    suites = []
    for name, suite in side.suites.items():
        values = suite.samples.value
        valued = values[~np.isnan(values)]
        suites.append(
            {
                "suite": name,
                "label": suite.facts.label,
                "planned": len(suite.samples),
                "valued": int(valued.size),
                "mean": headline(suite) if valued.size else None,
                "counts": dict(Counter(suite.samples.status)),
                "failures": dict(Counter(kind for kind in suite.samples.failure if kind)),
            }
        )
    return {"run": str(outcome.side.folder), "asked": outcome.asked, "suites": suites}


def headline(suite: Any) -> float | None:
    """The suite's headline number over the samples that have a value."""
    from evalkit.compare.headline import headline as compute

    return compute(suite)


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [f"{report['run']}: {report['asked']} requests asked"]
    for suite in report["suites"]:
        mean = "no value" if suite["mean"] is None else f"{suite['mean']:.4f}"
        counts = ", ".join(f"{name} {count}" for name, count in sorted(suite["counts"].items()))
        lines.append(f"  {suite['label']}: {mean} over {suite['valued']} of {suite['planned']} samples ({counts})")
    return lines
