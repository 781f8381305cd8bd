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


def swapped(paired) -> PairedItems:
    """The same items with the two sides exchanged."""
    columns = {name: getattr(paired, name) for name in paired.__slots__}
    other = {"reference": "candidate", "candidate": "reference"}
    return PairedItems(
        **{
            f"{other[side]}_{rest}" if side in other else name: column
            for name, column in columns.items()
            for side, _, rest in [name.partition("_")]
        }
    )
