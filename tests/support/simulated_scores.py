"""Score columns of simulated comparisons, where the benchmark's simulation needs no more than histograms."""

import numpy as np
from simulation import kinds_of, whole_items

from evalkit.stats.paired import Scores


def simulate_scores(world, n_items, k, delta, rng):
    """Both sides' score columns of one comparison, k repeats an item, at a true difference of delta."""
    kinds = kinds_of(world, n_items, delta)
    if world.new_items:
        kind = rng.choice(kinds.share.size, size=n_items, p=kinds.share)
    else:
        kind = np.repeat(np.arange(kinds.share.size), whole_items(kinds.share, n_items))
    item, repeat = np.repeat(np.arange(n_items), k), np.tile(np.arange(k), n_items)
    right = [rng.random(item.size) < chance[kind][item] for chance in (kinds.reference, kinds.candidate)]
    return Scores(item, repeat, right[0].astype(np.float64)), Scores(item, repeat, right[1].astype(np.float64))
