"""MMMU, MMMU-Pro, CMMMU and CII-Bench: exam questions on pictures, to choose from, to judge, or to answer in words.

Their rows as documents, and the scorers of MMMU and CMMMU; choices, and so all of MMMU-Pro and CII-Bench, are scored
by `evalkit.scoring.answers.letters`. Unlike under the official rules nothing is ever drawn at random (a reply without a
readable answer is NO_ANSWER and counts 0), stray capitals are no answers, and full-width forms are plain.

MMMU (Yue et al., CVPR 2024), MMMU-Pro (Yue et al. 2024), CMMMU (Zhang et al. 2024: Chinese), CII-Bench (Zhang et al.
2024: what a Chinese picture implies).
"""

import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score
from evalkit.resources import Patterns
from evalkit.scoring.answers import letters, reply
from evalkit.scoring.answers.number import equal, whole_number
from evalkit.scoring.answers.short import matches, number_given, score_part
from evalkit.scoring.registry import name_of, required
from evalkit.scoring.rows import (
    LETTERS,
    Document,
    Row,
    Settings,
    by_row,
    choices_of,
    columns_of,
    groups_of,
    letter_of,
    listed,
    marked,
    question_of,
    text_of,
)

VERSION: Final = 1

_RE: Final = Patterns("mmmu")
_CMMMU_TYPES: Final = {"选择": "choice", "判断": "true_false", "填空": "fill"}

DISCIPLINE_OF: Final = groups_of("mmmu")  # MMMU's 30 subjects and their six disciplines (Yue et al. 2024, figure 3)


@by_row
def mmmu(row: Row, _settings: Settings) -> Document:
    """MMMU: `id, type ("choice", "open"), question, choices, options, answer, answers, images, subject, discipline`.

    `options` are the choices as lines "A. ..."; `answer` is the letter, or the first of an open question's `answers`.
    """
    subject = re.sub(r"^(?:dev|validation|test)_|_\d+$", "", text_of(row, "id"))
    return _mmmu(row, _numbered(row), text_of(row, "question"), subject)


@by_row
def mmmu_pro(row: Row, _settings: Settings) -> Document:
    """MMMU-Pro, standard or vision (told by the `image` column): the fields of `mmmu`, all of type "choice"."""
    subject = text_of(row, "subject").replace(" ", "_")
    if row.get("image") is not None:
        return _mmmu(row, {}, "", subject) | {"question": "<image 1>", "images": ["image"]}
    return _mmmu(row, _numbered(row), text_of(row, "question"), subject)


def _numbered(row: Row) -> dict[str, str]:
    """The pictures by the number in their columns' names, which is how marks name them; at least one."""
    columns = columns_of(row, r"image_(\d+)")
    if not columns:
        raise ValueError("has no picture")
    return {column.removeprefix("image_"): column for column in columns}


def _mmmu(row: Row, pictures: Mapping[str, str], question: str, subject: str) -> Document:
    is_open = row.get("question_type") == "open"
    places = {number: place for place, number in enumerate(pictures, 1)}
    choices = [] if is_open else [marked(text, _RE.mark, places, "[image {}]") for text in choices_of(row, "options")]
    answer = text_of(row, "answer").strip()
    answers = _truths(answer) if is_open else [letter_of(answer, choices)]
    return {
        "id": text_of(row, "id"),
        "type": "open" if is_open else "choice",
        **question_of(marked(question, _RE.mark, places, "[image {}]"), choices, answers[0]),
        "answers": answers,
        "images": list(pictures.values()),
        "subject": subject,
        "discipline": DISCIPLINE_OF.get(subject, "unknown"),
        "difficulty": str(row.get("topic_difficulty") or "unknown"),
    }


def _truths(answer: str) -> list[str]:
    """The right answers of an open question; a list is published as its Python literal."""
    try:
        truths = [str(truth).strip() for truth in listed(answer)] if answer.startswith("[") else []
    except ValueError:
        truths = []
    return [truth for truth in truths if truth] or [answer]


