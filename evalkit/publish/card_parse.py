"""Reads the comparison tables of published cards: Markdown files, and a JSON list of tables that were collected.

The JSON is a list of objects with `card`, `columns` (heads) and `rows` of `metric`, `ref` and `candidate`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, TypeAdapter, ValidationError

from evalkit.errors import UsageError
from evalkit.publish.cards import Benchmark, benchmark_of, pattern
from evalkit.render.numbers import places

Scale: TypeAlias = Literal["percent", "fraction", "percent sign", "count"]
Grid: TypeAlias = list[tuple[int, list[str]]]  # rows of a table: the line in the file, and the cells

_LARGEST_FILE: Final = 20_000_000
_FINEST: Final = Decimal("0.0001")  # 0.01 %: what harnesses round to before a table pads it
_PADDED_CELLS: Final = 4  # so many cells end in zeros by chance in one table of ten thousand


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed value. `number` is what is printed; `fraction` and `step` (its last digit) are in [0, 1] terms.

    Zeros that a table is padded with are no digits (`unpadded`, `scaled_row`). `scale` is None for what is no number.
    """

    text: str
    number: Decimal | None = None
    scale: Scale | None = None
    fraction: Decimal | None = None
    step: Decimal = Decimal(0)
    spread: bool = False


@dataclass(frozen=True, slots=True)
class CardRow:
    """One row; `n` and the k of each side are known where the card itself states them."""

    label: str
    benchmark: Benchmark
    reference: Cell
    candidate: Cell
    line: int
    n: int | None = None
    k: tuple[Decimal, Decimal] | None = None

    @property
    def cells(self) -> tuple[tuple[str, Cell], tuple[str, Cell]]:
        """Both cells with the words for them."""
        return (("reference", self.reference), ("candidate", self.candidate))


@dataclass(frozen=True, slots=True)
class CardTable:
    """One comparison table. `model` is what the reference column's head is about, `number` counts in the file from 0.

    `bare_difference` marks a table that prints differences without the two scores; it has no usable rows.
    """

    file: str
    number: int
    line: int
    card: str
    reference_head: str
    candidate_head: str
    model: str
    rows: tuple[CardRow, ...]
    bare_difference: bool = False

    @property
    def place(self) -> str:
        """How other tables' findings name this one."""
        return f"{self.card} ({Path(self.file).name} line {self.line})"


def parse_file(path: Path) -> tuple[CardTable, ...]:
    """The comparison tables of a file, Markdown unless its name ends in .json.

    Raises `UsageError`: the file is not there, too large, not UTF-8, or not the JSON that is read.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path} is larger than {_LARGEST_FILE // 1_000_000} MB, so it is no card")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None
    if path.suffix == ".json":
        return tuple(_json_tables(text, str(path)))
    stem = path.resolve().parent.name if path.stem.lower().startswith("readme") else path.stem
    return parse_markdown(text, str(path), stem)


def parse_markdown(text: str, file: str, card: str) -> tuple[CardTable, ...]:
    """The comparison tables of a Markdown text; `card` is the name of the repository it belongs to."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(_without_front_matter(text))
    tables: list[CardTable] = []
    grid: Grid = []
    for token in tokens:
        if token.type == "table_open":
            grid = []
        elif token.type == "tr_open":
            grid.append(((token.map or [0])[0] + 1, []))
        elif token.type == "inline" and grid and token.level >= 3:
            words = "".join(
                child.content for child in token.children or [] if child.type in {"text", "code_inline", "text_special"}
            )
            grid[-1][1].append(words.strip())
        elif token.type == "table_close" and grid:
            tables += _table(grid, file, card, len(tables))
            grid = []
    evidence = _evidence(text)
    known = [tuple(replace(row, **evidence.get(row.label, {})) for row in made.rows) for made in tables]
    return tuple(replace(made, rows=rows) for made, rows in zip(tables, known, strict=True))


def _table(grid: Grid, file: str, card: str, number: int) -> Iterator[CardTable]:
    """The comparison table that rows of cells are, without a row of their mean; none where it is of another kind."""
    line, heads = grid[0]
    columns = _columns(heads)
    if columns is None:
        bare = next((head for head in heads[1:] if pattern("difference").search(head)), "")
        if re.search(r"cuda|origin|reference|参考", bare, re.IGNORECASE):
            yield CardTable(file, number, line, card, bare, bare, "", (), bare_difference=True)
        return
    reference, candidate = columns
    lines = [(at, cells) for at, cells in grid[1:] if len(cells) > max(columns) and any(cells)]
    lines = [(at, cells) for at, cells in lines if not pattern("overall").fullmatch(cells[0])]
    read = unpadded([read_cell(cells[column]) for _, cells in lines for column in columns])
    plain = [cell.number for cell in read if cell.number and cell.scale is None]
    above = sum(number > 1 for number in plain)
    # Percent as soon as most plain numbers that decide are above 1.
    scale: Scale = "percent" if above and 2 * above >= len(plain) else "fraction"
    rows = (
        CardRow(cells[0], benchmark_of(cells[0]), *scaled_row(one, two, scale), at)
        for (at, cells), one, two in zip(lines, read[::2], read[1::2], strict=True)
    )
    model = model_of(heads[reference])
    yield CardTable(file, number, line, card, heads[reference], heads[candidate], model, tuple(rows))


