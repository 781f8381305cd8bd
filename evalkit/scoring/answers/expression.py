r"""Mathematical answers of any form: the last `\boxed{}`, else what follows the last marker, compared by value.

Equal spelling is decided here; everything else by math-verify (sympy) in a child process with a time limit, for
both can hang on what a model writes. A comparison that does not end has no verdict: it is never "wrong".
"""

import math
import re
from collections import deque
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.resources import Patterns
from evalkit.scoring.answers import reply
from evalkit.scoring.answers.number import same_number
from evalkit.scoring.answers.worker import GradeError, GradeTimeout, run_limited
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1

SECONDS: Final = 5.0  # of processor time, per comparison
LONGEST: Final = 1000  # characters; longer "answers" are loops of a model that lost its way
_MOST_DIGITS: Final = 300
_PLACES: Final = 100  # so many markers from the end are looked at

_RE: Final = Patterns("expression")


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    r"""Score a reply whose answer is a mathematical expression: 1 where its value equals that of `doc["answer"]`.

    `doc["answer"]` is LaTeX (`\frac{1}{2}`) or plain text. Status GRADE_ERROR, without a value, where the comparison
    used up its time or its memory.

    Raises `DataError`: the document has no answer.
    """
    truth = reply.for_maths(str(required(doc, "answer")))
    if not _plain(truth):
        raise DataError(f"{name_of(doc)}: nothing is left of 'answer' {truth!r:.80} but markup")
    answer = extract(reply.for_maths(final.text), midway=final.midway)
    return reply.without_answer(final) if answer is None else by_value(truth, answer, final)


def extract(text: str, *, midway: bool = False) -> str | None:
    """The answer that `text` (normalised by `for_maths`) gives; None where it gives none.

    Where `text` may stop `midway` through a word, what touches its end is not an answer: it may go on.
    """
    if boxed := reply.filled_boxes(text, midway=midway):
        return boxed[-1]
    text = _RE.emphasis.sub("", text)
    announced = deque((place.start for place in reply.places(text) if place.said and place.firm), maxlen=_PLACES)
    for start in reversed(announced):
        answer, end = _marked(text, start)
        depths = list(accumulate((character == "{") - (character == "}") for character in answer))
        if answer and min(depths) >= 0 and depths[-1] == 0 and not (midway and end == len(text)):
            return answer
    return None


def by_value(truth: str, answer: str, final: FinalText) -> Score:
    """The score of `answer`, which a reply gave, against `truth`."""
    flags: tuple[str, ...] = ()
    if _RE.thousands.fullmatch(answer):
        answer = _RE.space_inside.sub("", answer)
    misspaced = _RE.spaced_digits.fullmatch(answer) and not _RE.spaced_digits.fullmatch(truth)
    based = [_RE.based.fullmatch(reply.without_wrappers(text).strip()) for text in (truth, answer)]
    if any(based):  # 11_2 is neither 11 nor 11_3, and math-verify drops a subscript
        value = float(all(based) and len({found.groups() for found in based if found}) == 1)
    elif misspaced or (_RE.denied.search(answer) and not (_RE.compared.search(truth) or _RE.denied.search(truth))):
        value = 0.0  # 2 04 is not 204, nor is what is not 204
    elif spelled_alike(truth, answer) or same_number(truth, answer):
        value = 1.0
    elif len(answer) > LONGEST:
        value, flags = 0.0, ("too_long",)
    elif is_huge(answer) and not _RE.tower.search(truth):
        value, flags = 0.0, ("too_large",)
    else:
        try:
            value = float(run_limited(f"{__name__}:same_value", [truth, answer], SECONDS, ["math_verify"]))
        except GradeError as error:
            if not _RE.tower.search(answer) or _RE.tower.search(truth):
                reason = "grade_timeout" if isinstance(error, GradeTimeout) else "grade_error"
                return Score(None, Status.GRADE_ERROR, reason, answer)
            value, flags = 0.0, ("too_large",)  # no number that a plain truth could be
    return reply.scored(value, answer[:LONGEST], final, flags)


def is_huge(answer: str) -> bool:
    """Whether all of `answer` is a power, or a tower of powers, of whole numbers with more than 300 digits."""
    exponent = 1.0
    for base in reversed(re.findall(r"\d+", answer) if _RE.powers.fullmatch(answer) else []):
        if exponent * math.log10(max(int(base), 1)) > _MOST_DIGITS:
            return True
        exponent = float(base) ** exponent
    return False


def same_value(truth: str, answer: str) -> bool:
    """Whether math-verify finds `answer` (LaTeX or plain) equal to `truth`; False also where it cannot read either.

    For a grading worker only: it may hang, and it may eat memory.
    """
    import math_verify

    # The limit is the worker's: math-verify's own would turn "too slow" into "wrong".
    expected, given = (math_verify.parse(rf"\boxed{{{text}}}", parsing_timeout=None) for text in (truth, answer))
    return bool(math_verify.verify(expected, given, timeout_seconds=None))


def spelled_alike(one: str, other: str) -> bool:
    """Whether two expressions are the same but for spaces, font commands, the kind of fraction and letter case."""
    return _plain(one) == _plain(other)


def _marked(text: str, start: int) -> tuple[str, int]:
    """(what a marker announces at `start`: the formula there, else the rest of the sentence; where that ends)."""
    if formula := _RE.maths.match(text, start):
        return next(part for part in formula.groups() if part is not None).strip(), formula.end()
    stop = _RE.sentence_end.search(text, start, start + LONGEST + 2)
    end = stop.start() if stop else min(len(text), start + LONGEST + 2)
    return text[start:end].strip(), end


def _plain(text: str) -> str:
    text = _RE.fraction.sub(r"\\frac", _RE.degrees.sub("", reply.without_wrappers(text)))
    return _RE.one_in_braces.sub(r"\1", _RE.spaces.sub("", text)).rstrip(".").casefold()
