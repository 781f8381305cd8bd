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

import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score
from evalkit.scoring import patterns
from evalkit.scoring.answers.reply import (
    boxes,
    ends_midway,
    for_matching,
    last_line,
    places,
    scored,
    unanswered,
    without_answer,
    without_markup,
)
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1

# ---------------------------------------------------------------- a question's options, by letter or by their own text


_RE: Final = patterns.of("choice")
_FOLDED: Final = frozenset(".,;:!?'\"“”‘’«»。；：！？")  # punctuation that does not tell two texts apart
_ARTICLES: Final = frozenset({"the", "a", "an"})


@dataclass(frozen=True, slots=True)
class Options:
    """The letters and texts of one question's options.

    `choices` are the texts without markup, white space and case folded; `texts` maps the words of an option to its
    letter. A text that is blank, that two options share, or that is itself one of the letters (bracketed or not) is
    left out: it identifies nothing.
    """

    letters: str
    choices: tuple[str, ...]
    texts: Mapping[tuple[str, ...], str]

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> Options:
        """The options of `doc["choices"]`: 2 to 26 texts, lettered A, B, C ...

        Raises:
            DataError: there are none, or too few or too many to letter.
        """
        choices = required(doc, "choices")
        if isinstance(choices, str) or not isinstance(choices, Sequence) or not 2 <= len(choices) <= 26:
            raise DataError(f"{name_of(doc)}: 'choices' must be a list of 2 to 26 option texts, not {choices!r:.80}")
        letters = string.ascii_uppercase[: len(choices)]
        plain = [without_markup(for_matching(str(choice))) for choice in choices]
        folded = [_words(text) for text in plain]
        times = Counter(folded)
        texts = {
            words: letter
            for letter, words in zip(letters, folded, strict=True)
            if words and times[words] == 1 and "".join(words).strip("()[]{}").upper() not in tuple(letters)
        }
        return cls(letters, tuple(" ".join(text.casefold().split()) for text in plain), texts)

    def text_at(self, text: str, position: int) -> tuple[str, int] | None:
        """(letter, end) of the longest option text that starts at `position`, a leading article aside; else None."""
        left = tuple(self.texts)
        best: tuple[str, int] | None = None
        for index, (word, end) in enumerate(_tokens(text, position)):
            left = tuple(words for words in left if words[index] == word)
            for words in left:
                if len(words) == index + 1:
                    best = (self.texts[words], end)
            left = tuple(words for words in left if len(words) > index + 1)
            if not left:
                break
        return best

    def letter_of(self, text: str) -> str | None:
        """The option whose text is all of `text`, case and punctuation folded; None where there is none."""
        return self.texts.get(_words(text))

    def named_in(self, line: str) -> frozenset[str]:
        """The options whose texts occur in `line`; one inside another, longer one that occurs does not count."""
        found: set[str] = set()
        position = 0
        while token := _RE.token.search(line, position):
            position = token.end()
            if token[0] not in _FOLDED and (option := self.text_at(line, token.start())):
                found.add(option[0])
                position = option[1]
        return frozenset(found)


def _words(text: str) -> tuple[str, ...]:
    """The words of `_tokens`, found at once where no article can be in the way: that is most of the time."""
    words = [word for token in _RE.token.findall(text) if (word := token.casefold()) not in _FOLDED]
    if words and words[0] in _ARTICLES:
        return tuple(word for word, _ in _tokens(text, 0))
    return tuple(words)


def _tokens(text: str, position: int) -> Iterator[tuple[str, int]]:
    """(folded word, where it ends) from `position` on, without folded punctuation and a leading article."""
    first = True
    for token in _RE.token.finditer(text, position):
        word = token[0].casefold()
        if word in _FOLDED:
            continue
        if first and word in _ARTICLES and _RE.noun_follows.match(text, token.end()):
            first = False
            continue
        first = False
        yield word, token.end()


# ---------------------------------------------------------------- what stands at one place: letters, or options' texts


@dataclass(frozen=True, slots=True)
class Value:
    """One answer found: its letters (several: no credit), where it stands, and whether it was given by its text."""

    letters: tuple[str, ...]
    start: int
    end: int
    by_text: bool = False


def value_at(text: str, position: int, options: Options, *, said: bool = True) -> Value | None:
    """The answer that starts at `position` of `text` (normalised, without markup), brackets and quotes aside.

    `said` tells that something like "is" or a colon stands before it; a Chinese word may then follow a letter.
    """
    opened = _RE.openers.match(text, position)
    start = opened.end() if opened else position
    for begin in dict.fromkeys((position, start)):
        if value := _text_value(text, begin, options):
            return value
    return _letter_value(text, start, options, said=said)


