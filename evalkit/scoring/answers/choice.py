"""Multiple choice: which option a reply settles on, and whether that is the right one.

Everything that may be an answer is collected with its place and class; the last one of the strongest class decides:

    P1  a marker ("Answer:", "the correct option is", "I choose", 答案 ...) and a letter, or the option's own text
    P2  a box around a letter or an option's text
    P3  a JSON field "answer", "choice" or "option"                     P1 to P3 are strong and compete by place
    P4  a last or else a first line that is a letter, or a letter and its own text      medium
    M1  a statement: "C is correct", B选项正确; all of them must name one option
    P5  a last line that is an option's text, or "the correct option is" and the text   weak

A list of the options is no answer, wherever it stands: it is taken out first. What a reply takes back ("Answer: B.
Wait, actually C") gives way to what it says instead. Of a reply that was cut off only strong anchors count. There is
never a guess. The time is linear in the length of the reply.
"""

import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Self

from evalkit.errors import DataError
from evalkit.model import FinalText, Score
from evalkit.resources import Patterns
from evalkit.scoring.answers import reply
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1

_RE: Final = Patterns("choice")
_FOLDED: Final = frozenset(".,;:!?'\"“”‘’«»。；：！？")  # punctuation that does not tell two texts apart
_ARTICLES: Final = frozenset({"the", "a", "an"})
_ALONE: Final = frozenset((word,) for word in _ARTICLES)


@dataclass(frozen=True, slots=True)
class Options:
    """The letters and texts of one question's options.

    `choices` are the texts without markup, white space and case folded, `words` their words; `texts` maps the words of
    an option to its letter. A text that is blank, that two options share, or that is itself one of the letters
    (bracketed or not) is left out there: it identifies nothing. `comparatives` are the words such as "closer" in the
    options, or else in the question.
    """

    letters: str
    choices: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    texts: Mapping[tuple[str, ...], str]
    comparatives: frozenset[str]

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> Self:
        """The options of `doc["choices"]`: 2 to 26 texts, lettered A, B, C ...

        Raises `DataError`: there are none, or too few or too many to letter.
        """
        choices = required(doc, "choices")
        if isinstance(choices, str) or not isinstance(choices, Sequence) or not 2 <= len(choices) <= 26:
            raise DataError(f"{name_of(doc)}: 'choices' must be a list of 2 to 26 option texts, not {choices!r:.80}")
        letters = string.ascii_uppercase[: len(choices)]
        plain = [reply.without_markup(reply.for_matching(str(choice))) for choice in choices]
        folded = [_words(text) for text in plain]
        times = Counter(folded)
        texts = {
            words: letter
            for letter, words in zip(letters, folded, strict=True)
            if words and times[words] == 1 and "".join(words).strip("()[]{}").upper() not in tuple(letters)
        }
        folds = tuple(" ".join(text.casefold().split()) for text in plain)
        asked = _RE.comparative.findall(" ".join(folds)) or _RE.comparative.findall(str(doc.get("question") or ""))
        return cls(letters, folds, tuple(folded), texts, frozenset(map(str.lower, asked)))

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


def _tokens(text: str, position: int, *, articles: bool = False) -> Iterator[tuple[str, int]]:
    """(folded word, where it ends) from `position` on, without folded punctuation and leading articles."""
    first = not articles
    for token in _RE.token.finditer(text, position):
        word = token[0].casefold()
        if word in _FOLDED:
            continue
        if first and word in _ARTICLES and _RE.noun_follows.match(text, token.end()):
            first = False
            continue
        first = False
        yield word, token.end()


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
        own_end = own_text_end(text, end, letter.upper(), options) if text.startswith(")", end) else None
        return Value((letter.upper(),), start, own_end or end) if alone or own_end else None
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
    numbers = [int(found[1]) for place in reply.places(text) if (found := _RE.number.match(text, place.start))]
    if numbers and 1 <= numbers[-1] <= len(options.letters):
        return options.letters[numbers[-1] - 1]
    named = options.named_in(reply.last_line(text)[1][-_LINE_LENGTH:])
    return next(iter(named)) if len(named) == 1 else None


