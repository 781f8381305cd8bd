"""Published tables of two means: read, judged row by row, and what they support as one document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from evalkit.errors import UsageError
from evalkit.files import column_names, numbered_rows
from evalkit.model import DEFAULT_MARGIN_PT, Verdict, fraction
from evalkit.options import TableOptions
from evalkit.publish.card_parse import Cell, parse_file, read_cell, scaled_row
from evalkit.publish.cards import benchmark_of
from evalkit.publish.published import PublishedJudgment, PublishedRow, judge_row, mean_over_rows

# Headlines that are no shares of right answers, and how many questions stand behind them (LiveBench: about).
_GRADED: Final = {"livebench": 1000, "mm_vet_v2": 517}


@dataclass(frozen=True, slots=True)
class JudgedTable:
    """A table's name and the judgment on each of its rows."""

    name: str
    judgments: tuple[PublishedJudgment, ...]

    def document(self, alpha: float) -> dict[str, Any]:
        """The table as `evalkit judge-table --json` prints it."""
        mean = mean_over_rows(self.judgments, alpha)
        return {
            "table": self.name,
            "verdict": Verdict.over(one.verdict for one in self.judgments).value,
            "rows": [row_document(one) for one in self.judgments],
            "mean": mean and {"difference": mean.point, "ci90": [mean.ci90.low, mean.ci90.high]},
        }


def judged_tables(files: Sequence[Path], options: TableOptions) -> list[JudgedTable]:
    """The tables of model cards (Markdown), collected tables (JSON) and CSV files, judged.

    Raises `UsageError`: for a file that cannot be read or holds no table that compares two stacks.
    """
    return [
        JudgedTable(name, tuple(judge_row(row, options.alpha) for row in rows))
        for file in files
        for name, rows in (_csv_tables if file.suffix == ".csv" else _card_tables)(file, options)
    ]


def row_document(one: PublishedJudgment) -> dict[str, Any]:
    """A judgment as JSON has it; scores, differences and margins as fractions."""
    test = one.test
    return {
        "metric": one.label,
        "verdict": one.verdict.value,
        "reason": one.reason,
        "n_items": one.n_items,
        "n_to_decide": one.needed,
        "reference": one.reference,
        "candidate": one.candidate,
        "difference": test and test.point,
        "ci90": test and [test.ci90.low, test.ci90.high],
        "ci95": test and [test.ci95.low, test.ci95.high],
        "margin": one.margin,
        "p_tost": test and test.p_tost,
        "method": test.method if test else "",
    }


def _card_tables(file: Path, options: TableOptions) -> Iterator[tuple[str, list[PublishedRow]]]:
    found = parse_file(file)
    if not found:
        raise UsageError(f"{file}: holds no table that compares two stacks")
    for table in found:
        yield table.card, [_row(row.label, (row.reference, row.candidate), row.n, options) for row in table.rows]


def _csv_tables(file: Path, options: TableOptions) -> Iterator[tuple[str, list[PublishedRow]]]:
    columns = column_names(file) or ()
    for name in ("metric", "reference", "candidate"):
        if name not in columns:
            raise UsageError(f"{file}: has no column {name!r}; it needs metric, reference, candidate and may have n, k")
    cards: dict[str, list[PublishedRow]] = {}
    for number, line in numbered_rows(file):
        n, k = (_whole(line.get(name), f"{file}:{number}: {name}") for name in ("n", "k"))
        made = _row(line["metric"], (read_cell(line["reference"]), read_cell(line["candidate"])), n, options)
        cards.setdefault(line.get("card") or file.stem, []).append(made if k is None else replace(made, trials=k))
    if not cards:
        raise UsageError(f"{file}: holds no row: a table of means has one a benchmark")
    yield from cards.items()


def _whole(text: str | None, where: str) -> int | None:
    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"{where}: {text!r} is no whole number from 1")
    return int(text)


def _row(label: str, cells: tuple[Cell, Cell], n: int | None, options: TableOptions) -> PublishedRow:
    known = benchmark_of(label)
    one, two = scaled_row(*cells, "fraction")
    size = options.items.get(label, n)
    default = DEFAULT_MARGIN_PT if options.margin_pt is None else options.margin_pt
    return PublishedRow(
        label=label,
        reference=None if one.fraction is None else float(one.fraction),
        candidate=None if two.fraction is None else float(two.fraction),
        step=float(max(one.step, two.step)),
        sizes=(size,) if size is not None else (_GRADED[known.name],) if known.name in _GRADED else known.sizes,
        chance=known.chance,
        trials=known.trials or 1,
        graded=known.name in _GRADED,
        margin=fraction(options.margins_pt.get(label, default)),
    )
