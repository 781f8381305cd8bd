"""`evalkit judge-table FILE`: what published tables of two means can support, and what they cannot."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit.cli import options

if TYPE_CHECKING:
    from evalkit.compare.published import PublishedJudgment, PublishedRow


# Headlines that are no shares of right answers, and how many questions stand behind them (LiveBench: about).
_GRADED: Final = {"livebench": 1000, "mm_vet_v2": 517}


@dataclass(frozen=True, slots=True)
class _Table:
    """A table's name and rows."""

    name: str
    rows: tuple[PublishedRow, ...]


@click.command("judge-table")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="[METRIC=]POINTS",
    help="Tolerance in percentage points, for all rows or for one (default 2).",
)
@click.option(
    "--items", multiple=True, metavar="METRIC=N", help="How many items a metric has, where evalkit does not know."
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Level of each one-sided test; intervals are at 1 - 2 alpha.",
)
@options.as_json
def command(files: tuple[Path, ...], **given: Any) -> int:
    """Judge published tables: two means a row, a known number of items, no item scores.

    FILES are model cards (Markdown), a JSON list of collected tables (objects with card, columns and rows of metric,
    ref, candidate), or CSV files with the columns metric, reference, candidate and optionally n (items), k (repeats)
    and card. Scores may be fractions or percent.

    The intervals are unpaired, about twice as wide as a comparison of item scores would give. Each row gets a
    sentence: what the table supports, or why it supports nothing. Exits with the gravest verdict of all rows.
    """
    from evalkit.compare.published import judge_row, overall

    limits = _Limits.of(given)
    tables = [table for file in files for table in _tables(file, limits)]
    judged = [(table.name, [judge_row(row, given["alpha"]) for row in table.rows]) for table in tables]
    if given["as_json"]:
        click.echo(_document(judged, given["alpha"]))
    else:
        for name, judgments in judged:
            _print(name, judgments)
    return overall([one for _name, judgments in judged for one in judgments]).exit_code


@dataclass(frozen=True, slots=True)
class _Limits:
    """Margins (fractions) and numbers of items by metric; `margin` is for all others."""

    margin: float
    margins: dict[str, float]
    items: dict[str, int]

    @classmethod
    def of(cls, given: dict[str, Any]) -> _Limits:
        """What the options say."""
        from evalkit.cli.judging import read_margins
        from evalkit.cli.plan import read_items

        margins, margin = read_margins(given["margins"])
        return cls(0.02 if margin is None else margin, margins, read_items(given["items"]))


def _tables(file: Path, limits: _Limits) -> Iterator[_Table]:
    from evalkit.errors import UsageError
    from evalkit.publish.card_parse import parse_file

    if file.suffix == ".csv":
        yield from _csv_tables(file, limits)
        return
    found = parse_file(file)
    if not found:
        raise UsageError(f"{file}: holds no table that compares two stacks")
    for table in found:
        cells = [(row.label, row.reference, row.candidate, row.n) for row in table.rows]
        yield _Table(table.card, tuple(_row(label, (one, two), n, limits) for label, one, two, n in cells))


def _csv_tables(file: Path, limits: _Limits) -> Iterator[_Table]:
    from evalkit.errors import UsageError
    from evalkit.publish.card_parse import read_cell

    try:
        with file.open(encoding="utf-8-sig", newline="") as content:
            lines = list(csv.DictReader(content))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file}: cannot be read as CSV in UTF-8: {error}") from error
    for name in ("metric", "reference", "candidate"):
        if not lines or name not in lines[0]:
            raise UsageError(f"{file}: has no column {name!r}; it needs metric, reference, candidate and may have n, k")
    cards: dict[str, list[PublishedRow]] = {}
    for number, line in enumerate(lines, 2):
        n = _whole(line.get("n"), f"{file}:{number}: n")
        made = _row(line["metric"], (read_cell(line["reference"] or ""), read_cell(line["candidate"] or "")), n, limits)
        k = _whole(line.get("k"), f"{file}:{number}: k")
        cards.setdefault(line.get("card") or file.stem, []).append(made if k is None else _with_trials(made, k))
    yield from (_Table(name, tuple(rows)) for name, rows in cards.items())