STRONG: Final = frozenset({"P1", "P2", "P3"})
_LONGEST_END: Final = 400  # characters of a last line that are looked at
_LISTED: Final = 3  # so many options in a row, each with its text, are a list of them
SHORTEST_BARE_TEXT: Final = 3  # characters; a shorter option text says too little without a marker


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a reply settled on: one letter, several (no credit), or none, and by which class of anchor.

    `contradictory` means that strong anchors name different answers; `start` is where the strong one stands.
    """

    letters: tuple[str, ...] = ()
    anchor: str = ""
    contradictory: bool = False
    start: int = -1


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply to a multiple-choice question: 1 for the right option, else 0.

    `doc` has "choices" (2 to 26 texts), "answer" (the right one's letter) and, where the prompt has few-shot turns,
    may have "shot_header": how their questions begin; the reply is cut where it goes on to invent a further one.
    `lenient` is 1 where a generous reading finds the right option; the flag "lenient_only" says that only it found any.

    Raises `DataError`: the document has no options, or its answer is not one of their letters.
    """
    options = Options.of(doc)
    truth = truth_of(doc, options)
    whole, header = _matchable(final.text), _matchable(str(doc.get("shot_header") or ""))
    text = whole.partition(f"\n{header}")[0] if header else whole  # before it goes on to ask itself the next question
    flags: tuple[str, ...] = ("continued_pattern",) * (len(text) < len(whole))
    text = without_lists(text, options)
    if final.midway:
        text = _RE.cut_word.sub("", text)  # "the answer is a", and the limit came
    return settled(extract(text, options), text, final, options, truth, flags)


def truth_of(doc: Mapping[str, Any], options: Options, *, several: bool = False) -> frozenset[str]:
    """The letter, or where `several` may be right the letters, that `doc["answer"]` gives.

    Raises `DataError`: there is none, or one that is no letter of an option.
    """
    truth = required(doc, "answer")
    if not isinstance(truth, str) or not set(truth) <= set(options.letters) or (len(truth) > 1 and not several):
        wanted = "letters of" if several else "one of the letters"
        raise DataError(f"{name_of(doc)}: 'answer' must be {wanted} {options.letters}, not {truth!r:.80}")
    return frozenset(truth)


def settled(
    found: Extraction, text: str, final: FinalText, options: Options, truth: frozenset[str], flags: tuple[str, ...] = ()
) -> Score:
    """The score of what `text` (normalised, without markup), that may be graded of `final`, settled on."""
    if not found.letters or (final.truncated and found.anchor not in STRONG):
        guess = lenient_letter(text, options)
        flags += ("lenient_only",) * (guess is not None)
        return reply.without_answer(final, text, lenient=float({guess} == truth), flags=flags)
    flags += ("self_contradiction",) * found.contradictory
    flags += ("weak_anchor",) * (found.anchor not in STRONG | {"P4"})
    score = reply.scored(frozenset(found.letters) == truth, ",".join(found.letters), final, flags)
    return replace(score, reason="multiple") if len(found.letters) > 1 and not score.value else score


def extract(text: str, options: Options) -> Extraction:
    """What `text` (normalised, without markup and lists of the options) settles on."""
    marked = list(_after_markers(text, options))
    strong = [("P1", value) for value, is_strong in marked if is_strong]
    strong += (("P2", value) for value in _in_boxes(text, options))
    strong += (("P3", value) for at in _RE.field.finditer(text) if (value := value_at(text, at.end(), options)))
    if strong:
        strong += (("P1", value) for value in _corrected(text, min(value.end for _, value in strong), options))
        anchor, value = max(strong, key=lambda candidate: candidate[1].start)
        return Extraction(value.letters, anchor, len({other.letters for _, other in strong}) > 1, value.start)
    return _from_lines(text, options, [value for value, _ in marked])


def without_lists(text: str, options: Options, *, several: bool = False) -> str:
    """`text` without the places where all options stand one after another with their texts.

    Three in a row are enough where not `several` may be right.
    """
    kept, position = [], 0
    for start, end in _lists(text, options, len(options.letters) if several else _LISTED):
        kept.append(text[position:start])
        position = end
    return "\n".join((*kept, text[position:])) if kept else text


