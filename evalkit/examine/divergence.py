"""How far two servers' log-probabilities of the same tokens lie apart, and the fidelity probe's verdict on that."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from evalkit.model import Reason, Value, Verdict
from evalkit.stats.methods import sign_flip
from evalkit.stats.paired import FloatArray
from evalkit.stats.tails import Estimate, over_clusters, ratio_estimate

LARGE_NATS: Final = 0.5
TAIL: Final = 0.99
POSITIONS: Final = 100
"""The unit of the trend: nats for so many further tokens."""
LEAST_NEAR_TIE_NATS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Choice:
    """What a server would have said at a position: its likeliest token, and by how many nats it leads the second."""

    token: int
    gap: float


@dataclass(frozen=True, slots=True)
class ScoredText:
    """One text on one server: each token's log-probability, and the server's own choice where it tells it.

    An entry is a number, minus infinity, NaN, or None where the server gave nothing.
    """

    logprobs: Sequence[float | None]
    choices: Sequence[Choice | None] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """Tokens that have no difference because a side gave no finite log-probability; one token counts once a side.

    `impossible` is minus infinity, `nan` not a number, `missing` no entry; `sudden` counts the tokens that are finite
    on the first side and impossible or NaN on the second.
    """

    first: dict[str, int]
    second: dict[str, int]
    sudden: int = 0


@dataclass(frozen=True, slots=True)
class ChoiceAgreement:
    """Positions at which both servers' likeliest tokens are known; near-ties of the first server are left out."""

    agreeing: int
    considered: int
    near_ties: int

    @property
    def share(self) -> float | None:
        """The share of considered positions that agree; None where there are none."""
        return self.agreeing / self.considered if self.considered else None


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two servers on the same tokens; differences are second minus first, in nats, with 90 % intervals over sequences.

    `nll_shift` is the mean of first minus second: where the texts were sampled from the first at temperature 1, an
    unbiased estimate of the Kullback-Leibler divergence per token. `k3` estimates the same and is never negative
    (J. Schulman, "Approximating KL divergence", 2020). `trend` is the change of |difference| per 100 tokens of
    position, None where every text has one token. `by_sequence` holds each sequence's mean |difference|, NaN where it
    has no token to compare.
    """

    sequences: int
    tokens: int
    nll_shift: Estimate
    k3: Estimate
    mean_abs: float
    p99_abs: float
    max_abs: float
    share_large: float
    events: Events
    trend: Estimate | None
    agreement: ChoiceAgreement | None
    first_disagreements: tuple[int | None, ...] = field(repr=False, default=())
    by_sequence: tuple[float, ...] = field(repr=False, default=())


def divergence(first: Sequence[ScoredText], second: Sequence[ScoredText], near_tie: float = 0.0) -> Divergence | None:
    """Compare the same texts on two servers; None where fewer than two texts have a token that both gave a number for.

    `near_tie` is in nats: positions where the first server's choice leads by no more are left out of the agreement.
    Raises `ValueError` where the two lists do not hold the same texts.
    """
    if len(first) != len(second) or any(
        len(a.logprobs) != len(b.logprobs) for a, b in zip(first, second, strict=False)
    ):
        raise ValueError("both sides must hold the same texts, token for token")
    events = _events(first, second)
    columns = [_differences(a, b) for a, b in zip(first, second, strict=True)]
    kept = [column for column in columns if column.size]
    if len(kept) < 2:
        return None
    size = np.array([column.shape[0] for column in kept], dtype=np.float64)
    differences = np.concatenate([column[:, 1] for column in kept])
    absolute = np.abs(differences)
    return Divergence(
        sequences=len(kept),
        tokens=differences.size,
        nll_shift=ratio_estimate(_sums(kept, np.negative), size),
        k3=ratio_estimate(_sums(kept, _k3), size),
        mean_abs=float(absolute.mean()),
        p99_abs=float(np.quantile(absolute, TAIL)),
        max_abs=float(absolute.max()),
        share_large=float(np.mean(absolute > LARGE_NATS)),
        events=events,
        trend=_trend(kept),
        agreement=_agreement(first, second, near_tie),
        first_disagreements=tuple(_first_disagreement(a, b, near_tie) for a, b in zip(first, second, strict=True)),
        by_sequence=tuple(float(np.abs(column[:, 1]).mean()) if column.size else math.nan for column in columns),
    )


def near_tie_nats(own_noise: Divergence) -> float:
    """How small a lead the reference's own noise can turn round: two tokens that each move by its 99th percentile."""
    return max(LEAST_NEAR_TIE_NATS, 2 * own_noise.p99_abs)


