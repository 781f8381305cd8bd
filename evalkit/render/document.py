"""The comparison as a JSON document: written, read back strictly, and described by a JSON Schema.

The layout is fixed: one line for each suite, difference and flip, so that two documents can be compared line by line.
"""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

from evalkit import codec
from evalkit.errors import UsageError
from evalkit.model import COMPARISON_SCHEMA_VERSION, Comparison, Interval, Reason, SuiteResult
from evalkit.render.words import ReasonError, check

SCHEMA_ID: Final = "urn:evalkit:schema:comparison:{version}"


def to_json(comparison: Comparison) -> bytes:
    """The document of a comparison: UTF-8 JSON that ends with a newline.

    Lone surrogates, which UTF-8 cannot hold, become U+FFFD.

    Raises `ValueError`: a number is NaN or infinite, which JSON has no word for (None is the word for "no value").
    """
    body = ",\n".join(f"{codec.dump(f.name)}: {_member(getattr(comparison, f.name))}" for f in fields(comparison))
    return codec.encode(f"{{\n{body}\n}}\n")


def _member(value: object) -> str:
    """One value of the top level; a tuple of dataclasses takes a line each."""
    if isinstance(value, tuple) and value and is_dataclass(value[0]) and not isinstance(value[0], Reason):
        return "[\n" + ",\n".join(map(codec.dump, value)) + "\n]"
    return codec.dump(value)


def from_json(data: bytes, source: str = "the comparison") -> Comparison:
    """Read a document back; nothing is guessed, converted or ignored.

    Args:
        data: what `to_json` wrote.
        source: the name used in errors, usually the file's.

    Raises `UsageError`: not JSON, not a comparison, written by a newer evalkit, contradicting itself, or with a reason
    that no sentence says.
    """
    _check_version(data, source)
    try:
        comparison = codec.read(Comparison, data)
        _check_sense(comparison)
        for reason in reasons_of(comparison):
            check(reason)
    except (UsageError, ReasonError) as error:
        raise UsageError(f"{source}: {error}") from None
    return comparison


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document at `COMPARISON_SCHEMA_VERSION`; unknown keys are not allowed in it."""
    definitions = codec.adapter(Comparison).json_schema()["$defs"]
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


def reasons_of(comparison: Comparison) -> Iterator[Reason]:
    """Everything that a comparison says."""
    yield from (*comparison.reasons, *comparison.notes, *(comparison.probe.reasons if comparison.probe else ()))
    for row in (*comparison.suites, *([comparison.macro] if comparison.macro else ())):
        yield from (*row.reasons, *([row.waiver] if row.waiver else ()))
    for suite in comparison.suites:
        yield from (*suite.notes, *(row.alert for row in suite.behaviour if row.alert))
        if suite.needed_repeats and suite.needed_repeats.note:
            yield suite.needed_repeats.note


def _check_version(data: bytes, source: str) -> None:
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


def _check_sense(comparison: Comparison) -> None:
    """What types cannot say: suite names are unique, shares lie between 0 and 1, intervals are not upside down."""
    seen: set[str] = set()
    for suite in comparison.suites:
        for name, share in _shares(suite):
            if share is not None and not 0 <= share <= 1:
                raise UsageError(f"{name} of {suite.suite!r} does not lie between 0 and 1: {share:g}")
        if suite.suite in seen:
            raise UsageError(f"the suite {suite.suite!r} appears twice")
        seen.add(suite.suite)
        for interval in _intervals(suite):
            if interval.low > interval.high:
                raise UsageError(f"an interval of {suite.suite!r} ends ({interval.high}) before it begins")


def _shares(suite: SuiteResult) -> Iterator[tuple[str, float | None]]:
    """What is a share of one, by its name; of a difference its size."""
    for name in ("coverage", "margin", "chance", "p_tost", "p_difference"):
        yield name, getattr(suite, name)
    yield "difference", None if suite.difference is None else abs(suite.difference)
    yield "churn", suite.flips.churn
    for side in (suite.reference, suite.candidate):
        yield from (("mean", side.mean), ("lenient_mean", side.lenient_mean))
    for row in suite.breakdown:
        yield from (("breakdown", row.reference), ("breakdown", row.candidate), ("breakdown", abs(row.difference)))


def _intervals(suite: SuiteResult) -> list[Interval]:
    behaviour = [row.interval for row in suite.behaviour]
    breakdown = [row.ci90 for row in suite.breakdown]
    return [i for i in (suite.ci90, suite.ci95, suite.noise_floor, *behaviour, *breakdown) if i is not None]
