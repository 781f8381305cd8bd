"""The published "operator accuracy" reports, where they are at hand: nothing is alleged, and the number of items decides."""

import numpy as np
import published
import pytest

from evalkit.model import Verdict
from evalkit.publish.published import LOSS, POWER, PublishedRow, items_to_decide, judge_row


@pytest.mark.slow
def test_no_report_is_called_degraded_that_is_not_significant_and_the_items_decide(shared_data):
    found = list(published.lines(shared_data / "accuracy_reports" / "reports.csv", tables=100, seed=1))
    assert len(found) == 22
    assert sum(one.p < published.DEGRADED_LEVEL for one in found) == 2
    assert [one.name for one in found if one.judgment.verdict is Verdict.DEGRADED and one.p >= 0.05] == []
    assert min(one.equal for one in found) >= 0.8
    assert min(one.worse for one in found) >= 0.8


@pytest.mark.parametrize(("mean", "margin"), [(0.12, 0.05), (0.5, 0.05), (0.93, 0.02)])
def test_the_number_of_items_has_the_promised_power(mean, margin):
    judgment = judge_row(PublishedRow("x", mean, mean, 0.0, (), margin=margin))
    assert judgment.needed == items_to_decide(mean, margin)
    rng = np.random.default_rng(4)
    assert published._decided(judgment, 0.0, 100, rng) >= POWER - 0.07
    assert published._decided(judgment, LOSS, 100, rng) >= POWER - 0.07


def test_a_margin_as_wide_as_the_loss_needs_fewer():
    assert items_to_decide(0.5, 0.1) < items_to_decide(0.5, 0.06) < items_to_decide(0.5, 0.02)
    assert items_to_decide(0.5, 0.09) > items_to_decide(0.5, 0.02), "the loss hardly lies beyond the margin"
