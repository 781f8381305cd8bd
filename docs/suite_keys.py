"""Writes the tables of keys of docs/suites.md anew, from the models that check suites: `python docs/suite_keys.py`."""
# ruff: noqa: INP001 - a script

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.config.suite import SuiteFile, suite_schema

PAGE = Path(__file__).parent / "suites.md"
BEGIN, END = "<!-- keys: written by `make docs-commands` -->\n", "<!-- end of keys -->\n"
SECTIONS = (
    ("Under `metadata: evalkit:`", "SuiteFields"),
    ("Under `source:`", "Source"),
    ("A part of a split, in a list under `source: splits:`", "Part"),
    ("Under `source: shots:`", "Shots"),
)


def tables() -> str:
    """One table for each section, with every key in the order of the model."""
    schema = suite_schema()
    parts = []
    for title, name in SECTIONS:
        section = schema["$defs"][name]
        rows = [row(key, about, key in section.get("required", ())) for key, about in section["properties"].items()]
        parts.append(
            "\n".join([f"### {title}\n", "| key | value | without it | meaning |", "|---|---|---|---|", *rows])
        )
    own = [f"`{key}`" for key in SuiteFile.model_fields if key != "metadata"]
    parts.append(f"Of lm-eval's own keys evalkit reads and checks {', '.join(own)} and `include`.")
    return "\n\n".join(parts) + "\n"


def row(key: str, about: Mapping[str, Any], needed: bool) -> str:
    """A key as a row of a table: its values, what holds without it, what it means."""
    kinds = list(dict.fromkeys(_kinds(about)))
    without = "needed" if needed else _default(about.get("default"))
    return f"| `{key}` | {', or '.join(kinds)} | {without} | {about['description'].replace('|', '&#124;')} |"


def _default(value: Any) -> str:
    return "" if value in (None, [], {}, "") or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _kinds(about: Mapping[str, Any]) -> Iterator[str]:
    """What a value may be, in words."""
    given = about.get("anyOf") or about.get("oneOf") or [about]
    text = any(
        one.get("type") == "string" and "const" not in one for one in given
    )  # where a number is taken as it was written
    for one in given:
        kind = one.get("type")
        if text and kind == "integer":
            continue
        if "enum" in one:
            yield f"one of {', '.join(one['enum'])}"
        elif kind == "array":
            inner = one.get("items", {})
            yield f"list of {', '.join(inner['enum'])}" if "enum" in inner else "list"
        elif kind in {"integer", "number"}:
            yield f"{'whole ' if kind == 'integer' else ''}number{_bounds(one)}"
        elif "const" in one:
            yield f"`{one['const']}`"
        elif "anyOf" in one or "oneOf" in one:
            yield from _kinds(one)
        elif "$ref" in one or kind == "object":
            yield "mapping"
        elif kind != "null":
            yield {"string": "text", "boolean": "true or false"}[str(kind)]


def _bounds(one: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    told = [f"{word} {one[key]:g}" for key, word in words.items() if key in one]
    return f", {' and '.join(told)}" if told else ""


def page() -> str:
    """The page with its tables written anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
