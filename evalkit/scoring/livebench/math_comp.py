"""Contest mathematics: AMC and SMC questions (a letter) and AIME questions (three digits).

The official rules are loose by design: they look for the letter or the digits in several places and take any hit.
evalkit keeps their verdict and reads the answer a second time, more strictly, to mark what they missed or gave away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.livebench.extract import boxed, solutions, without_marks
from evalkit.scoring.livebench.grade import Grade, name_of, truth_of

TWO_QUADRUPLES: Final = "two_quadruples"
"""More than one letter is repeated four times: the official rule takes whichever is right."""

_LETTERS: Final = "ABCDE"
_OPTION: Final = re.compile(r"\\textbf\{\(([A-E])\)\s?\}([^$\n]*?)(?:\\qquad|\$)")
_REPEATED: Final = re.compile(r"(?<![A-Za-z])([A-E])\1{2,}(?![A-Za-z])")
_ANSWER_LETTER: Final = re.compile(r"(?i:answer(?: is)?)\s{0,3}:?\s{0,3}\(?([A-E])\b")
_WRAPPERS: Final = re.compile(r"\\(?:text|textbf|mathbf|mathrm|boxed)\b")
_INTEGER: Final = re.compile(r"(?<![\d.])\d+(?![\d]|\.\d)")
_TAIL: Final = 20
_AIME_TAIL: Final = 50


def grade_letter(doc: Mapping[str, Any], text: str) -> Grade:
    """An AMC or SMC answer: the letter in tags, repeated, boxed, as option text at the end, or alone on the last line.

    Raises:
        DataError: the truth is not one letter from A to E.
    """
    truth = truth_of(doc).strip()
    if len(truth) != 1 or truth not in _LETTERS:
        raise DataError(f"{name_of(doc)} has the truth {truth!r} where one letter from A to E is expected.")
    anchored = _same_character(solutions(text), truth) or truth * 4 in text or _boxed_letter(text) == truth.lower()
    value = anchored or _ends_with_option(doc, text, truth) or _last_line_letter(text, truth)
    letter = read_letter(text)
    quadruples = [other for other in _LETTERS if other * 4 in text]
    return Grade(
        value=float(value),
        answer=letter,
        anchored=anchored or letter is not None,
        strict=float(letter == truth),
        reason="" if value or letter else "no_answer",
        flags=(TWO_QUADRUPLES,) if len(quadruples) > 1 else (),
    )


def grade_digits(doc: Mapping[str, Any], text: str) -> Grade:
    """An AIME answer: the three digits of the truth stand somewhere in the last 50 characters."""
    truth = truth_of(doc).strip()
    if not truth.isdecimal():
        raise DataError(f"{name_of(doc)} has the truth {truth!r} where digits are expected.")
    value = _same_character(solutions(text), truth) or truth in text[-_AIME_TAIL:]
    number, anchored = _read_integer(text)
    return Grade(
        value=float(value),
        answer=number,
        anchored=anchored,
        strict=float(number is not None and number.lstrip("0") == truth.lstrip("0")),
        reason="" if value or number else "no_answer",
    )


def read_letter(text: str) -> str | None:
    """The letter that the answer settles on, by evalkit's own reading; None where it settles on none."""
    if found := solutions(text):
        return _single_letter(found[-1])
    if repeated := _REPEATED.findall(text):
        return str(repeated[-1])
    if (box := boxed(text)) is not None and (letter := _single_letter(box)):
        return letter
    if marked := _ANSWER_LETTER.findall(text):
        return str(marked[-1])
    return _single_letter(text.strip().rsplit("\n", 1)[-1])


def _single_letter(text: str) -> str | None:
    bare = re.sub(r"[\W_]+", "", _WRAPPERS.sub("", text)).upper()
    return bare[0] if bare and set(bare) == {bare[0]} and bare[0] in _LETTERS else None


def _same_character(bodies: list[str], truth: str) -> bool:
    characters = set(bodies[-1]) if bodies else set()
    return len(characters) == 1 and characters.pop().lower() == truth.lower()


def _boxed_letter(text: str) -> str | None:
    content = boxed(text)
    return None if content is None else without_marks(content, "\\text{", "{", "}", " ", "\\").lower()


def _ends_with_option(doc: Mapping[str, Any], text: str, truth: str) -> bool:
    prompt = doc.get("prompt")
    options = {letter: option.strip() for letter, option in _OPTION.findall(prompt)} if isinstance(prompt, str) else {}
    option = options.get(truth, "").strip("$").strip("~")
    return option != "" and option in text[-_TAIL - len(option) :]


def _last_line_letter(text: str, truth: str) -> bool:
    line = text.strip().rsplit("\n", 1)[-1]
    if line.replace("*", "").strip().lower() == truth.lower():
        return True
    inside = line.split("(", 1)[1].split(")", 1)[0] if "(" in line and ")" in line else ""
    return inside.lower() == truth.lower()


def _read_integer(text: str) -> tuple[str | None, bool]:
    for body in (solutions(text)[-1:], [boxed(text) or ""]):
        numbers = _INTEGER.findall(body[0]) if body else []
        if numbers:
            return numbers[-1], True
    numbers = _INTEGER.findall(text)
    return (numbers[-1], False) if numbers else (None, False)
