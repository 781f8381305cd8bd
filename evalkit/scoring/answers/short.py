"""Short answers in free text: the scorer `short`, and where a longer reply gives a number, a word or a short phrase.

`score` takes the first line of a reply, which must be one of the accepted answers but for case, punctuation and
articles. `answer_part` finds the answer in one place only, never anywhere in the reasoning: the last box, else what
follows the last marker ("Answer:", 答案), else the last sentence of the last line. There a numeric truth must equal the
number that is given, and a text truth must stand as whole words.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.resources import Patterns
from evalkit.scoring.answers import reply
from evalkit.scoring.answers.number import Quantity, equal, numbers, whole_number
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1
LONGEST: Final = 200

_ARTICLES: Final = frozenset({"a", "an", "the"})
_RE: Final = Patterns("short")


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a short answer: 1 where the reply's first line is `doc["answer"]` or one of `doc["accepted"]`.

    A line that the token limit cut is right if it is the answer already, else it counts as truncated. `lenient` also
    takes a reply that holds an accepted answer somewhere, as whole words.

    Raises `DataError`: the document has no answer, or `accepted` is no list of texts.
    """
    accepted = _accepted(doc)
    first, _, rest = (reply.tag_content(final.text) or final.text.strip()).partition("\n")
    answer = normalise(first)
    value = float(answer in accepted)
    whole = f" {normalise(final.text[: 2 * reply.READ_CHARS])} "
    lenient = float(any(f" {one} " in whole for one in accepted))
    if final.truncated and not rest and final.midway:
        status, reason = (Status.SCORED, "truncated_with_answer") if value else (Status.TRUNCATED, "truncated")
    elif not answer:
        status, reason = Status.NO_ANSWER, "no_answer"
    else:
        status, reason = Status.SCORED, "right" if value else "wrong"
    return Score(value, status, reason, first.strip()[:LONGEST], lenient)


def normalise(text: str) -> str:
    """Lower-case words with single spaces between them: no punctuation, and no article unless there is nothing else."""
    text = unicodedata.normalize("NFKC", text).casefold()
    words = _RE.marks.sub(lambda mark: mark["kept"] or ("" if mark["gone"] else " "), text).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def _accepted(doc: Mapping[str, Any]) -> frozenset[str]:
    others = doc.get("accepted") or []
    if not isinstance(others, list) or not all(isinstance(one, str) for one in others):
        raise DataError(f"{name_of(doc)}: 'accepted' must be a list of texts, not {others!r:.80}")
    forms = {normalise(one) for one in (str(required(doc, "answer")), *others)}
    if "" in forms:
        raise DataError(f"{name_of(doc)}: an accepted answer holds no letter and no digit")
    return frozenset(forms)


_NEGATION_CHARS: Final = 80
_LONGEST_PART: Final = 2000
_IGNORED: Final = frozenset(".,;:!?'\"“”‘’`$*")
_LETTER_NAMED: Final = (
    r"(?i:\A|[(\[\"'“‘:=]|\b(?:is|are|be|point|points|label|labell?ed|letter|option|structure|compound|arrow|region|area"
    r"|line|curve|part|site|atom|box|figure|panel|graph|answer|by|as))\s*"
)


@dataclass(frozen=True, slots=True)
class Given:
    """The part of a reply that holds its answer; `strong` where a box or a marker says so."""

    text: str
    strong: bool


def score_part(final: FinalText, is_right: Callable[[str], bool]) -> Score:
    """The score of a reply by the part of it that holds the answer: 1 where that `is_right`, else 0."""
    given = answer_part(final.text, midway=final.midway)
    if given is None or (final.truncated and not given.strong):
        return reply.without_answer(final, final.text)
    return reply.scored(is_right(given.text), given.text[:400], final, () if given.strong else ("weak_anchor",))


def answer_part(text: str, *, midway: bool = False) -> Given | None:
    """Where `text` (as the model wrote it) gives its answer; None for an empty one.

    Where it may stop `midway` through a word, what touches its end is not taken by a box or a marker.
    """
    text = reply.for_maths(text)
    if boxed := reply.filled_boxes(text, midway=midway):
        return Given(reply.without_wrappers(boxed[-1]).strip()[:_LONGEST_PART], strong=True)
    text = reply.without_markup(text)
    announced = [place.start for place in reply.places(text) if place.firm and place.said]
    for start in reversed(announced[-20:]):
        end = _RE.line_end.search(text, start)
        stop = end.start() if end else len(text)
        part = text[start:stop].strip()
        if part and not (midway and end is None):
            return Given(part[:_LONGEST_PART], strong=True)
    _, line = reply.last_line(text)
    ends = [found.end() for found in _RE.sentence.finditer(line)]
    part = (line[ends[-1] :] if ends else line).strip()
    return Given(part[-_LONGEST_PART:], strong=False) if part else None


def matches(given: str, truth: str) -> bool:
    """Whether the answer part `given` gives `truth`; a truth that is a number is compared as one."""
    wanted = reply.for_maths(truth)
    number = whole_number(wanted)
    if number is not None:
        answer = number_given(given)
        return answer is not None and equal(answer, number)
    return holds_text(given, wanted)


def number_given(text: str) -> Quantity | None:
    """The number that an answer part gives: its only one, or the only one after its last "is", "=" or the like."""
    found = numbers(text)
    if len(found) > 1:
        cut = max((copula.end() for copula in _RE.copula.finditer(text)), default=0)
        found = [number for number in found if number.start >= cut]
    return found[0] if len(found) == 1 else None


def holds_text(given: str, truth: str) -> bool:
    """Whether `truth` stands in `given` as whole words, case and punctuation folded, and is not denied there.

    A truth of one letter must be a capital that is named as a letter, so that neither "A point" nor "I think" is one.
    """
    wanted = reply.without_wrappers(reply.without_markup(truth)).strip()
    if re.fullmatch(r"[A-Za-z]", wanted):
        return _holds_letter(given, wanted.upper())
    words = [word for word in _RE.words.findall(wanted.casefold()) if word not in _IGNORED]
    if not words:
        return False
    pattern = re.compile(r"(?<!\w)" + r"[\W_]{0,3}".join(re.escape(word) for word in words) + r"(?!\w)")
    folded = given.casefold()
    return any(
        not _RE.negated.search(folded, max(0, found.start() - _NEGATION_CHARS), found.start())
        for found in pattern.finditer(folded)
    )


def _holds_letter(given: str, letter: str) -> bool:
    if re.fullmatch(rf"[(\[\"'“‘]?{letter}[)\]\"'”’]?[.。]?", given.strip(), re.IGNORECASE):
        return True
    named = re.compile(_LETTER_NAMED + rf"[(\[\"'“‘]?{letter}(?![\w'’])(?P<after>\s+[a-z])?")
    # "is A regioselective reaction": after a bare verb an A that a noun follows is an article.
    return any(
        not (found["after"] and re.match(r"(?i:is|are|be|as|by)\b", found[0]) and letter in "AI")
        for found in named.finditer(given)
    )
