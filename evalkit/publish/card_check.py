"""Checks published cards: what is wrong in each table, and what shows when the cards of a model lie side by side."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Final, TypeAlias

from evalkit.publish.card_parse import CardRow, CardTable, Cell, Scale, parse_file
from evalkit.publish.cards import chip_of, nearest_name

_Z: Final = 2.576  # two-sided 99 %: below chance is said only where luck is no explanation
_NEAR_ZERO: Final = Decimal("0.02")
_USUAL_TRIALS: Final = (2, 3, 4, 5, 8, 10, 16, 32, 64)
_SCALE_WORDS: Final = {
    "percent": "percent",
    "fraction": "0 to 1",
    "percent sign": "percent with a % sign",
    "count": "a count such as 23/30",
}


@dataclass(frozen=True, slots=True)
class CardFinding:
    """One thing that a reader should not have to find: where, which rule, and what, in a sentence.

    `table` is the number of the table in its file, from 0.
    """

    file: str
    line: int
    table: int
    card: str
    rule: str
    sentence: str


Said: TypeAlias = tuple[int, str, str]  # what a rule finds in a table: line, rule, sentence


def _finding(table: CardTable, said: Said) -> CardFinding:
    line, rule, sentence = said
    return CardFinding(table.file, line, table.number, table.card, rule, sentence)


def _cells(row: CardRow) -> Iterator[Said]:
    """Holes; scores of 0; scores below chance beyond luck (normal approximation, 99 %), or next to nothing."""
    known = row.benchmark
    for side, cell in row.cells:
        its = f"{row.label}: the {side}'s"
        if cell.number is None:
            said = f"says {cell.text!r}" if cell.text else "is empty"
            yield row.line, "hole", f"{its} cell {said} where a score belongs"
        if not cell.fraction:
            continue
        n = row.n or next((size for size in sorted(known.sizes) if possible(cell, size)), None)
        luck = _Z * sqrt(known.chance * (1 - known.chance) / n) if known.chance and n else 0.0
        if known.chance and n and float(cell.fraction) + luck < known.chance:
            guess = f"below a blind guess ({100 * known.chance:.0f} %) on {n} questions: answers are not being read"
            yield row.line, "below-chance", f"{its} {cell.text} is {guess}"
        elif not known.chance and not known.near_zero_is_real and cell.fraction < _NEAR_ZERO:
            yield row.line, "below-chance", f"{its} {cell.text} is next to nothing: the task looks broken"
    zeros = [f"the {side}" for side, cell in row.cells if cell.fraction == 0]
    if zeros:
        why = "or a test too hard to compare anything" if known.near_zero_is_real else "not a measurement"
        sentence = f"{row.label}: {' and '.join(zeros)} scored exactly 0: a run that failed, {why}"
        yield row.line, "zero-score", sentence


def _scales(table: CardTable) -> list[tuple[CardRow, Scale]]:
    """The rows that have a scale."""
    found = []
    telling: tuple[Scale, ...] = ("count", "percent sign", "percent", "fraction")
    for row in table.rows:  # of its numbers that are not 0, the most telling one
        scales = [cell.scale for _, cell in row.cells if cell.number and cell.scale]
        found += [(row, scale) for scale in telling if scale in scales][:1]
    return found


def _mixed_scales(table: CardTable) -> Iterator[Said]:
    """Rows whose scale is not the table's, and cells that carry a spread where the others do not."""
    scales = _scales(table)
    for row, scale in scales:
        if scale != (usual := _usual([one for _, one in scales])):
            sentence = f"{row.label} is printed as {_SCALE_WORDS[scale]} in a table of {_SCALE_WORDS[usual]}"
            yield row.line, "mixed-scales", sentence
    spreads = [(row, cell) for row in table.rows for _, cell in row.cells if cell.spread]
    if len(spreads) < sum(cell.number is not None for row in table.rows for _, cell in row.cells):
        for row, cell in spreads:
            yield row.line, "mixed-scales", f"{row.label}: {cell.text} carries a spread and other cells do not"


def _not_k_of_n(row: CardRow) -> Iterator[Said]:
    sizes = (row.n,) if row.n else row.benchmark.sizes
    for index, (side, cell) in enumerate(row.cells):
        trials = row.k[index] if row.k else Decimal(row.benchmark.trials or 1)
        if cell.fraction is None or cell.scale == "count" or not sizes or trials != int(trials):
            continue
        if not any(possible(cell, size * int(trials)) for size in sizes):
            yield row.line, "not-k-of-n", _not_k_of_n_sentence(row, side, cell, (sizes[0], int(trials)))


