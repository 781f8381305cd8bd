"""The comparison as a JSON document: written, read back strictly, and described by a JSON Schema.

The layout is fixed: one line for each suite, difference and flip, so that two documents can be compared line by line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from evalkit.errors import UsageError
from evalkit.model import COMPARISON_SCHEMA_VERSION, Comparison, Interval, Macro, SuiteResult
from evalkit.render.flat import flat_macro, flat_schema, flat_suite, nested

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

SCHEMA_ID: Final = "urn:evalkit:schema:comparison:{version}"


def to_json(comparison: Comparison) -> bytes:
    """The document of a comparison: UTF-8 JSON that ends with a newline.

    Lone surrogates, which UTF-8 cannot hold, become U+FFFD.

    Raises:
        ValueError: a number is NaN or infinite, which JSON has no word for (None is the word for "no value").
    """
    body = ",\n".join(f"{_dump(f.name)}: {_member(getattr(comparison, f.name))}" for f in fields(comparison))
    text = f"{{\n{body}\n}}\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _member(value: object) -> str:
    """One value of the top level; a tuple of dataclasses takes a line each."""
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return "[\n" + ",\n".join(_dump(item) for item in value) + "\n]"
    return _dump(value)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: object) -> dict[str, Any]:
    """A dataclass or foreign mapping as a dictionary, one level deep."""
    if isinstance(value, SuiteResult):
        return flat_suite(value)
    if isinstance(value, Macro):
        return flat_macro(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a comparison cannot hold a {type(value).__name__}")


def from_json(data: bytes, source: str = "the comparison") -> Comparison:
    """Read a document back; nothing is guessed, converted or ignored.

    Args:
        data: what `to_json` wrote.
        source: the name used in errors, usually the file's.

    Raises:
        UsageError: not JSON, not a comparison, written by a newer evalkit, or contradicting itself.
    """
    from pydantic import ValidationError  # 0.1 s that `--help` must not pay

    content = _checked_version(data, source)
    try:
        comparison = _adapter().validate_json(json.dumps([nested(content)]))[0]
    except ValidationError as error:
        raise UsageError(f"{source}: {_first_problem(error)}") from None
    _check_sense(comparison, source)
    _check_flat(content, comparison, source)
    return comparison


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document at `COMPARISON_SCHEMA_VERSION`; unknown keys are not allowed in it."""
    definitions = _adapter().json_schema()["$defs"]
    flat_schema(definitions)
    root = definitions.pop("Comparison")
    root["properties"]["schema_version"] = {"const": COMPARISON_SCHEMA_VERSION}
    root["required"] = sorted({*root["required"], "schema_version"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID.format(version=COMPARISON_SCHEMA_VERSION),
        **root,
        "title": f"evalkit comparison, version {COMPARISON_SCHEMA_VERSION}",
        "$defs": definitions,
    }


@cache
def _adapter() -> TypeAdapter[tuple[Comparison]]:
    """The validator; the one-element tuple carries the configuration, which a plain dataclass cannot be given."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(tuple[Comparison], config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


def _checked_version(data: bytes, source: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError(f"{source} is not JSON, so it is no comparison: give the file that evalkit wrote") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UsageError(f"{source} has no schema_version, so it is no comparison: give the file that evalkit wrote")
    if version > COMPARISON_SCHEMA_VERSION:
        raise UsageError(
            f"{source} is a comparison of version {version}, and this evalkit reads versions up to"
            f" {COMPARISON_SCHEMA_VERSION}: upgrade flagos-evalkit to read it"
        )
    return dict(content)


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][1:]).lstrip(".")
    message = first["msg"]
    if first["type"] == "unexpected_keyword_argument":
        message = "this key is not known"
    elif first["type"] in {"missing", "missing_argument"}:
        message = "this key is missing"
    more = f" ({len(problems) - 1} more problems follow)" if len(problems) > 1 else ""
    return f"at {place or 'the top'}: {message}{more}"


def _check_sense(comparison: Comparison, source: str) -> None:
    """What types cannot say: suite names are unique, and intervals are not upside down."""
    seen: set[str] = set()
    for suite in comparison.suites:
        if suite.suite in seen:
            raise UsageError(f"{source}: the suite {suite.suite!r} appears twice")
        seen.add(suite.suite)
        for interval in _intervals(suite):
            if interval.low > interval.high:
                raise UsageError(f"{source}: an interval of {suite.suite!r} ends ({interval.high}) before it begins")


def _check_flat(content: Mapping[str, Any], comparison: Comparison, source: str) -> None:
    """The plain numbers of a suite are those of its sides, whoever wrote the document."""
    for given, suite in zip(content["suites"], comparison.suites, strict=True):
        flat = flat_suite(suite)
        for key in ("reference", "candidate", "failures", "needed_repeats"):
            if key not in given:
                raise UsageError(f"{source}: at {suite.suite}.{key}: this key is missing")
            if given[key] != flat[key]:
                raise UsageError(f"{source}: {key} of {suite.suite!r} contradicts what `sides` and `needed` say")


def _intervals(suite: SuiteResult) -> list[Interval]:
    behaviour = [row.interval for row in suite.behaviour]
    breakdown = [row.ci90 for row in suite.breakdown]
    return [i for i in (suite.ci90, suite.ci95, suite.noise_floor, *behaviour, *breakdown) if i is not None]
