"""MMMU (Yue et al., CVPR 2024): college exam questions on pictures, multiple choice or with a short open answer.

Documents (`rows.mmmu`): "type" ("choice" or "open"); for a choice "choices" (2 to 26 texts) and "answer" (a letter),
for an open question "answers", any of which is right. Unlike the official rule nothing is ever drawn at random: a
reply without a readable answer is NO_ANSWER and counts 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.scoring.answers.reply import ends_midway, unanswered
from evalkit.scoring.multimodal import letters
from evalkit.scoring.multimodal.freetext import answer_part, matches_any
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply: 1 for the right option or for one of the right open answers, else 0.

    Raises:
        DataError: the document lacks its options or its answer, or is of an unknown type.
    """
    kind = required(doc, "type")
    if kind == "choice":
        return letters.score(doc, final, frozenset(letters.truth_of(doc)))
    if kind == "open":
        return score_open(doc, final)
    raise DataError(f"{name_of(doc)}: 'type' must be 'choice' or 'open', not {kind!r:.80}")


def score_open(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply to an open question against `doc["answers"]`, a list of equally right answers."""
    truths = [str(truth) for truth in required(doc, "answers")]
    if (nothing := unanswered(final)) is not None:
        return nothing
    given = answer_part(final.text, midway=ends_midway(final))
    if given is None or (final.truncated and not given.strong):
        return letters.without_answer(final.text, final)
    value = float(matches_any(given.text, truths))
    reason = "truncated_with_answer" if final.truncated else ("right" if value else "wrong")
    flags = () if given.strong else ("weak_anchor",)
    return Score(value, Status.SCORED, reason, given.text[:400], value, flags)
