"""The second look at a night: what is asked again, how both runs' answers become one side, what both looks may spend."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from compare_factory import NOW, beta_chances, binary, compared, judged, many, revalued, side, suite
from hypothesis import given
from hypothesis import strategies as st
from reasons import told

from evalkit import nights
from evalkit.compare import verdict
from evalkit.compare.columns import ReplyText
from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.model import Reason, Status, Verdict
from evalkit.stats.methods import difference_test

POLICY = Policy(default_margin=0.04, overall_margin=0.01)


def night(lost, policy=POLICY):
    return compare(*many(*[(14042, lost, 0)] * 3), policy, NOW)


def test_a_mean_that_is_red_asks_every_suite():
    assert nights.to_confirm(night(280)) == ("s0", "s1", "s2")
    assert nights.to_confirm(night(0)) == ()


def test_a_suite_that_is_red_by_itself_is_asked_alone():
    made = compare(*many((400, 0, 0), (400, 60, 0)), Policy(default_margin=0.04, overall_margin=0.4), NOW)
    assert made.macro.verdict is Verdict.EQUIVALENT
    assert nights.to_confirm(made) == ("s1",)


def test_what_is_accepted_invalid_or_let_pass_is_not_asked_again():
    made = compare(*many((400, 0, 0), (400, 60, 0)), Policy(default_margin=0.04, overall_margin=0.4), NOW)
    waived = replace(made.suites[1], waiver=Reason("known.waived", {"by": "Ann", "until": "2026-12-01", "reason": "x"}))
    assert nights.to_confirm(replace(made, suites=(made.suites[0], waived))) == ()
    assert nights.to_confirm(replace(made, exit_code=0)) == ()
    assert nights.to_confirm(replace(made, verdict=Verdict.INVALID, exit_code=3)) == ()


def test_the_notes_tell_both_looks():
    worse, equal = night(280), night(0)
    assert "overall still not (looks at alpha" in told(nights.twice(worse, worse, 0.05).notes)[-1]
    assert "judged by all answers, all are" in told(nights.twice(worse, equal, 0.05).notes)[-1]
    assert "the rest was kept for a second look" in told(nights.once(equal, 0.05).notes)[-1]
    codes = [suite.reasons[-1].code for suite in nights.twice(worse, equal, 0.05).suites]
    assert set(codes) <= {"second_run.same", "second_run.other"}


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_joined_answers_are_those_of_a_run_that_asked_as_often(k, more, seed):
    rng = np.random.default_rng(seed)
    scores = binary(rng, beta_chances(rng, 40), k + more)
    reference = binary(rng, beta_chances(rng, 40), 6)
    parts = suite(scores[:, :k]), suite(scores[:, k:], repeats=range(more))
    both = nights.joined(*(side("night", part) for part in parts)).suites["quiz"]
    whole, one = judged(suite(reference), suite(scores)), judged(suite(reference), both)
    assert (one.difference, one.ci90, one.k_candidate) == pytest.approx(
        (whole.difference, whole.ci90, whole.k_candidate)
    )


def test_each_answer_keeps_its_text_and_its_words():
    def spoilt(item, _repeat, row):
        return {**row, "value": None, "status": Status.FAILED, "failure": "stall"} if item == 3 else row

    texts = {("quiz", row): f"first {row}" for row in range(60)}
    first = side("night", suite(np.ones(60)), texts=texts)
    second = side("night", suite(np.zeros(60), row=spoilt), texts={("quiz", row): f"second {row}" for row in range(60)})
    both = nights.joined(first, second)
    samples = both.suites["quiz"].samples
    assert [both.reply("quiz", row) for row in (0, 59, 60)] == [
        ReplyText("first 0"), ReplyText("first 59"), ReplyText("second 0"),
    ]  # fmt: skip
    assert samples.failure.counts() == {"": 119, "stall": 1}
    assert samples.repeat.tolist() == [0] * 60 + [1] * 60
    assert both.identity.run_id == "night-1+night-1"


def test_items_in_another_order_find_their_own():
    scores = np.arange(40) % 2.0
    second = suite(scores[::-1], items=[{"name": f"item{number:05d}"} for number in reversed(range(40))])
    both = nights.joined(side("a", suite(scores)), side("a", second)).suites["quiz"]
    assert judged(suite(scores), both).difference == 0.0


@pytest.mark.slow
def test_both_looks_together_pass_a_row_at_its_margin_as_seldom_as_one_may(monkeypatch):
    # The p-value of no difference stands beside the verdict and takes most of the time.
    monkeypatch.setattr(verdict, "difference_test", partial(difference_test, draws=100))
    rng, passed, nights_n = np.random.default_rng(3), 0, 1000
    chances = beta_chances(rng, 400)
    worse = chances * (1 - 0.05 / chances.mean())
    policies = [Policy(margins={"quiz": 0.05}, alpha=alpha) for alpha in nights.alphas(0.05)]
    bank, run = suite(np.zeros((400, 8))), suite(np.zeros((400, 2)))
    for _ in range(nights_n):
        reference = revalued(bank, binary(rng, chances, 8))
        first = side("night", revalued(run, binary(rng, worse, 2)))
        made = compared(reference, first.suites["quiz"], policies[0])
        if nights.to_confirm(made):
            second = nights.joined(first, side("night", revalued(run, binary(rng, worse, 2))))
            made = compared(reference, second.suites["quiz"], policies[1])
        passed += made.verdict is Verdict.EQUIVALENT
    assert passed / nights_n <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / nights_n)
    assert passed / nights_n >= 0.03  # and no more is given away than the bank's own share of the error
