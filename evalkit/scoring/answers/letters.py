"""Multiple choice about pictures: the strict reading of the text suites, then weaker places to look.

The scorer of MMMU's and MathVision's choices, MMMU-Pro, CII-Bench and BLINK. MMMU-Pro's letter I is an option like any
other (133 items have it as their answer); CII-Bench is mostly answered in Chinese, whose letters stand between
characters without spaces; of BLINK the official scorer asks a language model to match prose to an option, where here a
reply that names none is NO_ANSWER, which the prompt's answer line makes rare.

Models that were asked about a picture answer shortly and in many forms ("B. a lighthouse", 选项F符合题意), so what
`evalkit.scoring.answers.choice` does not find is looked for further, the first rule that decides wins:

    M2  the answer begins with "C.", "(C)", "C:" ..., and no other line begins so
    M3  the last line begins so, and the line before does not
    M4  one bracketed letter only, in the whole reply or else in its last sentence
    M5  one letter only that stands alone, in a reply of up to 60 characters; articles and the pronoun aside
    P5  a last line that is an option's text (as in the text suites)
    M6  the text of one option only, as whole words
    M7  prose that settles on one option (`evalkit.scoring.answers.prose`)

M4 to M6 do not count in a sentence that denies ("(B) does not fit"), M4 also not in a last one that contrasts.

M1 to M7 are weak: a reply that was cut off gets nothing by them. No rule guesses, and letters beyond the item's own
options never count.
"""

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from evalkit.model import FinalText, Score
from evalkit.resources import Patterns
from evalkit.scoring.answers import reply
from evalkit.scoring.answers.choice import Extraction, Options, extract, only, settled, truth_of, without_lists
from evalkit.scoring.answers.prose import settled_on

VERSION: Final = 1

SHORT_CHARS: Final = 400
BRIEF_CHARS: Final = 60
SHORTEST_NAMED_CHARS: Final = 4
MOST_MENTIONS: Final = 20

_RE: Final = Patterns("letters")
# Chinese is written without spaces: a word boundary beside it says nothing. Beside an operator stands a formula.
_BEFORE_TEXT: Final = r"(?<![^\W\u3400-\u9fff])(?<![/^*+=:\\-])(?<![\d][.,])"
_AFTER_TEXT: Final = r"(?![^\W\u3400-\u9fff]|[/^*+=%°\\-]|[.,:]\d)"


def read(text: str, options: Options) -> Extraction:
    """What `text` (normalised, without markup) settles on, by the strict reading and then by M2 to M7."""
    strict = extract(text, options)
    if strict.letters and strict.anchor != "P5":
        return strict
    for anchor, rule in _RULES:
        if letter := rule(text, options):
            return Extraction((letter,), anchor)
    if strict.letters:
        return strict
    if letter := _named(text, options):
        return Extraction((letter,), "M6")
    letter = settled_on(text, options)
    return Extraction((letter,), "M7") if letter else Extraction()


def read_set(text: str, options: Options) -> Extraction:
    """What `text` settles on where several letters may be right: "AC", "A、C", 正确答案：A和C, or one option a line.

    Letters joined by "or" are an open question, not a set.
    """
    marked = [place.start for place in reply.places(text)]
    for start in (*reversed(marked[-20:]), 0):
        if named := _row_at(text[start:].strip(), options):
            return Extraction(named, "P1" if start else "P4")
    # All options that the reply states to be right: A和C正确, "A选项正确；C选项正确".
    stated = {letter for match in _RE.stated_set.finditer(text) for letter in re.findall("[A-Z]", match["letters"])}
    if len(stated) > 1 and (named := _row([*stated], options)):
        return Extraction(named, "M1")
    found = read(text, options)
    if len(found.letters) > 1 and _RE.either.search(text):
        return Extraction(anchor=found.anchor)
    return Extraction(tuple(sorted(found.letters)), found.anchor, found.contradictory)


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText, *, several: bool = False) -> Score:
    """Score a reply to a multiple-choice question about a picture: 1 for the right option, else 0.

    `doc` has "choices" (2 to 26 texts) and "answer" (a letter). Where the prompt allows `several` letters, the answer
    is a row of them, and they are read as a set that must be the same; otherwise two letters are no answer (reason
    "multiple"). `lenient` is a more generous reading, for diagnosis.

    Raises `DataError`: the document lacks its options or its answer.
    """
    options = Options.of(doc)
    truth = truth_of(doc, options, several=several)
    text = reply.without_markup(reply.for_matching(final.text))
    text = without_lists(text, options, several=several)
    if final.midway:
        text = _RE.cut_word.sub("", text)  # "the answer is a", and the limit came
    found = (read_set if several else read)(text, options)
    return settled(found, text, final, options, truth)