def _differences(a: ScoredText, b: ScoredText) -> FloatArray:
    """Position and difference of every token that has a finite number on both sides; shape (tokens, 2)."""
    rows = [
        (position, y - x)
        for position, (x, y) in enumerate(zip(a.logprobs, b.logprobs, strict=True))
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _k3(difference: FloatArray) -> FloatArray:
    # expm1 keeps what e^d - 1 - d loses to rounding near 0.
    return np.expm1(difference) - difference


def _sums(columns: Sequence[FloatArray], function: Callable[[FloatArray], FloatArray]) -> FloatArray:
    return np.array([function(column[:, 1]).sum() for column in columns])


def _trend(columns: Sequence[FloatArray]) -> Estimate | None:
    """Least squares of |difference| on position over all tokens, with a standard error over sequences.

    The slope is a sum over tokens of weight * |difference|; the sandwich over clusters sums each sequence's weighted
    residuals before squaring (K.-Y. Liang and S. L. Zeger, Biometrika 73 (1986) 13-22).
    """
    position = np.concatenate([column[:, 0] for column in columns]) / POSITIONS
    centred = position - position.mean()
    spread = float(np.sum(centred**2))
    if spread <= 0:
        return None
    absolute = np.abs(np.concatenate([column[:, 1] for column in columns]))
    slope = float(np.sum(centred * absolute)) / spread
    residual = absolute - absolute.mean() - slope * centred
    cluster = np.repeat(np.arange(len(columns)), [column.shape[0] for column in columns])
    return over_clusters(slope, np.bincount(cluster, weights=centred * residual) / spread)


def _events(first: Sequence[ScoredText], second: Sequence[ScoredText]) -> Events:
    kinds = [[_kind(value) for text in side for value in text.logprobs] for side in (first, second)]
    one, two = (dict(Counter(filter(None, side))) for side in kinds)
    sudden = sum(here == "" and there in {"impossible", "nan"} for here, there in zip(*kinds, strict=True))
    return Events(one, two, sudden)


def _kind(value: float | None) -> str:
    if value is None:
        return "missing"
    if math.isnan(value):
        return "nan"
    return "" if math.isfinite(value) else "impossible"


def _agreement(first: Sequence[ScoredText], second: Sequence[ScoredText], near_tie: float) -> ChoiceAgreement | None:
    texts = zip(first, second, strict=True)
    pairs = [pair for a, b in texts for pair in zip(a.choices, b.choices, strict=False)]
    known = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    alike = [ours.token == theirs.token for ours, theirs in known if ours.gap > near_tie]
    return ChoiceAgreement(sum(alike), len(alike), len(known) - len(alike)) if known else None


def _first_disagreement(a: ScoredText, b: ScoredText, near_tie: float) -> int | None:
    """The position from 0 at which the likeliest tokens first differ, near-ties aside; None where they never do."""
    for position, (ours, theirs) in enumerate(zip(a.choices, b.choices, strict=False)):
        if ours and theirs and ours.gap > near_tie and ours.token != theirs.token:
            return position
    return None


# The verdict of the fidelity probe. The margin comes from the reference compared with itself (A/A), never from
# candidates. Equivalence must be shown: the whole interval inside the margin, for the shift and for k3, in every
# comparison. The probe is a detector of faults and no measure of quality: near the baseline, divergence says nothing
# about accuracy (arXiv 2606.19558).
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
class Fidelity:
    """One comparison and what it says; `p_noise` is the chance that the reference's own noise differs so much from it.

    `times_noise` is the mean |difference| over that of the reference with itself, None where that is 0.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    p_noise: float | None
    times_noise: float | None


def margins(own_noise: Sequence[Divergence]) -> Margins:
    """Three times the outer end of the reference's own 90 % intervals, and at least 0.002 nats.

    `own_noise` are comparisons of the reference with itself (asked again in another order, decoding against reading).
    """
    shift = [max(abs(one.nll_shift.interval.low), abs(one.nll_shift.interval.high)) for one in own_noise]
    k3 = [one.k3.interval.high for one in own_noise]
    return Margins(max(FLOOR_NATS, NOISE_FACTOR * max(shift)), max(FLOOR_NATS, NOISE_FACTOR * max(k3)))


def judge_divergence(found: Divergence | None, tolerance: Margins, own_noise: Divergence) -> Fidelity:
    """One comparison against the margins: EQUIVALENT, DEGRADED, INCONCLUSIVE or INVALID (too little to judge).

    DEGRADED is shown, not guessed: an interval wholly outside its margin, or tokens that are finite on the first side
    and impossible or NaN on the second, more often than when the reference meets itself.
    """
    if found is None:
        return Fidelity(Verdict.INVALID, (Reason("probe.nothing"),), None, None)
    p_noise, times = _against_noise(found, own_noise)
    usual = own_noise.events.sudden / max(1, own_noise.tokens)
    if found.events.sudden and found.events.sudden / max(1, found.tokens) > 2 * usual:
        broken = Reason("probe.impossible", {"n": found.events.sudden})
        return Fidelity(Verdict.DEGRADED, (broken,), p_noise, times)
    short = _too_little(found)
    if short:
        return Fidelity(Verdict.INVALID, short, p_noise, times)
    outside, undecided = _against_margins(found, tolerance)
    if outside:
        return Fidelity(Verdict.DEGRADED, outside, p_noise, times)
    verdict = Verdict.INCONCLUSIVE if undecided else Verdict.EQUIVALENT
    return Fidelity(verdict, undecided or _real(found, p_noise, times), p_noise, times)


def overall_fidelity(judged: Mapping[str, Fidelity]) -> tuple[Verdict, tuple[Reason, ...]]:
    """The verdict over all comparisons, the worst first: DEGRADED, INVALID, INCONCLUSIVE, EQUIVALENT; with reasons."""
    for verdict in (Verdict.DEGRADED, Verdict.INVALID, Verdict.INCONCLUSIVE):
        reasons = _of({name: one for name, one in judged.items() if one.verdict is verdict})
        if reasons:
            return verdict, reasons
    return Verdict.EQUIVALENT, _of(judged)


def _of(judged: Mapping[str, Fidelity]) -> tuple[Reason, ...]:
    told = [(name, why) for name, one in judged.items() for why in one.reasons]
    return tuple(Reason("probe.of", {"compared": name, "why": why}) for name, why in told)


def _too_little(found: Divergence) -> tuple[Reason, ...]:
    missing = sum(sum(side.values()) for side in (found.events.first, found.events.second))
    if found.sequences < LEAST_SEQUENCES or found.tokens < LEAST_TOKENS:
        least = {"least_tokens": LEAST_TOKENS, "least_texts": LEAST_SEQUENCES}
        return (Reason("probe.few", {"tokens": found.tokens, "texts": found.sequences, **least}),)
    if missing > MOST_MISSING * (found.tokens + missing):
        return (Reason("probe.missing", {"n": missing, "all": found.tokens + missing}),)
    return ()


def _against_margins(found: Divergence, tolerance: Margins) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """A reason for each interval that lies wholly outside its margin, and for each that reaches over it."""
    outside, over = [], []
    for name, estimate, lowest, margin in (
        ("nll shift", found.nll_shift, -tolerance.nll_shift, tolerance.nll_shift),
        ("k3", found.k3, -math.inf, tolerance.k3),
    ):
        interval = estimate.interval
        told: dict[str, Value] = {"measure": name, "x": estimate.point, "interval": interval, "margin": margin}
        if interval.low > margin or interval.high < lowest:
            outside.append(Reason("probe.outside", told))
        elif not (lowest < interval.low and interval.high < margin):
            over.append(Reason("probe.reaches_over", {**told, "then": _more(estimate, margin)}))
    return tuple(outside), tuple(over)


def _more(estimate: Estimate, margin: float) -> Reason:
    """How many times the tokens would bring the interval inside, if the estimate stays: intervals shrink as 1/sqrt."""
    room = margin - abs(estimate.point)
    if room <= 0:
        return Reason("probe.no_tokens")
    reach = (estimate.interval.high - estimate.interval.low) / 2
    return Reason("probe.more_tokens", {"times": (reach / room) ** 2})


def _real(found: Divergence, p_noise: float | None, times: float | None) -> tuple[Reason, ...]:
    """Within tolerance, but not the same: said, because it is the size of what was let through."""
    if p_noise is None or p_noise >= 0.01:
        return ()
    if times is None:
        return (Reason("probe.real_alone", {"nats": found.mean_abs}),)
    return (Reason("probe.real", {"nats": found.mean_abs, "times": times}),)


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
