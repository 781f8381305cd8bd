"""What has no score is told by status and kind, and never counts as behaviour."""

import numpy as np
import pytest
from compare_factory import judged, suite
from reasons import told

from evalkit.compare.validity import counts_of
from evalkit.model import Status, Verdict
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
