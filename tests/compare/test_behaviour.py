"""Behaviour rows: what changes beside accuracy is measured, and said where it stands out."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import NOW, binary, judged, side, suite, with_replies

from evalkit.compare.columns import Labels
from evalkit.compare.judge import compare
from evalkit.compare.validity import NoiseFloor, Policy
from evalkit.model import Interval, Status, Verdict
from evalkit.render.words import say, words_of


def rows_of(result):
    return {row.name: row for row in result.behaviour}


@pytest.fixture
def scores():
    return binary(np.random.default_rng(1), np.full(400, 0.5), 1)


def marked(count, **change):
    return lambda item, _repeat, row: {**row, **change} if item < count else row


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cut_answers", {"truncated": True}),
        ("empty_answers", {"status": Status.EMPTY}),
        ("unreadable_answers", {"status": Status.NO_ANSWER}),
        ("refusals", {"status": Status.REFUSED}),
        ("tool_calls", {"status": Status.TOOL_CALL}),
        ("looping_answers", {"loops": True}),
    ],
)
def test_rates_with_intervals_and_alerts(scores, name, change):
    result = judged(suite(scores, row=marked(2, **change)), suite(scores, row=marked(20, **change)))
    row = rows_of(result)[name]
    assert (row.reference, row.candidate, row.unit) == (2 / 400, 20 / 400, "share")
    assert row.interval.low < 0.045 < row.interval.high
    assert say(row.alert) == f"{words_of('en')['row_' + name]} rose from 0.5 to 5.0 % of 400 samples"
    mirrored = judged(suite(scores, row=marked(20, **change)), suite(scores, row=marked(2, **change)))
    assert "fell from 5.0 to 0.5 %" in say(rows_of(mirrored)[name].alert)


def test_a_change_that_chance_explains_is_no_alert(scores):
    result = judged(suite(scores, row=marked(2, loops=True)), suite(scores, row=marked(4, loops=True)))
    assert rows_of(result)["looping_answers"].alert is None
    assert "refusals" not in rows_of(result)  # nothing to say where neither side has any


def test_requests_without_a_score_are_counted_with_cells_that_a_side_lacks(scores):
    drop = suite(scores, row=lambda item, _repeat, row: None if item < 8 else row)
    holes = scores.copy()
    holes[8:10] = np.nan
    result = judged(drop, suite(holes))
    row = rows_of(result)["failed_requests"]
    assert (row.reference, row.candidate) == (0.0, 2 / 400)
    assert result.reference.counts["not_asked"] == 8


def test_longer_answers_are_called_out(scores):
    rng = np.random.default_rng(2)
    lengths = rng.lognormal(5, 1, 400)
    longer = lengths * rng.lognormal(0.2, 0.3, 400)
    one = suite(scores, row=lambda item, _repeat, row: {**row, "completion_tokens": lengths[item]})
    two = suite(scores, row=lambda item, _repeat, row: {**row, "completion_tokens": longer[item]})
    rows = rows_of(judged(one, two))
    ratio = rows["answer_length_ratio"]
    assert ratio.candidate == pytest.approx(np.exp(np.log(longer / lengths).mean()))
    assert ratio.interval.low > 1.05
    assert say(ratio.alert).startswith("answers are 2")
    assert "% longer (95 % interval" in say(ratio.alert)
    assert rows["answer_length"].reference == pytest.approx(lengths.mean())
    assert "% shorter" in say(rows_of(judged(two, one))["answer_length_ratio"].alert)
    assert rows_of(judged(one, one))["answer_length_ratio"].alert is None


def test_characters_stand_in_where_tokens_are_not_counted(scores):
    one = suite(scores, row=lambda item, _repeat, row: {**row, "characters": 100 + item})
    row = rows_of(judged(one, one))["answer_length"]
    assert (row.unit, row.reference) == ("characters", 100 + 199.5)


def test_speed_and_time(scores):
    def timed(seconds):
        return lambda item, _repeat, row: {**row, "completion_tokens": 50, "seconds": seconds}

    rows = rows_of(judged(suite(scores, row=timed(2.0)), suite(scores, row=timed(4.0))))
    assert (rows["speed"].reference, rows["speed"].candidate) == (25.0, 12.5)
    assert (rows["latency"].reference, rows["latency"].candidate) == (2.0, 4.0)
    assert not rows["speed"].alert


def test_nothing_known_gives_no_rows(scores):
    assert judged(scores, scores).behaviour == ()


def broken_template(scores, same):
    """Replies of a stack that keeps its accuracy and writes other texts."""
    texts = [f"The answer is number {i:03d}." for i in range(len(scores))]
    others = [text if i < same else "It must be number 7." for i, text in enumerate(texts)]
    one, left = with_replies(scores, texts, greedy=True, tokens=[8.0] * len(texts))
    two, right = with_replies(scores, others, greedy=True, tokens=[8.0] * len(texts))
    return side("reference", one, texts=left), side("candidate", two, texts=right)


@pytest.mark.parametrize(("margin", "verdict"), [(0.05, Verdict.EQUIVALENT), (0.005, Verdict.INCONCLUSIVE)])
def test_low_text_agreement_stands_beside_a_verdict_that_misses_it(scores, margin, verdict):
    made = compare(*broken_template(scores, 250), Policy(default_margin=margin), NOW)
    result = made.suites[0]
    assert result.verdict is verdict
    assert len(result.reasons) == 2
    assert "only 62.5 % of 400 greedy replies are the same text; they split at 1 token in" in say(result.reasons[1])
    row = rows_of(result)["identical_texts"]
    assert (row.candidate, row.alert) == (0.625, result.reasons[1])
    assert rows_of(result)["first_difference"].unit == "characters"


def silent(sides, empty):
    """The sides, with so many of the candidate's first replies empty and wrong."""
    reference, candidate = sides
    (one,) = candidate.suites.values()
    marked = np.arange(len(one.samples)) < empty
    status = Labels(marked.astype(np.int32), (Status.SCORED, Status.EMPTY))
    value = np.where(marked, 0.0, one.samples.value)
    samples = replace(one.samples, status=status, text=np.where(marked, 1, one.samples.text), value=value)
    return reference, replace(candidate, suites={"quiz": replace(one, samples=samples)})