@by_row
def cmmmu(row: Row, _settings: Settings) -> Document:
    """CMMMU: `id, type ("choice", "true_false", "fill"), question, choices, options, answer, images, discipline, ...`.

    `answer` is a sorted row of letters ("B", "ACD"), 对 or 错, or the text to be filled in.
    """
    kind = _CMMMU_TYPES.get(text_of(row, "type"))
    if kind is None:
        raise ValueError(f"has the type {row['type']!r}; known are {', '.join(_CMMMU_TYPES)}")
    columns = columns_of(row, r"image_(\d+)")
    places = {str(row.get(f"{column}_filename")): place for place, column in enumerate(columns, 1)}
    named = [str(row.get(f"option{n}") or "").strip() for n in range(1, 5)] if kind == "choice" else []
    choices = [marked(text, _RE.cmmmu_mark, places, "[{}]") for text in named if text not in {"", "-"}]
    answer = text_of(row, "answer").strip()
    if kind == "choice":
        answer = "".join(sorted(set(answer.upper()) & set(LETTERS)))
        if not answer or answer[-1] not in LETTERS[: len(choices)]:
            raise ValueError(f"has the answer {row['answer']!r}, which is none of its {len(choices)} options")
    return {
        "id": text_of(row, "id"),
        "type": kind,
        **question_of(marked(text_of(row, "question"), _RE.cmmmu_mark, places, "[{}]"), choices, answer),
        "images": columns,
        "discipline": str(row.get("category") or "unknown"),
        "subject": str(row.get("subcategory") or "unknown"),
        "difficulty": str(row.get("difficulty_level") or "unknown"),
    }


@by_row
def cii_bench(row: Row, _settings: Settings) -> Document:
    """CII-Bench: `id, question, choices (6), options, answer, images, domain, emotion, difficulty, rhetoric`."""
    choices = [text_of(row, f"option{n}").strip() for n in range(1, 7)]
    return {
        "id": text_of(row, "id"),
        **question_of(text_of(row, "question").strip(), choices, letter_of(text_of(row, "answer"), choices)),
        "images": columns_of(row, r"image()"),
        **{name: _label(row.get(name)) for name in ("domain", "emotion", "difficulty", "rhetoric")},
    }


def _label(value: object) -> str:
    """A label that may be wrapped as {"choices": [...]} or be a list."""
    if isinstance(value, Mapping):
        value = value.get("choices")
    if isinstance(value, list | tuple):
        return "、".join(str(item) for item in value)
    return str(value or "unknown")


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply to a question of MMMU: 1 for the right option or for one of the right open answers, else 0.

    `doc` has "type" ("choice" or "open"); for a choice "choices" (2 to 26 texts) and "answer" (a letter), for an open
    question "answers", any of which is right.

    Raises `DataError`: the document lacks its options or its answer, or is of an unknown type.
    """
    kind = required(doc, "type")
    if kind == "choice":
        return letters.score(doc, final)
    if kind != "open":
        raise DataError(f"{name_of(doc)}: 'type' must be 'choice' or 'open', not {kind!r:.80}")
    truths = [str(truth) for truth in required(doc, "answers")]
    return score_part(final, lambda given: any(matches(given, truth) for truth in truths))


@reply.of_first_turn
def score_cmmmu(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply to a question of CMMMU: 1 for exactly the right letters, verdict or text, else 0.

    `doc` has "type", "answer" and, for a choice, "choices":

        choice      "answer" is a row of letters ("B", "ACD"); the reply must name exactly these
        true_false  "answer" is 对 or 错; negations are read before what they negate (不正确 is 错); undecided: none
        fill        "answer" is a number, a word or a short phrase

    Raises `DataError`: the document lacks its options or its answer, or is of an unknown type.
    """
    kind = required(doc, "type")
    if kind == "choice":
        return letters.score(doc, final, several=True)
    answer = str(required(doc, "answer"))
    if kind == "true_false":
        return _score_true_false(doc, answer.strip(), final)
    if kind == "fill":
        return score_part(final, lambda given: fills(given, answer))
    raise DataError(f"{name_of(doc)}: 'type' must be 'choice', 'true_false' or 'fill', not {kind!r:.80}")


