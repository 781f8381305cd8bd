"""`evalkit card` makes a model card's table; `card check` and `judge-table` read published ones."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from evalkit import api
from evalkit.cli import options
from evalkit.errors import UsageError
from evalkit.options import TableOptions
from evalkit.resources import data_folder

if TYPE_CHECKING:
    from evalkit.model import Comparison
    from evalkit.publish.hub import HubFile
    from evalkit.publish.published import PublishedJudgment
    from evalkit.stats.methods import DifferenceTest

_FOR_CARDS: Final = ("style", "chip", "language", "allow_invalid")


class MakeOrCheck(click.Group):
    """A group in which `evalkit card CMP` needs no word for "make"."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the word in where the first argument is no command."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help of `make` under the group's name, then that of `check`."""
        inner = click.Context(make, info_name=ctx.info_name, parent=ctx.parent)
        make.format_help(inner, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([("check", check.get_short_help_str(80))])


@click.group("card", cls=MakeOrCheck)
def command() -> None:
    """Make a model card's table, or check published ones."""


@command.command("make")
@options.of("card")
def make(comparison: Path, **given: Any) -> None:
    """Make a model card's table from a stored comparison."""
    made = api.load_comparison(comparison)
    if given["hub"]:
        _print_hub_file(made.value, given)
    else:
        _print_card(made, given)


def _print_card(made: api.Comparison, given: Mapping[str, Any]) -> None:
    from evalkit.publish.cards import into, style_names

    if given["source"]:
        raise UsageError("--source: has an effect with --hub only; a card names the runs that it was made from")
    if not given["style"]:
        raise UsageError(f"--style is missing: one of {', '.join(style_names())}, or a .yaml file")
    allowed: list[Literal["invalid", "partial"]] = ["invalid"] if given["allow_invalid"] else []
    allowed += ["partial"] if given["partial"] else []
    text = made.card(
        given["style"],
        chip=given["chip"] or "",
        name=given["model"] or "",
        language=given["language"] or options.spoken(),
        allow=allowed,
    )
    if given["into"] is None:
        options.deliver(text, None)
    else:
        _edit(given["into"], lambda file: into(file, text), "card")


def _edit(path: Path, change: Callable[[bytes], bytes], what: str) -> None:
    """Changes a file in place and says so; a file that needs no change is not touched."""
    from evalkit.files import write_whole

    try:
        before = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        after = change(before)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if after == before:
        click.echo(f"{path} holds this {what} already", err=True)
        return
    write_whole(path, after)
    click.echo(f"wrote the {what} into {path}", err=True)


def _print_hub_file(comparison: Comparison, given: Mapping[str, Any]) -> None:
    useless = [name for name in _FOR_CARDS if given[name]]
    if given["hub"] != "model-index":
        useless += [name for name in ("model", "into") if given[name]]
    if useless:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in useless)
        raise UsageError(f"{listed}: no effect with --hub {given['hub']}")
    file = _hub_file(comparison, given)
    for sentence in file.left_out:
        click.echo(f"evalkit: left out: {sentence}", err=True)
    if len(file.left_out) >= len(comparison.suites):
        raise UsageError(f"--hub {given['hub']}: no suite of this comparison can be published so")
    if given["into"] is None:
        options.deliver(file.text, None)
        return
    from evalkit.publish.hub import into_front_matter

    named = bool(given["model"])
    _edit(given["into"], lambda before: into_front_matter(before, file.entry, named=named), "model-index")


def _hub_file(comparison: Comparison, given: Mapping[str, Any]) -> HubFile:
    from evalkit.publish import hub

    source, partial = given["source"] or "", given["partial"]
    if given["hub"] == "eval-results":
        return hub.eval_results(comparison, source, partial=partial)
    if given["hub"] == "model-index":
        return hub.model_index(comparison, given["model"] or "", source, partial=partial)
    return hub.every_eval_ever(comparison, "candidate", source, partial=partial)


@command.command("check", short_help="Find what is wrong in the tables of published cards.")
@options.of("card-check")
def check(files: tuple[Path, ...], as_json: bool) -> int:
    """Check the tables of published cards: what is wrong in each, and what shows when they lie side by side."""
    from evalkit.publish.card_check import check_cards
    from evalkit.publish.cards import own_data
    from evalkit.render.words import one_line

    findings = check_cards(files)
    if as_json:
        options.print_json({"findings": [asdict(one) for one in findings], "rules": own_data("card_rules")})
        return 1 if findings else 0
    for one in findings:
        click.echo(one_line(f"{one.file}:{one.line}: {one.rule}: {one.sentence}"))
    read = f"{len(files)} file{'s' if len(files) != 1 else ''}"
    by_rule = ", ".join(f"{rule} {count}" for rule, count in Counter(one.rule for one in findings).most_common())
    told = f"{len(findings)} finding{'s' if len(findings) != 1 else ''} in {read}"
    click.echo(f"{told}: {by_rule}" if findings else told, err=True)
    return 1 if findings else 0


@click.command("judge-table")
@options.of("judge-table", TableOptions)
def judge_table(files: tuple[Path, ...], as_json: bool, **given: Any) -> int:
    """Judge published tables: two means a row, a known number of items, no item scores."""
    from evalkit.model import Verdict

    chosen = options.made(TableOptions, given)
    tables = api.judge_tables(files, chosen)
    if as_json:
        options.print_json({"alpha": chosen.alpha, "tables": [table.document(chosen.alpha) for table in tables]})
    else:
        for table in tables:
            _print_judged(table.name, table.judgments)
    return Verdict.over(one.verdict for table in tables for one in table.judgments).exit_code


@click.command("gate", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def gate(arguments: tuple[str, ...]) -> int:
    """Judge two results that a pipeline's steps wrote: gpqa_native.json and gpqa_flagos.json, evalscope's files.

    It is a program that a pipeline may call by itself, too (skills/evalkit/gate.py); --help has its options.
    """
    program = data_folder("skills") / "evalkit" / "gate.py"
    return subprocess.run((sys.executable, str(program), *arguments), check=False).returncode  # noqa: S603


def _print_judged(name: str, judgments: Sequence[PublishedJudgment]) -> None:
    from evalkit.publish.published import mean_over_rows
    from evalkit.render import numbers
    from evalkit.render.jinja import fill

    def change(test: DifferenceTest, margin: float) -> str:
        return numbers.change_text(numbers.change(test.point, test.ci90, margin))

    told = {"name": name, "judgments": judgments, "mean": mean_over_rows(judgments), "change": change}
    click.echo(fill(data_folder("reports") / "judged.txt.j2", told), nl=False)