def test_empty_replies_are_said_before_anything_is_guessed_of_the_others(scores):
    sides = silent(broken_template(scores, 250), 20)
    result = compare(*sides, Policy(default_margin=0.1), NOW).suites[0]
    assert [reason.code for reason in result.reasons] == ["equivalent.differs", "alert.rose", "alert.texts"]
    faithful = compare(*silent(broken_template(scores, 400), 20), Policy(default_margin=0.1), NOW).suites[0]
    assert [reason.code for reason in faithful.reasons] == ["equivalent.differs", "alert.rose"]


def test_a_side_that_is_mostly_empty_is_said_first(scores):
    result = compare(*silent(broken_template(scores, 400), 300), Policy(default_margin=0.05), NOW).suites[0]
    assert result.verdict is Verdict.DEGRADED
    assert say(result.reasons[0]) == "empty answers rose from 0.0 to 75.0 % of 400 samples"


def test_faithful_texts_raise_no_alert(scores):
    result = compare(*broken_template(scores, 380), Policy(default_margin=0.05), NOW).suites[0]
    assert len(result.reasons) == 1
    assert rows_of(result)["identical_texts"].alert is None


def test_the_references_own_agreement_is_shown_and_counts(scores):
    floor = NoiseFloor(Interval(-0.01, 0.01, 0.9), Verdict.EQUIVALENT, "asked twice", text_agreement=0.61)
    made = compare(*broken_template(scores, 250), Policy(default_margin=0.05, noise={"quiz": floor}), NOW)
    row = rows_of(made.suites[0])["identical_texts"]
    assert (row.reference, row.candidate, row.alert) == (0.61, 0.625, None)