def possible(cell: Cell, answers: int) -> bool:
    """True where some number of right answers out of `answers`, rounded or cut off, prints as the cell does."""
    if cell.fraction is None:
        return False
    low = (cell.fraction - cell.step / 2) * answers
    return low.to_integral_value(ROUND_CEILING) < (cell.fraction + cell.step) * answers


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


def _labels(table: CardTable) -> Iterator[Said]:
    """Labels that are not known, and labels that mean a benchmark the table has already had."""
    seen: dict[tuple[str, str], CardRow] = {}
    for row in table.rows:
        if row.benchmark.name is None:
            near = nearest_name(row.benchmark)
            hint = f": perhaps {near} is meant" if near else ""
            yield row.line, "unknown-label", f"{row.label!r} is no benchmark that evalkit knows{hint}"
        earlier = seen.setdefault(row.benchmark.identity, row)
        if earlier is not row:
            sentence = f"{row.label!r} names the same benchmark as {earlier.label!r} on line {earlier.line}"
            yield row.line, "duplicate-label", sentence


def _heads(table: CardTable) -> Iterator[Said]:
    if table.bare_difference:
        sentence = f"the column {table.reference_head!r} prints differences without the two scores"
        yield table.line, "bare-difference", sentence
        return
    of_card, of_head = chip_of(table.card), chip_of(table.candidate_head)
    if of_card and of_head and of_card != of_head:
        sentence = f"the candidate's column is headed {table.candidate_head!r} in a card named {table.card!r}"
        yield table.line, "wrong-chip", sentence


_FEW: Final = 3  # equal rows that make a copy rather than a coincidence


def check_cards(paths: Iterable[Path]) -> tuple[CardFinding, ...]:
    """All findings in the tables of some files, compared with one another.

    Raises `UsageError`: a file cannot be read, or none of them holds a comparison table.
    """
    return check_tables([table for path in paths for table in parse_file(path)])


def check_tables(tables: Sequence[CardTable]) -> tuple[CardFinding, ...]:
    """All findings, in the order of files, tables and lines."""
    found = []
    for table in tables:
        of_rows = [said for row in table.rows for said in (*_cells(row), *_not_k_of_n(row))]
        of_table = (*_heads(table), *_mixed_scales(table), *_labels(table))
        found += [_finding(table, said) for said in (*of_rows, *of_table)]
    scored = [table for table in tables if not table.bare_difference]
    swapped = list(_swapped(scored))
    found += [item for _, item in swapped]
    found += _copied(scored)
    skip = {id(table) for pair, _ in swapped for table in pair}
    for family in _families(scored):
        found += _wrong_labels(family)
        found += _moved([table for table in family if id(table) not in skip])
        found += _scales_between(family)
    order = {table.file: index for index, table in reversed(list(enumerate(tables)))}
    return tuple(
        sorted(set(found), key=lambda item: (order[item.file], item.table, item.line, item.rule, item.sentence))
    )


def _families(tables: Sequence[CardTable]) -> list[list[CardTable]]:
    """Tables of one model, in their order."""
    families: dict[str, list[CardTable]] = {}
    for table in tables:
        families.setdefault(table.model, []).append(table)
    return [family for family in families.values() if len(family) > 1]


def _swapped(tables: Sequence[CardTable]) -> Iterator[tuple[tuple[CardTable, CardTable], CardFinding]]:
    """Two tables of one model in which at least two rows, and most of those that both have, changed sides."""
    for family in _families(tables):
        for first, second in combinations(family, 2):
            pairs = [
                (a, b)
                for a, b in _common(first, second)
                if not _same(a.reference, a.candidate)
                and all(cell.fraction is not None for row in (a, b) for _, cell in row.cells)
            ]
            crossed = [b for a, b in pairs if _same(a.reference, b.candidate) and _same(a.candidate, b.reference)]
            if len(crossed) >= 2 and 2 * len(crossed) > len(pairs):
                names = ", ".join(row.label for row in crossed)
                sentence = f"reference and candidate are the other way round in {first.place}: {names}"
                yield (first, second), _finding(second, (second.line, "swapped-columns", sentence))


