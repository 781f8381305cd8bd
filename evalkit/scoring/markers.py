"""The places in a reply at which it announces its answer: "Answer:", "the correct option is", 答案, 故选 ..."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MARKER: Final = re.compile(
    r"(?<![A-Za-z])(?<!incorrect )(?<!wrong )(?<!false )"
    r"(?:answer(?:[ ](?:choice|option|letter))?|correct\s{1,3}(?P<option>option|choice))(?![A-Za-z])"
    r"|(?<![错误])答案"
    r"|(?P<noun>(?<![错误])选项)"
    r"|(?P<verb>(?<![不别没否若果])(?:故选|应选|选择|选(?=\s{0,3}[(\[]?[A-Z])))",
    re.IGNORECASE,
)
# Where a marker can begin at all: `_MARKER` itself takes ten times as long to find nothing.
_START: Final = re.compile(r"[aAcC答选故应](?:(?<=[aA])[nN][sSſ][wW]|(?<=[cC])[oO][rR][rR]|(?<=[答选故应]))")
_SEPARATOR: Final = re.compile(
    r"[ \t]*(?:(?:is|are)(?![A-Za-z'’])|应该是|应为|应是|就是|应选|为|是|选|[-–—=]{1,2}>?|→|>)?[ \t]*(?::\s*)?",
    re.IGNORECASE,
)
_HEADING: Final = re.compile(r"[ \t]*\n\s{0,4}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an announced answer would start.

    `said` is False where nothing like "is" or a colon stands between marker and answer; `firm` is False for the
    markers that prose about the options uses as well ("the correct option is", 选项).
    """

    start: int
    said: bool
    firm: bool


def places(text: str) -> Iterator[Place]:
    """The places in `text` (normalised, without markup) that a marker announces, in order.

    "The incorrect answer is", 不选 and their like announce nothing. A marker alone on its line announces the next.
    """
    for marker in _markers(text):
        firm = not (marker["option"] or marker["noun"])
        separator = _SEPARATOR.match(text, marker.end())
        start = separator.end() if separator else marker.end()
        said = bool(marker["verb"]) or bool(text[marker.end() : start].strip())
        yield Place(start, said, firm)
        if not said and (heading := _HEADING.match(text, marker.end())):
            yield Place(heading.end(), said, firm)


def _markers(text: str) -> Iterator[re.Match[str]]:
    """`_MARKER.finditer(text)`."""
    position = 0
    while start := _START.search(text, position):
        marker = _MARKER.match(text, start.start())
        position = marker.end() if marker else start.start() + 1
        if marker:
            yield marker
