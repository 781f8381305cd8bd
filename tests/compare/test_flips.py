"""Flips: what counts as one, which come first, and what of them is stored and shown."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare_factory import NOW, side, suite, with_replies

from evalkit.compare.columns import ItemText, ReplyText
from evalkit.compare.flips import Shown, describe, find_flips, likelihood_ratio
from evalkit.compare.judge import compare
from evalkit.compare.pair import align
from evalkit.compare.validity import Policy


def found(reference, candidate, **more):
    one, two = (x if hasattr(x, "facts") else suite(x) for x in (reference, candidate))
    return find_flips(align(one, two), one.samples, two.samples, **more)


def test_evidence_of_one_answer_and_of_eight():
    one, eight, half = likelihood_ratio(
        (np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.5])), (np.array([1, 8, 8]), np.array([1, 8, 8]))
    )
    assert one == pytest.approx(4 * math.log(2))
    assert eight == pytest.approx(32 * math.log(2))
    assert one < half < eight


def test_same_chance_gives_no_evidence_whatever_the_repeats():
    means = np.array([0.0, 0.25, 1.0])
    assert likelihood_ratio((means, means), (np.array([4, 4, 4]), np.array([8, 8, 8]))) == pytest.approx(np.zeros(3))


def test_flips_are_ranked_and_told_apart():
    reference = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]])
    candidate = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]])
    places = found(reference, candidate)
    assert [(p.item, p.kind) for p in places] == [(0, "regressed"), (2, "improved"), (1, "regressed")]
    assert [p.evidence for p in places] == sorted((p.evidence for p in places), reverse=True)
    assert [(p.item, p.kind) for p in found(reference, candidate, kinds=["improved"])] == [(2, "improved")]
    assert len(found(reference, candidate, most=1)) == 1
    assert found(reference, candidate, most=0) == []


def test_the_shown_repeat_shows_the_change():
    places = found(np.array([[1, 1, 1], [0, 0, 0]]), np.array([[1, 1, 0], [0, 1, 0]]))
    assert {(p.item, p.repeat) for p in places} == {(0, 2), (1, 1)}
    (place,) = found(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))
    assert place.repeat == 0


def test_sides_with_other_repeats_show_any_that_differ():
    (place,) = found(suite(np.array([[0.0, 0.0, 1.0]])), suite(np.array([[0.0]])))
    assert (place.kind, place.reference_row, place.candidate_row) == ("regressed", 2, 0)


def test_another_wrong_answer_is_a_change_below_every_flip():
    one = suite(np.array([0.0, 0.0, 1.0]), row=lambda _i, _r, row: {**row, "answer": "A"})
    two = suite(np.array([0.0, 0.0, 0.0]), row=lambda i, _r, row: {**row, "answer": "B" if i else "A"})
    places = found(one, two)
    assert [(p.item, p.kind) for p in places] == [(2, "regressed"), (1, "changed")]


def test_nulls_are_no_flips():
    assert found(np.array([1.0, np.nan, 0.0]), np.array([1.0, 1.0, np.nan])) == []


def replied(texts, others, **facts):
    one, left = with_replies(np.ones(len(texts)), texts, **facts)
    two, right = with_replies(np.zeros(len(texts)), others, **facts)
    about = {f"item{number:05d}": ItemText(f"question {number}", "B") for number in range(len(texts))}

    def item(_suite, name):
        return about[name]

    sides = (side("reference", one, texts=left), side("candidate", two, texts=right))
    return tuple(replace(each, item=item) for each in sides)


def test_a_flip_shows_both_replies_target_and_question():
    sides = replied(["Thus B."] * 30, [ReplyText("Thus C.", "Hmm.")] * 30)
    flip = compare(*sides, Policy(), NOW).flips[0]
    assert (flip.suite, flip.item, flip.kind) == ("quiz", "item00000", "regressed")
    assert (flip.reference_score, flip.candidate_score) == (1.0, 0.0)
    assert (flip.reference_text, flip.candidate_text) == ("Thus B.", "Hmm.\n\nThus C.")
    assert (flip.target, flip.question, flip.repeat) == ("B", "question 0", 0)


def test_what_a_gated_suite_says_is_withheld_unless_asked_for():
    sides = replied(["They ask for 0: B"] * 30, ["question 0: C"] * 30, gated=True)
    made = compare(*sides, Policy(), NOW)
    assert len(made.flips) == 30
    for flip in made.flips:
        texts = flip.question, flip.target, flip.reference_answer, flip.candidate_answer
        assert (*texts, flip.reference_text, flip.candidate_text) == (None, "", None, None, "", "")
    (shown,) = compare(*sides, Policy(questions=True, flips=1), NOW).flips
    assert (shown.question, shown.target, shown.candidate_text) == ("question 0", "B", "question 0: C")


def test_the_stored_comparison_stays_small():
    long = ["word " * 20_000 + f"{number}" for number in range(100)]
    sides = replied(long, [text + " other" for text in long])
    made = compare(*sides, Policy(), NOW)
    assert len(made.flips) == 40
    assert max(len(flip.reference_text) + len(flip.candidate_text) for flip in made.flips) < 5000
    assert len(compare(*sides, Policy(flips=None), NOW).flips) == 100
    assert compare(*sides, Policy(flips=0), NOW).flips == ()


def test_whole_texts_where_asked_for():
    long = ["word " * 20_000]
    one, two = replied(long, [long[0] + "x"])
    aligned = align(one.suites["quiz"], two.suites["quiz"])
    (place,) = find_flips(aligned, one.suites["quiz"].samples, two.suites["quiz"].samples)
    flip = describe("quiz", (one, two), aligned, place, Shown(whole=True))
    assert flip.reference_text == long[0]


def test_texts_that_nobody_stored_are_empty():
    one, two = suite(np.ones(30)), suite(np.zeros(30))
    flip = compare(side("a", one), side("b", two), Policy(), NOW).flips[0]
    assert (flip.reference_text, flip.candidate_text, flip.question, flip.target) == ("", "", None, "")
