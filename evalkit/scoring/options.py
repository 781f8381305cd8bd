"""The options of a multiple-choice question, ready to be recognised in a reply by letter or by their own text."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.normalise import for_matching, without_markup
from evalkit.scoring.truth import name_of, required

_TOKEN: Final = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]{1,64}|[^\w\s]")  # Chinese has no spaces: a bound keeps it linear
_FOLDED: Final = frozenset(".,;:!?'\"“”‘’«»。；：！？")  # punctuation that does not tell two texts apart
_NOUN_FOLLOWS: Final = re.compile(r"\s+\w")
_ARTICLES: Final = frozenset({"the", "a", "an"})


@dataclass(frozen=True, slots=True)
class Options:
    """The letters and folded texts of one question's options.

    `texts` maps the words of an option to its letter. A text that is blank, that two options share, or that is
    itself one of the letters (bracketed or not) is left out: it identifies nothing.
    """

    letters: str
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
        folded = [_words(without_markup(for_matching(str(choice)))) for choice in choices]
        times = Counter(folded)
        texts = {
            words: letter
            for letter, words in zip(letters, folded, strict=True)
            if words and times[words] == 1 and "".join(words).strip("()[]{}").upper() not in tuple(letters)
        }
        return cls(letters, texts)

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
        while token := _TOKEN.search(line, position):
            position = token.end()
            if token[0] not in _FOLDED and (option := self.text_at(line, token.start())):
                found.add(option[0])
                position = option[1]
        return frozenset(found)


def _words(text: str) -> tuple[str, ...]:
    """The words of `_tokens`, found at once where no article can be in the way: that is most of the time."""
    words = [word for token in _TOKEN.findall(text) if (word := token.casefold()) not in _FOLDED]
    if words and words[0] in _ARTICLES:
        return tuple(word for word, _ in _tokens(text, 0))
    return tuple(words)


def _tokens(text: str, position: int) -> Iterator[tuple[str, int]]:
    """(folded word, where it ends) from `position` on, without folded punctuation and a leading article."""
    first = True
    for token in _TOKEN.finditer(text, position):
        word = token[0].casefold()
        if word in _FOLDED:
            continue
        if first and word in _ARTICLES and _NOUN_FOLLOWS.match(text, token.end()):
            first = False
            continue
        first = False
        yield word, token.end()
