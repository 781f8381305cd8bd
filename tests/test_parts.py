"""What a round asks: nested parts, the same share of every heading, whole clusters, and another order for each seed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.parts import FAST_ITEMS, LARGE, Design, Items, Part, items_of


def items(n, headings=1, in_cluster=1):
    numbers = range(n)
    clusters = [f"c{one // in_cluster}" if in_cluster > 1 else "" for one in numbers]
    return Items(
        tuple(f"i{one}" for one in numbers), tuple((f"h{one % headings}",) for one in numbers), tuple(clusters)
    )


def repeats(n, number, *, rounds=5, most=4, seed=1, whole=False, **more):
    return Part(Design(rounds, seed), {"s": number}, whole).repeats("s", items(n, **more), np.full(n, most))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(2, 9), st.sampled_from([30, 130, LARGE + 7]), st.integers(0, 99))
def test_each_round_holds_the_one_before_and_the_last_holds_all(most, rounds, n, seed):
    parts = [repeats(n, number, rounds=rounds, most=most, seed=seed, headings=3) for number in range(rounds + 1)]
    assert all(np.all(one <= two) for one, two in pairwise(parts))
    assert np.all(parts[-1] == most)
    assert parts[0].sum() == min(n, FAST_ITEMS)


def test_a_small_suite_is_asked_in_whole_passes():
    assert [set(repeats(100, number).tolist()) for number in range(1, 6)] == [{1}, {2}, {3}, {4}, {4}]


def test_a_large_suite_is_asked_in_blocks_with_their_share_of_every_heading():
    for number in range(1, 5):
        due = repeats(LARGE + 500, number, most=1, headings=10).reshape(-1, 10)
        assert np.all(np.abs(due.sum(axis=0) - 250 * number / 5) <= 1)
    assert np.any(repeats(3000, 1, seed=1) != repeats(3000, 1, seed=2))


def test_what_shares_a_cluster_is_asked_in_one_round():
    due = repeats(3000, 2, in_cluster=3, most=2).reshape(-1, 3)
    assert np.all(due.min(axis=1) == due.max(axis=1))
    assert due.mean() / 2 == pytest.approx(0.4, abs=0.1)


def test_a_bank_has_all_repeats_of_what_the_round_asks_and_other_suites_are_whole():
    assert set(repeats(100, 1, whole=True).tolist()) == {4}
    assert set(repeats(3000, 1, whole=True).tolist()) == {0, 4}
    assert repeats(100, 0, whole=True).sum() == 4 * FAST_ITEMS
    assert set(Part(Design(5, 1), {}).repeats("s", items(7), np.full(7, 3)).tolist()) == {3}


def test_the_order_of_the_items_in_a_file_changes_nothing():
    given = items_of([(f"i{one}", ("h",), None) for one in range(3000)])
    turned = items_of([(f"i{one}", ("h",), None) for one in reversed(range(3000))])
    part = Part(Design(5, 3), {"s": 2})
    assert np.array_equal(
        part.repeats("s", given, np.ones(3000, int)), part.repeats("s", turned, np.ones(3000, int))[::-1]
    )
    assert len(items_of([]).names) == 0


def test_unequal_repeats_are_asked_in_the_same_shares():
    part, most = Part(Design(5, 1), {"s": 2}), np.array([2, 3, 6, 10])
    assert part.repeats("s", items(4), most).tolist() == [1, 2, 3, 4]
