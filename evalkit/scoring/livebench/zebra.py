"""Zebra puzzles: one word until the renewal of 2024-11-25, a list of answers in solution tags since."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.scoring.livebench.extract import between, boxed, malformed_solutions, solutions, without_marks
from evalkit.scoring.livebench.grade import Grade, truth_of

_NUMBER_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_WORD: Final = re.compile(r"\w+")
_MARKED: Final = re.compile(r"\*\*\*(\w+)\*\*\*")


def grade_old(doc: Mapping[str, Any], text: str) -> Grade:
    """The last `***word***`, else the last word of the text, against a truth of one word (or "... movies")."""
    truth = truth_of(doc).lower()
    marked = _MARKED.findall(text)
    words = marked or _WORD.findall(text)
    answer = words[-1] if words else None
    return Grade(
        value=float(answer is not None and truth in _meanings(answer)),
        answer=answer,
        anchored=bool(marked),
        reason="" if answer else "no_answer",
    )


def grade_new(doc: Mapping[str, Any], text: str) -> Grade:
    """Half for the share of right elements, half for all of them; a truth contained in an element is right."""
    truth = [_plain(part) for part in truth_of(doc).split(",")]
    blocks = _blocks(text, len(truth))
    elements = _elements(blocks, len(truth))
    # evalkit's own reading also takes a block that runs over several lines, and wants whole elements.
    own = _elements(between(text, "<solution>", "</solution>"), len(truth)) or elements
    return Grade(
        value=_share([right in given for given, right in zip(elements, truth, strict=False)], len(truth)),
        answer=", ".join(elements or own) or None,
        anchored="</solution>" in text or "\\boxed" in text,
        strict=_share([right == given.strip() for given, right in zip(own, truth, strict=False)], len(truth)),
        reason="" if own else "no_answer",
    )


def _meanings(word: str) -> set[str]:
    lowered = word.lower()
    meanings = {lowered, f"{lowered} movies"}
    if len(word) == 1 and word in "123456789":
        meanings.add(_NUMBER_WORDS[int(word)])
    return meanings


def _blocks(text: str, wanted: int) -> list[str]:
    blocks = solutions(text) or malformed_solutions(text)
    if not blocks and (content := boxed(text)) is not None:
        blocks = [without_marks(content, "\\text{", "}", "\\")]
    last_line = text.strip().rsplit("\n", 1)[-1]
    if not blocks and last_line.count(",") == wanted - 1:
        blocks = [last_line]
    return blocks


def _elements(blocks: list[str], wanted: int) -> list[str]:
    elements = [part for block in blocks for part in block.split(",")]
    if len(blocks) > 1:
        elements = elements[-wanted:]
    return [_plain(element).replace("position", "") for element in elements]


def _plain(element: str) -> str:
    return element.strip().lower().replace("-", " ")


def _share(right: list[bool], wanted: int) -> float:
    return ((sum(right) == wanted) + sum(right) / wanted) / 2
