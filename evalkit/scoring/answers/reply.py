"""The part of a reply that may be graded, made comparable, and the places at which it announces its answer."""

import re
import unicodedata
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from itertools import islice
from typing import Any, Final

from evalkit.model import FinalText, Reply, Score, Status
from evalkit.resources import Patterns

_RE: Final = Patterns("reply")
CLOSING_TAGS: Final = ("</think>", "</thinking>", "</thought>")


def final_text(reply: Reply, closing_tags: Sequence[str] = CLOSING_TAGS) -> FinalText:
    """What of `reply` may be graded; see `final_text_of`."""
    return final_text_of(reply.content, reply.reasoning, reply.finish_reason, closing_tags)


def final_text_of(
    content: str, reasoning: str = "", finish_reason: str | None = "stop", closing_tags: Sequence[str] = CLOSING_TAGS
) -> FinalText:
    """The text after the last of `closing_tags` in `content`, unchanged, or a status that says why there is none.

    The opening tag may be absent (many chat templates put it in the prompt); one that is never closed leaves nothing
    to grade, also after an earlier trace that was closed. `reasoning` only tells "thought, said nothing" from "said
    nothing". A `finish_reason` of "length" or "content_filter" is told apart, and where there is no text "refusal" and
    "tool_calls" (no tool is ever offered) are; every other one counts as "stop".
    """
    cut_off = finish_reason == "length"
    if finish_reason == "content_filter":
        return FinalText("", Status.REFUSED, "content_filter")
    opening_tags = tuple(tag.replace("/", "", 1) for tag in closing_tags if "/" in tag)
    start = max((closing.end() for closing in _any_of(tuple(closing_tags)).finditer(content)), default=0)
    text = content[start:]
    if _any_of(opening_tags).search(text):
        return FinalText("", Status.TRUNCATED, "truncated_in_reasoning" if cut_off else "unclosed_think")
    if text.strip():
        return FinalText(text, truncated=cut_off)
    if cut_off:
        only_thought = bool(reasoning.strip()) and not content.strip()
        return FinalText("", Status.TRUNCATED, "truncated_in_reasoning" if only_thought else "truncated")
    thought = Status.REASONING_ONLY if reasoning.strip() else Status.EMPTY
    return FinalText("", *_INSTEAD.get(finish_reason or "", (thought, thought.value)))


_INSTEAD: Final = {
    "refusal": (Status.REFUSED, "refusal"),
    **dict.fromkeys(("tool_calls", "function_call"), (Status.TOOL_CALL, "tool_calls")),
}


