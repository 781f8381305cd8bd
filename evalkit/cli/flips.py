"""`evalkit flips CMP [SUITE]`: the items that changed, both replies side by side from the first differing word."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit.cli import options, stored

if TYPE_CHECKING:
    from evalkit.compare.columns import Side
    from evalkit.model import Comparison, Flip

_KINDS: Final = ("regressed", "improved", "changed")
_CONTEXT: Final = 60  # characters shown before the first differing word
_SHOWN: Final = 700  # characters of a reply shown after it


@click.command("flips")
@stored.argument
@click.argument("suite", required=False)
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(_KINDS), help="Only these (default: regressed and improved)."
)
@click.option("--item", help="Only the item of this name.")
@click.option("-n", "--number", type=click.IntRange(min=1), default=10, show_default=True, help="Show at most so many.")
@click.option("--whole", is_flag=True, help="Show whole replies, not only what follows the first differing word.")
@click.option("--include-questions", is_flag=True, help="Show the questions of gated data sets too.")
@options.as_json
def command(comparison: Path, suite: str | None, **given: Any) -> None:
    """List the items that changed between two runs, the strongest evidence first.

    CMP is the folder that `evalkit compare` stored, or the comparison.json in it. Replies are read from the two runs;
    where those are gone, the shortened ones in CMP are shown. "regressed" and "improved" items changed their score,
    "changed" ones only their answer. Repeats count from 0.
    """
    made = stored.read(comparison)
    _check_suite(made, suite)
    kinds = given["kinds"] or _KINDS[:2]
    found = _from_runs(made, comparison, suite, kinds, given)
    if found is None:
        flips = [flip for flip in made.flips if flip.kind in kinds and suite in {None, flip.suite}]
        found = [flip for flip in flips if given["item"] in {None, flip.item}][: given["number"]]
        click.echo("evalkit: the runs cannot be read as they were: showing what the comparison holds of them", err=True)
    if given["as_json"]:
        import orjson

        click.echo(orjson.dumps([asdict(flip) for flip in found], option=orjson.OPT_INDENT_2).decode())
        return
    if not found and not made.suites:
        click.echo(f"the suites were not asked: {'; '.join(made.reasons) or 'the comparison holds none'}")
    elif not found:
        click.echo("no item changed" if suite is None else f"no item of {suite} changed")
    for flip in found:
        _print(flip, made, whole=given["whole"])


def _check_suite(made: Comparison, suite: str | None) -> None:
    from evalkit.errors import UsageError, did_you_mean

    names = [one.suite for one in made.suites]
    if suite is not None and suite not in names:
        raise UsageError(f"the comparison has no suite {suite!r}{did_you_mean(suite, names)}")


def _from_runs(
    made: Comparison, comparison: Path, suite: str | None, kinds: tuple[str, ...], given: dict[str, Any]
) -> list[Flip] | None:
    """The flips made again from the two runs; None where a run is gone or has become another one."""
    from evalkit.compare.flips import Shown, describe, find_flips
    from evalkit.compare.pair import align

    sides = _sides(made, comparison)
    if sides is None:
        return None
    shown = Shown(whole=True, questions=given["include_questions"])
    found: list[Flip] = []
    for name in [one.suite for one in made.suites if suite in {None, one.suite}]:
        if name not in sides[0].suites or name not in sides[1].suites:
            continue
        left, right = sides[0].suites[name], sides[1].suites[name]
        aligned = align(left, right)
        most = None if given["item"] else given["number"]
        places = find_flips(aligned, left.samples, right.samples, most, kinds)  # type: ignore[arg-type]
        if given["item"]:
            places = [place for place in places if aligned.layout.items[place.item] == given["item"]]
        found += describe(name, *sides, aligned, places, shown)
    return sorted(found, key=lambda flip: -flip.evidence)[: given["number"]]


def _sides(made: Comparison, comparison: Path) -> tuple[Side, Side] | None:
    from evalkit.errors import UsageError
    from evalkit.foreign.sources import read_side

    home = comparison if comparison.is_dir() else comparison.parent
    sides = []
    for identity in (made.reference, made.candidate):
        places = [Path(identity.path), home.parent / Path(identity.path).name]
        for path in places:
            try:
                side = read_side(path)
            except (UsageError, OSError):
                continue
            if side.identity.run_id == identity.run_id:
                sides.append(side)
                break
    return (sides[0], sides[1]) if len(sides) == 2 else None


def _print(flip: Flip, made: Comparison, *, whole: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.render.escape import clean, one_line, without_commands

    label = next((suite.label for suite in made.suites if suite.suite == flip.suite), flip.suite)
    scores = f"{flip.reference_score:.3g} -> {flip.candidate_score:.3g}"
    heading = f"{label}, item {flip.item}, repeat {flip.repeat}: {flip.kind} {scores}, evidence {flip.evidence:.1f}"

    def text(content: str, style: str = "") -> Text:
        return Text(without_commands(content), style=style)

    console = Console()
    console.print(text(one_line(heading), style="bold"))
    if flip.question is not None:
        console.print(text(f"question: {clean(flip.question)}"))
    if flip.target:
        console.print(text(f"expected: {one_line(flip.target)}"))
    one, two, alike = _windows(flip, whole=whole)
    if alike:
        console.print(Text(f"the first {alike} characters are alike", style="dim"))
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for side, status, answer in (
        (made.reference.name, flip.reference_status, flip.reference_answer),
        (made.candidate.name, flip.candidate_status, flip.candidate_answer),
    ):
        told = status if answer is None else f"{status}, answer {answer}"
        table.add_column(text(one_line(f"{side}: {told}")), overflow="fold", ratio=1)
    table.add_row(text(clean(one)), text(clean(two)))
    console.print(table)
    console.print()


def _windows(flip: Flip, *, whole: bool) -> tuple[str, str, int]:
    """What is shown of both replies, and how many characters before it are alike and left out."""
    from evalkit.compare.behaviour import first_difference, word_start

    one, two = flip.reference_text, flip.candidate_text
    if whole:
        return one, two, 0
    shared = first_difference(one, two)
    position = min(len(one), len(two)) if shared is None else shared
    start = max(0, word_start(one, position) - _CONTEXT)
    return _window(one, start), _window(two, start), start


def _window(text: str, start: int) -> str:
    end = start + _CONTEXT + _SHOWN
    head = "…" if start else ""
    return f"{head}{text[start:]}" if len(text) <= end + 40 else f"{head}{text[start:end]}… ({len(text) - end} more)"
