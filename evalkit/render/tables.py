"""The comparison as a table: for the terminal by rich, as Markdown, CSV and LaTeX by a template, as JSON rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from evalkit import codec
from evalkit.model import Comparison, Verdict
from evalkit.render import numbers
from evalkit.render.rows import BehaviourLine, MacroRow, SuiteRow, Table, beside_label, probe_sentence, table_of
from evalkit.render.terminal import frame, symbol, text, verdict_word
from evalkit.render.words import Language, words_of
from evalkit.resources import data_folder

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable
    from rich.text import Text

TableFormat: TypeAlias = Literal["markdown", "csv", "latex", "json"]
TEMPLATES: Final = {"markdown": "table.md.j2", "csv": "table.csv.j2", "latex": "table.tex.j2"}

_Arrangement: TypeAlias = tuple[tuple[str, ...], ...]
_ARRANGEMENTS: Final[tuple[_Arrangement, ...]] = (
    (("suite",), ("n_k",), ("ref",), ("cand",), ("difference",), ("margin",), ("noise_floor",), ("verdict",)),
    (("suite",), ("n_k",), ("ref",), ("cand",), ("difference", "margin", "noise_floor"), ("verdict",)),
    (("suite", "n_k", "scores"), ("difference", "margin", "noise_floor"), ("verdict",)),
    (("suite", "n_k", "scores"), ("difference", "margin", "noise_floor", "verdict")),
)
"""What stands in the columns, from the widest terminal to the narrowest; what shares a column stands in lines."""

_GAP: Final = 2  # columns between two columns of a table

_WIDE: Final = 94  # columns of a terminal under which the first arrangement is not tried

_LABEL: Final = 12  # columns that a suite's name has at least (or its whole length), or less stands beside it

_BEHAVIOUR: Final = 66  # columns of a terminal under which the values beside accuracy stand below one another


def table_text(
    comparison: Comparison, output: TableFormat, *, language: Language = "en", behaviour: bool = False
) -> str:
    """The table in a text format; its JSON has the numbers as tables print them (`document.to_json` is the whole).

    CSV and JSON have English keys, and the CSV no behaviour rows.
    """
    if output == "json":
        return codec.dump(table_of(comparison), indent=1) + "\n"
    from evalkit.render.jinja import render_template  # a terminal needs no template

    path = data_folder("reports") / TEMPLATES[output]
    return render_template(path, comparison, language=language, options={"behaviour": behaviour})


@dataclass(frozen=True, slots=True)
class TerminalTable:
    """A rich renderable: fits the console's width from 40 columns, needs no colour, and is ASCII where it must be."""

    comparison: Comparison
    language: Language = "en"
    behaviour: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the table out for a console; rich calls this."""
        content = table_of(self.comparison, self.language)
        layout = _Layout(content, self.language, options.max_width, options.ascii_only)
        if content.rows:
            yield layout.table()
            yield ""
            yield from layout.reasons()
        if self.behaviour:
            for table in layout.behaviour():
                yield ""
                yield table
        if self.comparison.probe is not None:
            yield ""
            yield text(probe_sentence(self.comparison.probe, self.language), ascii_only=options.ascii_only)
        if content.rows:
            yield ""
        yield layout.conclusion()


_Parts: TypeAlias = "Mapping[str, Text | None]"
"""What is said of one suite, by the names in `_ARRANGEMENTS`; `NAME_below` is what stands below something else (None:
nothing) where that is otherwise."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """One table on one console: `width` in columns."""

    content: Table
    language: Language
    width: int
    ascii_only: bool

    def table(self) -> RichTable:
        """Suites in rows; the mean over suites below a rule."""
        columns, heads, rows = self._arranged()
        table = frame(ascii_only=self.ascii_only)
        for number, (column, head) in enumerate(zip(columns, heads, strict=True)):
            if number == 0:
                table.add_column(head, overflow="fold")
            else:
                table.add_column(head, justify="left" if column == ("verdict",) else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        if self.content.macro:
            table.add_section()
            macro = self.content.macro
            label = words_of(self.language)["mean_of_suites"].format(n=macro.suites)
            parts = self._shared(macro, label, (f"{macro.reference:f}", f"{macro.candidate:f}"))
            table.add_row(*(self._stacked(parts, column) for column in columns))
        return table

    def _arranged(self) -> tuple[_Arrangement, list[Text], list[list[Text]]]:
        """Columns, heads and rows of the first arrangement that leaves the suites' names room."""
        least = min(_LABEL, max((self._text(row.label).cell_len for row in self.content.rows), default=0))
        columns: _Arrangement = ()
        heads: list[Text] = []
        rows: list[list[Text]] = []
        for columns in _ARRANGEMENTS[0 if self.width >= _WIDE else 1 :]:
            heads = [self._stacked(self._heads(), column) for column in columns]
            rows = [[self._stacked(self._parts(row), column) for column in columns] for row in self.content.rows]
            beside = zip(heads[1:], *(row[1:] for row in rows), strict=True)
            widths = [max(line.cell_len for cell in cells for line in cell.split("\n")) for cells in beside]
            if self.width - sum(widths) - _GAP * len(widths) >= least:
                break
        return columns, heads, rows

    def _heads(self) -> _Parts:
        words = words_of(self.language)
        interval = words["interval"].format(level=self.content.level_percent)
        difference = self._text(words["difference"]).append("\n").append_text(self._text(f"[{interval}]"))
        alone = {name: self._text(words[name]) for name in ("suite", "n_k", "ref", "cand", "margin", "noise_floor")}
        scores = self._text(f"{words['ref']} → {words['cand']}")
        named = dict.fromkeys(("margin_below", "noise_floor_below"))  # they are named in their cells
        return {**alone, "difference": difference, "scores": scores, "verdict": self._text(words["verdict"]), **named}

    def _parts(self, row: SuiteRow) -> _Parts:
        floor = numbers.bounds(row.noise_floor) if row.noise_floor else None
        below = f"{words_of(self.language)['noise_below']} {floor}"
        sides = numbers.plain(row.reference.score), numbers.plain(row.candidate.score)
        return {
            **self._shared(row, row.label, sides),
            "n_k": self._text(f"{row.n}×{row.k}"),
            "noise_floor": self._text(floor or "—"),
            "noise_floor_below": self._text(below) if floor else None,
        }

    def _shared(self, row: SuiteRow | MacroRow, label: str, sides: tuple[str, str]) -> _Parts:
        """What is said of a suite and of the mean over suites alike."""
        margin = f"±{row.margin:f}"
        cells = {
            "suite": label,
            "ref": sides[0],
            "cand": sides[1],
            "scores": f"{sides[0]} → {sides[1]}",
            "difference": numbers.change_text(row.change),
            "margin": margin,
            "margin_below": f"{words_of(self.language)['margin_below']} {margin}",
        }
        return {**{name: self._text(cell) for name, cell in cells.items()}, "verdict": self._verdict(row.verdict)}

    def _stacked(self, parts: _Parts, column: tuple[str, ...]) -> Text:
        """What stands in one column: one part, or several below one another."""
        if len(column) == 1:
            return parts.get(column[0]) or self._text("")
        lines = [parts.get(f"{name}_below", parts.get(name)) for name in column]
        first, *others = [line for line in lines if line is not None]
        cell = first.copy()
        for line in others:
            cell.append("\n").append_text(line)
        return cell

    def reasons(self) -> list[Text]:
        """One paragraph a suite and one for the overall row, in the order of the table, then what the rows claim."""
        words, macro = words_of(self.language), self.content.macro
        told = [
            (row.verdict, row.label + beside_label(row.part, self.language), row.reasons) for row in self.content.rows
        ]
        if macro is not None:
            told.append((macro.verdict, words["mean_of_suites"].format(n=macro.suites), macro.reasons))
        lines = [
            f"{symbol(verdict, ascii_only=self.ascii_only)} {label}{words['colon']}{words['semicolon'].join(reasons)}"
            for verdict, label, reasons in told
            if reasons
        ]
        return [self._text(line) for line in (*lines, self.content.claims) if line]

    def behaviour(self) -> list[RichTable]:
        """One small table for each suite that has behaviour rows."""
        words = words_of(self.language)
        tables = []
        for row in (row for row in self.content.rows if row.behaviour):
            title = f"{words['behaviour']}{words['colon']}{row.label}"
            table = frame(ascii_only=self.ascii_only, title=title)
            heads = [self._text(words[name]) for name in ("measure", "reference", "candidate", "bounds", "alert")]
            if self.width < _BEHAVIOUR:
                table.add_column(heads[0], overflow="fold", ratio=1)
                table.add_column(
                    self._values(words["ref"], words["cand"], words["bounds"]), justify="right", no_wrap=True
                )
            else:
                table.add_column(heads[0], overflow="fold")
                for head in heads[1:4]:
                    table.add_column(head, justify="right", no_wrap=True)
                table.add_column(heads[4], overflow="fold", ratio=1)
            for line in row.behaviour:
                table.add_row(*self._behaviour_cells(line))
            tables.append(table)
        return tables

    def conclusion(self) -> Text:
        """The verdict on the whole, with its reasons."""
        words = words_of(self.language)
        verdict = self._verdict(self.content.verdict)
        reasons = words["semicolon"].join(self.content.reasons)
        if not reasons:
            return verdict
        told = self._text(f"{verdict.plain}{words['colon']}{reasons}")
        told.stylize(verdict.spans[0].style, 0, len(verdict))
        return told

    def _behaviour_cells(self, line: BehaviourLine) -> list[Text]:
        words = words_of(self.language)
        sides, ends = [numbers.plain(value) for value in (line.reference, line.candidate)], line.ends or "—"
        name = f"{line.name}{words['open']}{line.unit}{words['close']}"
        if self.width >= _BEHAVIOUR:
            return [self._text(cell) for cell in (name, *sides, ends, line.alert)]
        told = self._text(name)
        if line.alert:
            told.append("\n").append_text(self._text(line.alert))
        return [told, self._values(sides[0], sides[1], ends)]

    def _values(self, reference: str, candidate: str, ends: str) -> Text:
        """Both sides above the interval, where a terminal is too narrow for three columns."""
        value = self._text(f"{reference} → {candidate}")
        return value if ends == "—" else value.append("\n").append_text(self._text(ends))

    def _verdict(self, verdict: Verdict) -> Text:
        return verdict_word(verdict, self.language, ascii_only=self.ascii_only)

    def _text(self, content: str) -> Text:
        return text(content, ascii_only=self.ascii_only)
