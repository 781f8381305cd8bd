"""TheoremQA: typed answers (number, integer, list, true or false, option), compared by value; no model text is run.

The answer is what stands after the last "Answer:" (or a marker like it) or in the last box that can be read as the
type asks, before the model goes on with a problem of its own; rules and tolerances are stricter than the original's,
whose 4 % verdict is kept as `acc_lenient4`.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.resources import Patterns
from evalkit.scoring.answers import reply
from evalkit.scoring.answers.number import (
    LONGEST_FIELD,
    Number,
    SeveralAnswersError,
    last_number,
    read_list,
    read_number,
)
from evalkit.scoring.registry import name_of, required
from evalkit.scoring.rows import Document, Row, Settings, by_row, clean, content_id, text_of

VERSION: Final = 1

FORMS: Final = {
    "integer": "an integer",
    "float": "a decimal number without a unit",
    "bool": "True or False",
    "option": "the letter of the option in brackets, for example (b)",
    "list of integer": "a list of integers in brackets, for example [1, 2]",
    "list of float": "a list of decimal numbers in brackets, for example [0.5, 2.25]",
}
"""The answer types, and how the prompt asks for each."""

RELATIVE: Final = 0.01
RELATIVE_LENIENT: Final = 0.04  # the original's
ABSOLUTE: Final = 1e-6
ABSOLUTE_ZERO: Final = 1e-3  # where the truth is 0

_MOST_PLACES: Final = 100  # so many announced answers from the end are looked at: a reply with more of them is a loop

Truth: TypeAlias = float | bool | str | tuple[float, ...]
Value: TypeAlias = Number | bool | str | tuple[Number, ...]

_YES: Final = frozenset({"true", "yes", "正确", "对"})
_RE: Final = Patterns("theoremqa")


@by_row
def theoremqa(row: Row, _settings: Settings) -> Document:
    """TheoremQA: `id, question, answer (text), answer_type, type, form, has_picture, images`.

    Which of them are asked (pictures or not) is the loader's choice.
    """
    question, answer, kind = text_of(row, "Question").strip(), text_of(row, "Answer"), clean(row.get("Answer_type"))
    if kind not in FORMS:
        raise ValueError(f"has the answer type {kind!r}; known are {', '.join(FORMS)}")
    picture = row.get("Picture")
    return {
        "id": content_id(question, answer),
        "question": question,
        "answer": answer,
        "answer_type": kind,
        "type": kind,
        "form": FORMS[kind],
        "has_picture": bool(picture),
        "images": ["Picture"] if picture and not isinstance(picture, bool | int | float) else [],
    }


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one value compares with the truth: by evalkit's rule, by the original's wider one; and what to note."""

    right: bool
    lenient: bool
    flags: tuple[str, ...] = ()


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score one reply, 0 or 1; `metrics["acc_lenient4"]` (and `lenient`) is the verdict with the original's 4 %.

    `doc` has "answer" (typed, or as text), "answer_type" (one of `FORMS`) and "has_picture". Where no answer field can
    be read, `lenient` looks at the last number of the text (flag "lenient_only").

    Raises `DataError`: there is no answer, its type is unknown, or it is not of its type.
    """
    kind, truth = truth_of(doc)
    flags: tuple[str, ...] = ("picture",) if doc.get("has_picture") else ()
    try:
        value = _last_value(_RE.emphasis.sub("", reply.for_maths(final.text)), kind, midway=final.midway)
    except SeveralAnswersError as error:
        return Score(0.0, Status.SCORED, "multiple", str(error), 0.0, flags, {"acc_lenient4": 0.0})
    if value is None:
        return _unanswered(final, kind, truth, flags)
    verdict = compare(kind, truth, value)
    lenient = float(verdict.lenient)
    found = reply.scored(verdict.right, _shown(value), final, (*flags, *verdict.flags))
    return replace(found, lenient=lenient, metrics={"acc_lenient4": lenient})


def truth_of(doc: Mapping[str, Any]) -> tuple[str, Truth]:
    """(the answer type, the truth as a value of that type).

    Raises `DataError`: there is no answer, its type is unknown, or it is not of its type.
    """
    answer, kind = required(doc, "answer"), required(doc, "answer_type")
    if kind not in FORMS:
        raise DataError(f"{name_of(doc)}: 'answer_type' must be one of {', '.join(FORMS)}, not {kind!r:.80}")
    if kind == "option":
        found = re.fullmatch(r"\(?([a-f])\)?", str(answer).strip().lower())
        truth: Truth | None = found[1] if found else None
    else:
        truth = _typed(kind, answer)
    if truth is None:
        raise DataError(f"{name_of(doc)}: 'answer' {answer!r:.80} is not of its type, {kind}")
    return kind, truth


def _typed(kind: str, answer: Any) -> Truth | None:
    if isinstance(answer, str):
        try:
            answer = json.loads({"True": "true", "False": "false"}.get(answer.strip(), answer))
        except ValueError:
            return None
    if kind == "bool":
        return answer if isinstance(answer, bool) else None
    entries = answer if isinstance(answer, list | tuple) else [answer]
    if not all(isinstance(entry, int | float) and not isinstance(entry, bool) for entry in entries):
        return None
    if kind.startswith("list"):
        return tuple(map(float, entries)) if isinstance(answer, list | tuple) else None
    return None if isinstance(answer, list | tuple) else float(answer)


def _last_value(text: str, kind: str, *, midway: bool) -> Value | None:
    """The value in the last place that announces one of the type, None where no place does.

    In a text that ends `midway`, what runs up to its end is no answer: a digit may be missing. `SeveralAnswersError`
    where the place holds more than one.
    """
    announced = (
        place.start for place in reply.places(text) if place.said or "\n" in text[max(0, place.start - 5) : place.start]
    )
    fields = [_line_at(text, start) for start in deque(announced, maxlen=_MOST_PLACES)]
    fields += reply.boxes_together(text, midway=midway)[-_MOST_PLACES:]
    for field in sorted(fields, key=lambda field: field.start, reverse=True):
        answer = field.content[:LONGEST_FIELD].strip(" \t*_")
        try:
            value = None if midway and field.open and field.end == len(text) else _READERS[kind](answer)
        except SeveralAnswersError:
            raise SeveralAnswersError(answer[:200]) from None
        if value is not None:
            given = _corrected(text, field.start, kind)
            return value if given is None else given
    return None


def _corrected(text: str, start: int, kind: str) -> Value | None:
    """The last value that stands by itself behind a word that takes back what was said from `start` on."""
    given = None
    for place in reply.corrections(text, start):
        told = _RE.alone.match(text, place)
        read = _READERS[kind](told[0].strip()) if told else None
        given = given if read is None else read
    return given


def _line_at(text: str, start: int) -> reply.Box:
    """The rest of the line, or, where that is the opening of a formula, of the next line with something in it."""
    end = start
    for _ in range(4):
        found = text.find("\n", start)
        end = len(text) if found < 0 else found
        if end == len(text) or text[start : min(end, start + LONGEST_FIELD)].strip(" \t*"):
            break
        start = end + 1
    return reply.Box(text[start : min(end, start + LONGEST_FIELD)].partition("</answer>")[0], start, end, open=True)


def _read_bool(field: str) -> bool | None:
    """The truth value with which the field begins; a token elsewhere ("not known to be false") says nothing."""
    text = reply.without_wrappers(field).strip()
    found = _RE.token.match(text)
    if found is None:
        return None
    if _RE.other_token.match(text, found.end()):
        raise SeveralAnswersError(field)
    return found["token"].lower() in _YES


def _read_option(field: str) -> str | None:
    """The first option letter, where the field begins with it; "a" before a word is an article."""
    text = reply.without_wrappers(field).strip()
    found = _RE.option.match(text)
    if found is None:
        return None
    if _RE.other_option.match(text, found.end()):
        raise SeveralAnswersError(field)
    bare = found["bare"]
    if (
        bare
        and text[found.end() : found.end() + 1].isspace()
        and bare in "aA"
        and not _RE.sole.match(text, found.end())
    ):
        return None
    return (found["bracketed"] or bare).lower()


_READERS: Final[Mapping[str, Callable[[str], Value | None]]] = {
    "integer": read_number,
    "float": read_number,
    "list of integer": read_list,
    "list of float": read_list,
    "bool": _read_bool,
    "option": _read_option,
}


def compare(kind: str, truth: Truth, value: Value) -> Verdict:
    """The verdict on a value of the type `kind`."""
    if isinstance(truth, tuple):
        return _compare_lists(kind, truth, value if isinstance(value, tuple) else ())
    if isinstance(truth, bool | str):
        return Verdict(value == truth, value == truth)
    if not isinstance(value, Number):
        return Verdict(right=False, lenient=False)
    if kind == "integer":
        right = is_integer(value.value, truth)
        verdict = Verdict(right, right or round(value.value) == truth)
    else:
        right = is_close(value.value, truth)
        verdict = Verdict(right, right or is_close(value.value, truth, RELATIVE_LENIENT), _floor(value.value, truth))
    in_percent = value.percent and not verdict.right and compare(kind, truth, Number(value.value * 100)).right
    return Verdict(
        verdict.right, verdict.lenient, (*verdict.flags, *(("acc_percent_ambiguous",) if in_percent else ()))
    )


def is_close(value: float, truth: float, relative: float = RELATIVE) -> bool:
    """|value - truth| <= max(relative * |truth|, 1e-6), and <= 1e-3 where the truth is 0."""
    return abs(value - truth) <= (ABSOLUTE_ZERO if truth == 0 else max(relative * abs(truth), ABSOLUTE))


def is_integer(value: float, truth: float) -> bool:
    """The value lies within 1e-6 of the integer; nothing is rounded."""
    return abs(value - truth) <= ABSOLUTE


def _floor(value: float, truth: float) -> tuple[str, ...]:
    # For truths below 1e-4 the absolute tolerance is the wider one, and for 1e-24 it takes anything small.
    by_floor = truth != 0 and RELATIVE * abs(truth) < abs(value - truth) <= ABSOLUTE
    return ("absolute_tolerance",) if by_floor else ()


def _compare_lists(kind: str, truth: Sequence[float], value: Sequence[Number]) -> Verdict:
    values = [number.value for number in value]
    if len(values) != len(truth):
        return Verdict(right=False, lenient=False)
    close = is_integer if "integer" in kind else is_close
    right = all(map(close, values, truth))
    pairs = zip(sorted(values), sorted(truth), strict=True)
    lenient = right or all(close(a, b) or (close is is_close and is_close(a, b, RELATIVE_LENIENT)) for a, b in pairs)
    return Verdict(right, lenient)


def _unanswered(final: FinalText, kind: str, truth: Truth, flags: tuple[str, ...]) -> Score:
    guess = last_number(final.text[-reply.READ_CHARS :]) if kind in {"integer", "float"} else None
    lenient = guess is not None and not final.truncated and compare(kind, truth, guess).lenient
    if guess is not None:
        flags = (*flags, "lenient_only")
    return reply.without_answer(final, final.text, lenient=float(lenient), flags=flags, metrics={"acc_lenient4": 0.0})


def _shown(value: Value) -> str:
    if isinstance(value, Number):
        return f"{value.value:.12g}"
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{number.value:.12g}" for number in value) + "]"
    return str(value)
