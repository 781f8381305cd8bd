"""Paired items for tests, from a column of scores a side."""

import numpy as np

from evalkit.stats.paired import ItemTraits, PairedItems, Scores, pair_scores


def pair_single(reference, candidate) -> PairedItems:
    """Items asked once on each side: two columns of scores in [0, 1], row by row the same item."""

    def side(scores):
        column = np.asarray(scores, dtype=np.float64)
        return Scores(np.arange(column.size), np.zeros(column.size, dtype=np.int64), column)

    return pair_scores(side(reference), side(candidate), ItemTraits.plain(len(reference)))


def flipped(lost, gained, n) -> PairedItems:
    """`n` items asked once, of which so many went from right to wrong and back."""
    same = n - lost - gained
    return pair_single([1] * lost + [0] * gained + [1] * same, [0] * lost + [1] * gained + [1] * same)
