"""Reads the option, or the options, that stand at one place of a reply: a letter, letters joined, or option texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from evalkit.scoring.options import Options

_OPEN: Final = r"""(?:["'“‘«「『【(\[{<]\s?){0,3}"""
_OPENERS: Final = re.compile(
    _OPEN
    + r"(?:(?:the\s)?(?:option|choice|letter)s?(?![A-Za-z])\s{0,2}:?\s{0,2}|选项\s{0,2}|(?:both|either)\s{1,2}){0,2}"
    + _OPEN,
    re.IGNORECASE,
)
_CLOSERS: Final = r"""[)\]}>"'”’»」』】]*"""
_AND: Final = re.compile(
    _CLOSERS + r"\s*(?:,?\s*(?:and/or|and|or)(?![A-Za-z])|[/&+|]|[、,]|以及|或者|和|或|与|及)\s*" + _OPEN, re.IGNORECASE
)
_AFTER_SEVERAL: Final = re.compile(
    _CLOSERS + r"\s*(?:\Z|\n|[.,;:!?。；、/&|+]"
    r"|(?:and|or|are|were|both|because|since|depending|if|but|can|could|may|might|together|equally)(?![A-Za-z])"
    r"|is\s+correct|和|或|与|及|都|均|皆)",
    re.IGNORECASE,
)
_AFTER_TEXT: Final = re.compile(
    _CLOSERS + r"""(?:(?<=[)\]}>"'”’»」』】])(?!\w)|\s*\Z|[ \t]*\n|[.,;:!?。；、…]+(?![A-Za-z0-9])"""
    r"|\s{0,3}[(\[|\\<]|\s{1,3}[-–—]|\s{1,3}(?:because|since)(?![A-Za-z]))",
    re.IGNORECASE,
)
_SEVERAL: Final = re.compile(r"[A-Z]{2,26}(?![^\W_])")
_TO_TEXT: Final = re.compile(r"""[)\]}"'.:,;=\-–—(\[ \t]{0,8}""")
_SOLE: Final = re.compile(r"""[)\]}"'”’»」』】.!。]*[ \t]*(?:\n|\Z)""")
_BRACKETED: Final = re.compile(r"""(?<=["'“‘「『【(\[{<].)["'”’」』】)\]}>]""")
_AFTER_LETTER: Final = re.compile(
    r"""\s*\Z|[ \t]*\n|['’](?![A-Za-z])|\.(?!\d)|[-–—](?![A-Za-z0-9])|[)\]}"”»」』】>,;:!?。；、…|<\\&]"""
)
_SPACE: Final = re.compile(r"[ \t]+")
_OPERATOR: Final = re.compile(r"[=+*/^<>×÷±≈·°%~]")
_AFTER_WORDLIKE: Final = re.compile(
    r"""[-–—(\[,.;:"'“]|(?:because|since|as|for|is|was|with|which|due|and|but|so)(?![A-Za-z])""", re.IGNORECASE
)


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
    opened = _OPENERS.match(text, position)
    start = opened.end() if opened else position
    for begin in dict.fromkeys((position, start)):
        if value := _text_value(text, begin, options):
            return value
    return _letter_value(text, start, options, said=said)


def own_text_end(text: str, position: int, letter: str, options: Options) -> int | None:
    """Where the text of option `letter` ends if it follows at `position`, as in "B) shelf" and "B - shelf"."""
    link = _TO_TEXT.match(text, position)
    named = options.text_at(text, link.end()) if link and link.end() > position else None
    return named[1] if named and named[0] == letter else None


def _text_value(text: str, start: int, options: Options) -> Value | None:
    named = options.text_at(text, start)
    if named is None:
        return None
    letter, end = named
    if joint := _AND.match(text, end):
        other = options.text_at(text, joint.end())
        if other and other[0] != letter and (_AFTER_TEXT.match(text, other[1]) or _AND.match(text, other[1])):
            return Value((letter, other[0]), start, other[1], by_text=True)
    return Value((letter,), start, end, by_text=True) if _AFTER_TEXT.match(text, end) else None


def _letter_value(text: str, start: int, options: Options, *, said: bool) -> Value | None:
    several = _SEVERAL.match(text, start)
    if several and set(several[0]) <= set(options.letters) and len(set(several[0])) == len(several[0]):
        return Value(tuple(several[0]), start, several.end())
    letter = text[start : start + 1]
    if len(letter) != 1 or letter.upper() not in options.letters:
        return None
    end = start + 1
    if letter.islower():
        alone = _SOLE.match(text, end) or _BRACKETED.match(text, end)
        return Value((letter.upper(),), start, end) if alone else None
    own_end = own_text_end(text, end, letter, options)
    letters, last = _joined(text, (letter,), own_end or end, options)
    if len(letters) == 1 and own_end:
        letters, last = _joined(text, (letter,), end, options)
    if len(letters) > 1:
        return Value(letters, start, last)
    if own_end and _AFTER_TEXT.match(text, own_end):
        return Value((letter,), start, own_end)
    return Value((letter,), start, end) if _letter_ends(text, end, letter, said=said) else None


def _joined(text: str, letters: tuple[str, ...], end: int, options: Options) -> tuple[tuple[str, ...], int]:
    """(`letters` and those joined to them by "and", "or", a comma ..., where the last one ends)."""
    while joint := _AND.match(text, end):
        letter = text[joint.end() : joint.end() + 1]
        if not letter or letter not in options.letters or letter in letters:
            break
        next_end = joint.end() + 1
        next_end = own_text_end(text, next_end, letter, options) or next_end
        if not _AFTER_SEVERAL.match(text, next_end):
            break
        letters, end = (*letters, letter), next_end
    return letters, end


def _letter_ends(text: str, end: int, letter: str, *, said: bool) -> bool:
    """Whether a capital letter that ends at `end` stands for an option and does not begin a word or a formula."""
    if _AFTER_LETTER.match(text, end):
        return True
    space = _SPACE.match(text, end)
    if space is None:  # a word goes on, except that Chinese is written without spaces
        return said and "\u4e00" <= text[end] <= "\u9fff"
    if _OPERATOR.match(text, space.end()):
        return False  # "B = 3 T" is a magnetic field
    return letter not in "AI" or _AFTER_WORDLIKE.match(text, space.end()) is not None  # an article, a pronoun