def _copied(tables: Sequence[CardTable]) -> Iterator[CardFinding]:
    """Tables of different models with the same pairs of figures, or the same references."""
    for index, table in enumerate(tables):
        for earlier in tables[:index]:
            if earlier.model == table.model:
                continue
            equal = [
                row.label
                for row in table.rows
                if any(_equal(row.reference, o.reference) and _equal(row.candidate, o.candidate) for o in earlier.rows)
            ]
            references = [b.label for a, b in _common(earlier, table) if _equal(a.reference, b.reference)]
            most = max(equal, references, key=len)
            if len(most) >= _FEW and 2 * len(most) > len(table.rows):
                what = "both figures of" if most is equal else "the reference figures of"
                sentence = f"{what} {', '.join(most)} are those of another model, {earlier.place}"
                yield _finding(table, (table.line, "another-models-figures", sentence))
                break


def _moved(family: Sequence[CardTable]) -> Iterator[CardFinding]:
    """References that differ from what most cards of the model say; where none has more, from the first."""
    for identity in dict.fromkeys(row.benchmark.identity for table in family for row in table.rows):
        rows = [(table, row) for table in family for row in _once(table, identity) if row.reference.fraction]
        if len({id(table) for table, _ in rows}) < 2:
            continue
        usual = max(rows, key=lambda pair: sum(_same(pair[1].reference, row.reference) for _, row in rows))
        for table, row in rows:
            if not _same(row.reference, usual[1].reference):
                there = f"{usual[1].reference.text} in {usual[0].place}"
                sentence = f"{row.label}: the reference is {row.reference.text} here and {there}"
                yield _finding(table, (row.line, "reference-moved", sentence))


def _wrong_labels(family: Sequence[CardTable]) -> Iterator[CardFinding]:
    """Rows whose reference is the one that sibling cards give for a benchmark which this table does not have."""
    for table in family:
        own = {row.benchmark.identity for row in table.rows}
        others = [row for other in family if other is not table for row in other.rows if row.reference.fraction]
        for row in table.rows:
            if not row.reference.fraction:
                continue
            namesakes = [other for other in others if other.benchmark.identity == row.benchmark.identity]
            if any(_same(row.reference, other.reference) for other in namesakes):
                continue
            # Of at least three digits: shorter figures are alike by chance.
            telling = len(str(row.reference.number).replace(".", "").strip("0")) >= 3
            new = [other for other in others if other.benchmark.identity not in own and telling]
            likely = [other for other in new if _equal(row.reference, other.reference)]
            if likely:
                meant = f"which other cards of the model give for {likely[0].label!r}"
                sentence = f"{row.label!r} carries {row.reference.text}, {meant}"
                yield _finding(table, (row.line, "wrong-label", sentence))


def _scales_between(family: Sequence[CardTable]) -> Iterator[CardFinding]:
    """Cards that print another scale than most cards of the model; where none has more, than the first."""
    printed = [(table, _usual([scale for _, scale in own])) for table in family if (own := _scales(table))]
    if not printed:
        return
    usual = _usual([scale for _, scale in printed])
    there = next(table for table, scale in printed if scale == usual)
    for table, scale in printed:
        if scale != usual:
            sentence = f"the scores are in {scale} here and in {usual} in {there.place}"
            yield _finding(table, (table.line, "mixed-scales", sentence))


def _usual(scales: Sequence[Scale]) -> Scale:
    """The scale that most have; where none has more, the first."""
    return max(dict.fromkeys(scales), key=scales.count)


def _once(table: CardTable, identity: tuple[str, str]) -> list[CardRow]:
    """The table's row for a benchmark, unless it has two: then which is meant is another finding's business."""
    rows = [row for row in table.rows if row.benchmark.identity == identity]
    return rows if len(rows) == 1 else []


def _common(first: CardTable, second: CardTable) -> list[tuple[CardRow, CardRow]]:
    """Rows that mean the same benchmark in both tables."""
    of_second = {row.benchmark.identity: row for row in second.rows}
    return [(row, of_second[row.benchmark.identity]) for row in first.rows if row.benchmark.identity in of_second]


def _same(left: Cell, right: Cell) -> bool:
    """True where two figures can be the same number, rounded or cut to the coarser one's last digit."""
    if left.fraction is None or right.fraction is None:
        return False
    return abs(left.fraction - right.fraction) <= max(left.step, right.step, Decimal("1e-9"))


def _equal(left: Cell, right: Cell) -> bool:
    """True where two figures are the same number and not 0: what a copy looks like."""
    return bool(left.fraction) and left.fraction == right.fraction
