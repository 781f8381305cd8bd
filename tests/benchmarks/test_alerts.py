"""Equal stacks seldom get an alert on how often something beside accuracy happens, over a whole pack."""

import alerts
import pytest


@pytest.mark.slow
def test_equal_stacks_alarm_in_at_most_one_comparison_of_a_hundred():
    alerted, invalid = alerts.simulated(400, seed=1)
    assert alerted.sum() <= 4
    assert invalid.sum() <= 4