def _lists(text: str, options: Options, least: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each list of all or of at least so many options."""
    least = min(least, len(options.letters))
    count, start, end, last, step = 0, 0, 0, "", 0
    for label in _RE.label.finditer(text):
        letter = label[1]
        own_end = _words_end(text, label.end(), letter, options)
        if own_end is None or label.start() < end:
            continue
        # From A on or back to it, but not "C) gamma" below a list that ended with D.
        steps = (step,) if count > 1 else (1, -1)
        if count and ord(letter) - ord(last) in steps and _RE.listed.fullmatch(text, end, label.start()):
            count, step = count + 1, ord(letter) - ord(last)
        else:
            if count >= least:
                yield start, end
            count, start = 1, label.start()
        end, last = own_end, letter
    if count >= least:
        yield start, end


def _words_end(text: str, position: int, letter: str, options: Options) -> int | None:
    """Where the words of option `letter` end if they follow at `position`, whether or not others have the same."""
    words = options.words[options.letters.index(letter)] if letter in options.letters else ()
    link = _RE.to_text.match(text, position)
    found = [*islice(_tokens(text, link.end() if link else position, articles=words in _ALONE), len(words))]
    return found[-1][1] if found and tuple(word for word, _ in found) == words else None


def _matchable(text: str) -> str:
    return reply.without_markup(reply.for_matching(text)).strip()


def _after_markers(text: str, options: Options) -> Iterator[tuple[Value, bool]]:
    """P1: (what stands after a marker, whether that is strong).

    An option's text after "the correct option is" is as weak as the bare text: prose about the options reads so.
    """
    for place in reply.places(text):
        value = value_at(text, place.start, options, said=place.said)
        if value is None and (denied := _RE.not_but.match(text, place.start)):
            value = value_at(text, denied.end(), options)
        if value and not place.firm and _RE.supposing.match(text, value.end):
            continue
        # Not "answer B is wrong".
        if value and not _RE.refuted.match(text, value.end) and (place.said or _RE.alone.match(text, value.end)):
            yield _with_another(text, value, options), place.firm or not value.by_text
    for chosen in _RE.chosen.finditer(text):
        value = value_at(text, chosen.end(), options)
        if value and _RE.after_choice.match(text, value.end):  # not "I choose B as the origin"
            yield value, not value.by_text


def _with_another(text: str, value: Value, options: Options) -> Value:
    """`value`, and what the same line calls right as well: "B. C is also correct"."""
    also = _RE.also.match(text, value.end)
    letter = also and also["letter"]
    return replace(value, letters=(*value.letters, letter)) if letter and letter in options.letters else value


def _corrected(text: str, start: int, options: Options, *, by_text: bool = False) -> Iterator[Value]:
    """P1: what is given instead of an answer that ends at `start`: "Wait, actually C."; options' texts if `by_text`."""
    for position in reply.corrections(text, start):
        value = value_at(text, position, options)
        if value and by_text >= value.by_text and _RE.alone.match(text, value.end):
            yield value


def _in_boxes(text: str, options: Options) -> Iterator[Value]:
    """P2: boxes whose whole content is an answer; those with nothing but "and" or the like between them are one.

    A box stands where it ends: what a marker inside it announces is a part of it.
    """
    before: Value | None = None
    for box in reply.boxes(text):
        if value := value_in_box(box.content, options):
            joined = before is not None and reply.between_boxes(text, before.end, box.start)
            letters = (*before.letters, *value.letters) if before and joined else value.letters
            before = Value(tuple(dict.fromkeys(letters)), box.end, box.end, value.by_text)
            yield before


def value_in_box(content: str, options: Options) -> Value | None:
    """The answer that the whole `content` of a box (normalised, without markup) is."""
    content = _RE.box_gap.sub(" ", content).strip()
    value = value_at(content, 0, options)
    return value if value and _RE.line_end.match(content, value.end) else None


def _from_lines(text: str, options: Options, weak: list[Value]) -> Extraction:
    """P4, else M1, else P5; what a first line gives may be taken back: "False. Wait, True"."""
    start, line = reply.last_line(text)
    line = line.strip()
    before = reply.last_line(text[:start])[1]
    alone = option_of(before, options) is None  # not one line of several options
    if alone and (letter := _labelled(line, options)):
        return Extraction((letter,), "P4")
    first, _, others = text.lstrip().partition("\n")
    next_label = _RE.next_label.search(others)
    letter = _first(first, options)
    back = [value.letters for value in _corrected(text, 0, options, by_text=True)]
    if letter and not (next_label and abs(ord(next_label[1].upper()) - ord(letter)) == 1):  # not the first of several
        return Extraction(back[-1] if back else (letter,), "P4")
    if letter := _led_to(line, options) or _told(line, options):
        return Extraction((letter,), "P4")
    if letter := only(options, _stated(text, options)):
        return Extraction((letter,), "M1")
    named = options.letter_of(line) if alone and (len(line) >= SHORTEST_BARE_TEXT or line == text.strip()) else None
    named = named or (_begun(first, options) if alone else None)
    after_marker = [value for value in weak if value.start >= start and value.end - value.start >= SHORTEST_BARE_TEXT]
    if named:
        return Extraction(back[-1] if back else (named,), "P5")
    given = [*(value.letters for value in after_marker), *back]
    return Extraction(given[-1], "P5") if given else Extraction()


def option_of(line: str, options: Options) -> str | None:
    """The option that is all of `line`: its letter, its text or both; None where there is none."""
    return _labelled(line, options) or options.letter_of(line)


def _labelled(line: str, options: Options) -> str | None:
    """The letter that `line` is, with or without the option's own text."""
    found = _RE.line_letter.match(line)
    if found is None or (letter := found[1].upper()) not in options.letters:
        return None
    end = own_text_end(line, found.end(), letter, options) or found.end()
    return letter if _RE.line_end.match(line, end) else None


def _first(line: str, options: Options) -> str | None:
    """The letter with which a reply begins, where nothing, its own text or a reason follows: "C, because"."""
    found = _RE.openers.match(line)
    start = found.end() if found else 0
    letter = line[start : start + 1]
    if not letter or letter not in options.letters:
        return None
    own_end = own_text_end(line, start + 1, letter, options)
    if own_end:
        return letter if _RE.after_text.match(line, own_end) else None
    return letter if _RE.given_reason.match(line, start + 1) else None


def _led_to(line: str, options: Options) -> str | None:
    """The letter that ends a line and is the only one in it, behind a word that leads to it: "That leaves C."."""
    line = _RE.article.sub("", line[-_LONGEST_END:])
    *_, found = None, *_RE.led_to.finditer(line)
    if (
        found is None
        or found[1] not in options.letters
        or _RE.negative.search(line)
        or reply.supposed(line, found.start(1))
    ):
        return None
    others = {letter[1] for letter in _RE.letter.finditer(line)} & set(options.letters)
    return found[1] if others <= {found[1]} else None


def _told(line: str, options: Options) -> str | None:
    """The letter that stands with its own text at the end of a line, behind "is" or the like."""
    line = line[-_LONGEST_END:]
    for found in _RE.told.finditer(line):
        end = own_text_end(line, found.end(), found[1], options)
        if end and _RE.line_end.match(line, end) and not reply.supposed(line, found.start(1)):
            return found[1]
    return None


def _begun(line: str, options: Options) -> str | None:
    """The option whose text is all of the first sentence, or all before its comma: "False. The bars differ".

    It is not the first of several: "red, green, blue".
    """
    named = options.text_at(line, 0)
    said = named and _RE.first_said.match(line, named[1])
    if named is None or said is None or (said[0].startswith(",") and options.text_at(line, said.end())):
        return None
    return named[0]


def _stated(text: str, options: Options) -> Iterator[str]:
    """M1: the letters that are said to be right; a lone I is a number of a statement, or whoever writes."""
    for found in _RE.stated.finditer(text):
        start, ticked = found.start(), found["ticked"]
        denied = reply.supposed(text, start) or _RE.stated_not.search(text[max(0, start - 30) : start])
        own = ticked and own_text_end(text, found.end("ticked"), ticked, options)  # an option whose text is "true"
        if text[start] != "I" and not denied and not own:
            yield (found["before"] or found["after"] or found["left"] or ticked).upper()


def only(options: Options, letters: Iterator[str]) -> str | None:
    """The one option that all letters name; None where there is none, or more than one."""
    found = {letter for letter in letters if letter in options.letters}
    return found.pop() if len(found) == 1 else None