@lru_cache(maxsize=16)
def _any_of(tags: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = "|".join(re.escape(tag) for tag in sorted(tags, key=len, reverse=True) if tag)
    return re.compile(alternatives or r"(?!)", re.IGNORECASE)


def unanswered(final: FinalText) -> Score | None:
    """The score of a reply with nothing to grade: 0 under the reason; None where there is text to grade."""
    if final.status is None:
        return None
    return Score(0.0 if final.status.has_value else None, final.status, final.reason, lenient=0.0)


def scored(value: float, answer: str, final: FinalText, flags: tuple[str, ...] = ()) -> Score:
    """The score of an answer that was found in `final`."""
    reason = "truncated_with_answer" if final.truncated else ("right" if value else "wrong")
    return Score(float(value), Status.SCORED, reason, answer, float(value), flags)


def without_answer(
    final: FinalText,
    text: str = "",
    *,
    lenient: float = 0.0,
    flags: tuple[str, ...] = (),
    metrics: Mapping[str, float] | None = None,
) -> Score:
    """The score of a reply in which no answer was found: 0; a refusal where `text`, if given, begins with one."""
    status, reason = Status.NO_ANSWER, "no_answer"
    if final.truncated:
        status, reason = Status.TRUNCATED, "truncated"
    elif is_refusal(text):
        status, reason = Status.REFUSED, "refusal"
    return Score(0.0, status, reason, None, lenient, flags, metrics or {})


_MOST_TURNS: Final = 50  # so many are told apart before an answer was found


def of_first_turn(score: Callable[..., Score]) -> Callable[..., Score]:
    """The scorer `score(doc, final)`, of the first turn in `final` that answers, else of all of it.

    Where there is nothing to grade the score is that of `unanswered`.
    A turn ends where a chat template ends it, or, behind a strong answer, where the model invents the next problem or
    speaks for the user; behind a template's turn of the user nothing is read. The flag is "continued_pattern".
    """

    @wraps(score)
    def of_turn(doc: Mapping[str, Any], final: FinalText, **how: Any) -> Score:
        start = 0
        for end in islice(_RE.turn_end.finditer(final.text), _MOST_TURNS):
            turn, start = final.text[start : end.start()], end.end()
            if not turn.strip():
                continue
            given = score(doc, replace(final, text=turn, truncated=False), **how)
            answers = given.status not in {Status.NO_ANSWER, Status.REFUSED}
            if end["user"] or (answers and (end["mark"] or "weak_anchor" not in given.flags)):
                return replace(given, flags=(*given.flags, *("continued_pattern",) * bool(final.text[start:].strip())))
        found = score(doc, final, **how)  # a document without its truth is told of whatever was replied
        return unanswered(final) or found

    return of_turn


def first_turn(final: FinalText, *, speakers: bool = True) -> FinalText:
    """`final` up to where a chat template ends its first turn that says anything, or a paragraph "Human:" begins.

    It is for scorers that read a text as a whole; without `speakers` only a template's marks end a turn, as where the
    text may be a dialogue.
    """
    start, asked = 0, False
    for end in islice(_RE.turn_end.finditer(final.text), _MOST_TURNS):
        if not (end["mark"] or (speakers and end["speaker"])):
            continue
        if final.text[start : end.start()].strip() and not asked:
            return replace(final, text=final.text[start : end.start()], truncated=False)
        start, asked = end.end(), bool(end["user"])
    return replace(final, text=final.text[start:])


_BEGINNING: Final = 600  # characters; a refusal says so at once


def is_refusal(text: str) -> bool:
    """Whether `text`, in which no answer was found, begins by declining to answer."""
    return _RE.refusal.search(text, 0, _BEGINNING) is not None


# Everything here is linear in the length of the text (a reply may be a megabyte of one repeated character), and for
# matching only: what a reply said is kept as it came.
READ_CHARS: Final = 100_000
"""At either end of a final text: ten times the longest of 53,000 public outputs; both hold what 40,000 tokens do."""

_FEW_WORDS: Final = 3
_SOME_WORDS: Final = 8
_MARKS_IN_A_ROW: Final = 30  # the limit of Unicode's stream-safe text format (UAX 15, section 13)


@dataclass(frozen=True, slots=True)
class Box:
    r"""One `\boxed{...}` or `<answer>...</answer>`: its content, and where in the text it starts and ends.

    `open` says that nothing closes it, so that a text that was cut off may have lost a part of it.
    """

    content: str
    start: int
    end: int
    open: bool = False


def for_matching(text: str) -> str:
    """`text` in NFKC (full-width letters and digits become plain), without invisible characters, LF, stripped.

    The tags around an answer all become `<answer>` and `</answer>`. Of a very long text the middle is left out.
    """
    text = _ends_of(text)
    if text.isascii():
        text = _RE.line_ends.sub("\n", text) if "\r" in text else text
    else:
        text = _RE.line_ends.sub("\n", _RE.invisible.sub("", text))
        # Sorting a long row of combining marks takes time in the square of its length.
        text = _ends_of(unicodedata.normalize("NFKC", _RE.long_marks.sub(_shorten, text)))
    if "<" in text:
        text = _RE.closing_tag.sub("</answer>", _RE.opening_tag.sub("<answer>", text))
    return text.strip()


def _ends_of(text: str) -> str:
    """The first and last `READ_CHARS` of a text that has more than both, with a blank line between.

    An answer stands at the end, or where the model went on in a loop behind it at the beginning; that bounds the time.
    """
    return f"{text[:READ_CHARS]}\n\n{text[-READ_CHARS:]}" if len(text) > 2 * READ_CHARS + 2 else text


def for_maths(text: str) -> str:
    """`for_matching`, but raised digits and slashed fractions stay what they mean: 5² is not 52, 3½ is not 31/2."""
    text = _ends_of(text)
    if not text.isascii():
        text = _RE.raised.sub(
            lambda found: "^{" + unicodedata.normalize("NFKC", found[0]).replace("−", "-") + "}", text
        )
        text = _RE.slashed.sub(_fraction, text)
    return for_matching(text).replace("−", "-").replace("⁄", "/")


def without_markup(text: str) -> str:
    r"""`text` without Markdown emphasis (`*`, `_`, backticks, `#`), `$`, `\(`, `\[` and LaTeX font wrappers.

    `\boxed{}` stays: it marks an answer.
    """
    if _RE.any_markup.search(text) is None:  # a short plain text, as options are
        return text
    return _RE.emphasis.sub("", _unwrapped(text, _RE.wrapper, ""))


def without_wrappers(text: str) -> str:
    r"""`text` without LaTeX font wrappers and boxes; a space stands where a wrapper began and ended."""
    return _unwrapped(text, _RE.wrapper_or_box, " ")


def boxes(text: str) -> list[Box]:
    r"""What stands in boxes, in order: `\boxed{...}`, `\fbox{...}`, `\boxed 33`, `<answer>...</answer>`.

    Of nested ones the outermost count, of a tag around boxes the boxes. A brace that is never closed counts for
    nothing, and so does all that stands inside it, up to the next blank line; a tag that is never closed reaches to the
    next one or to the end of `text`, as where the closing tag was the stop sequence.
    """
    found = _tex_boxes(text) if "box" in text else []
    return sorted((*found, *_tagged(text, found)), key=lambda box: box.start) if "<answer>" in text else found


def _tex_boxes(text: str) -> list[Box]:
    found: list[Box] = []
    open_braces: list[re.Match[str] | None] = []  # None for a brace that belongs to no box
    open_boxes = 0
    for token in _RE.box.finditer(text):
        if token["gap"]:
            open_braces.clear()
            open_boxes = 0
        elif token["open"]:
            open_braces.append(token)
            open_boxes += 1
        elif token["bare"]:
            if not open_boxes:
                found.append(Box(token["bare"].rstrip("."), token.start(), token.end(), open=True))
        elif token[0] == "{":
            open_braces.append(None)
        elif token[0] == "}" and open_braces:
            opener = open_braces.pop()
            if opener is not None:
                open_boxes -= 1
                if not open_boxes:
                    content = _RE.tag.sub("", text[opener.end() : token.start()])
                    found.append(Box(content, opener.start(), token.end()))
    return found


def _tagged(text: str, inside: Sequence[Box]) -> Iterator[Box]:
    """What stands in answer tags, where none of the boxes `inside` does."""
    tags = [*_RE.tag.finditer(text)]
    starts = [box.start for box in inside]
    for place, tag in enumerate(tags):
        after = tags[place + 1] if place + 1 < len(tags) else None
        end = after.start() if after else len(text)
        body = text[tag.end() : end]
        boxed = bisect_left(starts, tag.end()) < bisect_left(starts, end)
        if not tag[1] and body.strip() and not boxed:
            yield Box(_concluded(body), tag.start(), after.end() if after and after[1] else end, open=after is None)


def _concluded(body: str) -> str:
    """What the inside of a tag comes to: what its last marker announces; of several paragraphs the last.

    Where the first is brief and the last one is not, the last explains the first.
    """
    announced = [place.start for place in places(body) if place.firm and place.said]
    if announced and body[announced[-1] :].strip():
        body = body[announced[-1] :]
    first, *others = _RE.paragraph.split(body.strip())
    explained = len(first.split()) <= _FEW_WORDS and not _RE.headline.search(first)
    explained &= bool(others) and len(others[-1].split()) > _SOME_WORDS
    return (first if explained or not others else others[-1]).strip(" *`")


def tag_content(text: str) -> str | None:
    """What stands in the last pair of answer tags of `text` (as the model wrote it) that holds anything, else None."""
    tagged = [*_tagged(for_matching(text), ())]
    return tagged[-1].content.strip() if tagged else None


def filled_boxes(text: str, *, midway: bool) -> list[str]:
    """The contents of `boxes_together`."""
    return [box.content for box in boxes_together(text, midway=midway)]


def boxes_together(text: str, *, midway: bool) -> list[Box]:
    """The boxes in `text` that have any content; where it may stop `midway`, only those that surely end.

    Boxes with nothing but "and" or a comma between them are one answer, and stand there as a list: "1, 2".
    """
    found: list[Box] = []
    for box in boxes(text):
        content = box.content.strip()
        if (midway and box.open and box.end == len(text)) or not without_wrappers(content).strip():
            continue
        before = found[-1] if found else None
        if before and between_boxes(text, before.end, box.start):
            both = content if content == before.content else f"{before.content}, {content}"
            found[-1] = Box(both, before.start, box.end)
        else:
            found.append(replace(box, content=content))
    return found


def between_boxes(text: str, end: int, start: int) -> bool:
    """Whether boxes of which one ends at `end` and the next begins at `start` are one answer together."""
    return _RE.between_boxes.fullmatch(text, end, start) is not None


def last_line(text: str) -> tuple[int, str]:
    """(where it starts, the last line of `text` that is not blank), stripped of white space and a closing tag."""
    end = len(text.rstrip().removesuffix("</answer>").rstrip())
    start = text.rfind("\n", 0, end) + 1
    return start, text[start:end]


def _shorten(marks: re.Match[str]) -> str:
    kept: list[str] = []
    row = 0
    for character in marks[0]:
        row = row + 1 if unicodedata.combining(character) else 0
        if row <= _MARKS_IN_A_ROW:
            kept.append(character)
    return "".join(kept)


def _fraction(found: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", found[0]).partition("⁄")
    return rf"\frac{{{above}}}{{{below}}}"


def _unwrapped(text: str, wrapper: re.Pattern[str], gap: str) -> str:
    """`text` without the commands that `wrapper` matches and the braces that close them."""
    if "\\" not in text:
        return text
    kept: list[str] = []
    is_wrapper: list[bool] = []
    position = 0
    for token in wrapper.finditer(text):
        if token[0] == "{":
            is_wrapper.append(False)
        elif (token[0] == "}" and is_wrapper and is_wrapper.pop()) or len(token[0]) > 2:
            kept += (text[position : token.start()], gap)
            position = token.end()
            if token[0] != "}":
                is_wrapper.append(True)
    return "".join((*kept, text[position:]))


_MOST_MARKERS: Final = 5_000  # from the end; a text with more of them is a loop
_LONGEST_LEAD: Final = 40  # characters before a marker that may take it back
_LONGEST_CLAUSE: Final = 260  # "If it were not so, the answer would be"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an announced answer would start.

    `said` is False where nothing like "is" or a colon stands between marker and answer; `firm` is False for what prose
    about the options uses as well ("the correct option is", "the answer must be", 选项).
    """

    start: int
    said: bool
    firm: bool


def places(text: str) -> Iterator[Place]:
    """The places in `text` (normalised, without markup) that a marker or a tag announces, in order.

    "The incorrect answer is", "if the answer is", 不选 and their like announce nothing, nor does a marker above a list
    of steps. A marker alone on its line announces the next.
    """
    for marker in deque(_markers(text), maxlen=_MOST_MARKERS):
        if supposed(text, marker.start()):
            continue
        separator = _RE.separator.match(text, marker.end())
        start = separator.end() if separator else marker.end()
        firm = not (marker["option"] or marker["noun"] or (separator and separator["modal"]))
        said = bool(marker["verb"]) or bool(text[marker.end() : start].strip())
        if "\n" in text[marker.end() : start] and _RE.first_step.match(text, start):
            continue
        if separator and separator["modal"] and supposed(text, start):
            continue
        yield Place(start, said, firm)
        if "|" in text[marker.end() : start + 1] and (cell := _cell_below(text, marker)):
            yield Place(cell, True, firm)
        if not said and (heading := _RE.heading.match(text, marker.end())):
            yield Place(heading.end(), said, firm)


def _cell_below(text: str, marker: re.Match[str]) -> int | None:
    """Where the cell below `marker` begins, where it heads a column of a table with one row."""
    below = _RE.below_head.match(text, marker.end())
    count = text.count("|", text.rfind("\n", 0, marker.start()) + 1, marker.start())
    before = below["row"].split("|", count) if below else []
    if below is None or len(before) <= count:
        return None
    return below.end("row") - len(before[-1].lstrip())


def corrections(text: str, start: int) -> Iterator[int]:
    """Where from `start` on something is given in the place of what was said before: "Wait, actually"."""
    return (found.end() for found in _RE.corrected.finditer(text, start))


def supposed(text: str, start: int) -> bool:
    """Whether what begins at `start` is asked or supposed and not said: "is the answer B?", "if B is correct"."""
    asked = _RE.asked.search(text, max(0, start - _LONGEST_LEAD), start)
    return bool(asked or _RE.counterfactual.search(text, max(0, start - _LONGEST_CLAUSE), start))


def _markers(text: str) -> Iterator[re.Match[str]]:
    """`_RE.marker.finditer(text)`."""
    position = 0
    while start := _RE.start.search(text, position):
        marker = _RE.marker.match(text, start.start())
        position = marker.end() if marker else start.start() + 1
        if marker:
            yield marker
