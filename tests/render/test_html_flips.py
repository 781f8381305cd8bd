"""The changed answers as data: cut at the first differing word, bounded in bytes, safe inside a script element."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.render.html import TEXT_BYTES, first_difference, fitted, flips_json, script_json

TEXT = st.text(st.sampled_from("ab 答\n<&"), max_size=30) | st.text(max_size=30)


@pytest.mark.parametrize(
    ("left", "right", "at"),
    [
        ("one two three", "one two four", 8),
        ("the left", "the leftover", 4),
        ("the left", "the left over", 8),
        ("a b", "a b.", 2),
        ("凶手是管家", "凶手是园丁", 3),
        ("凶手是A", "凶手是B", 3),
        ("", "x", 0),
        ("same", "same", 4),
        ("x" * 1000, "x" * 1000 + "y", 600),  # a word of more than 400 characters is cut where it differs, roughly
    ],
)
def test_first_difference(left, right, at):
    assert first_difference(left, right) == at
    assert first_difference(right, left) == at


@given(TEXT, TEXT, TEXT)
def test_what_is_before_the_difference_is_shared(shared, left, right):
    left, right = shared + left, shared + right
    at = first_difference(left, right)
    assert left[:at] == right[:at]
    in_word = re.compile("[^\\s\u3400-\u9fff\uf900-\ufaff]")
    if at and in_word.match(left[at - 1]):  # then the word before ends on both sides
        assert not in_word.match(left, at)
        assert not in_word.match(right, at)
    words = [
        match and match.group()
        for match in (
            re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\s\u3400-\u9fff\uf900-\ufaff]+|\s").match(text, at)
            for text in (left, right)
        )
    ]
    assert words[0] != words[1] or words == [None, None]


@given(TEXT, st.integers(0, 40))
def test_fitted_text_fits(text, limit):
    assert len(script_json(fitted(text, limit)).encode()) - 2 <= limit


@given(st.recursive(TEXT | st.integers() | st.none(), lambda x: st.lists(x) | st.dictionaries(TEXT, x), max_leaves=8))
def test_script_json_reads_back_and_cannot_end_its_element(data):
    text = script_json(data)
    assert json.loads(text) == data
    assert not set(text) & set("<>&\u2028\u2029")


def test_order_words_and_what_is_left_out(comparison):
    data = json.loads(flips_json(comparison, include_questions=False))
    assert [flip["i"] for flip in data["flips"]][:3] == ["story-17", "rec001", "story-4"]
    assert data["suites"][data["flips"][0]["s"]] == "MuSR 多步推理"
    first = data["flips"][0]
    assert first["c"] == "The butler was in the "
    assert [part.split()[0] for part in first["r"]] == ["garden,", "kitchen,"]
    assert (first["a"], first["t"], first["x"], first["w"]) == (["B", None], ["scored", "truncated"], [0, 0], 0)


def test_questions_of_gated_suites_only_when_asked_for(comparison):
    assert "SECRET-GATED-QUESTION" not in flips_json(comparison, include_questions=False)
    assert "Who did it?" in flips_json(comparison, include_questions=False)
    assert "SECRET-GATED-QUESTION" in flips_json(comparison, include_questions=True)


def test_of_gated_suites_only_scores_and_statuses_are_shown(comparison):
    data = json.loads(flips_json(comparison, include_questions=False))
    row = next(flip for flip in data["flips"] if flip["i"] == "rec001")
    assert (row["v"], row["t"], row["z"]) == ([0.875, 0.25], ["scored", "scored"], 1)
    assert (row["q"], row["g"], row["a"], row["r"], row["c"]) == (None, "", [None, None], ["", ""], "")
    assert "Angular" not in json.dumps(data)
    assert "Angular" in flips_json(comparison, include_questions=True)
    assert [flip.get("z") for flip in data["flips"] if flip["i"] != "rec001"] == [None, None, None]


@pytest.mark.parametrize("filler", ["<", "答", "a ", "\\"])
def test_many_long_replies_stay_within_bounds(example, filler):
    base = example.with_flips(2000)
    long = filler * 12_000
    flips = tuple(replace(flip, reference_text=long, candidate_text="x" + long, question=long) for flip in base.flips)
    text = flips_json(replace(base, flips=flips), include_questions=True)
    assert len(text.encode()) < TEXT_BYTES + 2000 * 600
    first, last = (json.loads(text)["flips"][place] for place in (0, -1))
    assert first["x"][0] + len(first["r"][0]) == len(long)
    assert 0 < len(last["r"][0]) <= len(first["r"][0])


def test_a_difference_far_inside_keeps_a_little_before_it(comparison):
    same = "word " * 500
    flip = replace(comparison.flips[0], reference_text=same + "left", candidate_text=same + "right")
    (row,) = json.loads(flips_json(replace(comparison, flips=(flip,)), include_questions=False))["flips"]
    assert (row["r"], len(row["c"]), row["w"]) == (["left", "right"], 160, 2500 - 160)
