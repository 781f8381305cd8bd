"""The noise floors: how far the reference lies from itself, asked or graded twice, and what that means for a suite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import NO_TEXT, ReplyText, Side, SuiteSide
from evalkit.compare.pair import Aligned
from evalkit.compare.policy import NoiseFloor
from evalkit.model import Interval, Reason, Value, Verdict
from evalkit.stats.methods import DifferenceTest, judge_difference
from evalkit.stats.paired import Scores, pair_scores

_FLAGRANT: Final = 0.001
"""The one-sided level at which the halves of a bank are held to differ, or a judge to have drifted."""


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
    return NoiseFloor(interval, Verdict[decision.name], Reason("noise.halves"))


def noise_reasons(noise: NoiseFloor | None, margin: float) -> list[Reason]:
    """A reason where the reference differs from itself."""
    if noise is None or noise.verdict in {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}:
        return []
    if noise.interval is None:
        return [Reason("noise.unknown", {"source": noise.source, "verdict": noise.verdict.value})]
    return [Reason("noise.differs", {"interval": noise.interval, "margin": margin, "source": noise.source})]


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


# ---------------------------------------------------------------- the judge's own noise
# What the judge says of the same answer twice differs for no reason of the endpoints. Its mean difference is a noise
# floor beside the suite's difference, and the spread of the differences gives the part of the suite's difference that
# is the judge's alone: answers that both sides gave are graded once, so only the others carry any.


@dataclass(frozen=True, slots=True)
class JudgeNoise:
    """What a second grading showed.

    `floor` has the `interval` of its difference from the first; `graded` of `answers` were graded twice; `sd` is the
    standard deviation of the suite's difference that the judge alone would cause (a fraction); `differing` is the share
    of paired answers whose texts differ.
    """

    floor: NoiseFloor
    interval: Interval
    shift: float
    graded: int
    answers: int
    sd: float
    differing: float

    def note(self, test: DifferenceTest) -> Reason:
        """For the report: the floor, the judge's part of the difference, and whether the difference exceeds it."""
        values: dict[str, Value] = {
            "n": self.graded,
            "all": self.answers,
            "shift": self.shift,
            "interval": self.interval,
            "margin": test.margin,
            "deviation": self.sd,
            "share": self.differing,
        }
        if test.point and abs(test.point) <= 2 * self.sd:
            values |= {"difference": test.point, "of": test.ci90}
        return Reason("note.judge_noise", values)


def judge_noise(
    reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, margin: float, alpha: float
) -> JudgeNoise | None:
    """The judge's noise from the reference's second grading; None where fewer than two answers have one."""
    cells, samples = aligned.reference, reference.samples
    names = samples.items.name
    second = np.full(len(cells), np.nan)
    for place, row in enumerate(cells.row.tolist()) if reference.second else ():
        if row >= 0:
            key = names[int(samples.item[row])], int(samples.repeat[row])
            second[place] = reference.second.get(key, np.nan)
    twice = ~np.isnan(second) & ~np.isnan(cells.value)
    if np.count_nonzero(twice) < 2:
        return None
    item, repeat = cells.item[twice], cells.repeat[twice]
    one, two = (Scores(item, repeat, column[twice]) for column in (cells.value, second))
    paired = pair_scores(one, two, aligned.layout.traits(np.unique(item)))
    changes = second[twice] - cells.value[twice]
    differing = _differing(reference, candidate, aligned)
    answers = int(np.count_nonzero(~np.isnan(cells.value)))
    interval = judge_difference(paired, margin, alpha).ci90
    floor = NoiseFloor(
        interval,
        Verdict[judge_difference(paired, margin, _FLAGRANT).decision.name],
        Reason("noise.judge", {"n": int(np.count_nonzero(twice)), "all": answers}),
    )
    # Twice the variance of one grading is the variance of such a change, and of a difference between two other answers.
    sd = sqrt(differing * float(np.mean(changes**2)) / answers)
    shift = float(paired.share @ paired.difference)
    return JudgeNoise(floor, interval, shift, int(twice.sum()), answers, sd, differing)


def _differing(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned) -> float:
    """The share of cells that both sides answered whose texts differ; an unknown text differs from every other."""
    rows = aligned.reference.row[aligned.both[0]], aligned.candidate.row[aligned.both[1]]
    there = (rows[0] >= 0) & (rows[1] >= 0)
    if not there.any():
        return 1.0
    one, two = reference.samples.text[rows[0][there]], candidate.samples.text[rows[1][there]]
    return float(np.mean((one != two) | (one == NO_TEXT)))
