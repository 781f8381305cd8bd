"""What is wrong within one published table, as far as the table itself and the benchmarks' sizes can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import sqrt
from typing import Final

from evalkit.render.benchmarks import chip_of, nearest_name
from evalkit.render.card_parse import CardRow, CardTable, Cell, Scale

_Z: Final = 2.576
"""Two-sided 99 %: below chance is said only where luck is no explanation."""
_NEAR_ZERO: Final = Decimal("0.02")
_USUAL_TRIALS: Final = (2, 3, 4, 5, 8, 10, 16, 32, 64)
_SCALE_WORDS: Final = {
    "percent": "percent",
    "fraction": "0 to 1",
    "percent sign": "percent with a % sign",
    "count": "a count such as 23/30",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reader should not have to find: where, which rule, and what, in a sentence.

    `table` is the number of the table in its file, from 0.
    """

    file: str
    line: int
    table: int
    card: str
    rule: str
    sentence: str


def finding(table: CardTable, line: int, rule: str, sentence: str) -> Finding:
    """A finding in a table."""
    return Finding(table.file, line, table.number, table.card, rule, sentence)


def check_table(table: CardTable) -> list[Finding]:
    """All findings that need no other table."""
    return [found for rule in _RULES for found in rule(table)]


def _bare_difference(table: CardTable) -> Iterator[Finding]:
    if table.bare_difference:
        yield finding(
            table,
            table.line,
            "bare-difference",
            f"the column {table.reference_head!r} prints differences without the two scores",
        )


def _holes(table: CardTable) -> Iterator[Finding]:
    for row in table.rows:
        for side, cell in row.cells:
            if cell.number is None:
                said = f"says {cell.text!r}" if cell.text else "is empty"
                yield finding(table, row.line, "hole", f"{row.label}: the {side}'s cell {said} where a score belongs")


def _zero_scores(table: CardTable) -> Iterator[Finding]:
    for row in table.rows:
        sides = [side for side, cell in row.cells if cell.fraction == 0]
        if sides:
            who = " and ".join(f"the {side}" for side in sides)
            hard = row.benchmark.near_zero_is_real
            why = (
                "a run that failed, or a test too hard to compare anything"
                if hard
                else "a run that failed, not a measurement"
            )
            yield finding(table, row.line, "zero-score", f"{row.label}: {who} scored exactly 0: {why}")


def _floor_scores(table: CardTable) -> Iterator[Finding]:
    """Below chance beyond luck (normal approximation, 99 %), or next to nothing where chance is not known."""
    for row in table.rows:
        known = row.benchmark
        for side, cell in row.cells:
            if not cell.fraction:
                continue
            share = float(cell.fraction)
            n = row.n or next((size for size in sorted(known.sizes) if possible(cell, size)), None)
            if known.chance and n and share + _Z * sqrt(known.chance * (1 - known.chance) / n) < known.chance:
                guess = f"below a blind guess ({100 * known.chance:.0f} %) on {n} questions: answers are not being read"
                sentence = f"{row.label}: the {side}'s {cell.text} is {guess}"
                yield finding(table, row.line, "below-chance", sentence)
            elif not known.chance and not known.near_zero_is_real and cell.fraction < _NEAR_ZERO:
                sentence = f"{row.label}: the {side}'s {cell.text} is next to nothing: the task looks broken"
                yield finding(table, row.line, "below-chance", sentence)


def row_scale(row: CardRow) -> Scale | None:
    """The scale of a row: of its numbers that are not 0, the one that is most telling."""
    scales = [cell.scale for _, cell in row.cells if cell.number and cell.scale]
    for telling in ("count", "percent sign", "percent", "fraction"):
        if telling in scales:
            return telling
    return None


