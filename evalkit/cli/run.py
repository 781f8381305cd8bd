"""`evalkit run FILE`: asks one endpoint what is missing and stores every reply."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from evalkit.cli import options

NAMED: Final = 10
"""So many reasons why samples have no value are named for people, by suite."""
ALIKE: Final = 3
"""So many samples are named for each reason."""
REASON: Final = 240
"""So much of a reason is shown, in characters."""


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
        click.echo("\n".join(_lines(report, said=str(outcome.problem or ""))))
    for sentence in problems(outcome):
        click.echo(f"evalkit: {sentence}", err=True)
    return 0 if outcome.problem is None and not outcome.failed and not outcome.stopped else 3


def run_with_display(sides: list[Any], *, quiet: bool, examine: Any = None) -> list[Any]:
    """Runs the sides with the progress shown on stderr, and then what was noticed on the way.

    `examine` makes, from the watch, what looks at each endpoint before it is asked.
    """
    from evalkit.cli import progress
    from evalkit.run import execute

    watch = execute.Watch()
    for sentence in (*_warnings(sides), *asyncio.run(execute.look_at_judges(sides))):
        click.echo(f"evalkit: {sentence}", err=True)
    context, show = progress.display(watch, quiet=quiet)
    try:
        with context:
            return asyncio.run(execute.run_sides(sides, watch, show, examine and examine(watch)))
    finally:
        for notice in watch.notices:
            click.echo(f"evalkit: {notice}", err=True)


def _warnings(sides: list[Any]) -> list[str]:
    """What does as it says but perhaps not as it was meant, said before anything is paid for."""
    from evalkit.config import warnings_for
    from evalkit.run.plan import samplings

    return [
        sentence
        for side in sides
        for sentence in warnings_for(
            side.config, {suite.name: suite.repeats for suite in side.plan.suites}, samplings(side.config)
        )
    ]


def problems(outcome: Any) -> list[str]:
    """A sentence for everything that kept a side from being whole."""
    sentences = [f"{outcome.side.config.name}: {suite}: {why}" for suite, why in outcome.stopped.items()]
    if outcome.problem is not None:
        sentences.insert(0, str(outcome.problem))
        # A side that is refused altogether stops its suites for the same reason: said once is enough.
        sentences = [sentences[0], *(one for one in sentences[1:] if _reason(one) not in sentences[0])]
    elif outcome.failed:
        sentences.append(
            f"{outcome.side.config.name}: {outcome.failed} without an answer; run again to ask again, after mending "
            "what the failures name"
        )
    return sentences


def summary(outcome: Any) -> dict[str, Any]:
    """What a run ended with, per suite: the number over the samples that have a value, and what has none and why."""
    from evalkit.run.read import read_run

    side = read_run(outcome.side.folder)
    suites = [_suite_summary(name, suite) for name, suite in side.suites.items()]
    return {"run": str(outcome.side.folder), "asked": outcome.asked, "suites": suites}


def _suite_summary(name: str, suite: Any) -> dict[str, Any]:
    import numpy as np

    samples = suite.samples
    without = np.isnan(samples.value)
    return {
        "suite": name,
        "label": suite.facts.label,
        "planned": len(samples),
        "valued": int((~without).sum()),
        "mean": headline(suite),
        "mean_if_others_wrong": headline(
            replace(suite, samples=replace(samples, value=np.where(without, 0.0, samples.value)))
        ),
        "counts": samples.status.counts(),
        "failures": {kind: count for kind, count in samples.failure.counts().items() if kind},
        "without_value": [
            {
                "item": samples.items.name[samples.item[row]],
                "repeat": int(samples.repeat[row]),
                "status": samples.status[row],
                "failure": samples.failure[row],
                "error": samples.reason[row],
            }
            for row in np.flatnonzero(without & ~samples.status.mask("not_asked")).tolist()
        ],
    }


def headline(suite: Any) -> float | None:
    """The suite's headline number over the samples that have a value."""
    from evalkit.compare.pair import headline as compute

    return compute(suite)


def _lines(report: dict[str, Any], said: str = "") -> list[str]:
    """For people; a reason that `said` holds, which is said elsewhere, is not repeated."""
    from evalkit.compare.validity import all_counts

    lines = [f"{report['run']}: {report['asked']} requests asked"]
    for suite in report["suites"]:
        mean = "no value" if suite["mean"] is None else f"{suite['mean']:.4f}"
        counts = all_counts(suite["counts"], suite["failures"])
        line = f"  {suite['label']}: {mean} over {suite['valued']} of {suite['planned']} samples ({counts})"
        without, lacking = suite["without_value"], suite["planned"] - suite["valued"]
        if lacking and suite["valued"]:
            line += f"; {suite['mean_if_others_wrong']:.4f} if the {lacking} without a value were wrong"
        lines.append(line)
        alike: dict[str, list[str]] = {}
        for sample in without:
            alike.setdefault(_why(sample, said), []).append(_named(sample))
        told = list(alike.items())[:NAMED]
        lines += [f"    {_some(names)}: {why}" for why, names in told]
        unsaid = len(without) - sum(len(names) for _why, names in told)
        if unsaid:
            lines.append(f"    and {unsaid} more for other reasons: `--json` lists them all")
    return lines


def _named(sample: dict[str, Any]) -> str:
    return f"{sample['item']}, repeat {sample['repeat']}" if sample["repeat"] else str(sample["item"])


def _why(sample: dict[str, Any], said: str) -> str:
    error = "" if sample["error"] in said else " ".join(sample["error"].split())[:REASON]
    why = ": ".join(part for part in (sample["failure"], error) if part)
    return str(sample["status"]).replace("_", " ") + (f" ({why})" if why else "")


def _some(names: list[str]) -> str:
    """The first names, and how many more there are: what is alike is said once."""
    more = len(names) - ALIKE
    return "; ".join(names[:ALIKE]) + (f"; and {more} more" if more > 0 else "")


def _reason(sentence: str) -> str:
    """The part of a sentence that says what the server answered."""
    return sentence.partition("): ")[2] or sentence
