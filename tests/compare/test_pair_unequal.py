"""Repeats that differ between items or sides by design: items pair by their means and nothing is dropped or missed."""

import numpy as np
import pytest
from compare_factory import beta_chances, binary, judged, suite
from reasons import told

from evalkit.compare.pair import align
from evalkit.compare.validity import Policy, unequal_failures
from evalkit.model import Status, Verdict


def unequal(scores, repeats, **about):
    """The first so many repeats of each item, as a side that was asked no more."""
    return suite(scores, row=lambda item, repeat, row: row if repeat < repeats[item] else None, **about)


@pytest.fixture
def bank():
    rng = np.random.default_rng(7)
    chances = beta_chances(rng, 400)
    return rng, chances, suite(binary(rng, chances, 16))


def test_unequal_repeats_pair_by_item_means_and_nothing_is_dropped(bank):
    rng, chances, reference = bank
    repeats = rng.integers(2, 9, 400)
    scores = binary(rng, chances, 8)
    result = judged(reference, unequal(scores, repeats), Policy(default_margin=0.05))
    asked = np.arange(8) < repeats[:, None]
    mean = float(np.mean(np.where(asked, scores, 0).sum(axis=1) / repeats))
    assert result.verdict is Verdict.EQUIVALENT
    assert result.coverage == 1.0
    assert result.candidate.mean == pytest.approx(mean)
    assert result.candidate.planned == result.candidate.valued == repeats.sum()
    assert "the candidate was asked its items 2 to 8 times: each counts by the mean of its answers" in told(
        result.notes
    )


def test_what_was_planned_unequally_and_did_not_come_is_missed(bank):
    rng, chances, reference = bank
    repeats = rng.integers(2, 9, 400)
    scores = binary(rng, chances, 8)
    scores[:40, 0] = np.nan  # listed as failed
    result = judged(reference, unequal(scores, repeats))
    assert result.verdict is Verdict.INVALID
    assert result.coverage == pytest.approx(1 - 40 / repeats.sum())
    assert "40 of" in " ".join(told(result.reasons))


def test_a_gap_between_repeats_is_a_loss(bank):
    rng, chances, reference = bank
    scores = binary(rng, chances, 4)
    holed = suite(scores, row=lambda item, repeat, row: None if item % 4 == 0 and repeat == 1 else row)
    assert judged(reference, holed).coverage == pytest.approx(1 - 100 / 1600)


def test_an_item_that_a_side_never_lists_is_a_loss_however_often_others_were_asked(bank):
    rng, chances, reference = bank
    repeats = np.where(np.arange(400) < 20, 0, rng.integers(2, 9, 400))
    result = judged(reference, unequal(binary(rng, chances, 8), repeats))
    assert result.verdict is Verdict.INVALID
    assert any("planned samples are paired" in reason for reason in told(result.reasons))


def test_what_happens_seldom_is_counted_over_the_answers_that_both_sides_gave():
    """An item of a bank of sixteen has a cut answer far more often than one of a candidate that was asked once."""
    rng = np.random.default_rng(3)
    n, alarms = 300, 0

    def cut(item, repeat, row):
        return {**row, "truncated": bool(rng.random() < 0.1), "completion_tokens": float(rng.lognormal(6, 1))}

    for _ in range(20):
        chances = beta_chances(rng, n)
        result = judged(suite(binary(rng, chances, 16), row=cut), suite(binary(rng, chances, 1), row=cut))
        alarms += result.verdict is Verdict.INVALID or any(row.alert for row in result.behaviour)
    assert alarms == 0


def test_requests_that_fail_as_often_on_both_sides_are_no_finding_for_a_bank():
    rng = np.random.default_rng(4)
    sides = [suite(np.where(rng.random((500, k)) < 0.01, np.nan, 1.0)) for k in (16, 2)]
    aligned = align(*sides)
    assert not unequal_failures({"quiz": aligned}, ({"quiz": sides[0]}, {"quiz": sides[1]}), 0.01)


@pytest.mark.parametrize(("shared", "least", "most"), [(0.0, -0.1, 0.1), (0.5, 0.4, 0.6), (1.0, 0.99, 1.0)])
def test_the_correlation_of_answers_with_one_seed_is_measured(shared, least, most):
    rng = np.random.default_rng(5)
    chances = beta_chances(rng, 500)[:, None]
    one, own = rng.random((500, 6)), rng.random((500, 6))
    two = np.where(rng.random((500, 6)) < shared, one, own)
    result = judged((one < chances).astype(float), (two < chances).astype(float))
    row = next(row for row in result.behaviour if row.name == "seed_correlation")
    assert least <= row.candidate <= most
    assert row.interval.low <= row.candidate <= row.interval.high


def test_repeats_that_never_vary_have_no_correlation():
    result = judged(np.ones((50, 4)), np.r_[np.ones((40, 4)), np.zeros((10, 4))])
    assert not any(row.name == "seed_correlation" for row in result.behaviour)
    once = judged(suite(np.ones((50, 1))), suite(np.ones((50, 1)), row=lambda *_: _[-1] | {"status": Status.SCORED}))
    assert not any(row.name == "seed_correlation" for row in once.behaviour)
