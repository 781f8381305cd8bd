"""The probe's verdict: equivalence is shown, faults are shown, and everything else says what is lacking."""

import math
import re

import numpy as np
import pytest
from reasons import told

from evalkit.examine.divergence import (
    FLOOR_NATS,
    Margins,
    ScoredText,
    divergence,
    judge_divergence,
    margins,
    overall_fidelity,
)
from evalkit.model import Verdict
from evalkit.render.words import say


def pair(noise, shift=0.0, sequences=32, length=40, seed=0):
    """Two sides whose differences are normal around -shift, a divergence of about noise^2 / 2."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(-4, 0, (sequences, length))
    second = first - shift + rng.normal(0, noise, first.shape)
    return divergence([ScoredText(tuple(x)) for x in first], [ScoredText(tuple(x)) for x in second])


STILL = pair(0.0)
QUIET = pair(0.002, seed=1)
TOLERANCE = margins([QUIET])


def test_the_margin_is_three_times_the_own_noise_and_never_below_the_floor():
    assert margins([STILL]) == Margins(FLOOR_NATS, FLOOR_NATS)
    loud = pair(0.3, seed=2)
    found = margins([STILL, loud])
    reach = max(abs(loud.nll_shift.interval.low), abs(loud.nll_shift.interval.high))
    assert found.nll_shift == pytest.approx(3 * reach)
    assert found.k3 == pytest.approx(3 * loud.k3.interval.high)
    assert not found.usable
    assert margins([QUIET]).usable


@pytest.mark.parametrize(
    ("noise", "shift", "verdict"),
    [
        (0.0, 0.0, Verdict.EQUIVALENT),
        (0.002, 0.0, Verdict.EQUIVALENT),
        (0.01, 0.0, Verdict.EQUIVALENT),
        (0.06, 0.0, Verdict.INCONCLUSIVE),
        (0.2, 0.0, Verdict.DEGRADED),
        (0.01, 0.02, Verdict.DEGRADED),
        (0.01, -0.02, Verdict.DEGRADED),
    ],
)
def test_verdicts(noise, shift, verdict):
    judged = judge_divergence(pair(noise, shift, seed=3), TOLERANCE, QUIET)
    assert judged.verdict is verdict
    assert bool(judged.reasons) == (verdict is not Verdict.EQUIVALENT or noise > 0.005)


def test_an_open_question_says_how_many_tokens_would_close_it():
    open_ = judge_divergence(pair(0.04, sequences=16, seed=12), TOLERANCE, QUIET)
    assert open_.verdict is Verdict.INCONCLUSIVE
    times = max(float(re.search(r"about ([0-9.]+) times as many", reason)[1]) for reason in told(open_.reasons))
    more = judge_divergence(pair(0.04, sequences=round(16 * times * 3), seed=9), TOLERANCE, QUIET)
    assert more.verdict is Verdict.EQUIVALENT
    beyond = judge_divergence(pair(0.064, sequences=16, length=20, seed=10), TOLERANCE, QUIET)
    assert "more tokens would not bring it inside" in " ".join(told(beyond.reasons))


def test_a_difference_within_tolerance_is_named_with_its_size():
    judged = judge_divergence(pair(0.02, seed=4), TOLERANCE, QUIET)
    assert judged.verdict is Verdict.EQUIVALENT
    assert judged.times_noise == pytest.approx(10, rel=0.1)
    assert judged.p_noise < 0.001
    assert "times the reference's own" in say(judged.reasons[0])
    same = judge_divergence(pair(0.002, seed=5), TOLERANCE, QUIET)
    assert same.p_noise > 0.01
    assert same.reasons == ()


def test_against_a_reference_without_any_noise():
    judged = judge_divergence(pair(0.01, seed=6), margins([STILL]), STILL)
    assert judged.times_noise is None
    assert "where the reference has none" in say(judged.reasons[0])
    assert judge_divergence(STILL, margins([STILL]), STILL).reasons == ()


def test_tokens_that_become_impossible_are_a_fault_whatever_the_rest():
    first = [ScoredText((-1.0,) * 40) for _ in range(32)]
    for value in (-math.inf, math.nan):
        second = [ScoredText((-1.0,) * 39 + (value,)) if i == 3 else text for i, text in enumerate(first)]
        judged = judge_divergence(divergence(first, second), TOLERANCE, QUIET)
        assert judged.verdict is Verdict.DEGRADED
        assert "1 tokens that are possible on one side" in say(judged.reasons[0])


def test_too_little_or_too_much_missing_is_invalid():
    assert judge_divergence(None, TOLERANCE, QUIET).verdict is Verdict.INVALID
    assert judge_divergence(pair(0.0, sequences=7), TOLERANCE, QUIET).verdict is Verdict.INVALID
    assert judge_divergence(pair(0.0, sequences=8, length=24), TOLERANCE, QUIET).verdict is Verdict.INVALID
    first = [ScoredText((-1.0,) * 40) for _ in range(32)]
    for missing, verdict in ((3, Verdict.EQUIVALENT), (5, Verdict.INVALID)):
        second = [ScoredText((-1.0,) * (40 - missing) + (None,) * missing) for _ in range(32)]
        judged = judge_divergence(divergence(first, second), TOLERANCE, QUIET)
        assert judged.verdict is verdict
    assert "160 of 1280" in say(judged.reasons[0])


def test_the_worst_comparison_decides():
    good = judge_divergence(STILL, TOLERANCE, QUIET)
    bad = judge_divergence(pair(0.2), TOLERANCE, QUIET)
    unsure = judge_divergence(pair(0.06), TOLERANCE, QUIET)
    none = judge_divergence(None, TOLERANCE, QUIET)
    assert overall_fidelity({"a": good, "b": good}) == (Verdict.EQUIVALENT, ())
    assert overall_fidelity({"a": good, "b": unsure})[0] is Verdict.INCONCLUSIVE
    assert overall_fidelity({"a": none, "b": unsure})[0] is Verdict.INVALID
    verdict, reasons = overall_fidelity({"a": good, "b": bad, "c": none})
    assert verdict is Verdict.DEGRADED
    assert all(reason.startswith("b: ") for reason in told(reasons))


@pytest.mark.slow
def test_error_rates_at_the_margin_and_at_nothing():
    """k3 exactly at its margin passes in at most about 5 %; a faithful stack fails practically never."""
    at_margin = math.sqrt(2 * FLOOR_NATS)
    passed = sum(
        judge_divergence(pair(at_margin, seed=s), TOLERANCE, QUIET).verdict is Verdict.EQUIVALENT for s in range(300)
    )
    assert passed / 300 <= 0.08
    failed = sum(
        judge_divergence(pair(0.005, seed=s), TOLERANCE, QUIET).verdict is not Verdict.EQUIVALENT for s in range(300)
    )
    assert failed == 0