def own_text_end(text: str, position: int, letter: str, options: Options) -> int | None:
    """Where the text of option `letter` ends if it follows at `position`, as in "B) shelf" and "B - shelf"."""
    link = _RE.to_text.match(text, position)
    named = options.text_at(text, link.end()) if link and link.end() > position else None
    return named[1] if named and named[0] == letter else None


def _text_value(text: str, start: int, options: Options) -> Value | None:
    named = options.text_at(text, start)
    if named is None:
        return None
    letter, end = named
    if joint := _RE.joint.match(text, end):
        other = options.text_at(text, joint.end())
        if other and other[0] != letter and (_RE.after_text.match(text, other[1]) or _RE.joint.match(text, other[1])):
            return Value((letter, other[0]), start, other[1], by_text=True)
    return Value((letter,), start, end, by_text=True) if _RE.after_text.match(text, end) else None


def _letter_value(text: str, start: int, options: Options, *, said: bool) -> Value | None:
    several = _RE.several.match(text, start)
    if several and set(several[0]) <= set(options.letters) and len(set(several[0])) == len(several[0]):
        return Value(tuple(several[0]), start, several.end())
    letter = text[start : start + 1]
    if len(letter) != 1 or letter.upper() not in options.letters:
        return None
    end = start + 1
    if letter.islower():
        alone = _RE.sole.match(text, end) or _RE.bracketed.match(text, end)
        return Value((letter.upper(),), start, end) if alone else None
    own_end = own_text_end(text, end, letter, options)
    letters, last = _joined(text, (letter,), own_end or end, options)
    if len(letters) == 1 and own_end:
        letters, last = _joined(text, (letter,), end, options)
    if len(letters) > 1:
        return Value(letters, start, last)
    if own_end and _RE.after_text.match(text, own_end):
        return Value((letter,), start, own_end)
    return Value((letter,), start, end) if _letter_ends(text, end, letter, said=said) else None


def _joined(text: str, letters: tuple[str, ...], end: int, options: Options) -> tuple[tuple[str, ...], int]:
    """(`letters` and those joined to them by "and", "or", a comma ..., where the last one ends)."""
    while joint := _RE.joint.match(text, end):
        letter = text[joint.end() : joint.end() + 1]
        if not letter or letter not in options.letters or letter in letters:
            break
        next_end = joint.end() + 1
        next_end = own_text_end(text, next_end, letter, options) or next_end
        if not _RE.after_several.match(text, next_end):
            break
        letters, end = (*letters, letter), next_end
    return letters, end


def _letter_ends(text: str, end: int, letter: str, *, said: bool) -> bool:
    """Whether a capital letter that ends at `end` stands for an option and does not begin a word or a formula."""
    if _RE.after_letter.match(text, end):
        return True
    space = _RE.space.match(text, end)
    if space is None:  # a word goes on, except that Chinese is written without spaces
        return said and "\u4e00" <= text[end] <= "\u9fff"
    if _RE.operator.match(text, space.end()):
        return False  # "B = 3 T" is a magnetic field
    return letter not in "AI" or _RE.after_wordlike.match(text, space.end()) is not None  # an article, a pronoun


# ---------------------------------------------------------------- a generous second reading: never for the score
# Where it finds answers that the strict reading does not, the prompt or the strict patterns are at fault, not the
# model.


_LINE_LENGTH: Final = 4000


def lenient_letter(text: str, options: Options) -> str | None:
    """What `text` (normalised, without markup; no strict answer in it) may mean; None where even that is open.

    The first of: the last bracketed letter, the last capital letter that stands alone (neither where the reply goes
    on to deny it), the option whose number stands after the last marker, the only option named in the last line.
    """
    for pattern in (_RE.lenient_bracketed, _RE.lenient_alone):
        letters = [letter for found in pattern.finditer(text) if (letter := found[1].upper()) in options.letters]
        if letters:
            return letters[-1]
    numbers = [int(found[1]) for place in places(text) if (found := _RE.number.match(text, place.start))]
    if numbers and 1 <= numbers[-1] <= len(options.letters):
        return options.letters[numbers[-1] - 1]
    named = options.named_in(last_line(text)[1][-_LINE_LENGTH:])
    return next(iter(named)) if len(named) == 1 else None


# ---------------------------------------------------------------- which option a reply settles on


