"""How a comparison in rounds ends, and what it asks until then: simulated by the rule that `evalkit.rounds` follows.

Whole passes for suites of fewer than 2,000 items, blocks of items for larger ones, as `evalkit.parts` asks them; a
stored bank counts whole at every look. The look before the first round, which only shows what is worse by far, is left
out, and so are failures.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from evalkit.compare.tiers import ALARMS
from evalkit.examine.simulating import ROWS, Drawn, Gate, Row, World, cases, mean_row, right_answers, simulate, test_row
from evalkit.model import Verdict
from evalkit.parts import LARGE
from evalkit.stats.looks import LookAlphas, comparison_alphas
from evalkit.stats.methods import decide, intervals
from evalkit.stats.multiplicity import holm
from evalkit.stats.paired import BoolArray, FloatArray, IntArray


class Looked(NamedTuple):
    """What became of comparisons: shares by verdict, and of each suite's samples the mean share that was asked."""

    verdicts: Mapping[Verdict, float]
    asked: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """How comparisons are simulated: at most so many `rounds` (1: all at once), `bank` names stored references."""

    rounds: int
    bank: Collection[str]
    comparisons: int
    seed: int = 0


def outcome(gate: Gate, trial: Trial) -> Looked:
    """What becomes of comparisons of the gate; all is asked at once where there is one round, or requests fail."""
    comparisons, rounds = trial.comparisons, trial.rounds
    if rounds < 2 or any(one.failed for one in gate.suites.values()):
        found = simulate(gate, comparisons, trial.seed)
        return Looked({one: found.share(one) for one in Verdict}, dict.fromkeys(gate.suites, 1.0))
    sizes = [[_size(one, look, rounds)[0] for one in gate.suites.values()] for look in range(1, rounds + 1)]
    samples = np.array(sizes)  # the candidate's, of each suite by each look
    levels = comparison_alphas(samples, gate.alpha)
    streams = {name: np.random.default_rng([trial.seed, number]) for number, name in enumerate(gate.suites)}
    words: list[str] = []
    asked = np.zeros(len(gate.suites))
    for start in range(0, comparisons, ROWS):
        looks = _looks(gate, rounds, trial.bank, min(ROWS, comparisons - start), streams)
        ended = stops(*p_values(looks, levels), levels)
        words += _words(ended, looks[-1])
        asked += [samples[until - 1, place].sum() for place, until in enumerate(ended.asked)]
    shares = asked / comparisons / samples[-1]
    told = {verdict: words.count(verdict.value) / comparisons for verdict in Verdict}
    return Looked(told, dict(zip(gate.suites, shares.tolist(), strict=True)))


def _size(world: World, look: int, rounds: int) -> tuple[int, int, int]:
    """By a look: the candidate's samples, how many clusters are asked, and how many of the candidate's repeats."""
    clusters, k = world.shape.items.size, world.repeats[1]
    if world.shape.items.sum() < LARGE:
        passes = math.ceil(k * look / rounds)
        return int(world.shape.items.sum()) * passes, clusters, passes
    part = math.ceil(clusters * look / rounds)
    return int(world.shape.items.sum()) * part // clusters * k, part, k


def _looks(
    gate: Gate, rounds: int, bank: Collection[str], size: int, streams: Mapping[str, np.random.Generator]
) -> list[list[Row]]:
    """The rows of the table at each look, the suites' mean the last."""
    suites = [
        _suite_looks(one, rounds, name in bank, size, streams[name], gate.alpha) for name, one in gate.suites.items()
    ]
    found = [list(rows) for rows in zip(*suites, strict=True)]
    return [[*rows, mean_row(rows, gate)] for rows in found] if len(gate.suites) > 1 else found


