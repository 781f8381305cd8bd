"""The verdict of the fidelity probe: is a candidate's divergence shown to lie within the reference's own noise?

The margin comes from the reference compared with itself (A/A), never from candidates. Equivalence must be shown: the
whole interval inside the margin, for the shift and for k3, in every comparison. The probe is a detector of faults and
no measure of quality: near the baseline, divergence says nothing about accuracy (arXiv 2606.19558).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.model import Interval, Verdict
from evalkit.stats.divergence import Divergence, Estimate
from evalkit.stats.signflip import sign_flip

FLOOR_NATS: Final = 0.002
NOISE_FACTOR: Final = 3.0
LEAST_SEQUENCES: Final = 8
LEAST_TOKENS: Final = 200
MOST_MISSING: Final = 0.1
LARGEST_NOISE_NATS: Final = 0.03
"""A reference whose own noise asks for more than this per token cannot tell a faithful stack from a broken one."""


@dataclass(frozen=True, slots=True)
class Margins:
    """The tolerances in nats per token, for the shift and for k3."""

    nll_shift: float
    k3: float

    @property
    def usable(self) -> bool:
        """False where the reference's own noise is as large as a fault's."""
        return max(self.nll_shift, self.k3) <= LARGEST_NOISE_NATS


@dataclass(frozen=True, slots=True)
class Judged:
    """One comparison and what it says; `p_noise` is the chance that the reference's own noise differs so much from it.

    `times_noise` is the mean |difference| over that of the reference with itself, None where that is 0.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    p_noise: float | None
    times_noise: float | None


def margins(own_noise: Sequence[Divergence]) -> Margins:
    """Three times the outer end of the reference's own 90 % intervals, and at least 0.002 nats.

    `own_noise` are comparisons of the reference with itself (asked again in another order, decoding against reading).
    """
    shift = [max(abs(one.nll_shift.interval.low), abs(one.nll_shift.interval.high)) for one in own_noise]
    k3 = [one.k3.interval.high for one in own_noise]
    return Margins(max(FLOOR_NATS, NOISE_FACTOR * max(shift)), max(FLOOR_NATS, NOISE_FACTOR * max(k3)))


def judge(found: Divergence | None, tolerance: Margins, own_noise: Divergence) -> Judged:
    """One comparison against the margins: EQUIVALENT, DEGRADED, INCONCLUSIVE or INVALID (too little to judge).

    DEGRADED is shown, not guessed: an interval wholly outside its margin, or tokens that are finite on the first side
    and impossible or NaN on the second, more often than when the reference meets itself.
    """
    if found is None:
        return Judged(Verdict.INVALID, ("no two texts could be compared",), None, None)
    p_noise, times = _against_noise(found, own_noise)
    broken = _broken(found, own_noise)
    if broken:
        return Judged(Verdict.DEGRADED, broken, p_noise, times)
    short = _too_little(found)
    if short:
        return Judged(Verdict.INVALID, short, p_noise, times)
    outside = _outside(found, tolerance)
    if outside:
        return Judged(Verdict.DEGRADED, outside, p_noise, times)
    undecided = _undecided(found, tolerance)
    verdict = Verdict.INCONCLUSIVE if undecided else Verdict.EQUIVALENT
    return Judged(verdict, undecided or _real(found, p_noise, times), p_noise, times)


