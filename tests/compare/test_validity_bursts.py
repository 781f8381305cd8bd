"""A burst of failures is one event of the failure-rate rule; what fails by itself counts by itself."""

import numpy as np
import pytest
from compare_factory import judged, suite
from hypothesis import given
from hypothesis import strategies as st

from evalkit.compare.pair import align
from evalkit.compare.validity import unequal_failures
from evalkit.model import Status

N = 400


def asked(lost, *, timed=True):
    """A suite whose items were sent one after the other; `lost` are those that failed, by number."""

    def change(item, _repeat, row):
        row = {**row, "at": 1.7e9 + item, "seconds": 5.0} if timed else row
        gone = {"value": None, "status": Status.FAILED, "failure": "timeout", "seconds": None}
        return {**row, **gone, "at": row.get("at") and row["at"] - 5.0} if item in lost else row

    return suite((np.random.default_rng(5).random(N) < 0.6).astype(float), row=change)


def unequal(one, two):
    return unequal_failures({"quiz": align(one, two)}, ({"quiz": one}, {"quiz": two}), 0.01).get("quiz")


def test_an_outage_of_one_side_is_one_event():
    whole, outage = asked(()), asked(range(100, 107))
    assert unequal(whole, outage) is None
    assert "unequal.failures" not in [reason.code for reason in judged(whole, outage).reasons]


def test_as_many_failures_at_other_times_are_unequal():
    reason = unequal(asked(()), asked(range(0, N, 40)))
    assert (reason.values["one"], reason.values["two"]) == (0, 10)
    assert "two_events" not in reason.values


def test_without_times_every_item_counts():
    assert unequal(asked((), timed=False), asked(range(100, 110), timed=False)) is not None


def test_an_outage_need_not_meet_all_and_what_lies_apart_is_another():
    reason = unequal(asked(()), asked([*range(0, 90, 9), *range(100, 400, 10)]))
    assert (reason.values["two"], reason.values["two_events"]) == (40, 31)


@given(st.sets(st.integers(0, N - 1), max_size=60), st.integers(0, 12))
def test_there_are_never_more_events_than_items(lost, more):
    both = asked(lost), asked({(item + more) % N for item in lost})
    reason = unequal(*both)
    if reason is not None:
        values = reason.values
        assert values.get("one_events", values["one"]) <= values["one"]
        assert values.get("two_events", values["two"]) <= values["two"]


@pytest.mark.parametrize("first", [0, 7, 350])
def test_items_that_fail_with_all_their_repeats_count_once(first):
    def change(item, repeat, row):
        row = {**row, "at": 1.7e9 + item + 1000 * repeat, "seconds": 5.0}
        gone = {"value": None, "status": Status.FAILED, "failure": "timeout", "seconds": None}
        return {**row, **gone} if item == first else row

    two = suite(np.ones((N, 8)), row=change)
    assert unequal(suite(np.ones((N, 8))), two) is None
