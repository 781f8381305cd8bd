"""Spatial reasoning: one bold number or the name of a shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.scoring.livebench.extract import boxed, without_marks
from evalkit.scoring.livebench.grade import Grade, truth_of

_BOLD: Final = re.compile(r"\*\*([^*]+)\*\*")
_NUMBERS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *(
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ),
)
_SHAPES: Final = ("tetrahedra", "tetrahedron", "triangle", "square")
_LOOKED_AT: Final = 3
_WORD: Final = re.compile(r"\w+")


def grade(doc: Mapping[str, Any], text: str) -> Grade:
    """Right if one of the last three bold phrases, or the box, is the truth; the strict reading takes the last only."""
    raw = truth_of(doc).strip()
    truth = raw.lower()
    phrases = [without_marks(phrase, ".").strip().lower() for phrase in _BOLD.findall(text)][-_LOOKED_AT:]
    box = boxed(text)
    inside = None if box is None else without_marks(box, "\\textbf{", "\\mathbf{", "\\text{", "}")
    value = (
        text.strip() == raw
        or any(_means(phrase, truth) for phrase in phrases)
        or (inside is not None and inside == raw)
    )
    answer = phrases[-1] if phrases else inside
    return Grade(
        value=float(value),
        answer=answer if answer is not None else (text.strip() if value else None),
        anchored=answer is not None,
        strict=None if answer is None else float(_states(answer, truth)),
        reason="" if value or answer is not None else "no_answer",
    )


def _means(phrase: str, truth: str) -> bool:
    """True where the phrase is the truth, its number word, or a short phrase about the same shape."""
    if phrase == truth or (phrase in _NUMBERS and str(_NUMBERS.index(phrase)) == truth):
        return True
    return truth in _SHAPES and truth in phrase and len(phrase) < 2 * len(truth) + 5


def _states(phrase: str, truth: str) -> bool:
    """True where the last number of the phrase is the truth, or the truth stands in it as a word."""
    if _means(phrase, truth):
        return True
    words = [str(_NUMBERS.index(word)) if word in _NUMBERS else word for word in _WORD.findall(phrase)]
    if truth.isdecimal():
        words = [word for word in words if word.isdecimal()][-1:]
    return truth in words
