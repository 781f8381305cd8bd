"""`evalkit history`: night by night, the first bad one and what changed then; `history add CMP` adds a night."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from evalkit import api
from evalkit.cli import options
from evalkit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from evalkit.publish.history import Series
    from evalkit.publish.known import Known


@click.group("history", invoke_without_command=True)
@options.of("history")
@click.pass_context
def command(ctx: click.Context, /, runs: Path, html: Path | None, known_file: Path | None, **given: Any) -> int:
    """Show the history: each suite's differences night by night, the first bad night, and what changed then."""
    if ctx.invoked_subcommand is not None:
        _nothing_before(ctx)
        return 0
    from evalkit.publish import history as nights
    from evalkit.publish.known import read_known
    from evalkit.render.words import say

    series = nights.series_of(nights.read(runs / nights.NAME))
    known = read_known(known_file) if known_file else ()
    for remark in nights.remarks(known, series):
        click.echo(f"evalkit: {known_file} {say(remark, given['language'])}", err=True)
    if html is not None:
        from evalkit.publish.history_page import page

        options.deliver(page(series, known, last=given["last"], language=given["language"]), html)
    _show(series, known, given)
    return nights.gate(series, known, lenient=given["gate"] == "lenient") if given["gate"] else 0


def _nothing_before(ctx: click.Context) -> None:
    """Options of the table mean nothing to `add`, which has its own behind it."""
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        name = {"as_json": "json", "known_file": "known"}.get(given[0], given[0])
        raise UsageError(
            f"--{name} stands before `add`: give options of `add` behind it (`evalkit history add --help`)"
        )


def _show(series: tuple[Series, ...], known: tuple[Known, ...], given: Mapping[str, Any]) -> None:
    suite, last = given["suite"], given["last"]
    names = sorted({trend.suite for one in series for trend in one.suites})
    if suite is not None and suite not in names:
        raise UsageError(f"--suite {suite!r}: the history has no such suite{did_you_mean(suite, names)}")
    if given["as_json"]:
        from evalkit.publish.history import document

        options.print_json(document(series, known, suite=suite, last=last))
        return
    from rich.console import Console

    from evalkit.publish.history_page import HistoryTable

    Console().print(HistoryTable(series, known, last, suite, given["language"]))


@command.command("add")
@options.of("history-add")
def add(comparison: Path, runs: Path | None, night: str | None, series: str | None, facts: tuple[str, ...]) -> None:
    """Add a night: CMP is the folder that `evalkit compare` stored, or the comparison.json in it."""
    from evalkit.publish import history as nights

    told: dict[str, str] = {}
    for text in facts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--fact {text!r}: write it as NAME=VALUE")
        told[name] = value
    made = nights.night_of(api.load_comparison(comparison).value, night or "", series or "", told)
    folder = comparison if comparison.is_dir() else comparison.parent
    beside = folder.parent if folder.name not in {"", ".."} else folder.resolve().parent
    path = (runs or beside) / nights.NAME
    if nights.add(path, made):
        click.echo(f"added {made.night} of {made.series} to {path}", err=True)
    else:
        click.echo(f"{path} holds this night already", err=True)
