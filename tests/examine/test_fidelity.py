"""The probe's verdict: equivalence is shown, faults are shown, and everything else says what is lacking."""

import math
import re

import numpy as np
import pytest
from reasons import told

from evalkit.examine.divergence import ScoredText, divergence
from evalkit.examine.fidelity import (
    FLOOR_NATS,
    STOP_NATS,
    WORST_TEXT_NATS,
    Margins,
    all_findings,
    judge_divergence,
    look_alpha,
    margins,
    overall_fidelity,
    rule_of_three,
)
from evalkit.model import Verdict
from evalkit.render.words import check, say
from evalkit.stats.looks import look_alphas


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
    assert margins([STILL]) == margins([STILL, QUIET]) == Margins(FLOOR_NATS, STOP_NATS, WORST_TEXT_NATS)
    second_way = pair(0.065, seed=2)
    found = margins([STILL, second_way])
    assert found.k3 == pytest.approx(3 * second_way.k3.point)
    assert found.stop == max(STOP_NATS, found.k3)
    assert found.usable
    loud = margins([STILL, pair(0.3, seed=2)])
    assert loud.worst_text == pytest.approx(3 * pair(0.3, seed=2).worst_text)
    assert not loud.usable


def test_the_margin_does_not_depend_on_how_much_is_asked():
    """Of one noise, 8 texts and 512 give the same margin but for luck, on either side."""
    short = [margins([pair(0.06, sequences=8, seed=s)]).k3 for s in range(40)]
    long = [margins([pair(0.06, sequences=512, seed=s)]).k3 for s in range(4)]
    assert np.mean(short) == pytest.approx(np.mean(long), rel=0.03)


@pytest.mark.parametrize(
    ("noise", "shift", "verdict"),
    [
        (0.0, 0.0, Verdict.EQUIVALENT),
        (0.002, 0.0, Verdict.EQUIVALENT),
        (0.01, 0.0, Verdict.EQUIVALENT),
        (0.06, 0.0, Verdict.EQUIVALENT),
        (0.089, 0.0, Verdict.INCONCLUSIVE),
        (0.1, 0.0, Verdict.DEGRADED),
        (0.2, 0.0, Verdict.DEGRADED),
    ],
)
def test_verdicts(noise, shift, verdict):
    judged = judge_divergence(pair(noise, shift, seed=3), TOLERANCE, QUIET)
    assert judged.verdict is verdict
    assert bool(judged.reasons) == (verdict is not Verdict.EQUIVALENT or noise > 0.005)


@pytest.mark.parametrize(("noise", "degraded", "stops"), [(0.08, False, False), (0.1, True, False), (0.13, True, True)])
def test_a_comparison_is_stopped_only_well_outside_the_margin(noise, degraded, stops):
    """Their k3 is 0.0032, 0.005 and 0.0085; the smallest fault that was measured has 0.0095."""
    judged = judge_divergence(pair(noise, sequences=64, length=100, seed=3), TOLERANCE, QUIET)
    assert (judged.verdict is Verdict.DEGRADED, judged.stops) == (degraded, stops)


def test_the_nll_shift_decides_nothing():
    """With as much noise the shift's interval reaches over any margin; k3 is a tenth of it."""
    found = pair(0.04, shift=0.03, seed=3)
    assert found.nll_shift.interval.low > FLOOR_NATS
    assert judge_divergence(found, TOLERANCE, QUIET).verdict is Verdict.EQUIVALENT


def test_every_look_spends_and_all_together_err_as_one():
    first = look_alpha()
    assert first == look_alpha((64,)) == pytest.approx(0.00324, abs=1e-5)
    assert look_alpha((64, 128, 512)) == look_alphas((1 / 8, 1 / 4, 1.0), 0.05 / 3)[-1]
    for looks in ((64, 64), (64, 513), (128, 64)):
        with pytest.raises(ValueError, match="looks need shares"):
            look_alpha(looks)
    found = pair(0.09, seed=3)
    (once,), (twice,) = (judge_divergence(found, TOLERANCE, QUIET, looks).reasons for looks in ((9,), (9, 10)))
    assert once.values["interval"].level < twice.values["interval"].level


def struck(*losses, sequences=64, length=100):
    """Equal sides but for what tokens of some texts lose: texts, tokens and nats."""
    first = np.full((sequences, length), -1.0)
    second = first.copy()
    for text, tokens, nats in losses:
        second[text, tokens] -= nats
    return divergence([ScoredText(tuple(x)) for x in first], [ScoredText(tuple(x)) for x in second])


def test_a_fault_that_strikes_one_text_of_many_is_found_by_its_worst_text():
    found = struck((5, slice(None, None, 2), 0.6))
    judged = judge_divergence(found, TOLERANCE, QUIET)
    assert (judged.verdict, judged.stops) == (Verdict.DEGRADED, False)
    assert told(judged.reasons) == [
        "text 6 differs by 0.3 nats per token on the mean, where 0.2 is the most: a fault that strikes some texts"
    ]
    noisy = margins([struck((9, slice(None, None, 3), 0.6))])
    assert judge_divergence(found, noisy, QUIET).verdict is Verdict.INCONCLUSIVE, "the reference's own worst is as bad"
    assert struck((5, 1, 1.5), length=2).worst_text == pytest.approx(1.5 / 16), "one odd token makes no worst text"


def test_tails_beyond_the_references_own_are_findings_and_no_verdict():
    found = struck((slice(8), 7, 2.5))
    assert (found.largest_loss, [one.tokens for one in found.losses]) == (pytest.approx(2.5), [8, 8])
    judged = {"x": judge_divergence(found, margins([STILL]), STILL)}
    assert judged["x"].verdict is Verdict.EQUIVALENT
    said = told(all_findings(judged))
    assert len(said) == 2
    assert (
        "8 of 6400 tokens, in 8 texts, lose more than 2 nats (the most 2.5), the reference's own in 0 texts" in said[1]
    )
    assert not judge_divergence(found, margins([STILL]), struck((slice(3), 1, 2.5))).findings
    assert not judge_divergence(struck((slice(7), 7, 2.5)), margins([STILL]), STILL).findings


def test_what_was_never_seen_may_still_strike_so_often():
    (rare,) = rule_of_three([STILL, STILL])
    assert rare.values["rate"] == pytest.approx(3 / 2560)
    assert rare.values["most"] == pytest.approx(60_000 / 2560)
    assert "of 2,560 lost more than 2 nats" in say(rare)
    check(rare)  # a stored comparison is read only where every value has its place
    assert "23 in an answer of 20,000 tokens, and if it strikes whole texts at most 4.7 % of them" in say(rare)
    assert rule_of_three([STILL, struck((0, 0, 2.5))]) == ()
    assert rule_of_three([]) == ()


def test_an_open_question_says_how_many_tokens_would_close_it():
    open_ = judge_divergence(pair(0.08, sequences=10, length=20, seed=0), TOLERANCE, QUIET)
    assert open_.verdict is Verdict.INCONCLUSIVE
    times = max(float(re.search(r"about ([0-9.]+) times as many", reason)[1]) for reason in told(open_.reasons))
    more = judge_divergence(pair(0.08, sequences=round(10 * times * 3), length=20, seed=9), TOLERANCE, QUIET)
    assert more.verdict is Verdict.EQUIVALENT
    beyond = judge_divergence(pair(0.0905, sequences=16, length=20, seed=10), TOLERANCE, QUIET)
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
    unsure = judge_divergence(pair(0.089), TOLERANCE, QUIET)
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