def overall(judged: Mapping[str, Judged]) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict over all comparisons, the worst first: DEGRADED, INVALID, INCONCLUSIVE, EQUIVALENT; with reasons."""
    for verdict in (Verdict.DEGRADED, Verdict.INVALID, Verdict.INCONCLUSIVE):
        reasons = [f"{name}: {why}" for name, one in judged.items() if one.verdict is verdict for why in one.reasons]
        if reasons:
            return verdict, tuple(reasons)
    return Verdict.EQUIVALENT, tuple(f"{name}: {why}" for name, one in judged.items() for why in one.reasons)


def _broken(found: Divergence, own_noise: Divergence) -> tuple[str, ...]:
    usual = own_noise.events.sudden / max(1, own_noise.tokens)
    if found.events.sudden and found.events.sudden / max(1, found.tokens) > 2 * usual:
        return (f"{found.events.sudden} tokens that are possible on one side are impossible or NaN on the other",)
    return ()


def _too_little(found: Divergence) -> tuple[str, ...]:
    missing = sum(sum(side.values()) for side in (found.events.first, found.events.second))
    if found.sequences < LEAST_SEQUENCES or found.tokens < LEAST_TOKENS:
        enough = f"at least {LEAST_TOKENS} of {LEAST_SEQUENCES} are needed"
        return (f"{found.tokens} tokens of {found.sequences} texts are too few to judge: {enough}",)
    if missing > MOST_MISSING * (found.tokens + missing):
        return (f"{missing} of {found.tokens + missing} log-probabilities are missing or no numbers",)
    return ()


def _outside(found: Divergence, tolerance: Margins) -> tuple[str, ...]:
    reasons = []
    interval = found.nll_shift.interval
    if interval.low > tolerance.nll_shift or interval.high < -tolerance.nll_shift:
        reasons.append(_sentence("nll shift", found.nll_shift.point, interval, tolerance.nll_shift, "outside"))
    if found.k3.interval.low > tolerance.k3:
        reasons.append(_sentence("k3", found.k3.point, found.k3.interval, tolerance.k3, "outside"))
    return tuple(reasons)


def _undecided(found: Divergence, tolerance: Margins) -> tuple[str, ...]:
    reasons = []
    interval = found.nll_shift.interval
    if not -tolerance.nll_shift < interval.low <= interval.high < tolerance.nll_shift:
        sentence = _sentence("nll shift", found.nll_shift.point, interval, tolerance.nll_shift, "reaches over")
        reasons.append(sentence + _more(found.nll_shift, tolerance.nll_shift))
    if not found.k3.interval.high < tolerance.k3:
        sentence = _sentence("k3", found.k3.point, found.k3.interval, tolerance.k3, "reaches over")
        reasons.append(sentence + _more(found.k3, tolerance.k3))
    return tuple(reasons)


def _more(estimate: Estimate, margin: float) -> str:
    """How many times the tokens would bring the interval inside, if the estimate stays: intervals shrink as 1/sqrt."""
    room = margin - abs(estimate.point)
    if room <= 0:
        return "; more tokens would not bring it inside"
    reach = (estimate.interval.high - estimate.interval.low) / 2
    return f"; about {(reach / room) ** 2:.1f} times as many tokens would bring it inside"


def _real(found: Divergence, p_noise: float | None, times: float | None) -> tuple[str, ...]:
    """Within tolerance, but not the same: said, because it is the size of what was let through."""
    if p_noise is None or p_noise >= 0.01:
        return ()
    more = f", {times:.1f} times the reference's own" if times is not None else ", where the reference has none"
    return (f"within tolerance, and a real difference: mean |Δ logprob| {found.mean_abs:.2g} nats{more}",)


def _sentence(name: str, point: float, interval: Interval, margin: float, relation: str) -> str:
    ends = f"{interval.low:.2g} to {interval.high:.2g}"
    return f"{name} {point:.2g} nats per token (90 % interval {ends}) {relation} the margin of {margin:.2g}"


def _against_noise(found: Divergence, own_noise: Divergence) -> tuple[float | None, float | None]:
    """Sign flips over sequences of the mean |difference| here minus that of the reference with itself.

    Sequences with the same number belong to the same prompt; where the noise has none, its mean stands for it.
    """
    here = np.array(found.by_sequence)
    noise = np.full(here.size, own_noise.mean_abs)
    known = np.array(own_noise.by_sequence)[: here.size]
    noise[: known.size] = np.where(np.isnan(known), own_noise.mean_abs, known)
    contributions = (here - noise)[~np.isnan(here)]
    p = sign_flip(contributions, draws=10_000, seed=0).elevated
    return p, found.mean_abs / own_noise.mean_abs if own_noise.mean_abs > 0 else None