def _score_true_false(doc: Mapping[str, Any], answer: str, final: FinalText) -> Score:
    if answer not in _TRUE | _FALSE:
        raise DataError(f"{name_of(doc)}: 'answer' must be 对 or 错, not {answer!r:.80}")
    text = reply.without_markup(reply.for_matching(reply.tag_content(final.text) or final.text))
    found = verdict(text)
    if found is None or (final.truncated and not found.strong):
        return reply.without_answer(final, text)
    flags = () if found.strong else ("weak_anchor",)
    return reply.scored(found.true == (answer in _TRUE), "对" if found.true else "错", final, flags)


_TRUE: Final = frozenset({"对", "正确", "√", "✓"})
_FALSE: Final = frozenset({"错", "错误", "×", "✗"})
EXTRA_CHARS: Final = 10  # so much longer than the answer may a text be that contains it

_SCALES: Final = "甲乙丙丁戊己庚辛 东南西北 上下 左右 前后 内外 大小 高低 长短 深浅 多少 快慢 强弱 增减 升降 正负 阴阳"
_RIVALS: Final = tuple(frozenset(group) for group in (*_SCALES.split(), "是否", "有无", "真假", "对错"))


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on a statement; `strong` where a marker announces it or the reply begins with it."""

    true: bool
    strong: bool


def verdict(text: str) -> Judged | None:
    """What `text` (normalised, without markup) says of the statement: after the last marker, first, or last.

    The last marker (答案, 判断 ...) decides; without one the verdict that the reply begins with; without that the last
    one in it. None where there is none: 无法判断 is neither.
    """
    if whole := _RE.whole.fullmatch(text):
        return Judged(whole["yes"] is not None, strong=True)
    asked = [found.span() for found in _RE.asked.finditer(text)]
    for marker in reversed(list(_RE.marked.finditer(text))[-20:]):
        rest = text[marker.end() : marker.end() + 40].partition("\n")[0]
        if whole := _RE.whole.fullmatch(rest):
            return Judged(whole["yes"] is not None, strong=True)
        found = _RE.verdict.match(text, marker.end())
        if found and not _inside(found, asked):
            return Judged(found["no"] is None, strong=True)
    lead = _RE.leading.match(text)
    first = _RE.verdict.match(text, lead.end() if lead else 0)
    if first and not _inside(first, asked) and _RE.after_leading.match(text, first.end()):
        return Judged(first["no"] is None, strong=True)
    stated = [found for found in _RE.verdict.finditer(text) if not _inside(found, asked)]
    return Judged(stated[-1]["no"] is None, strong=False) if stated else None


def fills(given: str, truth: str) -> bool:
    """Whether the answer part `given` fills the blank whose right answer is `truth`.

    A number must be equal at its own precision. A text must be equal, or be contained with at most ten further
    characters, no further negation and, where it is a single character, none of its rivals (乙 is not 甲乙丙).
    """
    wanted = _bare(truth)
    number = whole_number(reply.for_matching(truth))
    if number is not None:
        answer = number_given(reply.for_matching(given))
        return answer is not None and equal(answer, number)
    answer_text = _bare(given)
    if not wanted or answer_text == wanted:
        return bool(wanted)
    if len(wanted) == 1:
        rivals = next((group for group in _RIVALS if wanted in group), frozenset())
        return _RE.lead_in.sub("", answer_text) == wanted and not (set(answer_text) & rivals) - {wanted}
    extra = len(answer_text) - len(wanted)
    return (
        wanted in answer_text
        and extra <= EXTRA_CHARS
        and len(_RE.negations.findall(answer_text)) == len(_RE.negations.findall(wanted))
        # Latin letters and digits of an answer must not run on into a longer word or number.
        and re.search(rf"(?<![a-z0-9.]){re.escape(wanted)}(?![a-z0-9])", answer_text) is not None
    )


def _bare(text: str) -> str:
    """NFKC, lower case, without white space, quotes, brackets and punctuation; a minus sign stays."""
    return _RE.padding.sub("", unicodedata.normalize("NFKC", text)).replace("\u2212", "-").casefold()


def _inside(found: re.Match[str], spans: Sequence[tuple[int, int]]) -> bool:
    """Whether one of the `spans`, which are in order and do not overlap, holds what was found."""
    before = bisect_right(spans, (found.start(), sys.maxsize))
    return before > 0 and found.end() <= spans[before - 1][1]
