"""What a configuration says when it may be read by others, and in which keys two configurations or documents differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from evalkit.config.base import Section
from evalkit.config.redact import redacted
from evalkit.config.schema import EndpointConfig
from evalkit.model import Difference

# ----------------------------------------------------------------
# In which keys two JSON-like documents differ, for people: dotted keys, short values on one line


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


# ----------------------------------------------------------------
# What a configuration says when it may be read by others, and in which keys two configurations differ


__all__ = ["differences", "public_dump", "stored_differences"]


def public_dump(config: EndpointConfig) -> dict[str, Any]:
    """The whole configuration as JSON-able values without a secret: for the manifest of a run.

    Header values, credentials in addresses, secret environment variables and command line options are replaced by
    "***", and so is every known secret (API keys, header values, variables with secret names) wherever it turns up.
    """
    dump: dict[str, Any] = redacted(_raw(config), config.known_secrets())
    return dump


def differences(reference: EndpointConfig, candidate: EndpointConfig) -> tuple[Difference, ...]:
    """The leaf keys in which two configurations differ, in alphabetical order.

    Suites are matched by name (`suites.mmlu.repeats`). Values that differ only in what is secret are named as
    differing without being shown; long ones are cut to about 120 characters around the first difference.
    """
    left, right = leaves(_raw(reference)), leaves(_raw(candidate))
    shown_left, shown_right = leaves(public_dump(reference)), leaves(public_dump(candidate))
    found = []
    for key in differing(left, right):
        one, other = cut(shown_left.get(key, NOT_SET), shown_right.get(key, NOT_SET))
        found.append(Difference(key, one, other if other != one else f"{other} (another)"))
    return tuple(found)


def _raw(value: Any) -> Any:
    """Models as JSON-able values, secrets and all: must not leave this module."""
    if isinstance(value, Section):
        return {key: _raw(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _raw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_raw(item) for item in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value
