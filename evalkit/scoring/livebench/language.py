"""LiveBench language and reasoning: connections, plot unscrambling, typos; spatial, web of lies, zebra puzzles."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

from evalkit.resources import Patterns
from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.livebench.extract import (
    Grade,
    between,
    between_on_line,
    boxed,
    distance,
    malformed_solutions,
    plain_box,
    solutions,
    truth_of,
    without_marks,
)

_GROUP: Final = 4
_PLOT_OPEN, _PLOT_CLOSE = "<PLOT_SUMMARY>", "</PLOT_SUMMARY>"
_PLOT_ENDS: Final = (_PLOT_CLOSE, "**End of Plot Summary**")
_PLOT_SECONDS: Final = 20.0
_ALIKE: Final = 0.5
_DASHES: Final = " --- "


def grade_connections_old(doc: Mapping[str, Any], text: str) -> Grade:
    """Before 2024-11-25: the bold text that holds the largest share of the true groups of four words."""
    truth = _groups(truth_of(doc).split(","))
    phrases = between_on_line(text.replace("\n", ""), "**", "**")
    value, answer = 0.0, phrases[-1] if phrases else None
    for phrase in phrases:
        groups = _groups(phrase.split(","))
        share = sum(any(group <= given for given in groups) for group in truth) / len(truth)
        if share > value:
            value, answer = share, phrase
    return Grade(value=value, answer=answer, anchored=bool(phrases))


def grade_connections_new(doc: Mapping[str, Any], text: str) -> Grade:
    """From 2024-11-25: the words in the solution tags (or the box), cut into fours; the share of true groups."""
    words = truth_of(doc).split(",")
    truth = _groups(words)
    joined = text.replace("\n", "")
    blocks = solutions(text) or solutions(joined) or malformed_solutions(text) or malformed_solutions(joined)
    blocks = blocks or plain_box(text)
    given = [word for block in blocks for word in block.replace("\n", "").split(",")]
    if len(blocks) > 1:
        given = given[-len(words) :]
    right = sum(group in truth for group in _groups(given)) if given else 0
    return Grade(
        value=min(1.0, right / len(truth)),
        answer=", ".join(word.strip() for word in given) or None,
        anchored=bool(blocks),
        reason="" if blocks else "no_answer",
    )


def grade_plot(doc: Mapping[str, Any], text: str) -> Grade:
    """One minus the edit distance between the true order of the sentences and the order found in the answer.

    Every true sentence is matched with the answer's closest one, however far, so any text earns a little: where no
    sentence resembles a true one, the reason is "no_answer" and the strict reading 0.
    """
    truth = _sentences(truth_of(doc))
    answer = _plot_summary(text)
    given = [sentence for sentence in _sentences(answer) if sentence not in _PLOT_ENDS]
    order, likeness = run_limited(f"{__name__}:closest_order", (truth, given), _PLOT_SECONDS)
    value = max(0.0, 1 - distance(range(len(truth)), order) / len(truth))
    recognised = likeness >= _ALIKE
    return Grade(
        value=value,
        answer=" ".join(str(index) for index in order) or None,
        anchored=_PLOT_CLOSE in text,
        strict=None if recognised else 0.0,
        reason="" if recognised else "no_answer",
    )


def closest_order(truth: list[str], given: list[str]) -> tuple[list[int], float]:
    """For each true sentence the index of the closest given one, and the best likeness of all, in [0, 1].

    Likeness is difflib's ratio; of equally close sentences the one that sorts last counts, in its first place, as
    `difflib.get_close_matches` has it. Runs in a worker: a sentence may be as long as the whole reply.
    """
    from difflib import SequenceMatcher, get_close_matches

    order: list[int] = []
    top = 0.0
    for sentence in truth:
        for best in get_close_matches(sentence, dict.fromkeys(given), n=1, cutoff=0.0):
            top = max(top, SequenceMatcher(None, best, sentence).ratio())
            order.append(given.index(best))
    return order, top


def grade_typos(doc: Mapping[str, Any], text: str) -> Grade:
    """Right if the corrected text occurs in the answer; adding something to it is not punished."""
    truth = truth_of(doc)
    found = solutions(text)
    answer = found[-1] if found else _between_dashes(without_marks(text, "<solution>", "</solution>"))
    answer = " ".join(line for line in answer.strip().split("\n") if line)
    return Grade(value=float(truth in answer), answer=answer or None, anchored=bool(found))


def _groups(words: Iterable[str]) -> list[set[str]]:
    # A word given twice fills one place only, so that a group may take in words of the next one.
    groups: list[set[str]] = [set()]
    for word in words:
        if len(groups[-1]) == _GROUP:
            groups.append(set())
        groups[-1].add(word.strip().lower())
    return groups


def _plot_summary(text: str) -> str:
    _, opened, body = text.partition(_PLOT_OPEN)
    return body.rsplit(_PLOT_CLOSE, 1)[0] if opened else text


def _sentences(text: str) -> list[str]:
    return [sentence for part in text.split(".") if (sentence := part.strip())]


def _between_dashes(text: str) -> str:
    for line in text.split("\n"):
        end = line.rfind(_DASHES)
        start = line.rfind(_DASHES, 0, max(end, 0))
        if start >= 0:
            return between(line[start:], _DASHES, _DASHES)[0]
    return text


_RE: Final = Patterns("language")
_NUMBERS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_SHAPES: Final = ("tetrahedra", "tetrahedron", "triangle", "square")
_LOOKED_AT: Final = 3


def grade_spatial(doc: Mapping[str, Any], text: str) -> Grade:
    """Right if one of the last three bold phrases, or the box, is the truth; the strict reading takes the last only."""
    raw = truth_of(doc).strip()
    truth = raw.lower()
    phrases = [without_marks(phrase, ".").strip().lower() for phrase in _RE.bold.findall(text)][-_LOOKED_AT:]
    box = boxed(text)
    inside = None if box is None else without_marks(box, "\\textbf{", "\\mathbf{", "\\text{", "}")
    value = (
        text.strip() == raw
        or any(_means(phrase, truth) for phrase in phrases)
        or (inside is not None and inside == raw)
    )
    answer = phrases[-1] if phrases else inside
    return Grade(
        value=float(value),
        answer=answer if answer is not None else (text.strip() if value else None),
        anchored=answer is not None,
        strict=None if answer is None else float(_states(answer, truth)),
    )


def _means(phrase: str, truth: str) -> bool:
    """True where the phrase is the truth, its number word, or a short phrase about the same shape."""
    if phrase == truth or (phrase in _NUMBERS and str(_NUMBERS.index(phrase)) == truth):
        return True
    return truth in _SHAPES and truth in phrase and len(phrase) < 2 * len(truth) + 5


def _states(phrase: str, truth: str) -> bool:
    """True where the last number of the phrase is the truth, or the truth stands in it as a word."""
    if _means(phrase, truth):
        return True
    words = [str(_NUMBERS.index(word)) if word in _NUMBERS else word for word in _RE.word.findall(phrase)]
    if truth.isdecimal():
        words = [word for word in words if word.isdecimal()][-1:]
    return truth in words


_WORDS: Final = ("yes", "no", "unknown")
_ASKED: Final = 3


def grade_lies_v2(doc: Mapping[str, Any], text: str) -> Grade:
    """All three or nothing. Inside solution tags the official rule minds case and the space after a comma."""
    truth = truth_of(doc).lower()
    tagged = solutions(text) or malformed_solutions(text)
    answer, anchored = _answer(text, tagged[-1] if tagged else _bold_words(text))
    three = sum(answer.count(word) for word in _WORDS) == _ASKED
    return Grade(
        value=float(answer == truth or (three and truth in answer)),
        answer=answer or None,
        anchored=anchored,
        strict=float(bool(answer) and _RE.tagged_word.findall(answer.lower()) == _RE.tagged_word.findall(truth)),
    )


def grade_lies_v3(doc: Mapping[str, Any], text: str) -> Grade:
    """Half for each share of right answers, half for all of them; elements are compared with their spaces."""
    truth = truth_of(doc).split(",")
    found = solutions(text)
    answer, anchored = _answer(text, found[-1] if found else None)
    right = [a == b for a, b in zip(answer.split(","), truth, strict=False)]
    return Grade(value=_share(right, len(truth)), answer=answer or None, anchored=anchored)


def _answer(text: str, found: str | None) -> tuple[str, bool]:
    """What was `found` where the answer belongs, else in a box; else in plain words, which are no such place."""
    if found is None or not found.strip():
        content = boxed(text.replace("\\textbf{", "\\boxed{"))
        found = content if content is not None else found
    return (_plain_word(text) or "", False) if found is None else (found, True)


def _bold_words(text: str) -> str | None:
    words = [
        word.lower().replace(",", "").replace(".", "")
        for phrase in between_on_line(text, "**", "**")
        for word in phrase.split()
    ]
    answers = [word for word in words if word in _WORDS]
    return ", ".join(answers[-_ASKED:]) if answers else None


def _plain_word(text: str) -> str | None:
    # Of all triples that occur, the one whose first occurrence comes last.
    lowered = text.lower()
    triples = (", ".join(words) for words in itertools.product(_WORDS, repeat=_ASKED))
    places = [(place, triple) for triple in triples if (place := lowered.find(triple)) >= 0]
    return max(places)[1] if places else None


def grade_zebra_old(doc: Mapping[str, Any], text: str) -> Grade:
    """The last `***word***`, else the last word of the text, against a truth of one word (or "... movies")."""
    truth = truth_of(doc).lower()
    marked = _RE.marked.findall(text)
    words = marked or _RE.word.findall(text)
    answer = words[-1] if words else None
    return Grade(value=float(answer is not None and truth in _meanings(answer)), answer=answer, anchored=bool(marked))


def grade_zebra_new(doc: Mapping[str, Any], text: str) -> Grade:
    """Half for the share of right elements, half for all of them; a truth contained in an element is right."""
    truth = [_plain_element(part) for part in truth_of(doc).split(",")]
    blocks = _blocks(text, len(truth))
    elements = _elements(blocks, len(truth))
    # evalkit's own reading also takes a block that runs over several lines, and wants whole elements.
    own = _elements(between(text, "<solution>", "</solution>"), len(truth)) or elements
    return Grade(
        value=_share([right in given for given, right in zip(elements, truth, strict=False)], len(truth)),
        answer=", ".join(elements or own) or None,
        anchored="</solution>" in text or "\\boxed" in text,
        strict=_share([right == given.strip() for given, right in zip(own, truth, strict=False)], len(truth)),
        reason="" if own else "no_answer",
    )


def _meanings(word: str) -> set[str]:
    lowered = word.lower()
    meanings = {lowered, f"{lowered} movies"}
    if len(word) == 1 and word in "123456789":
        meanings.add(_NUMBERS[int(word)])
    return meanings


def _blocks(text: str, wanted: int) -> list[str]:
    blocks = solutions(text) or malformed_solutions(text) or plain_box(text)
    last_line = text.strip().rsplit("\n", 1)[-1]
    if not blocks and last_line.count(",") == wanted - 1:
        blocks = [last_line]
    return blocks


def _elements(blocks: list[str], wanted: int) -> list[str]:
    elements = [part for block in blocks for part in block.split(",")]
    if len(blocks) > 1:
        elements = elements[-wanted:]
    return [_plain_element(element).replace("position", "") for element in elements]


def _plain_element(element: str) -> str:
    return element.strip().lower().replace("-", " ")


def _share(right: list[bool], wanted: int) -> float:
    return ((sum(right) == wanted) + sum(right) / wanted) / 2
