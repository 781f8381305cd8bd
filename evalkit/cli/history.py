"""`evalkit history`: night by night, the first bad one and what changed then; `history add CMP` adds a night."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from evalkit.cli import stored

if TYPE_CHECKING:
    from evalkit.publish.history import Known, Series


@click.group("history", invoke_without_command=True)
@click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
    help="The folder that holds history.jsonl.",
)  # fmt: skip
@click.option("--suite", help="Show this suite only, a row a night.")
@click.option("--last", type=click.IntRange(min=1), default=60, show_default=True, help="At most so many nights.")
@click.option(
    "--known", "known_file", type=click.Path(path_type=Path, dir_okay=False),
    help="YAML list of known differences (suite, from, until, reason): they are marked, never hidden.",
)  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with a plot a suite.")
@click.option(
    "--gate",
    type=click.Choice(["strict", "lenient"]),
    help="Exit as the last night's verdict says, known differences aside; lenient lets INCONCLUSIVE pass.",
)
@stored.language
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(ctx: click.Context, /, runs: Path, **given: Any) -> int:
    """Show the history: each suite's differences night by night, the first bad night, and what changed then.

    `evalkit history add CMP` adds the comparison of a night. Exits 0, or with --gate as the last night's verdict says.
    """
    if ctx.invoked_subcommand is not None:
        _nothing_before(ctx)
        return 0
    from evalkit.publish import history as history_file
    from evalkit.publish import history as known
    from evalkit.publish.history import gate, series_of

    series = series_of(history_file.read(runs / history_file.NAME))
    listed = known.read_known(given["known_file"]) if given["known_file"] else ()
    for sentence in known.remarks(listed, series):
        click.echo(f"evalkit: {given['known_file']} {sentence}", err=True)
    if given["html"]:
        from evalkit.publish.history_page import page

        text = page(series, listed, last=given["last"], language=given["language"])
        stored.deliver(text, given["html"])
    _show(series, listed, given)
    return gate(series, listed, lenient=given["gate"] == "lenient") if given["gate"] else 0


def _nothing_before(ctx: click.Context) -> None:
    """Options of the table mean nothing to `add`, which has its own behind it."""
    from evalkit.errors import UsageError

    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        name = {"as_json": "json", "known_file": "known"}.get(given[0], given[0])
        raise UsageError(
            f"--{name} stands before `add`: give options of `add` behind it (`evalkit history add --help`)"
        )


def _show(series: tuple[Series, ...], known: tuple[Known, ...], given: dict[str, Any]) -> None:
    from evalkit.errors import UsageError, did_you_mean

    suite = given["suite"]
    names = sorted({trend.suite for one in series for trend in one.suites})
    if suite is not None and suite not in names:
        raise UsageError(f"--suite {suite!r}: the history has no such suite{did_you_mean(suite, names)}")
    if given["as_json"]:
        import orjson

        from evalkit.publish.history import document

        made = document(series, known, suite=suite, last=given["last"])
        click.echo(orjson.dumps(made, option=orjson.OPT_INDENT_2).decode())
        return
    from rich.console import Console

    from evalkit.publish.history_page import HistoryTable

    Console().print(HistoryTable(series, known, given["last"], suite, given["language"]))


@command.command("add")
@stored.argument
@click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False),
    help="The folder that holds history.jsonl (default: the one that holds the comparison's folder).",
)  # fmt: skip
@click.option("--night", metavar="DATE", default="", help="The night's date (default: when the comparison was made).")
@click.option("--series", default="", help="Name of the line of nights (default: the names of the two runs).")
@click.option(
    "--fact", "facts", multiple=True, metavar="NAME=VALUE",
    help="What was served that night and the runs do not say, e.g. driver=570.86.",
)  # fmt: skip
def add(comparison: Path, runs: Path | None, **given: Any) -> None:
    """Add a night: CMP is the folder that `evalkit compare` stored, or the comparison.json in it.

    The history keeps of each suite what the table shows, and of both runs what was served and how it was asked:
    versions, builds, sampling, digests. Adding a comparison twice changes nothing.
    """
    from evalkit.errors import UsageError
    from evalkit.publish import history as history_file
    from evalkit.publish.history import night_of

    made = stored.read(comparison)
    facts: dict[str, str] = {}
    for text in given["facts"]:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--fact {text!r}: write it as NAME=VALUE")
        facts[name] = value
    night = night_of(made, given["night"], given["series"], facts)
    folder = comparison if comparison.is_dir() else comparison.parent
    beside = folder.parent if folder.name not in {"", ".."} else folder.resolve().parent
    path = (runs or beside) / history_file.NAME
    if history_file.add(path, night):
        click.echo(f"added {night.night} of {night.series} to {path}", err=True)
    else:
        click.echo(f"{path} holds this night already", err=True)
