"""`evalkit compare A B`: the main job. Two configurations, or two run folders; the exit code is the verdict's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from evalkit.cli import options


@click.command("compare")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@options.overrides
@options.limit
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="[SUITE=]POINTS",
    help="Tolerance in percentage points, for all suites or for one.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Level of each one-sided test.",
)
@click.option(
    "--on-inconclusive",
    type=click.Choice(["fail", "warn", "pass"]),
    default="fail",
    show_default=True,
    help="What an INCONCLUSIVE comparison ends with: exit code 4, or 0 with or without a warning.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the comparison (default: beside the runs).",
)
@options.quiet
@options.as_json
def command(reference: Path, candidate: Path, **given: Any) -> int:
    """Compare CANDIDATE with REFERENCE: run what is missing, pair, judge, print the table.

    Both are an endpoint's YAML file, or both the folder of a stored run. Exits 0 equivalent, 1 degraded or elevated,
    3 invalid, 4 inconclusive.
    """
    from evalkit.errors import UsageError

    if reference.is_dir() and candidate.is_dir():
        sides, differences, home, trouble = _stored(reference, candidate)
    elif reference.is_dir() or candidate.is_dir():
        raise UsageError("give two YAML files or two run folders, not one of each")
    else:
        sides, differences, home, trouble = _run(reference, candidate, given)
    return judge_and_show(sides, differences, given["out"] or home, given, trouble)


def _stored(reference: Path, candidate: Path) -> tuple[tuple[Any, Any], tuple[Any, ...], Path, list[str]]:
    from evalkit.config import stored_differences
    from evalkit.run.read import read_run

    sides = (read_run(reference), read_run(candidate))
    differences = stored_differences(sides[0].config, sides[1].config)
    return sides, differences, reference.parent / f"{reference.name}--{candidate.name}", []


def _run(
    reference: Path, candidate: Path, given: dict[str, Any]
) -> tuple[tuple[Any, Any], tuple[Any, ...], Path, list[str]]:
    from evalkit.cli.run import problems, run_with_display
    from evalkit.config import differences
    from evalkit.errors import ConfigError
    from evalkit.run import execute
    from evalkit.run.read import read_run

    configs = [options.load(path, given["overrides"], given["limit"]) for path in (reference, candidate)]
    if configs[0].runs.resolve() / configs[0].name == configs[1].runs.resolve() / configs[1].name:
        raise ConfigError(f"{candidate}: name: both sides are called {configs[0].name!r}: give each a name of its own")
    found = differences(*configs)
    if not given["quiet"] and not given["as_json"]:
        _show_differences(found)
    known: dict[str, Any] = {}
    sides = [execute.prepare(config, known) for config in configs]
    outcomes = run_with_display(sides, quiet=given["quiet"])
    trouble = [sentence for outcome in outcomes for sentence in problems(outcome)]
    read = (read_run(sides[0].folder), read_run(sides[1].folder))
    return read, found, configs[0].runs / f"{configs[0].name}--{configs[1].name}", trouble


def _show_differences(found: tuple[Any, ...]) -> None:
    if not found:
        click.echo("the two configurations are the same but for their files", err=True)
        return
    click.echo("reference and candidate differ in:", err=True)
    for one in found:
        click.echo(f"  {one.key}: {one.reference} | {one.candidate}", err=True)


def judge_and_show(
    sides: tuple[Any, Any], differences: tuple[Any, ...], home: Path, given: dict[str, Any], trouble: list[str]
) -> int:
    """Judges two sides, stores the comparison, prints it, and gives the exit code."""
    from datetime import UTC, datetime

    from evalkit.compare.judge import compare
    from evalkit.errors import StorageError
    from evalkit.render.document import to_json

    now = datetime.now(UTC).isoformat(timespec="seconds")
    comparison = compare(*sides, _policy(given), now, differences)
    comparison = replace(comparison, notes=(*comparison.notes, *trouble))
    document = to_json(comparison)
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "comparison.json").write_bytes(document)
    except OSError as error:
        raise StorageError(f"{home}: cannot be written: {error.strerror}") from error
    if given["as_json"]:
        click.echo(document.decode())
    else:
        from rich.console import Console

        from evalkit.render.tables import TerminalTable

        Console().print(TerminalTable(comparison))
        click.echo(f"stored in {home / 'comparison.json'}", err=True)
    if comparison.verdict.exit_code != comparison.exit_code and given["on_inconclusive"] == "warn":
        trouble = [*trouble, "warning: the comparison is INCONCLUSIVE, which is not a pass; --on-inconclusive warn"]
    for sentence in trouble:
        click.echo(f"evalkit: {sentence}", err=True)
    return comparison.exit_code


def _policy(given: dict[str, Any]) -> Any:
    from evalkit.compare.policy import Policy

    margins: dict[str, float] = {}
    default: float | None = None
    for text in given["margins"]:
        suite, _, points = text.rpartition("=")
        try:
            margin = float(points) / 100
        except ValueError:
            raise click.BadParameter(f"{text!r} is not POINTS or SUITE=POINTS", param_hint="--margin") from None
        if not 0 < margin < 1:
            raise click.BadParameter(f"{points} is not between 0 and 100 percentage points", param_hint="--margin")
        if suite:
            margins[suite] = margin
        else:
            default = margin
    return Policy(
        alpha=given["alpha"],
        margins=margins,
        default_margin=default,
        on_inconclusive=given["on_inconclusive"],
    )
