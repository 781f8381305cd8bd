"""The JSON document: what is written is read back, and nothing else is accepted."""

import json
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reasons import reasons

from evalkit.errors import UsageError
from evalkit.model import (
    COMPARISON_SCHEMA_VERSION,
    BehaviourRow,
    BreakdownRow,
    Comparison,
    Difference,
    Flip,
    Flips,
    Interval,
    Macro,
    NeededRepeats,
    Probe,
    Reason,
    Rounds,
    RunIdentity,
    SideSummary,
    SuiteResult,
    Verdict,
    said,
)
from evalkit.render.document import from_json, json_schema, to_json
from evalkit.resources import data_folder

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
number = st.floats(0, 1)  # shares lie there
whole = st.integers(-(2**53), 2**53)
words = st.lists(text, max_size=3).map(tuple)
json_values = st.recursive(
    st.none() | st.booleans() | whole | number | text,
    lambda x: st.lists(x, max_size=2) | st.dictionaries(text, x, max_size=2),
)
intervals = st.tuples(number, number, number).map(lambda t: Interval(min(t[:2]), max(t[:2]), t[2]))
STRATEGIES = {
    "str": text,
    "float": number,
    "int": whole,
    "bool": st.booleans(),
    "tuple[str, ...]": words,
    "Mapping[str, int]": st.dictionaries(text, whole, max_size=2),
    "Mapping[str, str]": st.dictionaries(text, text, max_size=2),
    "Mapping[str, Any]": st.dictionaries(text, json_values, max_size=2),
    "Verdict": st.sampled_from(Verdict),
    "Interval": intervals,
    "Reason": reasons(),
}


def strategy(kind: str):
    if kind.endswith(" | None"):
        return st.none() | strategy(kind.removesuffix(" | None"))
    if kind not in STRATEGIES and kind.startswith("tuple["):
        return st.lists(strategy(kind[6:-6]), max_size=2).map(tuple)
    return STRATEGIES[kind]


def values_of(cls):
    return st.builds(cls, **{f.name: strategy(f.type) for f in fields(cls) if f.name != "schema_version"})


for _cls in (
    Flips,
    NeededRepeats,
    Probe,
    Rounds,
    SideSummary,
    BehaviourRow,
    BreakdownRow,
    SuiteResult,
    Macro,
    Difference,
    RunIdentity,
    Flip,
):
    STRATEGIES[_cls.__name__] = values_of(_cls)


@settings(max_examples=60, deadline=None)
@given(values_of(Comparison).filter(lambda c: len({s.suite for s in c.suites}) == len(c.suites)))
def test_what_is_written_is_read_back(made):
    data = to_json(made)
    assert from_json(data) == made
    assert to_json(from_json(data)) == data


def test_example_round_trip_and_layout(comparison, golden):
    data = to_json(comparison)
    assert from_json(data) == comparison
    assert data.count(b"\n") == len(fields(Comparison)) + 2 + sum(
        len(part) + 1 for part in (comparison.suites, comparison.differences, comparison.flips)
    )
    golden("comparison.json", data)


def test_the_published_schema_is_current_and_accepts_documents(comparison, golden):
    schema = json_schema()
    published = data_folder("reports") / "schemas" / f"comparison-{COMPARISON_SCHEMA_VERSION}.schema.json"
    golden(str(published), json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(to_json(comparison))
    validator.validate(document)
    for broken in (
        {**document, "extra": 1},
        {**document, "schema_version": 2},
        {k: v for k, v in document.items() if k != "alpha"},
    ):
        assert not validator.is_valid(broken)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": COMPARISON_SCHEMA_VERSION + 1}, "upgrade flagos-evalkit"),
        ({"schema_version": 0}, "no schema_version"),
        ({"schema_version": True}, "no schema_version"),
        ({"schema_version": "1"}, "no schema_version"),
        ({"surprise": 1}, "at surprise: this key is not known"),
        ({"alpha": "0.05"}, "at alpha: Input should be a valid number"),
        ({"verdict": "FINE"}, "at verdict: Input should be 'EQUIVALENT'"),
        ({"macro": {}}, "at macro.reference: this key is missing (8 more problems follow)"),
        ({"notes": [1]}, "at notes[0]: Input should be an object"),
        ({"notes": ["a sentence"]}, "at notes[0]: Input should be an object"),
        ({"notes": [{"code": "said", "values": {"text": None}}]}, "at notes[0].values.text"),
        ({"notes": [{"code": "the_moon", "values": {}}]}, "'the_moon' is no reason that this evalkit knows"),
        ({"notes": [{"code": "said", "values": {}}]}, "said: text is missing"),
        ({"notes": [{"code": "said", "values": {"text": "x", "y": 1}}]}, "said: has no place for 'y'"),
        ({"notes": [{"code": "coverage", "values": {"share": "x"}}]}, "coverage: share cannot be 'x'"),
    ],
)
def test_what_is_not_a_comparison_is_refused(comparison, change, sentence):
    document = {**json.loads(to_json(comparison)), **change}
    with pytest.raises(UsageError) as caught:
        from_json(json.dumps(document).encode(), "cmp.json")
    assert str(caught.value).startswith("cmp.json")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b'{"schema_version": 1', b"[1]", b"null", b"{}"])
def test_rubbish_is_refused_in_one_sentence(data):
    with pytest.raises(UsageError, match="is no comparison"):
        from_json(data)


def test_missing_keys_and_nan_are_refused(comparison):
    document = json.loads(to_json(comparison))
    del document["suites"][1]["margin"]
    with pytest.raises(UsageError, match=r"at suites\[1\].margin: this key is missing"):
        from_json(json.dumps(document).encode())
    document["suites"][1]["margin"] = float("nan")
    with pytest.raises(UsageError, match="finite"):
        from_json(json.dumps(document).encode())
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(comparison, alpha=float("inf")))
    sampling = {"deep": [float("nan")]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(comparison, reference=replace(comparison.reference, sampling=sampling)))


def test_contradictions_are_refused(comparison):
    twice = replace(comparison, suites=comparison.suites[:1] * 2)
    with pytest.raises(UsageError, match="'gpqa_diamond' appears twice"):
        from_json(to_json(twice))
    upside = replace(comparison.suites[0], ci90=Interval(0.1, -0.1, 0.9))
    with pytest.raises(UsageError, match="before it begins"):
        from_json(to_json(replace(comparison, suites=(upside,))))


def test_lone_surrogates_and_foreign_mappings_are_written(comparison):
    odd = replace(
        comparison,
        notes=(said("a\ud800b"), said("\ud83d\ude00")),
        reference=replace(comparison.reference, versions=MappingProxyType({"a": "b"})),
    )
    read = from_json(to_json(odd))
    assert read.notes == (said("a\ufffdb"), said("\N{GRINNING FACE}"))
    assert read.reference.versions == {"a": "b"}
    with pytest.raises(TypeError, match="cannot hold a P"):
        to_json(replace(comparison, reference=replace(comparison.reference, sampling={"a": Path()})))


def test_reasons_in_one_another_have_a_bottom(comparison):
    deep = said("x")
    for _ in range(60):
        deep = Reason("means.note", {"note": deep})
    with pytest.raises(UsageError, match="more than 8 deep"):
        from_json(to_json(replace(comparison, notes=(deep,))))


def test_every_reason_is_in_the_document_with_its_code_and_values(comparison):
    suite = json.loads(to_json(comparison))["suites"][2]
    assert [reason["code"] for reason in suite["reasons"]] == ["degraded", "second_run.same"]
    assert suite["reasons"][1]["values"]["reason"]["values"]["margin"] == 0.02