def _columns(heads: list[str]) -> tuple[int, int] | None:
    """The columns of reference and candidate, or None where the heads do not say."""
    names = ("reference", "difference", "candidate")
    is_reference, is_difference, is_candidate = (pattern(name).search for name in names)
    reference = next((i for i, head in enumerate(heads) if i and is_reference(head) and not is_difference(head)), None)
    candidate = next((i for i, head in enumerate(heads) if i and i != reference and is_candidate(head)), None)
    return None if reference is None or candidate is None else (reference, candidate)


def model_of(reference_head: str) -> str:
    """The model that a reference column is about, comparable between cards: no owner, no stack, lower case."""
    model = pattern("reference").sub("", reference_head.strip())
    return pattern("pipeline_suffix").sub("", model).rsplit("/", 1)[-1].lower()


def read_cell(text: str) -> Cell:
    """A cell as it stands, before the table's scale is known."""
    stripped = text.strip().strip("*").strip()
    count = pattern("count").match(stripped)
    if count and int(count[2]) > 0:
        value = Decimal(count[1]) / Decimal(count[2])
        return Cell(stripped, Decimal(count[1]), "count", value)
    match = pattern("number").match(stripped)
    if not match:
        return Cell(stripped)
    number = Decimal(match[1])
    step = Decimal(1).scaleb(-places(number))
    spread = match[3] is not None
    if match[2]:
        return Cell(stripped, number, "percent sign", number / 100, step / 100, spread=spread)
    return Cell(stripped, number, None, None, step, spread=spread)


def unpadded(cells: Sequence[Cell]) -> list[Cell]:
    """A table's cells; where all that have as many decimals end in zeros, these are no digits."""
    zeros: dict[int, list[int]] = {}
    for cell in cells:
        if cell.number:
            zeros.setdefault(places(cell.number), []).append(places(cell.number) - places(cell.number.normalize()))
    padding = {written: min(found) for written, found in zeros.items() if len(found) >= _PADDED_CELLS}
    return [
        cell if cell.number is None else replace(cell, step=cell.step.scaleb(padding.get(places(cell.number), 0)))
        for cell in cells
    ]


def scaled_row(left: Cell, right: Cell, scale: Scale) -> tuple[Cell, Cell]:
    """A row's cells with their fractions; a row that cannot be in the table's scale is read in the other."""
    numbers = [cell.number for cell in (left, right) if cell.number and cell.scale is None]
    if numbers:
        scale = "percent" if max(numbers) > 1 else "fraction"
    divisor = 100 if scale == "percent" else 1

    def scaled(cell: Cell) -> Cell:
        if cell.number is None or cell.scale is not None:
            return _rounded_before(cell)
        return _rounded_before(replace(cell, scale=scale, fraction=cell.number / divisor, step=cell.step / divisor))

    return scaled(left), scaled(right)


def _rounded_before(cell: Cell) -> Cell:
    """A cell of more than two decimals of a percent that ends in zeros: 50.890 is 458 of 900, 50.89, and a zero."""
    step = cell.step
    while 0 < step < _FINEST and cell.fraction is not None and cell.fraction % (step * 10) == 0:
        step *= 10
    return replace(cell, step=step)


def _evidence(text: str) -> Mapping[str, dict[str, Any]]:
    """`n` and `k` by row label, from the provenance lines that evalkit puts below its cards."""
    found: dict[str, dict[str, Any]] = {}
    for match in filter(None, map(pattern("evidence").match, text.splitlines())):
        label = re.sub(r"\\([^\w\s])", r"\1", match[1])
        found[label] = {"n": int(match[2]), "k": (Decimal(match[3]), Decimal(match[4] or match[3]))}
    return found


def _without_front_matter(text: str) -> str:
    """The text with its YAML front matter blanked, so that line numbers stay."""
    match = re.match(r"---\r?\n.*?\r?\n---[ \t]*(?:\r?\n|$)", text, re.DOTALL)
    return "\n" * match.group().count("\n") + text[match.end() :] if match else text


class _Row(BaseModel):
    metric: Any
    ref: Any = None
    candidate: Any = None


class _Collected(BaseModel):
    card: Any
    columns: list[Any]
    rows: list[_Row]


def _json_tables(text: str, file: str) -> Iterator[CardTable]:
    """The tables of a JSON list, with the lines on which they and their rows begin."""
    try:
        entries = TypeAdapter(list[_Collected]).validate_python(json.loads(text))
    except ValidationError:
        raise UsageError(
            f"{file} is not a JSON list of tables with card, columns and rows of metric, ref and candidate"
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{file} is not JSON") from None
    at = 0
    for number, entry in enumerate(entries):
        at = max(at, text.find(json.dumps(entry.card, ensure_ascii=False), at))
        line = text.count("\n", 0, at) + 1
        grid: Grid = [(line, [str(head) for head in entry.columns])]
        for row in entry.rows:
            found = text.find(json.dumps(row.metric, ensure_ascii=False), at)
            at = found if found >= 0 else at
            values = ["" if value is None else str(value) for value in (row.ref, row.candidate)]
            grid.append((text.count("\n", 0, at) + 1, [str(row.metric), *values][: len(entry.columns)]))
        yield from _table(grid, file, str(entry.card), number)
