"""LiveBench reasoning: spatial questions, web of lies, zebra puzzles."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.scoring.livebench.extract import (
    Grade,
    between,
    between_on_line,
    boxed,
    malformed_solutions,
    solutions,
    truth_of,
    without_marks,
)

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


def grade_spatial(doc: Mapping[str, Any], text: str) -> Grade:
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


# ----------------------------------------------------------------
# Web of lies: three people, three answers of yes, no or unknown


_WORDS: Final = ("yes", "no", "unknown")
_ASKED: Final = 3
_TAGGED_WORD: Final = re.compile(r"\b(?:yes|no|unknown)\b")


def grade_v2(doc: Mapping[str, Any], text: str) -> Grade:
    """All three or nothing. Inside solution tags the official rule minds case and the space after a comma."""
    truth = truth_of(doc).lower()
    tagged = _tagged(text)
    answer = tagged if tagged is not None else _bold_words(text)
    if answer is None or not answer.strip():
        content = _in_box(text)
        answer = content if content is not None else answer
    anchored = answer is not None
    if answer is None:
        answer = _plain_word(text)
    return Grade(
        value=float(answer is not None and _matches(answer, truth)),
        answer=answer,
        anchored=anchored,
        strict=float(answer is not None and _TAGGED_WORD.findall(answer.lower()) == _TAGGED_WORD.findall(truth)),
        reason="" if answer else "no_answer",
    )


def grade_v3(doc: Mapping[str, Any], text: str) -> Grade:
    """Half for each share of right answers, half for all of them; elements are compared with their spaces."""
    truth = truth_of(doc).split(",")
    found = solutions(text)
    answer = found[-1] if found else None
    if answer is None or not answer.strip():
        content = _in_box(text)
        answer = content if content is not None else answer
    anchored = answer is not None
    if answer is None:
        answer = _plain_word(text)
    given = [] if answer is None else answer.split(",")
    right = sum(a == b for a, b in zip(given, truth, strict=False))
    value = ((right == len(truth)) + right / len(truth)) / 2
    return Grade(value=value, answer=answer, anchored=anchored, reason="" if answer else "no_answer")


def _tagged(text: str) -> str | None:
    found = solutions(text) or malformed_solutions(text)
    return found[-1] if found else None


def _bold_words(text: str) -> str | None:
    words = [
        word.lower().replace(",", "").replace(".", "")
        for phrase in between_on_line(text, "**", "**")
        for word in phrase.split()
    ]
    answers = [word for word in words if word in _WORDS]
    return ", ".join(answers[-_ASKED:]) if answers else None


def _in_box(text: str) -> str | None:
    return boxed(text.replace("\\textbf{", "\\boxed{"))


def _plain_word(text: str) -> str | None:
    # Of all triples that occur, the one whose first occurrence comes last.
    lowered = text.lower()
    triples = (", ".join(words) for words in itertools.product(_WORDS, repeat=_ASKED))
    places = [(place, triple) for triple in triples if (place := lowered.find(triple)) >= 0]
    return max(places)[1] if places else None


def _matches(answer: str, truth: str) -> bool:
    words = sum(answer.count(word) for word in _WORDS)
    return answer == truth or (words == _ASKED and truth in answer)


# ----------------------------------------------------------------
# Zebra puzzles: one word until the renewal of 2024-11-25, a list of answers in solution tags since


_NUMBER_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
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
    truth = [_plain_element(part) for part in truth_of(doc).split(",")]
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
    return [_plain_element(element).replace("position", "") for element in elements]


def _plain_element(element: str) -> str:
    return element.strip().lower().replace("-", " ")


def _share(right: list[bool], wanted: int) -> float:
    return ((sum(right) == wanted) + sum(right) / wanted) / 2
