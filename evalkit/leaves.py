"""In which keys two JSON-like documents differ, for people: dotted keys, short values on one line.

Apart from `config`, so that a comparison of stored runs names what differs without pydantic and yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from evalkit.model import Difference

NOT_SET: Final = "(not set)"
MAX_SHOWN_CHARACTERS: Final = 120
_IS_THERE: Final = "(runs)"


def stored_differences(reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The leaf keys in which two configurations differ, as manifests hold them; secrets are "***" on both sides."""
    left, right = leaves(reference), leaves(candidate)
    return tuple(
        Difference(key, *cut(left.get(key, NOT_SET), right.get(key, NOT_SET))) for key in differing(left, right)
    )


def differing(left: Mapping[str, str], right: Mapping[str, str]) -> list[str]:
    """The keys whose values differ; of a suite that only one side runs, its name alone."""
    keys = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    alone = [key for key in keys if _IS_THERE in {left.get(key), right.get(key)}]
    return [key for key in keys if not any(key.startswith(f"{entry}.") for entry in alone)]


def leaves(value: Any) -> dict[str, str]:
    """Dotted keys of everything that is no mapping, with the value as text; null and empty are left out."""
    return dict(_walk(value, ""))


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    inside = f"{key}." if key else ""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _walk(item, f"{inside}{name}")
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        for item in value:
            yield f"{inside}{item['name']}", _IS_THERE
            yield from _walk({name: part for name, part in item.items() if name != "name"}, f"{inside}{item['name']}")
    elif value is not None and value != []:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cut(one: str, other: str) -> tuple[str, str]:
    """Both texts on one line, cut alike to where they begin to differ."""
    texts = [" ".join(text.split()) for text in (one, other)]
    if max(map(len, texts)) <= MAX_SHOWN_CHARACTERS:
        return texts[0], texts[1]
    pairs = enumerate(zip(*texts, strict=False))
    common = next((index for index, (left, right) in pairs if left != right), min(map(len, texts)))
    start = max(0, common - MAX_SHOWN_CHARACTERS // 3)
    return _window(texts[0], start), _window(texts[1], start)


def _window(text: str, start: int) -> str:
    if len(text) <= MAX_SHOWN_CHARACTERS and start == 0:
        return text
    end = start + MAX_SHOWN_CHARACTERS
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


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
