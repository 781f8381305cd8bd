"""Short answers: the first line of the reply is one of the accepted answers, but for case, punctuation and articles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.scoring.answers.reply import ends_midway, unanswered
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1
LONGEST: Final = 200

_ARTICLES: Final = frozenset({"a", "an", "the"})
# A minus sign belongs to its number and a decimal point into it; a comma in a number and all other marks do not count.
_MARKS: Final = re.compile(r"(?P<kept>(?<!\w)-(?=\d)|(?<=\d)\.(?=\d))|(?P<gone>(?<=\d),(?=\d{3}(?!\d)))|[^\w\s]|_")


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a short answer: 1 where the reply's first line is `doc["answer"]` or one of `doc["accepted"]`.

    A line that the token limit cut is right if it is the answer already, else it counts as truncated. `lenient` also
    takes a reply that holds an accepted answer somewhere, as whole words.

    Raises:
        DataError: the document has no answer, or `accepted` is no list of texts.
    """
    accepted = _accepted(doc)
    if (nothing := unanswered(final)) is not None:
        return nothing
    first, _, rest = final.text.strip().partition("\n")
    answer = normalise(first)
    value = float(answer in accepted)
    lenient = float(any(f" {one} " in f" {normalise(final.text)} " for one in accepted))
    if final.truncated and not rest and ends_midway(final):
        status, reason = (Status.SCORED, "truncated_with_answer") if value else (Status.TRUNCATED, "truncated")
    elif not answer:
        status, reason = Status.NO_ANSWER, "no_answer"
    else:
        status, reason = Status.SCORED, "right" if value else "wrong"
    return Score(value, status, reason, first.strip()[:LONGEST], lenient)


def normalise(text: str) -> str:
    """Lower-case words with single spaces between them: no punctuation, and no article unless there is nothing else."""
    words = _MARKS.sub(_without, unicodedata.normalize("NFKC", text).casefold()).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def _without(mark: re.Match[str]) -> str:
    return mark["kept"] or ("" if mark["gone"] else " ")


def _accepted(doc: Mapping[str, Any]) -> frozenset[str]:
    others = doc.get("accepted") or []
    if not isinstance(others, list) or not all(isinstance(one, str) for one in others):
        raise DataError(f"{name_of(doc)}: 'accepted' must be a list of texts, not {others!r:.80}")
    forms = {normalise(one) for one in (str(required(doc, "answer")), *others)}
    if "" in forms:
        raise DataError(f"{name_of(doc)}: an accepted answer holds no letter and no digit")
    return frozenset(forms)
