"""Replies that are no text at all: one character or line again and again, bytes that are no text, a foreign script.

Such a reply is a fault of the serving program (a kernel that gives NaN, a wrong detokeniser), not a weak answer, so the
first one is said, with its item; a rate would hide it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import NO_TEXT, Samples, SuiteSide
from evalkit.model import BehaviourRow, Prompt, Reason, Reply

_RUN: Final = 200  # of one character at the end of a reply, however it began
_LEAST: Final = 16  # characters, of a reply that is nothing but repetition
_LINES: Final = 4
_FOREIGN: Final = 0.2  # of a reply's letters: a few foreign words are no garbage
_LETTERS: Final = 4
_SHOWN: Final = 3
_UNDECODABLE: Final = "\N{REPLACEMENT CHARACTER}"

_SCRIPTS: Final = {
    "Cyrillic": "\u0400-\u052f",
    "Armenian": "\u0530-\u058f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff",
    "Indic": "\u0900-\u0dff",
    "Thai": "\u0e00-\u0e7f",
    "Lao": "\u0e80-\u0eff",
    "Tibetan": "\u0f00-\u0fff",
    "Myanmar": "\u1000-\u109f",
    "Georgian": "\u10a0-\u10ff",
    "Ethiopic": "\u1200-\u139f",
    "Khmer": "\u1780-\u17ff",
    "Kana": "\u3040-\u30ff",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff",
    "Hangul": "\u1100-\u11ff\uac00-\ud7af",
}
_LETTERS_OF: Final = {name: re.compile(f"[{ranges}]") for name, ranges in _SCRIPTS.items()}

# ---------------------------------------------------------------- one reply


def garbage_of(reply: Reply, prompt: Prompt) -> str:
    """What makes a reply garbage, as a word: `one_character`, `one_line`, `undecodable`, or a script that it is in.

    A script is named where the prompt has no letter of it; whether other answers use it is for the comparison to say.
    "" for any other reply, an empty one too.
    """
    for text in (reply.content, reply.reasoning):
        if word := _repeated(text) or ("" if text.isascii() else _strange(text, prompt, reply.finish_reason)):
            return word
    return ""


def _repeated(text: str) -> str:
    end = text.rstrip()[-_RUN:]
    if len(end) == _RUN and len(set(end)) == 1:
        return "one_character"
    dense = "".join(text.split())
    if len(dense) < _LEAST:
        return ""
    if dense.count(dense[0]) == len(dense):
        return "one_character"
    first, *others = [line.strip() for line in text.splitlines() if line.strip()]
    if len(others) < _LINES - 1 or not first.startswith(others.pop()):  # the last line may be cut
        return ""
    return "one_line" if all(line == first for line in others) else ""


def _strange(text: str, prompt: Prompt, finish_reason: str | None) -> str:
    whole = text.rstrip(_UNDECODABLE) if finish_reason == "length" else text  # a token limit may cut a character
    asked = _text_of(prompt)
    if _UNDECODABLE in whole and _UNDECODABLE not in asked:
        return "undecodable"
    letters = sum(map(str.isalpha, text))
    for name, pattern in _LETTERS_OF.items():
        own = len(pattern.findall(text))
        if own >= _LETTERS and own >= _FOREIGN * letters and not pattern.search(asked):
            return name
    return ""


def _text_of(prompt: Prompt) -> str:
    """All text of a prompt."""
    pieces = [prompt.text or ""]
    for message in prompt.messages:
        content = message.get("content") or ""
        parts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content]
        pieces += parts
    return "\n".join(pieces)


# ---------------------------------------------------------------- both sides of a suite


def is_garbage(samples: Samples, other: Samples) -> NDArray[np.bool_]:
    """Which replies of a side are garbage: a script is only where the other side answers nowhere in it."""
    used = other.garbage.counts()
    return samples.garbage.mask(
        *(word for word in samples.garbage.names if word and not (word in _SCRIPTS and word in used))
    )


def garbage_rows(reference: SuiteSide, candidate: SuiteSide) -> Iterator[BehaviourRow]:
    """The row of garbage replies, where there are any; its alert names the items of which the other side has none."""
    left, right = reference.samples, candidate.samples
    masks = is_garbage(left, right), is_garbage(right, left)
    if not (masks[0].any() or masks[1].any()):
        return
    items = _items(left, masks[0]), _items(right, masks[1])
    parts = [
        *_told("reference", left, masks[0], set(items[1])),
        *_told("candidate", right, masks[1], set(items[0])),
    ]
    alert = Reason("alert.garbage", {"parts": tuple(parts)}) if parts else None
    one, two = (len(found) / max(1, _answered(samples)) for found, samples in zip(items, (left, right), strict=True))
    yield BehaviourRow("garbage_answers", one, two, "share", None, alert)


def _items(samples: Samples, mask: NDArray[np.bool_]) -> list[str]:
    return [samples.items.name[item] for item in samples.item[mask].tolist()]


def _answered(samples: Samples) -> int:
    return int((samples.text != NO_TEXT).sum())


def _told(side: str, samples: Samples, mask: NDArray[np.bool_], others: set[str]) -> Iterator[Reason]:
    words = zip(_items(samples, mask), samples.garbage.rows(np.flatnonzero(mask)), strict=True)
    alone = [Reason("garbage.item", {"item": item, "kind": kind}) for item, kind in words if item not in others]
    if alone:
        yield Reason(
            "garbage.side",
            {"side": side, "n": len(alone), "all": _answered(samples), "items": tuple(alone[:_SHOWN])},
        )
