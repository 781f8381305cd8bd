"""The changed answers as data for the HTML report: cut to what the eye needs, and bounded in size.

Both replies are kept from the first word in which they differ, with a little of what went before.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

from evalkit.model import Comparison, Flip
from evalkit.render.escape import clean

TEXT_BYTES: Final = 24_000_000
"""Bound on what replies and questions take in the file, together."""
_FULL_BYTES: Final = 6_000
"""Bytes of each text of the flips with the most evidence ..."""
_FULL_FLIPS: Final = 800
"""... which are so many."""
_SHORT_BYTES: Final = 120
"""Bytes of an item's name, an answer, a right answer, a heading."""
_CONTEXT: Final = 160
"""Characters kept of what both replies have in common."""
_MOST_BYTES_A_CHARACTER: Final = 6
"""As \\u003c."""
_WORD_BEFORE: Final = re.compile(r"[^\s\u3400-\u9fff\uf900-\ufaff]{1,400}\Z")
_WORD_AFTER: Final = re.compile(r"[^\s\u3400-\u9fff\uf900-\ufaff]")


def flips_json(comparison: Comparison, *, include_questions: bool) -> str:
    """The flips, largest evidence first, as JSON that may stand inside a script element.

    Of gated suites only scores and statuses are shown unless `include_questions`: a reply can quote the question, and
    answers by item are the key to it.
    """
    labels = {suite.suite: suite.label or suite.suite for suite in comparison.suites}
    gated = {suite.suite for suite in comparison.suites if suite.gated}
    ordered = sorted(comparison.flips, key=lambda flip: -flip.evidence)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(flip.suite for flip in ordered))}
    rest = max(1, len(ordered) - _FULL_FLIPS)
    share = min(_FULL_BYTES, (TEXT_BYTES - 3 * _FULL_FLIPS * _FULL_BYTES) // (3 * rest))
    rows = []
    for place, flip in enumerate(ordered):
        shown = flip if include_questions or flip.suite not in gated else _withheld(flip)
        row = _row(shown, numbers[flip.suite], _FULL_BYTES if place < _FULL_FLIPS else share)
        rows.append(row if shown is flip else {**row, "z": 1})
    return script_json({"suites": [clean(labels.get(name, name)) for name in numbers], "flips": rows})


def script_json(data: object) -> str:
    """JSON that cannot end the element it stands in, nor be taken for markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def first_difference(left: str, right: str) -> int:
    """How many characters two texts share, up to the beginning of the first word that differs.

    A Chinese character is a word of its own; all else between white space is one.
    """
    same, limit = 0, min(len(left), len(right))
    while same < limit:  # halving: slices are compared at the speed of memory
        middle = (same + limit + 1) // 2
        if left[same:middle] == right[same:middle]:
            same = middle
        else:
            limit = middle - 1
    goes_on = any(_WORD_AFTER.match(text, same) for text in (left, right))
    before = _WORD_BEFORE.search(left[max(0, same - 400) : same]) if goes_on else None
    return same - len(before.group()) if before else same


def fitted(text: str, most_bytes: int) -> str:
    """The longest beginning of a text, roughly, that takes no more than so many bytes in `script_json`; cleaned."""
    cut = clean(text[:most_bytes])
    if _MOST_BYTES_A_CHARACTER * len(cut) <= most_bytes:
        return cut
    while (size := len(script_json(cut).encode()) - 2) > most_bytes:
        cut = cut[: min(len(cut) - 1, len(cut) * most_bytes // size)]
    return cut


def _withheld(flip: Flip) -> Flip:
    """The flip without anything that the data set or a reply says."""
    return replace(
        flip,
        question=None,
        target="",
        reference_answer=None,
        candidate_answer=None,
        reference_text="",
        candidate_text="",
    )


def _row(flip: Flip, suite: int, most_bytes: int) -> dict[str, Any]:
    """One flip with short keys, since there may be twenty thousand."""
    texts = (flip.reference_text, flip.candidate_text)
    at = first_difference(*texts)
    start = max(0, at - _CONTEXT)
    kept = [fitted(text[at:], most_bytes) for text in texts]
    return {
        "s": suite,
        "i": fitted(flip.item, _SHORT_BYTES),
        "k": flip.kind,
        "v": [flip.reference_score, flip.candidate_score],
        "t": [flip.reference_status, flip.candidate_status],
        "a": [_short(flip.reference_answer), _short(flip.candidate_answer)],
        "g": _short(flip.target),
        "n": flip.repeat,
        "h": fitted(" / ".join(flip.stratum), _SHORT_BYTES),
        "q": None if flip.question is None else fitted(flip.question, most_bytes),
        "w": start,
        "c": clean(texts[0][start:at]),
        "r": kept,
        "x": [max(0, len(text) - at - len(shown)) for text, shown in zip(texts, kept, strict=True)],
    }


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    cut = fitted(text, _SHORT_BYTES)
    return cut if len(cut) >= len(clean(text)) else cut + "…"
