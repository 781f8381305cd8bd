"""OCRBench (Liu et al. 2024): reading text in pictures; right where the reply contains one of the answers.

Documents (`rows.ocrbench`): "answers" (texts), "dataset" (the source set), "type", "nfkc" (fold full-width letters
first; off in the official rule). The white-space rule depends on the source: of handwritten formulas (HME100k) all
spaces are removed on both sides and case counts; elsewhere case is folded and a line break is a space. Nothing else
is normalised: what the rule calls different (5,743 and 5743) stays different, as in every published number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from evalkit.model import FinalText, Score, Status
from evalkit.scoring.answers.reply import unanswered
from evalkit.scoring.multimodal.letters import without_answer
from evalkit.scoring.registry import required

VERSION: Final = 1

FORMULAS: Final = "HME100k"
_SHOWN_CHARS: Final = 400


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply: 1 where it contains one of `doc["answers"]`, else 0.

    A reply that was cut off is right where it already contains an answer, else it is TRUNCATED.

    Raises:
        DataError: the document has no answer, or no source set.
    """
    answers = [str(answer) for answer in required(doc, "answers")]
    formula = required(doc, "dataset") == FORMULAS
    if (nothing := unanswered(final)) is not None:
        return nothing
    nfkc = bool(doc.get("nfkc", False))
    read = _folded(final.text, formula=formula, nfkc=nfkc)
    contained = any(wanted in read for answer in answers if (wanted := _folded(answer, formula=formula, nfkc=nfkc)))
    if not contained and final.truncated:
        return without_answer(final.text, final)
    reason = "truncated_with_answer" if final.truncated else ("right" if contained else "wrong")
    return Score(float(contained), Status.SCORED, reason, final.text.strip()[:_SHOWN_CHARS], float(contained))


def _folded(text: str, *, formula: bool, nfkc: bool) -> str:
    if nfkc:
        text = unicodedata.normalize("NFKC", text)
    text = text.strip().replace("\n", " ")
    return text.replace(" ", "") if formula else text.lower()
