"""Olympiad proofs with gaps: the answer is the order in which the expressions fill the gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.livebench.extract import boxed, distance, without_marks
from evalkit.scoring.livebench.grade import Grade, name_of, truth_of

_MARK: Final = "answer:"


def grade(doc: Mapping[str, Any], text: str) -> Grade:
    """One minus the edit distance between the two lists of numbers, relative to the longer one.

    Raises:
        DataError: the truth is not a comma-separated list of integers.
    """
    truth = [_integer(part) for part in truth_of(doc).split(",")]
    if None in truth:
        raise DataError(f"{name_of(doc)} has a truth that is not a list of integers separated by commas.")
    numbers = read_numbers(text)
    value = 1 - distance(numbers, truth) / max(len(numbers), len(truth))
    return Grade(
        value=value,
        answer=",".join("?" if number is None else str(number) for number in numbers) or None,
        anchored=_MARK in text.lower(),
        reason="" if numbers else "no_answer",
    )


def read_numbers(text: str) -> list[int | None]:
    """The list that the answer gives; None stands for an entry that is no number.

    Tried in turn: the last line with "answer:" in it, the last box, the last line, the digits after "answer:".
    A place that holds no number at all is passed over.
    """
    for place in (_after_mark, _in_box, _on_last_line):
        numbers = place(text)
        if any(number is not None for number in numbers):
            return numbers
    return list(_leading_digits(text))


def _after_mark(text: str) -> list[int | None]:
    lines = text.lower().strip().split("\n")
    marked = [index for index, line in enumerate(lines) if _MARK in line]
    if not marked:
        return []
    listed = without_marks(lines[marked[-1]].split(_MARK)[1], "**", ".").strip()
    if not listed and marked[-1] + 1 < len(lines):
        listed = without_marks(lines[marked[-1] + 1], "**", ".").strip()
    entries = (part.strip().split(" ")[-1] for part in listed.split(","))
    return [_integer(without_marks(entry, "$", "{", "}", "\\", "boxed", "<", ">")) for entry in entries]


def _in_box(text: str) -> list[int | None]:
    if "\\boxed" not in text:
        return []
    content = boxed(text)
    listed = without_marks(text if content is None else content, "\\text{", "}", "\\")
    return [_integer(part) for part in listed.strip().split(",")]


def _on_last_line(text: str) -> list[int | None]:
    parts = text.strip().lower().rsplit("\n", 1)[-1].split(",")
    return [_integer(digits) for digits in map(_first_digits, parts) if digits]


def _leading_digits(text: str) -> list[int]:
    # The list may be followed by prose: it ends with the first entry, after the first one, that is not bare digits.
    numbers: list[int] = []
    for index, part in enumerate(text.lower().rsplit(_MARK, 1)[-1].split(",")):
        entry = part.strip()
        digits = _first_digits(entry)
        if (number := _integer(digits)) is not None:
            numbers.append(number)
        if index > 0 and digits != entry:
            break
    return numbers


def _first_digits(text: str) -> str:
    start = next((index for index, character in enumerate(text) if character.isdigit()), len(text))
    end = next((index for index in range(start, len(text)) if not text[index].isdigit()), len(text))
    return text[start:end]


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
