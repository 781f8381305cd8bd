"""Two replies as texts: where they begin to differ, what of them is shown, and whether one ends in a loop."""

from __future__ import annotations

from evalkit.compare.inputs import ReplyText

SHOWN_BEFORE = 300
SHOWN_AFTER = 1500
SHOWN_END = 600
GAP = "\n[…]\n"

_LOOP_UNIT = 1000  # the longest repeated unit, in characters
_LOOP_LENGTH = 200  # what a loop is at least, in characters
_LOOP_TIMES = 4
_ANCHOR = 32


def ends_in_loop(text: str) -> bool:
    """True where the end of a text repeats one unit (of up to 1,000 characters) four times and over 200 characters.

    The usual end of a reply whose decoder has lost its way; a ruler or a table seldom fills so much at the very end.
    """
    tail = text.rstrip()[-_LOOP_UNIT * (_LOOP_TIMES + 1) :]
    earlier = tail.rfind(tail[-_ANCHOR:], 0, len(tail) - 1)
    if len(tail) < _ANCHOR or earlier < 0:
        return False
    unit = len(tail) - _ANCHOR - earlier
    length = max(_LOOP_LENGTH, _LOOP_TIMES * unit)
    return length + unit <= len(tail) and tail[-length:] == tail[-length - unit : -unit]


def whole_text(reply: ReplyText) -> str:
    """Thinking and answer as one text, in the order in which they were written."""
    return f"{reply.reasoning}\n\n{reply.content}" if reply.reasoning else reply.content


def first_difference(one: str, other: str) -> int | None:
    """The number of characters that two texts share from the start; None where they are the same."""
    if one == other:
        return None
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def word_start(text: str, position: int) -> int:
    """Where the word begins that `position` lies in (or at the end of)."""
    while position > 0 and not text[position - 1].isspace():
        position -= 1
    return position


def bounded(one: str, other: str) -> tuple[str, str]:
    """Both texts, each cut to what shows the difference: its surroundings and the end, where the answer is.

    Cuts are marked by "[…]" and made at the same place of both, so that the shown texts still begin to differ at the
    same word. At most about 2,400 characters each.
    """
    shared = first_difference(one, other)
    position = min(len(one), len(other)) if shared is None else shared
    start = max(0, word_start(one, position) - SHOWN_BEFORE)
    if start < len(GAP):
        start = 0
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    head = GAP if start else ""
    stop = start + SHOWN_BEFORE + SHOWN_AFTER
    if len(text) <= stop + SHOWN_END + len(GAP):
        return head + text[start:]
    return f"{head}{text[start:stop]}{GAP}{text[-SHOWN_END:]}"