def _mixed_scales(table: CardTable) -> Iterator[Finding]:
    """Rows whose scale is not the table's, and cells that carry a spread where the others do not."""
    scales = [scale for scale in map(row_scale, table.rows) if scale]
    if scales:
        usual = max(dict.fromkeys(scales), key=scales.count)
        for row in table.rows:
            scale = row_scale(row)
            if scale and scale != usual:
                sentence = f"{row.label} is printed as {_SCALE_WORDS[scale]} in a table of {_SCALE_WORDS[usual]}"
                yield finding(table, row.line, "mixed-scales", sentence)
    spreads = [(row, cell) for row in table.rows for _, cell in row.cells if cell.spread]
    if len(spreads) < sum(cell.number is not None for row in table.rows for _, cell in row.cells):
        for row, cell in spreads:
            yield finding(
                table, row.line, "mixed-scales", f"{row.label}: {cell.text} carries a spread and other cells do not"
            )


def _not_k_of_n(table: CardTable) -> Iterator[Finding]:
    for row in table.rows:
        for index, (side, cell) in enumerate(row.cells):
            trials = row.k[index] if row.k else Decimal(row.benchmark.trials or 1)
            sizes = (row.n,) if row.n else row.benchmark.sizes
            if cell.fraction is None or cell.scale == "count" or not sizes or trials != int(trials):
                continue
            if any(possible(cell, size * int(trials)) for size in sizes):
                continue
            yield finding(table, row.line, "not-k-of-n", _not_k_of_n_sentence(row, side, cell, (sizes[0], int(trials))))


def possible(cell: Cell, answers: int) -> bool:
    """True where some number of right answers out of `answers`, rounded or cut off, prints as the cell does."""
    if cell.fraction is None:
        return False
    low = (cell.fraction - cell.step / 2) * answers
    high = (cell.fraction + cell.step) * answers
    first = low.to_integral_value(ROUND_CEILING)
    return first <= high if first < high else False


def _not_k_of_n_sentence(row: CardRow, side: str, cell: Cell, asked: tuple[int, int]) -> str:
    size, trials = asked
    answers = size * trials
    below = int(((cell.fraction or Decimal(0)) * answers).to_integral_value(ROUND_FLOOR))
    times = "once" if trials == 1 else f"{trials} times"
    sentence = (
        f"{row.label}: the {side}'s {cell.text} is no share of {size} questions asked {times}:"
        f" {below} right is {_like(cell, below, answers)}, {below + 1} is {_like(cell, below + 1, answers)}"
    )
    fitting = next((k for k in _USUAL_TRIALS if possible(cell, size * k)), None)
    if fitting and not row.benchmark.trials and not row.k:
        sentence += f" (it could be if each was asked {fitting} times, which the card does not say)"
    return sentence


def _like(cell: Cell, right: int, answers: int) -> str:
    """A share written as the cell writes it."""
    share = Decimal(right) / Decimal(answers)
    if cell.scale == "fraction":
        return f"{share.quantize(cell.step.normalize()):f}"
    return f"{(share * 100).quantize((cell.step * 100).normalize()):f}"


def _labels(table: CardTable) -> Iterator[Finding]:
    """Labels that are not known, and labels that mean a benchmark the table has already had."""
    seen: dict[tuple[str, str], CardRow] = {}
    for row in table.rows:
        if row.benchmark.name is None:
            near = nearest_name(row.benchmark)
            hint = f": perhaps {near} is meant" if near else ""
            yield finding(table, row.line, "unknown-label", f"{row.label!r} is no benchmark that evalkit knows{hint}")
        earlier = seen.setdefault(row.benchmark.identity, row)
        if earlier is not row:
            sentence = f"{row.label!r} names the same benchmark as {earlier.label!r} on line {earlier.line}"
            yield finding(table, row.line, "duplicate-label", sentence)


def _chip(table: CardTable) -> Iterator[Finding]:
    if table.bare_difference:
        return
    of_card, of_head = chip_of(table.card), chip_of(table.candidate_head)
    if of_card and of_head and of_card != of_head:
        sentence = f"the candidate's column is headed {table.candidate_head!r} in a card named {table.card!r}"
        yield finding(table, table.line, "wrong-chip", sentence)


_RULES: Final[tuple[Callable[[CardTable], Iterator[Finding]], ...]] = (
    _bare_difference,
    _holes,
    _zero_scores,
    _floor_scores,
    _mixed_scales,
    _not_k_of_n,
    _labels,
    _chip,
)
