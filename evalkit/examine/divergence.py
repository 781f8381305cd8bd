"""How far two servers' log-probabilities of the same tokens lie apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.stats.paired import FloatArray
from evalkit.stats.tails import Estimate, over_clusters, ratio_estimate

LARGE_NATS: Final = 0.5
TAIL: Final = 0.99
POSITIONS: Final = 100  # the unit of the trend: nats for so many further tokens
LEAST_NEAR_TIE_NATS: Final = 0.01
LOSSES_NATS: Final = (LARGE_NATS, 2.0)  # losses of a single token that are counted
WORST_TOKENS: Final = 16
"""A shorter text's differences count as if it had so many tokens: one odd token makes no worst text."""


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
class Losses:
    """Tokens that lost more than so many nats on the second side, and the texts with such a token."""

    above_nats: float
    tokens: int
    texts: int


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two servers on the same tokens; differences are second minus first, in nats, with 90 % intervals over sequences.

    `nll_shift` is the mean of first minus second: where the texts were sampled from the first at temperature 1, an
    unbiased estimate of the Kullback-Leibler divergence per token. `k3` estimates the same and is never negative
    (J. Schulman, "Approximating KL divergence", 2020). `trend` is the change of |difference| per 100 tokens of
    position, None where every text has one token. `by_sequence` holds each sequence's mean |difference|, NaN where it
    has no token to compare; `worst_text` is the largest of them, and `worst_at` the number of that text from 0.
    `largest_loss` is what a single token lost at most, and `losses` counts those above 0.5 and 2 nats.
    """

    sequences: int
    tokens: int
    nll_shift: Estimate
    k3: Estimate
    mean_abs: float
    p99_abs: float
    max_abs: float
    share_large: float
    worst_text: float
    worst_at: int
    largest_loss: float
    losses: tuple[Losses, ...]
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
    totals = [float(np.abs(column[:, 1]).sum()) / max(WORST_TOKENS, column.shape[0]) for column in columns]
    losses = [(nats, [int(np.sum(column[:, 1] < -nats)) for column in kept]) for nats in LOSSES_NATS]
    return Divergence(
        sequences=len(kept),
        tokens=differences.size,
        nll_shift=ratio_estimate(_sums(kept, np.negative), size),
        # expm1 keeps what e^d - 1 - d loses to rounding near 0.
        k3=ratio_estimate(_sums(kept, lambda difference: np.expm1(difference) - difference), size),
        mean_abs=float(absolute.mean()),
        p99_abs=float(np.quantile(absolute, TAIL)),
        max_abs=float(absolute.max()),
        share_large=float(np.mean(absolute > LARGE_NATS)),
        worst_text=max(totals),
        worst_at=int(np.argmax(totals)),
        largest_loss=max(0.0, float(-differences.min())),
        losses=tuple(Losses(nats, sum(lost), sum(count > 0 for count in lost)) for nats, lost in losses),
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
    one, other = (np.array(text.logprobs, dtype=np.float64) for text in (a, b))  # None becomes NaN
    kept = np.flatnonzero(np.isfinite(one) & np.isfinite(other))
    return np.column_stack((kept, other[kept] - one[kept]))


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
    sides = [[value for text in side for value in text.logprobs] for side in (first, second)]
    kinds: list[dict[str, NDArray[np.bool_]]] = []  # which values are no finite numbers, and why
    for side in sides:
        numbers, missing = np.array(side, dtype=np.float64), np.array([value is None for value in side], dtype=bool)
        kinds.append({"missing": missing, "nan": np.isnan(numbers) & ~missing, "impossible": np.isinf(numbers)})
    one, two = ({name: int(there.sum()) for name, there in kind.items() if there.any()} for kind in kinds)
    finite = ~np.logical_or.reduce(tuple(kinds[0].values()))
    return Events(one, two, int(np.sum(finite & (kinds[1]["impossible"] | kinds[1]["nan"]))))


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
