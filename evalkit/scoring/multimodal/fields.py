"""Fields of published multimodal rows: text, lists written as Python literals, and the columns that hold pictures.

What `rows.py` reads its documents with. Every function raises ValueError with a reason where a field cannot be used.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Document: TypeAlias = dict[str, Any]

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_LITERAL_LIMIT_CHARS: Final = 100_000
_MARK: Final = re.compile(r"<image (\d{1,3})>")


class Pictures:
    """The picture columns of a row and the place that each number in a mark has among them."""

    def __init__(self, columns: list[str], places: Mapping[int, int]) -> None:
        self.columns = columns
        self._places = places

    def renumber(self, text: str) -> str:
        """Marks by column number become marks by place; one without a picture stays as plain words."""

        def mark(found: re.Match[str]) -> str:
            place = self._places.get(int(found[1]))
            return f"<image {place}>" if place else f"[image {found[1]}]"

        return _MARK.sub(mark, text)


def pictures_of(row: Row, pattern: str, text: str) -> tuple[Pictures, str]:
    """The pictures in the columns that match, and `text` with its marks renumbered by place."""
    columns = columns_of(row, pattern)
    if not columns:
        raise ValueError("has no picture")
    numbers = [re.fullmatch(pattern, column) for column in columns]
    places = {int(found[1] or 1): place for place, found in enumerate(numbers, 1) if found}
    pictures = Pictures(columns, places)
    return pictures, pictures.renumber(text)


def columns_of(row: Row, pattern: str) -> list[str]:
    """Columns that match and are not null, by the number in their name."""
    found = [match for name in row if row[name] is not None and (match := re.fullmatch(pattern, name))]
    return [match.string for match in sorted(found, key=lambda match: int(match[1] or 0))]


def choices_of(row: Row, pictures: Pictures) -> list[str]:
    """The texts of the column `options`, flattened, marks renumbered; at least two."""
    choices = [pictures.renumber(str(choice).strip()) for choice in _flat(_literal(row.get("options")))]
    if len(choices) < 2:
        raise ValueError(f"({row.get('id')}) has fewer than two options")
    return choices


def _literal(value: object) -> object:
    """A Python literal in a string as the value that it stands for; other values as they are."""
    if not isinstance(value, str):
        return value
    if len(value) > _LITERAL_LIMIT_CHARS:
        raise ValueError("has a list of options that is too long to be one")
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"has options that are no list: {value[:60]!r}") from error


def _flat(value: object) -> list[object]:
    """A list without its nesting: one published row has its options one level too deep."""
    if isinstance(value, list | tuple):
        return [inner for item in value for inner in _flat(item)]
    return [] if value is None else [value]


def truths_of(answer: str) -> list[str]:
    """The right answers of an open question; a list is published as its Python literal."""
    text = answer.strip()
    if not text.startswith("["):
        return [text]
    try:
        listed = [str(truth).strip() for truth in _flat(_literal(text))]
    except ValueError:
        return [text]
    return [truth for truth in listed if truth] or [text]


def lettered(choices: Sequence[str]) -> str:
    """The choices as lines "A. ...", as a prompt lists them."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False))


def label_of(value: object) -> str:
    """A label that may be wrapped as {"choices": [...]} or be a list."""
    if isinstance(value, Mapping):
        value = value.get("choices")
    if isinstance(value, list | tuple):
        return "、".join(str(item) for item in value)
    return str(value or "unknown")


def text_of(row: Row, name: str) -> str:
    """The text of a column that must not be null or blank, with LF line ends."""
    value = row.get(name)
    if value is None or not str(value).strip():
        raise ValueError(f"has no {name!r} (its columns: {', '.join(map(str, row))})")
    return str(value).replace("\r\n", "\n")


def each(function: Callable[[Row], Document], rows: Iterable[Row]) -> list[Document]:
    """The function over all rows; a ValueError is given the row's number."""
    documents = []
    for number, row in enumerate(rows):
        try:
            documents.append(function(row))
        except ValueError as error:
            raise ValueError(f"row {number} {error}") from error
    return documents