def _with_trials(row: PublishedRow, trials: int) -> PublishedRow:
    from dataclasses import replace

    return replace(row, trials=trials)


def _whole(text: str | None, where: str) -> int | None:
    from evalkit.errors import UsageError

    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"{where}: {text!r} is no whole number from 1")
    return int(text)


def _row(label: str, cells: tuple[Any, Any], n: int | None, limits: _Limits) -> PublishedRow:
    from evalkit.compare.published import PublishedRow
    from evalkit.publish.cards import benchmark_of

    known = benchmark_of(label)
    fractions = [cell.fraction for cell in cells]
    steps = [float(cell.step) for cell in cells]
    if any(fraction is None and cell.number is not None for fraction, cell in zip(fractions, cells, strict=True)):
        percent = max(cell.number for cell in cells if cell.number is not None) > 1
        divisor = 100 if percent else 1
        fractions = [None if cell.number is None else (cell.fraction or cell.number / divisor) for cell in cells]
        steps = [step / divisor for step in steps]
    size = limits.items.get(label, n)
    return PublishedRow(
        label=label,
        reference=None if fractions[0] is None else float(fractions[0]),
        candidate=None if fractions[1] is None else float(fractions[1]),
        step=max(steps),
        sizes=(size,) if size is not None else (_GRADED[known.name],) if known.name in _GRADED else known.sizes,
        chance=known.chance,
        trials=known.trials or 1,
        graded=known.name in _GRADED,
        margin=limits.margins.get(label, limits.margin),
    )


def _document(judged: list[tuple[str, list[PublishedJudgment]]], alpha: float) -> str:
    import orjson

    from evalkit.compare.published import macro_of, overall

    tables = []
    for name, judgments in judged:
        macro = macro_of(judgments, alpha)
        rows = [
            {
                "metric": one.label,
                "verdict": one.verdict.value,
                "reason": one.reason,
                "n_items": one.n_items,
                "reference": one.reference,
                "candidate": one.candidate,
                "difference": one.difference,
                "ci90": None if one.ci90 is None else [one.ci90.low, one.ci90.high],
                "ci95": None if one.ci95 is None else [one.ci95.low, one.ci95.high],
                "margin": one.margin,
                "p_tost": None if one.test is None else one.test.p_tost,
                "method": "" if one.test is None else one.test.method,
            }
            for one in judgments
        ]
        mean = None if macro is None else {"difference": macro.difference, "ci90": [macro.ci90.low, macro.ci90.high]}
        tables.append({"table": name, "verdict": overall(judgments).value, "rows": rows, "macro": mean})
    return orjson.dumps({"alpha": alpha, "tables": tables}, option=orjson.OPT_INDENT_2).decode()


def _print(name: str, judgments: list[PublishedJudgment]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.compare.published import macro_of
    from evalkit.render.escape import one_line

    console = Console()
    table = Table(title=Text(one_line(name)), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("metric", "n", "ref.", "cand.", "difference [interval]", "verdict"):
        table.add_column(head, justify="left" if head in {"metric", "verdict"} else "right")
    for one in judgments:
        scores = ["-" if score is None else f"{score * 100:.2f}" for score in (one.reference, one.candidate)]
        change = "-"
        if one.difference is not None and one.ci90 is not None:
            low, high = one.ci90.low * 100, one.ci90.high * 100
            change = f"{one.difference * 100:+.1f} [{low:+.1f}, {high:+.1f}]"
        cells = [one.label, "?" if one.n_items is None else str(one.n_items), *scores, change, one.verdict.value]
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    console.print(table)
    for one in judgments:
        console.print(Text(one_line(f"{one.label}: {one.reason}")))
    macro = macro_of(judgments)
    if macro is not None:
        low, high = macro.ci90.low * 100, macro.ci90.high * 100
        console.print(
            Text(f"mean of {macro.suites} rows: {macro.difference * 100:+.2f} [{low:+.2f}, {high:+.2f}] points")
        )
    console.print()
