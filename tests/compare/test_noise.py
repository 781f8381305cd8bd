"""The judge's own noise: from a second grading of the reference's answers to a floor, a share and a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import compared, judged, suite
from paired_items import pair_single
from reasons import told

from evalkit.compare.validity import NoiseFloor, Policy
from evalkit.model import Interval, Verdict, said
from evalkit.render.words import say
from evalkit.stats.methods import judge_difference


def graded(scores, second, same=()):
    """A suite whose first answers were graded a second time; items of `same` have the same text on every side."""

    def texts(item, _repeat, row):
        return {**row, "text": item + 1 if item in same else hash((item, id(scores))) % 2**60}

    made = suite(scores, row=texts)
    return replace(made, second={(f"item{n:05d}", 0): float(value) for n, value in enumerate(second)})


def noisy(n, sd, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.3, 0.7, n)
    return [np.clip(truth + rng.normal(0, sd, n), 0, 1) for _ in range(3)]


def note(result):
    (sentence,) = [note for note in told(result.notes) if note.startswith("judge's own noise")]
    return sentence


def test_a_second_grading_is_the_noise_floor_of_a_suite_without_another():
    first, second, other = noisy(400, 0.1)
    result = judged(graded(first, second[:100]), graded(other, []))
    change = second[:100] - first[:100]
    floor = result.noise_floor
    assert floor.low < change.mean() < floor.high
    assert floor == judge_difference(pair_single(first[:100], second[:100]), 0.02).ci90, "as any other difference"
    assert "noise floor: the judge, asked twice about 100 of the reference's 400 answers" in told(result.notes)
    sd_pt = 100 * np.sqrt(np.mean(change**2) / 400)
    assert f"in this suite's difference its noise is {sd_pt:.2f} points (SD; 100 % of the answers differ" in note(
        result
    )
    assert sd_pt == pytest.approx(0.7, abs=0.15), "0.1 a grade, two grades an item, 400 items"


def test_answers_that_both_sides_gave_carry_no_noise():
    first, second, other = noisy(400, 0.1)
    same = range(300)
    other = np.r_[first[:300], other[300:]]
    result = judged(graded(first, second, same), graded(other, [], same))
    sd_pt = 100 * np.sqrt(0.25 * np.mean((second - first) ** 2) / 400)
    assert f"its noise is {sd_pt:.2f} points (SD; 25 % of the answers differ" in note(result)


@pytest.mark.parametrize(("shift", "within"), [(0.0, True), (0.05, False)])
def test_a_difference_within_twice_the_judge_s_own_noise_is_called_so(shift, within):
    first, second, _other = noisy(400, 0.1)
    other = np.clip(np.sort(noisy(400, 0.1, seed=5)[1])[np.argsort(np.argsort(first))] - shift, 0, 1)
    result = judged(graded(first, second), graded(other, []))
    assert ("within twice that: no more than the judge itself" in note(result)) is within


def test_a_judge_that_drifted_between_its_gradings_says_nothing():
    first, _second, other = noisy(400, 0.05)
    made = compared(graded(first, np.clip(first - 0.2, 0, 1)), graded(other, []))
    assert (made.verdict, made.exit_code) == (Verdict.INVALID, 3)
    assert "(the judge, asked twice about 400 of the reference's 400 answers)" in say(made.suites[0].reasons[0])


def test_an_endpoint_s_own_floor_stands_and_the_judge_s_is_told():
    first, second, other = noisy(400, 0.1)
    floor = NoiseFloor(Interval(-0.01, 0.01, 0.9), Verdict.EQUIVALENT, said("asked twice"))
    result = judged(graded(first, second), graded(other, []), Policy(noise={"quiz": floor}))
    assert result.noise_floor == floor.interval
    assert note(result)


def test_a_steady_judge_has_no_noise_and_the_candidate_s_second_grading_is_not_used():
    first, second, other = noisy(60, 0.1)
    result = judged(graded(first, first), graded(other, second))
    assert "a second time moved their mean by 0.0 [-4.0, +4.0] points" in note(result)
    assert "its noise is 0.00 points" in note(result)
    assert judged(graded(first, []), graded(other, second)).noise_floor is None
    assert judged(graded(first, second[:1]), graded(other, [])).noise_floor is None, "one answer shows no spread"


def drifted(n=200):
    """A bank whose odd repeats are far below its even ones, as where its server became worse between them."""
    return np.stack([np.r_[np.ones(n - 20), np.zeros(20)], np.r_[np.ones(n // 4), np.zeros(n - n // 4)]], axis=1)


def floor(low, high, verdict):
    return NoiseFloor(Interval(low, high, 0.9), verdict, said("asked again on another day"))


def test_a_floor_of_another_day_does_not_switch_off_the_halves_of_the_bank():
    bank = suite(drifted())
    policy = Policy(noise={"quiz": floor(-0.01, 0.01, Verdict.EQUIVALENT)})
    assert judged(bank, bank, policy=policy).verdict is Verdict.INVALID
    assert judged(bank, bank).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("low", "high", "verdict", "margin", "expected"),
    [
        (-0.02, 0.02, Verdict.INVALID, 0.06, Verdict.EQUIVALENT),  # INVALID for its missing answers
        (-0.25, -0.15, Verdict.EQUIVALENT, 0.06, Verdict.INVALID),  # judged at a margin of 40 points
        (-0.10, -0.04, Verdict.DEGRADED, 0.15, Verdict.EQUIVALENT),  # judged at half a point
    ],
)
def test_a_stored_floor_is_held_against_the_margin_of_this_comparison(low, high, verdict, margin, expected):
    scores = np.r_[np.ones(300), np.zeros(100)]
    policy = Policy(noise={"quiz": floor(low, high, verdict)}, default_margin=margin)
    assert judged(suite(scores), suite(scores), policy=policy).verdict is expected