STRONG: Final = frozenset({"P1", "P2", "P3"})
SHORTEST_BARE_TEXT: Final = 3  # characters; a shorter option text says too little without a marker


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
    truth = truth_of(doc, options)
    if (nothing := unanswered(final)) is not None:
        return nothing
    whole, header = _matchable(final.text), _matchable(str(doc.get("shot_header") or ""))
    text = whole.partition(f"\n{header}")[0] if header else whole  # before it goes on to ask itself the next question
    flags: tuple[str, ...] = ("continued_pattern",) * (len(text) < len(whole))
    if ends_midway(final):
        text = _RE.cut_word.sub("", text)  # "the answer is a", and the limit came
    return settled(extract(text, options), text, final, options, truth, flags)


def truth_of(doc: Mapping[str, Any], options: Options, *, several: bool = False) -> frozenset[str]:
    """The letter, or where `several` may be right the letters, that `doc["answer"]` gives.

    Raises:
        DataError: there is none, or one that is no letter of an option.
    """
    truth = required(doc, "answer")
    if not isinstance(truth, str) or not set(truth) <= set(options.letters) or (len(truth) > 1 and not several):
        wanted = "letters of" if several else "one of the letters"
        raise DataError(f"{name_of(doc)}: 'answer' must be {wanted} {options.letters}, not {truth!r:.80}")
    return frozenset(truth)


def settled(
    found: Extraction,
    text: str,
    final: FinalText,
    options: Options,
    truth: frozenset[str],
    flags: tuple[str, ...] = (),
) -> Score:
    """The score of what `text` (normalised, without markup), that may be graded of `final`, settled on."""
    if not found.letters or (final.truncated and found.anchor not in STRONG):
        guess = lenient_letter(text, options)
        flags += ("lenient_only",) * (guess is not None)
        return without_answer(final, text, lenient=float({guess} == truth), flags=flags)
    flags += ("self_contradiction",) * found.contradictory
    flags += ("weak_anchor",) * (found.anchor not in STRONG | {"P4"})
    score = scored(frozenset(found.letters) == truth, ",".join(found.letters), final, flags)
    return replace(score, reason="multiple") if len(found.letters) > 1 and not score.value else score


def extract(text: str, options: Options) -> Extraction:
    """What `text` (normalised, without markup) settles on."""
    marked = list(_after_markers(text, options))
    strong = [("P1", value) for value, is_strong in marked if is_strong]
    strong += (("P2", value) for value in _in_boxes(text, options))
    strong += (("P3", value) for at in _RE.field.finditer(text) if (value := value_at(text, at.end(), options)))
    if strong:
        anchor, value = max(strong, key=lambda candidate: candidate[1].start)
        return Extraction(value.letters, anchor, len({other.letters for _, other in strong}) > 1)
    return _from_last_line(text, options, [value for value, _ in marked])


def _matchable(text: str) -> str:
    return without_markup(for_matching(text)).strip()


def _after_markers(text: str, options: Options) -> Iterator[tuple[Value, bool]]:
    """P1: (what stands after a marker, whether that is strong).

    An option's text after "the correct option is" is as weak as the bare text: prose about the options reads so.
    """
    for place in places(text):
        value = value_at(text, place.start, options, said=place.said)
        if value and (place.said or _RE.alone.match(text, value.end)):  # not "answer B is wrong"
            yield value, place.firm or not value.by_text


def _in_boxes(text: str, options: Options) -> Iterator[Value]:
    """P2: boxes whose whole content is an answer."""
    for box in boxes(text):
        value = value_at(box.content, 0, options)
        if value and _RE.line_end.match(box.content, value.end):
            yield Value(value.letters, box.start, box.end, value.by_text)


def _from_last_line(text: str, options: Options, weak: list[Value]) -> Extraction:
    """P4, else P5."""
    start, line = last_line(text)
    line = line.strip()
    if (found := _RE.line_letter.match(line)) and (letter := found[1].upper()) in options.letters:
        end = own_text_end(line, found.end(), letter, options) or found.end()
        if _RE.line_end.match(line, end):
            return Extraction((letter,), "P4")
    named = options.letter_of(line) if len(line) >= SHORTEST_BARE_TEXT else None
    after_marker = [value for value in weak if value.start >= start and value.end - value.start >= SHORTEST_BARE_TEXT]
    if named:
        return Extraction((named,), "P5")
    return Extraction(after_marker[-1].letters, "P5") if after_marker else Extraction()
