"""Folding flat score columns into items, and the refusal of columns that cannot be scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_items import pair_single, swapped

from evalkit.errors import DataError
from evalkit.stats.paired import ItemTraits, PairedItems, Scores, harmonic_mean, pair_scores


def scores(rows):
    item, repeat, score = zip(*rows, strict=True)
    return Scores(np.array(item), np.array(repeat), np.array(score, dtype=float))


def test_repeats_are_folded_into_means_and_variances():
    reference = scores([(0, 0, 1.0), (0, 1, 0.0), (0, 2, 1.0), (1, 0, 0.25)])
    candidate = scores([(1, 0, 0.5), (1, 1, 1.0), (0, 0, 0.0)])
    paired = pair_scores(reference, candidate)
    assert paired.reference_mean == pytest.approx([2 / 3, 0.25])
    assert paired.candidate_mean == pytest.approx([0.0, 0.75])
    assert paired.reference_k.tolist() == [3, 1]
    assert paired.candidate_k.tolist() == [1, 2]
    assert paired.reference_var[0] == pytest.approx(1 / 3)
    assert np.isnan(paired.reference_var[1])
    assert paired.candidate_var[1] == pytest.approx(0.125)
    assert not paired.binary


def test_a_failure_is_no_score_and_an_item_without_scores_is_no_pair():
    reference = scores([(0, 0, 1.0), (1, 0, np.nan), (2, 0, 1.0)])
    candidate = scores([(0, 0, np.nan), (0, 1, 1.0), (1, 0, 1.0), (2, 0, 0.0)])
    paired = pair_scores(reference, candidate)
    assert paired.item.tolist() == [0, 2]
    assert paired.difference.tolist() == [0.0, -1.0]
    assert paired.binary


def test_equal_graded_repeats_have_no_variance():
    rows = [(0, repeat, 0.7) for repeat in range(3)]
    paired = pair_scores(scores(rows), scores(rows))
    assert paired.reference_var.tolist() == [0.0]


def test_traits_follow_their_items():
    traits = ItemTraits(np.array([1.0, 2.0, 3.0]), np.array([7, 7, 8]), np.array([0, 1, 1]))
    side = scores([(2, 0, 1.0), (1, 0, 0.0)])
    paired = pair_scores(side, side, traits)
    assert paired.weight.tolist() == [2.0, 3.0]
    assert paired.cluster.tolist() == [7, 8]
    assert paired.stratum.tolist() == [1, 1]
    assert paired.share.tolist() == [0.4, 0.6]


def test_select_and_swap():
    paired = pair_single([1, 0, 1], [0, 0, 1])
    assert paired.select(np.array([True, False, True])).item.tolist() == [0, 2]
    assert swapped(paired).difference.tolist() == [1.0, 0.0, 0.0]


def test_halves_of_a_stored_run():
    side = scores([(0, 0, 1.0), (0, 1, 0.0), (0, 2, 1.0)])
    assert side.every_other_repeat(odd=False).score.tolist() == [1.0, 1.0]
    assert side.every_other_repeat(odd=True).repeat.tolist() == [1]


def test_harmonic_mean():
    assert harmonic_mean(np.array([1, 2, 4])) == pytest.approx(12 / 7)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0, 0, 1.5)], "item 0, repeat 0 has 1.5"),
        ([(0, 0, -0.1)], r"\[0, 1\]"),
        ([(3, 2, 1.0), (3, 2, 0.0)], "item 3, repeat 2 is listed twice"),
        ([(-1, 0, 1.0)], "negative"),
        ([(0.5, 0, 1.0)], "whole numbers"),
    ],
)
def test_columns_that_are_no_scores_are_refused(rows, words):
    with pytest.raises(DataError, match=words):
        scores(rows)


def test_unequal_columns_and_unknown_items_are_refused():
    with pytest.raises(DataError, match="unequal lengths: item 2, repeat 1, score 1"):
        Scores(np.array([0, 1]), np.array([0]), np.array([1.0]))
    with pytest.raises(DataError, match="it has 2 dimensions"):
        Scores(np.zeros((2, 2)), np.array([0]), np.array([1.0]))
    with pytest.raises(DataError, match="must hold numbers"):
        Scores(np.array([0]), np.array([0]), np.array(["right"]))
    side = scores([(5, 0, 1.0)])
    with pytest.raises(DataError, match="beyond the 3 items"):
        pair_scores(side, side, ItemTraits.plain(3))


def test_nothing_in_common_is_refused():
    with pytest.raises(DataError, match="no item has a score on both sides"):
        pair_scores(scores([(0, 0, 1.0)]), scores([(1, 0, 1.0)]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": np.array([0.0, 0.0])}, "weights"),
        ({"weight": np.array([-1.0, 2.0])}, "weights"),
        ({"reference_mean": np.array([0.0, 1.1])}, r"reference: mean scores must lie"),
        ({"candidate_k": np.array([0, 1])}, "candidate: every paired item"),
        ({"candidate_var": np.array([0.0, np.nan])}, "candidate: the variance"),
    ],
)
def test_impossible_items_are_refused(change, words):
    paired = pair_single([1, 0], [0, 1])
    columns = {name: getattr(paired, name) for name in PairedItems.__slots__} | change
    with pytest.raises(DataError, match=words):
        PairedItems(**columns)


def test_columns_are_read_only():
    paired = pair_single([1, 0], [0, 1])
    with pytest.raises(ValueError, match="read-only"):
        paired.reference_mean[0] = 0.5


def test_large_codes_do_not_overflow_the_duplicate_check():
    side = Scores(np.array([0, 0]), np.array([0, 2**40]), np.array([1.0, 0.0]))
    assert pair_scores(side, side).reference_k.tolist() == [2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=5), min_size=1, max_size=8))
def test_folding_agrees_with_numpy(items):
    rows = [(i, r, value) for i, values in enumerate(items) for r, value in enumerate(values)]
    side = scores(rows)
    paired = pair_scores(side, side)
    for i, values in enumerate(items):
        assert paired.reference_mean[i] == pytest.approx(np.mean(values))
        if len(values) > 1:
            assert paired.reference_var[i] == pytest.approx(np.var(values, ddof=1))
