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
from evalkit.model import COMPARISON_SCHEMA_VERSION, Comparison, Interval, Macro, SideSummary, SuiteResult

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


# ----------------------------------------------------------------
# How the document says a suite: plain numbers under the names that readers look for, everything else beside
# them
# In the document `reference` and `candidate` are the sides' means, `ci90` and `ci95` are [low, high],
# `needed_repeats` is
# a number, `failures` counts samples without a score by side. `sides`, `levels` and `needed` hold what those leave out:
# nothing is lost. The values of `evalkit.model` nest instead; this module turns one form into the other.


SIDES: Final = ("reference", "candidate")
INTERVALS: Final = ("ci90", "ci95")
_WITHOUT_SCORE: Final = ("failed", "not_asked", "grade_error")
_MEAN: Final = {"anyOf": [{"type": "number"}, {"type": "null"}], "description": "The side's mean score, in [0, 1]."}
_PAIR: Final = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 2,
    "description": "[low, high]",
}
_COUNTS: Final = {"type": "object", "additionalProperties": {"type": "integer"}}


def flat_suite(suite: SuiteResult) -> dict[str, Any]:
    """A suite's members as the document has them."""
    made: dict[str, Any] = {f.name: getattr(suite, f.name) for f in fields(suite)}
    sides = {side: made[side] for side in SIDES}
    levels = {name: made[name].level for name in INTERVALS if made[name] is not None}
    made |= {side: summary.mean for side, summary in sides.items()}
    made |= {name: _ends(made[name]) for name in INTERVALS}
    needed = made["needed_repeats"]
    made["needed_repeats"] = None if needed is None else needed.repeats
    failures = {side: without_score(summary) for side, summary in sides.items()}
    return {**made, "failures": failures, "sides": sides, "levels": levels, "needed": needed}


def flat_macro(macro: Macro) -> dict[str, Any]:
    """The macro mean's members as the document has them."""
    made: dict[str, Any] = {f.name: getattr(macro, f.name) for f in fields(macro)}
    return {**made, "ci90": _ends(macro.ci90), "level": macro.ci90.level}


def without_score(side: SideSummary) -> dict[str, int]:
    """How many planned samples have no score: by kind of failure, and by status where there is no kind."""
    found = dict(side.failures)
    counts = {status: side.counts.get(status, 0) for status in _WITHOUT_SCORE}
    counts["failed"] -= sum(side.failures.values())
    return found | {status: found.get(status, 0) + number for status, number in counts.items() if number > 0}


def nested(document: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed document in the form of `evalkit.model`; what is not as expected is left for the validator to name."""
    made = dict(document)
    if isinstance(made.get("suites"), list):
        made["suites"] = [_nested_suite(suite) if isinstance(suite, dict) else suite for suite in made["suites"]]
    if isinstance(made.get("macro"), dict) and "level" in made["macro"]:
        macro = dict(made["macro"])
        macro["ci90"] = _interval(macro.get("ci90"), macro.pop("level"))
        made["macro"] = macro
    return made


def _nested_suite(flat: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in flat.items() if key not in {"failures", "sides", "levels", "needed"}}
    sides, levels = flat.get("sides"), flat.get("levels")
    for side in SIDES:
        made.pop(side, None)
        if isinstance(sides, dict) and side in sides:
            made[side] = sides[side]
    for name in INTERVALS:
        if made.get(name) is not None:
            made[name] = _interval(made[name], levels.get(name) if isinstance(levels, dict) else None)
    if "needed" in flat:
        made["needed_repeats"] = flat["needed"]
    return made


def _interval(ends: Any, level: Any) -> Any:
    return {"low": ends[0], "high": ends[1], "level": level} if isinstance(ends, list) and len(ends) == 2 else ends


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def flat_schema(definitions: dict[str, Any]) -> None:
    """Changes the JSON Schema's definitions of a suite and of the macro mean to the document's form."""
    suite, macro = definitions["SuiteResult"], definitions["Macro"]
    properties = suite["properties"]
    needed = properties["needed_repeats"]
    whole_number = {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    properties |= dict.fromkeys(SIDES, _MEAN)
    properties |= {name: {"anyOf": [_PAIR, {"type": "null"}]} for name in INTERVALS}
    properties |= {
        "needed_repeats": {**whole_number, "description": "Repeats of every item that would decide."},
        "failures": _object(dict.fromkeys(SIDES, _COUNTS), SIDES),
        "sides": _object({side: {"$ref": "#/$defs/SideSummary"} for side in SIDES}, SIDES),
        "levels": _object({name: {"type": "number"} for name in INTERVALS}, ()),
        "needed": needed,
    }
    suite["required"] = sorted({*suite["required"], "failures", "sides", "levels", "needed"})
    macro["properties"] |= {"ci90": _PAIR, "level": {"type": "number"}}
    macro["required"] = sorted({*macro["required"], "level"})


def _object(properties: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": list(required)} if required else made


# ----------------------------------------------------------------
# The comparison as a JSON document: written, read back strictly, and described by a JSON Schema
# The layout is fixed: one line for each suite, difference and flip, so that two documents can be compared line by line.


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
