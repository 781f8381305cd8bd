"""What has no score is told by status and kind, and never counts as behaviour."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import NOW, judged, side, suite
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy, counts_of
from evalkit.model import Reason, Status, Verdict
from evalkit.render.words import say


@pytest.mark.parametrize(
    ("counts", "failures", "sentence"),
    [
        ({"scored": 9}, {}, ""),
        ({"failed": 3, "scored": 1}, {"timeout": 1, "connection": 2}, "failed 3 (connection 2, timeout 1)"),
        ({"failed": 3}, {}, "failed 3"),
        ({"not_asked": 5, "grade_error": 2}, {}, "grade error 2, not asked 5"),
    ],
)
def test_what_lacks_is_told_most_frequent_kind_first(counts, failures, sentence):
    without = [status for status in Status if not status.has_value]
    assert say(counts_of(counts, failures, without)) == sentence


def test_all_samples_are_told_the_scored_ones_first():
    counts = {"failed": 2, "no_answer": 4, "scored": 90, "empty": 0}
    assert say(counts_of(counts, {"timeout": 2})) == "scored 90, no answer 4, failed 2 (timeout 2)"


@pytest.fixture
def scores():
    return (np.random.default_rng(5).random(400) < 0.6).astype(float)


def lost(status, share, kind=""):
    """Takes the scores of the first items away."""

    def change(item, _repeat, row):
        return {**row, "value": None, "status": status, "failure": kind} if item < share else row

    return change


def test_an_invalid_suite_names_kinds_by_side(scores):
    holes = suite(scores, row=lost(Status.FAILED, 20, "stall"))
    result = judged(scores, holes)
    assert result.verdict is Verdict.INVALID
    assert say(result.reasons[-1]) == "without a score in the candidate: failed 20 (stall 20)"


def test_a_valid_suite_notes_what_it_lacks(scores):
    result = judged(suite(scores, row=lost(Status.NOT_ASKED, 1)), scores)
    assert result.verdict is not Verdict.INVALID
    assert "without a score in the reference: not asked 1" in told(result.notes)


def test_a_side_that_was_never_asked_behaves_in_no_way(scores):
    asked = suite(
        scores,
        row=lambda item, _repeat, row: {**row, "completion_tokens": 10.0 + item, "seconds": 2.0, "loops": item < 90},
    )
    result = judged(asked, suite(scores, row=lost(Status.NOT_ASKED, 400)))
    assert [row.name for row in result.behaviour] == ["unasked_questions"]
    assert (result.behaviour[0].reference, result.behaviour[0].candidate) == (0.0, 1.0)


def test_rates_are_of_answers_that_came(scores):
    def half(item, _repeat, row):
        if item >= 200:
            return {**row, "value": None, "status": Status.NOT_ASKED}
        return {**row, "value": 0.0, "status": Status.EMPTY} if item < 20 else row

    rows = {row.name: row for row in judged(scores, suite(scores, row=half)).behaviour}
    assert rows["empty_answers"].candidate == 0.1  # 20 of the 200 that were asked
    assert rows["unasked_questions"].candidate == 0.5


def test_sides_whose_answers_share_no_item_have_no_interval(scores):
    def only(first, last):
        def change(item, _repeat, row):
            inside = first <= item < last
            return (
                {**row, "value": 0.0, "status": Status.EMPTY}
                if inside
                else {**row, "value": None, "status": Status.NOT_ASKED}
            )

        return change

    result = judged(suite(scores, row=only(0, 200)), suite(scores, row=only(200, 400)))
    rows = {row.name: row for row in result.behaviour}
    assert rows["empty_answers"].interval is None


def test_where_it_is_known_why_scores_are_missing_that_is_said_once_and_first(scores):
    holes = suite(scores, row=lost(Status.FAILED, 20, "stall"), lacking="http://a/v1 sent nothing for 600 s")
    result = judged(suite(scores, lacking=""), holes)
    assert result.verdict is Verdict.INVALID
    assert told(result.reasons) == [
        "candidate: 380 of 400 have a score (failed 20 (stall 20)): http://a/v1 sent nothing for 600 s"
    ]


def test_what_else_is_wrong_is_said_behind_it(scores):
    holes = suite(scores, row=lost(Status.NOT_ASKED, 399), lacking="")
    codes = [reason.code for reason in judged(suite(scores * 0, lacking=""), holes).reasons]
    assert codes[0] == "missing.why"
    assert "scores.zero" in codes
    assert not {"coverage", "unequal.failures", "items.few", "missing.side"} & set(codes)


def test_a_side_of_which_nobody_knows_why_is_counted_as_before(scores):
    holes = suite(scores, row=lost(Status.FAILED, 20, "stall"))
    known = suite(scores, row=lost(Status.FAILED, 1, "stall"), lacking="why")
    assert "coverage" in [reason.code for reason in judged(known, holes).reasons]


STOPPED = Reason("side.stopped", {"name": "cand", "why": "connection refused at http://a/v1", "n": 0, "all": 400})


def test_a_side_without_any_answer_is_the_whole_comparison(scores):
    empty = replace(side("cand", suite(scores, row=lost(Status.NOT_ASKED, 400), lacking="")), stopped=STOPPED)
    made = compare(side("ref", suite(scores, lacking="")), empty, Policy(), NOW)
    assert (made.verdict, made.suites, made.exit_code) == (Verdict.INVALID, (), 3)
    assert told(made.reasons) == ["cand: connection refused at http://a/v1, 0 of 400 answered"]


def test_what_stopped_a_side_in_the_middle_is_the_first_reason_and_no_suites(scores):
    cause = replace(STOPPED, values={**STOPPED.values, "n": 1234, "all": 2000, "advice": "run again later"})
    half = suite(scores, row=lost(Status.NOT_ASKED, 100), lacking="")
    made = compare(side("ref", suite(scores, lacking="")), replace(side("cand", half), stopped=cause), Policy(), NOW)
    assert told(made.reasons[:1]) == [
        "cand: connection refused at http://a/v1, 1,234 of 2,000 answered; run again later"
    ]
    assert told(made.suites[0].reasons) == ["candidate: 300 of 400 have a score (not asked 100)"]
