"""Makes text comparable before an answer is looked for: Unicode forms, markup, LaTeX wrappers, boxes.

Everything here is linear in the length of the text (a reply may be a megabyte of one repeated character), and for
matching only: what a reply said is kept as it came.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_LINE_ENDS: Final = re.compile("\r\n?|[\u0085\u2028\u2029]")
_LONG_MARKS: Final = re.compile(r"[^\w\s\x00-\x7f]{31,}")
_MARKS_IN_A_ROW: Final = 30  # the limit of Unicode's stream-safe text format (UAX 15, section 13)

_EMPHASIS: Final = re.compile(r"\\?[*_`#$]|\\[()\[\]]")
_ANY_MARKUP: Final = re.compile(r"[*_`#$\\{}]")
_WRAPPERS: Final = r"text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|rm|it|sf|tt|normal)|mbox|boldsymbol|bm|operatorname"
_WRAPPER: Final = re.compile(rf"\\(?:{_WRAPPERS})\s{{0,4}}\{{|\\[{{}}]|[{{}}]")
_WRAPPER_OR_BOX: Final = re.compile(rf"\\(?:{_WRAPPERS}|boxed|fbox)\s{{0,4}}\{{|\\[{{}}]|[{{}}]")
_BOX: Final = re.compile(
    r"\\(?:boxed|fbox)(?:\s{0,8}(?P<open>\{)|\s{1,8}(?P<bare>[-+]?[A-Za-z0-9.]+))|\\[{}]|[{}]|(?P<gap>\n[ \t]*\n)"
)

_RAISED: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_SLASHED: Final = re.compile("[¼-¾⅐-⅞]")


@dataclass(frozen=True, slots=True)
class Box:
    r"""One `\boxed{...}`: its content, and where in the text it starts and ends."""

    content: str
    start: int
    end: int


def for_matching(text: str) -> str:
    """`text` in NFKC (full-width letters and digits become plain), without invisible characters, LF, stripped."""
    if text.isascii():
        return (_LINE_ENDS.sub("\n", text) if "\r" in text else text).strip()
    text = _LINE_ENDS.sub("\n", _INVISIBLE.sub("", text))
    # Sorting a long row of combining marks takes time in the square of its length.
    return unicodedata.normalize("NFKC", _LONG_MARKS.sub(_shorten, text)).strip()


def for_maths(text: str) -> str:
    """`for_matching`, but raised digits and slashed fractions stay what they mean: 5² is not 52, 3½ is not 31/2."""
    if not text.isascii():
        text = _RAISED.sub(lambda found: "^{" + unicodedata.normalize("NFKC", found[0]).replace("−", "-") + "}", text)
        text = _SLASHED.sub(_fraction, text)
    return for_matching(text).replace("−", "-").replace("⁄", "/")


def without_markup(text: str) -> str:
    r"""`text` without Markdown emphasis (`*`, `_`, backticks, `#`), `$`, `\(`, `\[` and LaTeX font wrappers.

    `\boxed{}` stays: it marks an answer.
    """
    if _ANY_MARKUP.search(text) is None:  # a short plain text, as options are
        return text
    return _EMPHASIS.sub("", _unwrapped(text, _WRAPPER, ""))


def without_wrappers(text: str) -> str:
    r"""`text` without LaTeX font wrappers and boxes; a space stands where a wrapper began and ended."""
    return _unwrapped(text, _WRAPPER_OR_BOX, " ")


def boxes(text: str) -> list[Box]:
    r"""The outermost balanced `\boxed{...}` and `\fbox{...}` in order, and `\boxed 33` without braces.

    A box that is never closed counts for nothing, and so does all that stands inside it, up to the next blank line.
    """
    found: list[Box] = []
    open_braces: list[re.Match[str] | None] = []  # None for a brace that belongs to no box
    open_boxes = 0
    for token in _BOX.finditer(text) if "box" in text else ():
        if token["gap"]:
            open_braces.clear()
            open_boxes = 0
        elif token["open"]:
            open_braces.append(token)
            open_boxes += 1
        elif token["bare"]:
            if not open_boxes:
                found.append(Box(token["bare"].rstrip("."), token.start(), token.end()))
        elif token[0] == "{":
            open_braces.append(None)
        elif token[0] == "}" and open_braces:
            opener = open_braces.pop()
            if opener is not None:
                open_boxes -= 1
                if not open_boxes:
                    found.append(Box(text[opener.end() : token.start()], opener.start(), token.end()))
    return found


def last_line(text: str) -> tuple[int, str]:
    """(where it starts, the last line of `text` that is not blank), stripped at the right."""
    end = len(text.rstrip())
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
