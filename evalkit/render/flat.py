"""How the document says a suite: plain numbers under the names that readers look for, everything else beside them.

In the document `reference` and `candidate` are the sides' means, `ci90` and `ci95` are [low, high], `needed_repeats` is
a number, `failures` counts samples without a score by side. `sides`, `levels` and `needed` hold what those leave out:
nothing is lost. The values of `evalkit.model` nest instead; this module turns one form into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from evalkit.model import Interval, Macro, SideSummary, SuiteResult

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
