"""CMMMU (Zhang et al. 2024): Chinese college exam questions on pictures: choices, statements to judge, blanks to fill.

Documents (`rows.cmmmu`): "type", "answer" and, for a choice, "choices":

    choice      "answer" is a row of letters ("B", "ACD"); the reply must name exactly these
    true_false  "answer" is 对 or 错; negations are read before what they negate (不正确 is 错), undecided is no answer
    fill        "answer" is a number, a word or a short phrase

Unlike the official rule nothing is drawn at random, stray capitals are no answers, and full-width forms are plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.scoring.answers.reply import ends_midway, for_matching, unanswered, without_markup
from evalkit.scoring.multimodal import letters
from evalkit.scoring.multimodal.chinese import fills, verdict
from evalkit.scoring.multimodal.freetext import answer_part
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1

_TRUE: Final = frozenset({"对", "正确", "√", "✓"})
_FALSE: Final = frozenset({"错", "错误", "×", "✗"})


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply: 1 for exactly the right letters, the right verdict or the right text, else 0.

    Raises:
        DataError: the document lacks its options or its answer, or is of an unknown type.
    """
    kind = required(doc, "type")
    if kind == "choice":
        return letters.score(doc, final, frozenset(letters.truth_of(doc)), several=True)
    if kind == "true_false":
        return _score_true_false(doc, final)
    if kind == "fill":
        return _score_fill(doc, final)
    raise DataError(f"{name_of(doc)}: 'type' must be 'choice', 'true_false' or 'fill', not {kind!r:.80}")


def _score_true_false(doc: Mapping[str, Any], final: FinalText) -> Score:
    answer = str(required(doc, "answer")).strip()
    if answer not in _TRUE | _FALSE:
        raise DataError(f"{name_of(doc)}: 'answer' must be 对 or 错, not {answer!r:.80}")
    if (nothing := unanswered(final)) is not None:
        return nothing
    text = without_markup(for_matching(final.text))
    found = verdict(text)
    if found is None or (final.truncated and not found.strong):
        return letters.without_answer(text, final)
    value = float(found.true == (answer in _TRUE))
    reason = "truncated_with_answer" if final.truncated else ("right" if value else "wrong")
    flags = () if found.strong else ("weak_anchor",)
    return Score(value, Status.SCORED, reason, "对" if found.true else "错", value, flags)


def _score_fill(doc: Mapping[str, Any], final: FinalText) -> Score:
    truth = str(required(doc, "answer"))
    if (nothing := unanswered(final)) is not None:
        return nothing
    given = answer_part(final.text, midway=ends_midway(final))
    if given is None or (final.truncated and not given.strong):
        return letters.without_answer(final.text, final)
    value = float(fills(given.text, truth))
    reason = "truncated_with_answer" if final.truncated else ("right" if value else "wrong")
    flags = () if given.strong else ("weak_anchor",)
    return Score(value, Status.SCORED, reason, given.text[:400], value, flags)