def _suite_looks(world: World, rounds: int, bank: bool, size: int, rng: np.random.Generator, alpha: float) -> list[Row]:
    found, right, before = [], [np.zeros((size, world.shape.items.size), np.int64) for _side in (0, 1)], [0, 0]
    order = rng.permutation(world.shape.items.size)
    for look in range(1, rounds + 1):
        _n, part, passes = _size(world, look, rounds)
        whole = bank or world.shape.items.sum() >= LARGE
        repeats = (world.repeats[0] if whole else math.ceil(world.repeats[0] * look / rounds), passes)
        for side, chance in enumerate((world.reference, world.candidate)):
            if new := repeats[side] - before[side]:
                right[side] = right[side] + right_answers(world.shape.items * new, chance, size, rng)
        before = list(repeats)
        kept = np.sort(order[:part])
        at = replace(world, repeats=repeats, shape=world.shape.of(kept) if part < order.size else world.shape)
        came = [np.broadcast_to(at.shape.items * k, (size, kept.size)) for k in repeats]
        drawn = Drawn((right[0][:, kept], right[1][:, kept]), (came[0], came[1]))
        found.append(test_row(cases(at, drawn)[0], world.margin, alpha))
    return found


def p_values(looks: list[list[Row]], levels: LookAlphas) -> tuple[FloatArray, FloatArray]:
    """For `stops`: 0 or 1 for EQUIVALENT at the look's level, and an alarm's where a row is beyond at it, else 1."""
    shape = len(looks), len(looks[0]), looks[0][0].decision.size
    tost, alarm = np.ones(shape), np.ones(shape)
    for look, rows in enumerate(looks):
        for place, row in enumerate(rows):
            ends = intervals(row.evidence, 1.0 - 2.0 * float(levels.alphas[look, place]))
            decision = decide(*ends, row.margin)
            tost[look, place, decision == Verdict.EQUIVALENT] = 0.0
            beyond = np.isin(decision, ALARMS)
            if beyond.any():
                alarm[look, place, beyond] = row.p_alarm(beyond)
    return tost, alarm


def _words(found: Stops, last: list[Row]) -> list[str]:
    """The verdict of each comparison; an alarm's side is that of the row's last difference."""
    points = np.stack([row.evidence.point for row in last])
    worse, better = ((found.alarms & (sign * points > 0)).any(axis=0) for sign in (-1, 1))
    words = np.where(found.equivalent, Verdict.EQUIVALENT.value, Verdict.INCONCLUSIVE.value)
    return [str(word) for word in np.where(worse, "DEGRADED", np.where(better, "ELEVATED", words))]


class Stops(NamedTuple):
    """What became of simulated comparisons: EQUIVALENT or not, which rows alarmed, and how far each suite was asked.

    `equivalent` has one entry a comparison; `alarms` is (rows, comparisons), the mean's row the last; `asked` is
    (suites, comparisons): the number of the last round in which the suite was asked, from 1.
    """

    equivalent: BoolArray
    alarms: BoolArray
    asked: IntArray


def stops(p_tost: FloatArray, p_alarm: FloatArray, levels: LookAlphas) -> Stops:
    """How comparisons in rounds end whose p-values at every look are known; both (looks, rows, comparisons).

    The rule that `evalkit.rounds` follows. A comparison goes on until its mean and every suite are equivalent at their
    levels, or a row alarms after Holm's correction. While the mean is open every suite is asked in each round; once it
    is equivalent it stays so, and so do the suites that are at that look or a later one: these are asked no further.
    """
    looks, rows, n = p_tost.shape
    suites = max(1, rows - 1)
    kept, alarms = np.zeros((rows, n), dtype=np.bool_), np.zeros((rows, n), dtype=np.bool_)
    asked, running = np.zeros((suites, n), dtype=np.int64), np.ones(n, dtype=np.bool_)
    for look in range(looks):
        asked[running & ~kept[:suites]] = look + 1
        inside = p_tost[look] <= levels.alphas[look][:, None]
        p = np.where(kept, 1.0, np.minimum(1.0, p_alarm[look] * levels.scale[look][:, None]))
        alarms |= running & (holm(p) <= levels.alarm)
        kept |= running & inside & (kept[-1] | inside[-1])
        running &= ~alarms.any(axis=0) & ~kept.all(axis=0)
    return Stops(np.asarray(kept.all(axis=0) & ~alarms.any(axis=0)), alarms, asked)
