"""Web of lies: three people, three answers of yes, no or unknown."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.scoring.livebench.extract import between_on_line, boxed, malformed_solutions, solutions
from evalkit.scoring.livebench.grade import Grade, truth_of

_WORDS: Final = ("yes", "no", "unknown")
_ASKED: Final = 3
_WORD: Final = re.compile(r"\b(?:yes|no|unknown)\b")


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
        answer = _plain(text)
    return Grade(
        value=float(answer is not None and _matches(answer, truth)),
        answer=answer,
        anchored=anchored,
        strict=float(answer is not None and _WORD.findall(answer.lower()) == _WORD.findall(truth)),
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
        answer = _plain(text)
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


def _plain(text: str) -> str | None:
    # Of all triples that occur, the one whose first occurrence comes last.
    lowered = text.lower()
    triples = (", ".join(words) for words in itertools.product(_WORDS, repeat=_ASKED))
    places = [(place, triple) for triple in triples if (place := lowered.find(triple)) >= 0]
    return max(places)[1] if places else None


def _matches(answer: str, truth: str) -> bool:
    words = sum(answer.count(word) for word in _WORDS)
    return answer == truth or (words == _ASKED and truth in answer)
