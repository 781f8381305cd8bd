"""The noise floor: how far the reference lies from itself, asked twice (`evalkit aa`) or cut into halves.

A difference between two stacks means little beside what one stack differs from itself by; and where that is not
compatible with none at all, it is the harness that is broken, and nothing it says of the candidate counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.inputs import ReplyText, Side, SuiteSide
from evalkit.compare.pair import Aligned
from evalkit.compare.policy import NoiseFloor
from evalkit.model import Verdict
from evalkit.stats.equivalence import judge_difference
from evalkit.stats.paired import Scores, pair_scores

_FLAGRANT = 0.001  # the one-sided level at which the halves of a bank are held to differ


def halves(aligned: Aligned, margin: float, alpha: float) -> NoiseFloor | None:
    """The reference's odd repeats against its even ones; None where no item has both.

    Its interval is wider than that of two whole runs: each half has half the repeats.
    """
    cells = aligned.reference
    if not np.any(cells.repeat > 0):
        return None
    scores = Scores(cells.item, cells.repeat, cells.value)
    even, odd = scores.every_other_repeat(odd=False), scores.every_other_repeat(odd=True)
    n_items = len(aligned.layout.items)
    there = [np.bincount(half.item[~np.isnan(half.score)], minlength=n_items) > 0 for half in (even, odd)]
    asked = np.flatnonzero(there[0] & there[1])
    if not asked.size:
        return None
    paired = pair_scores(even, odd, aligned.layout.traits(asked))
    # The halves come for free with every comparison, so only a flagrant difference between them may stop it.
    decision = judge_difference(paired, margin, _FLAGRANT).decision
    interval = judge_difference(paired, margin, alpha).ci90
    return NoiseFloor(interval, Verdict[decision.name], "halves of the reference's repeats against each other")


def noise_reasons(noise: NoiseFloor | None, margin: float) -> list[str]:
    """A sentence where the reference differs from itself."""
    if noise is None or noise.verdict in {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}:
        return []
    if noise.interval is None:
        return [f"the reference could not be compared with itself ({noise.source}: {noise.verdict.value})"]
    low, high = noise.interval.low * 100, noise.interval.high * 100
    sentence = (
        f"the reference differs from itself by {low:+.2f} … {high:+.2f} points, margin ±{margin * 100:g} "
        f"({noise.source}): the endpoint or the harness is not repeatable, so nothing can be said of the candidate"
    )
    return [sentence]


def half(side: Side, *, odd: bool) -> Side:
    """The even or the odd repeats of a stored run as a side of its own; suites asked once are left out.

    Repeats are numbered anew from 0, so that the two halves pair.
    """
    suites: dict[str, SuiteSide] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    for name, suite in side.suites.items():
        repeat = suite.samples.repeat
        if not np.any(repeat > 0):
            continue
        rows[name] = np.flatnonzero(repeat % 2 == int(odd))
        samples = suite.samples.rows(rows[name])
        suites[name] = replace(suite, samples=replace(samples, repeat=samples.repeat // 2))
    word = "odd" if odd else "even"

    def reply(suite: str, row: int) -> ReplyText | None:
        return side.reply(suite, int(rows[suite][row]))

    identity = replace(side.identity, name=f"{side.identity.name}-{word}")
    return replace(side, identity=identity, suites=suites, reply=reply)