def _row_at(text: str, options: Options) -> tuple[str, ...]:
    """The letters that are all of the first line of `text`, in any order, or with which each of its lines begins."""
    line = text.partition("\n")[0].partition("</")[0].rstrip()
    if _RE.sole_letters.fullmatch(line) and (row := _row(re.findall("[A-Z]", line.upper()), options)):
        return row
    lines = [line for line in text.splitlines() if line.strip()]
    found = [match[1] or match[2] for line in lines if (match := _RE.option_line.match(line))]
    return _row(found, options) if len(found) == len(lines) > 1 else ()


def _row(letters: list[str], options: Options) -> tuple[str, ...]:
    """The letters in order; none where one stands twice or is no option's."""
    distinct = len(set(letters)) == len(letters)
    return tuple(sorted(letters)) if distinct and set(letters) <= set(options.letters) else ()


def _beginning(text: str, options: Options) -> str | None:
    first = _RE.line_letter.match(text)
    letter = first and (first[1] or first[2])
    if first is None or not letter or letter not in options.letters or _RE.crossed_out.match(text, first.end()):
        return None
    others = {found[1] or found[2] for found in _RE.option_line.finditer(text)} - {letter}
    return None if others & set(options.letters) else letter


def _last(text: str, options: Options) -> str | None:
    start, line = reply.last_line(text)
    found = _RE.option_line.match(line)
    letter = found and (found[1] or found[2])
    if not letter or letter not in options.letters:
        return None
    _, before = reply.last_line(text[:start])
    return None if _RE.option_line.match(before) else letter


def _bracketed(text: str, options: Options) -> str | None:
    found = [match for match in _RE.bracketed.finditer(text) if match[1] in options.letters]
    if len({match[1] for match in found}) > 1:
        tail = text[-SHORT_CHARS:]
        last = tail[max((end.end() for end in _RE.sentence_end.finditer(tail, 0, len(tail) - 2)), default=0) :]
        if _RE.contrast.search(last):
            return None
        return only(options, (match[1] for match in _RE.bracketed.finditer(last) if not _denied(last, match)))
    return only(options, (match[1] for match in found[:MOST_MENTIONS] if not _denied(text, match)))


def _alone(text: str, options: Options) -> str | None:
    if len(text) > BRIEF_CHARS or _RE.listed.search(text):
        return None
    return only(options, (found[1] or found[2] for found in _RE.alone.finditer(text) if not _denied(text, found)))


_RULES: Final[tuple[tuple[str, Callable[[str, Options], str | None]], ...]] = (
    ("M2", _beginning),
    ("M3", _last),
    ("M4", _bracketed),
    ("M5", _alone),
)


def _named(text: str, options: Options) -> str | None:
    """The option whose own text is the reply, or the only one whose text it holds (one inside another not counted)."""
    if whole := options.letter_of(text):
        return whole
    if reply.is_refusal(text):
        return None
    left = _folded(text)
    shortest = 1 if len(text) <= SHORT_CHARS else SHORTEST_NAMED_CHARS
    named: dict[str, str] = {}
    choices = [_folded(choice) for choice in options.choices]
    for choice, letter in sorted(zip(choices, options.letters, strict=True), key=lambda pair: -len(pair[0])):
        if not choice or len(choice) < shortest or re.fullmatch("[a-z]", choice):
            continue  # a lone letter is read as a letter, or not at all
        words = re.compile(_BEFORE_TEXT + re.escape(choice) + _AFTER_TEXT)
        where = list(islice(words.finditer(left), MOST_MENTIONS))
        if where:
            named[choice] = letter
            if len(named) > 1 or choices.count(choice) > 1 or all(_denied(left, found) for found in where):
                return None
            left = words.sub(lambda found: "|" * len(found[0]), left)
    return next(iter(named.values()), None)


def _folded(text: str) -> str:
    """`text` in lower case with single spaces, spelled in one of the ways in which an option may be spelled."""
    text = _RE.plural.sub("", " ".join(text.casefold().split()))
    return _RE.before_unit.sub(" ", _RE.hyphen.sub(" ", text))


def _denied(text: str, found: re.Match[str]) -> bool:
    """Whether the sentence in which something was found denies, asks or supposes; what was found is not looked at."""
    start = max(0, found.start() - SHORT_CHARS)
    start = max((end.end() for end in _RE.sentence_end.finditer(text, start, found.start())), default=start)
    stop = _RE.sentence_end.search(text, found.end(), found.end() + SHORT_CHARS)
    if (stop and stop[0] in "?？") or reply.supposed(text, found.start()):
        return True
    after = text[found.end() : stop.start() if stop else found.end() + SHORT_CHARS]
    return any(_RE.denial.search(part) for part in (text[start : found.start()], after))
