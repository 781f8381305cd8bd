"""`evalkit run FILE` asks one endpoint, `score` grades its stored replies again, `aa` holds it against itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit import api
from evalkit.cli import options
from evalkit.cli.compare import show
from evalkit.cli.progress import Terminal
from evalkit.options import CompareOptions, RunOptions

if TYPE_CHECKING:
    from evalkit.api import Run

NAMED: Final = 10
"""So many reasons why samples have no value are named for people, by suite."""
ALIKE: Final = 3
"""So many samples are named for each reason."""
REASON: Final = 240
"""So much of a reason is shown, in characters."""


@click.command("run")
@click.argument("file", type=options.FILE)
@options.overrides
@options.limit
@options.quiet
@options.as_json
def run(file: Path, overrides: tuple[str, ...], limit: int | None, quiet: bool, as_json: bool) -> int:
    """Run the suites of one endpoint.

    FILE is the endpoint's YAML. Answers that are stored already are not asked for again; the run folder is
    RUNS/NAME of the configuration. Exits 0 when every sample has an answer, 3 when some have none.
    """
    done = api.run(file, RunOptions(overrides=overrides, limit=limit), Terminal(quiet=quiet))
    _print(done, as_json=as_json)
    for sentence in done.problems:
        click.echo(f"evalkit: {sentence}", err=True)
    return 0 if done.whole else 3


@click.command("score")
@click.argument("file", type=options.FILE)
@options.overrides
@options.limit
@options.as_json
def score(file: Path, overrides: tuple[str, ...], limit: int | None, as_json: bool) -> int:
    """Grade the stored replies of a run again; no endpoint is asked.

    FILE is the endpoint's YAML, as given to `evalkit run`. Exits 3 where a sample has no score.
    """
    done = api.score(file, RunOptions(overrides=overrides, limit=limit))
    report = _print(done, as_json=as_json)
    return 0 if all(suite["valued"] == suite["planned"] for suite in report["suites"]) else 3


@click.command("aa")
@click.argument("reference", type=options.FILE)
@options.overrides
@options.limit
@options.judging
@options.quiet
@options.as_json
def aa(reference: Path, quiet: bool, as_json: bool, behaviour: bool, **given: Any) -> int:
    """Compare an endpoint with itself: how large is a difference that means nothing?

    REFERENCE is the endpoint's YAML file: it is asked every item a second time, as a run of its own with the name
    NAME-aa and other seeds (a greedy endpoint is asked again all the same: batching and kernels make noise of their
    own). Or it is the folder of a stored run with repeats: then its odd repeats are held against its even ones, and
    nothing is asked.

    `evalkit compare` finds the result of a second run by itself: it shows the interval beside each difference as the
    noise floor, and says INVALID where the endpoint differs from itself. Exits as compare does; 1 means that the
    endpoint or the harness is not repeatable.
    """
    chosen = options.made(CompareOptions, given)
    made = api.aa(reference, chosen, Terminal(quiet=quiet, as_json=as_json))
    return show(made, chosen, as_json=as_json, behaviour=behaviour)


def _print(done: Run, *, as_json: bool) -> dict[str, Any]:
    report = done.summary()
    if as_json:
        options.print_json(report)
    else:
        click.echo("\n".join(_lines(report, said=str(done.problem or ""))))
    return report


def _lines(report: dict[str, Any], said: str = "") -> list[str]:
    """For people; a reason that `said` holds, which is said elsewhere, is not repeated."""
    from evalkit.compare.validity import counts_of
    from evalkit.render.words import say

    lines = [f"{report['run']}: {report['asked']} requests asked"]
    for suite in report["suites"]:
        mean = "no value" if suite["mean"] is None else f"{suite['mean']:.4f}"
        counts = say(counts_of(suite["counts"], suite["failures"]))
        line = f"  {suite['label']}: {mean} over {suite['valued']} of {suite['planned']} samples ({counts})"
        without, lacking = suite["without_value"], suite["planned"] - suite["valued"]
        if lacking and suite["valued"]:
            line += f"; {suite['mean_if_others_wrong']:.4f} if the {lacking} without a value were wrong"
        lines.append(line)
        if ungraded := suite["counts"].get("grade_error"):
            lines.append(f"    {ungraded} of {suite['suite']} could not be graded: `evalkit score` tries them again")
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
