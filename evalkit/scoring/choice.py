"""Multiple choice: which option a reply settles on, and whether that is the right one.

Everything that may be an answer is collected with its place and class; the last one of the strongest class decides:

    P1  a marker ("Answer:", "the correct option is", 答案 ...) and a letter, or the option's own text
    P2  a box around a letter or an option's text
    P3  a JSON field "answer", "choice" or "option"                     P1 to P3 are strong and compete by place
    P4  a last line that is a letter, or a letter and its own text      medium
    P5  a last line that is an option's text, or "the correct option is" and the text   weak

Of a reply that was cut off only strong anchors count. There is never a guess. The time is linear in the length of
the reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.scoring.final import ends_midway, unanswered
from evalkit.scoring.lenient import lenient_letter
from evalkit.scoring.markers import places
from evalkit.scoring.normalise import boxes, for_matching, last_line, without_markup
from evalkit.scoring.options import Options
from evalkit.scoring.refusal import is_refusal
from evalkit.scoring.truth import name_of, required
from evalkit.scoring.value import Value, own_text_end, value_at

VERSION: Final = 1

STRONG: Final = frozenset({"P1", "P2", "P3"})
SHORTEST_BARE_TEXT: Final = 3  # characters; a shorter option text says too little without a marker

_ALONE: Final = re.compile(r"""[)\]}"'”’]*[ \t]*(?:[.!。]|\n|\Z)""")
_FIELD: Final = re.compile(
    r"""["'](?:final\s?)?(?:answer|choice|option)(?:\s?(?:letter|choice|option))?["']\s{0,4}[:=]\s{0,8}""",
    re.IGNORECASE,
)
_LINE_LETTER: Final = re.compile(r"""[(\[{"'“‘【「]*([A-Za-z])(?=[^A-Za-z0-9]|\Z)""")
_LINE_END: Final = re.compile(r"""[\s)\]}"'”’】」.,;:!。]*\Z""")
_CUT_WORD: Final = re.compile(r"(?<=\s)[a-z]\Z")


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a reply settled on: one letter, several (no credit), or none, and by which class of anchor.

    `contradictory` means that strong anchors name different answers.
    """

    letters: tuple[str, ...] = ()
    anchor: str = ""
    contradictory: bool = False


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply to a multiple-choice question: 1 for the right option, else 0.

    `doc` has "choices" (2 to 26 texts), "answer" (the right one's letter) and, where the prompt has few-shot turns,
    may have "shot_header": how their questions begin; the reply is cut where it goes on to invent a further one.
    `lenient` is 1 where a generous reading finds the right option; the flag "lenient_only" says that only it found any.

    Raises:
        DataError: the document has no options, or its answer is not one of their letters.
    """
    options = Options.of(doc)
    truth = required(doc, "answer")
    if not isinstance(truth, str) or len(truth) != 1 or truth not in options.letters:
        raise DataError(f"{name_of(doc)}: 'answer' must be one of the letters {options.letters}, not {truth!r:.80}")
    if (nothing := unanswered(final)) is not None:
        return nothing
    whole = _matchable(final.text)
    text = _first_block(whole, _matchable(str(doc.get("shot_header") or "")))
    flags: tuple[str, ...] = ("continued_pattern",) * (len(text) < len(whole))
    if ends_midway(final):
        text = _CUT_WORD.sub("", text)  # "the answer is a", and the limit came
    found = extract(text, options)
    if not found.letters or (final.truncated and found.anchor not in STRONG):
        return _no_answer(text, options, truth, flags, truncated=final.truncated)
    flags += ("self_contradiction",) * found.contradictory + ("weak_anchor",) * (found.anchor == "P5")
    value = float(found.letters == (truth,))
    if len(found.letters) > 1:
        reason = "multiple"
    elif final.truncated:
        reason = "truncated_with_answer"
    else:
        reason = "right" if value else "wrong"
    return Score(value, Status.SCORED, reason, ",".join(found.letters), value, flags)


def extract(text: str, options: Options) -> Extraction:
    """What `text` (normalised, without markup) settles on."""
    strong: list[tuple[str, Value]] = []
    weak: list[Value] = []
    for value, is_strong in _after_markers(text, options):
        if is_strong:
            strong.append(("P1", value))
        else:
            weak.append(value)
    strong += (("P2", value) for value in _in_boxes(text, options))
    strong += (("P3", value) for value in _in_fields(text, options))
    if strong:
        anchor, value = max(strong, key=lambda candidate: candidate[1].start)
        return Extraction(value.letters, anchor, len({other.letters for _, other in strong}) > 1)
    return _from_last_line(text, options, weak)


def _matchable(text: str) -> str:
    return without_markup(for_matching(text)).strip()


def _first_block(text: str, shot_header: str) -> str:
    """`text` up to a line, after its first, with which the model goes on to ask itself the next question."""
    cut = text.find("\n" + shot_header) if shot_header else -1
    return text if cut < 0 else text[:cut]


def _after_markers(text: str, options: Options) -> Iterator[tuple[Value, bool]]:
    """P1: (what stands after a marker, whether that is strong).

    An option's text after "the correct option is" is as weak as the bare text: prose about the options reads so.
    """
    for place in places(text):
        value = value_at(text, place.start, options, said=place.said)
        if value and (place.said or _ALONE.match(text, value.end)):  # not "answer B is wrong"
            yield value, place.firm or not value.by_text


def _in_boxes(text: str, options: Options) -> Iterator[Value]:
    """P2: boxes whose whole content is an answer."""
    for box in boxes(text):
        value = value_at(box.content, 0, options)
        if value and _LINE_END.match(box.content, value.end):
            yield Value(value.letters, box.start, box.end, value.by_text)


def _in_fields(text: str, options: Options) -> Iterator[Value]:
    """P3: fields of JSON or of a dictionary."""
    for field in _FIELD.finditer(text):
        if value := value_at(text, field.end(), options):
            yield value


def _from_last_line(text: str, options: Options, weak: list[Value]) -> Extraction:
    """P4, else P5."""
    start, line = last_line(text)
    line = line.strip()
    if (found := _LINE_LETTER.match(line)) and (letter := found[1].upper()) in options.letters:
        end = own_text_end(line, found.end(), letter, options) or found.end()
        if _LINE_END.match(line, end):
            return Extraction((letter,), "P4")
    named = options.letter_of(line) if len(line) >= SHORTEST_BARE_TEXT else None
    after_marker = [value for value in weak if value.start >= start and value.end - value.start >= SHORTEST_BARE_TEXT]
    if named:
        return Extraction((named,), "P5")
    return Extraction(after_marker[-1].letters, "P5") if after_marker else Extraction()


def _no_answer(text: str, options: Options, truth: str, flags: tuple[str, ...], *, truncated: bool) -> Score:
    letter = lenient_letter(text, options)
    if truncated:
        status, reason = Status.TRUNCATED, "truncated"
    elif is_refusal(text):
        status, reason = Status.REFUSED, "refusal"
    else:
        status, reason = Status.NO_ANSWER, "no_answer"
    flags += ("lenient_only",) * (letter is not None)
    return Score(0.0, status, reason, None, float(letter == truth), flags)
