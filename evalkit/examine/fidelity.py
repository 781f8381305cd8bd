"""What a distance between two servers' log-probabilities means: the fidelity probe's margins and verdicts.

k3 decides: it estimates the divergence with a tenth of the nll shift's error, and the shift is only printed.
Equivalence must be shown: k3's whole interval inside the margin, in every comparison. A mean hides a fault that strikes
some texts, so the worst text is judged too. More prompts after a look are another look, and the error is spent over
them. The probe is a detector of faults and no measure of quality: near the baseline, divergence says nothing about
accuracy (arXiv 2606.19558).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evalkit.examine.divergence import Divergence
from evalkit.model import Interval, Reason, Value, Verdict
from evalkit.stats.looks import look_alphas
from evalkit.stats.methods import sign_flip
from evalkit.stats.tails import binomial_upper, t_quantile

FLOOR_NATS: Final = 0.004
"""Twice the largest k3 of a faithful way to serve that was measured (compiled with CUDA graphs against eager)."""
STOP_NATS: Final = 0.006
NOISE_FACTOR: Final = 3.0
LARGEST_MARGIN_NATS: Final = 0.009
"""The smallest fault that was measured has a k3 of 0.0095: no wider margin tells it from the reference's noise."""
WORST_TEXT_NATS: Final = 0.2
"""The worst text of faithful servers has a mean |difference| of 0.112 at most, that of a fault under load 0.37."""
ALPHA: Final = 0.05
COMPARISONS: Final = 3
MOST_AGAIN: Final = 8
"""A probe may be lengthened to so many times the tokens of its first look, which is fixed with that look."""
LEAST_SEQUENCES: Final = 8
LEAST_TOKENS: Final = 200
MOST_MISSING: Final = 0.1
TAIL_ALPHA: Final = 0.005
TRACE_TOKENS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Margins:
    """Tolerances in nats per token: for k3, for k3 where no suite need be asked any more, and for the worst text."""

    k3: float
    stop: float
    worst_text: float

    @property
    def usable(self) -> bool:
        """False where the reference's own noise is as large as a fault's."""
        return self.k3 <= LARGEST_MARGIN_NATS


@dataclass(frozen=True, slots=True)
class Fidelity:
    """One comparison and what it says; `p_noise` is the chance that the reference's own noise differs so much from it.

    `times_noise` is the mean |difference| over that of the reference with itself, None where that is 0. `stops` says
    that the fault is so large that no suite need be asked. `findings` change no verdict.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    p_noise: float | None = None
    times_noise: float | None = None
    stops: bool = False
    findings: tuple[Reason, ...] = ()


FLOORS: Final = Margins(FLOOR_NATS, STOP_NATS, WORST_TEXT_NATS)


def margins(own_noise: Sequence[Divergence]) -> Margins:
    """Three times what the reference shows against itself, never below the floors.

    `own_noise` are comparisons of the reference with itself: asked again in another order, decoding against reading,
    served a second way. Point estimates count, so that a margin does not depend on how many tokens are asked.
    """
    k3 = max(FLOORS.k3, NOISE_FACTOR * max(one.k3.point for one in own_noise))
    worst = max(FLOORS.worst_text, NOISE_FACTOR * max(one.worst_text for one in own_noise))
    return Margins(k3, max(FLOORS.stop, k3), worst)


def look_alpha(looks: tuple[int, ...] = (1,)) -> float:
    """What each end of an interval may err at the last of some looks, given by their tokens in rising order.

    Over all three comparisons and all looks, up to eight times the first one's tokens, that is at most 0.05.

    Raises `ValueError`: for looks that do not rise, or beyond eight times the first.
    """
    return look_alphas(tuple(tokens / (MOST_AGAIN * looks[0]) for tokens in looks), ALPHA / COMPARISONS)[-1]


def judge_divergence(
    found: Divergence | None, tolerance: Margins, own_noise: Divergence, looks: tuple[int, ...] = (1,)
) -> Fidelity:
    """One comparison against the margins: EQUIVALENT, DEGRADED, INCONCLUSIVE or INVALID (too little to judge).

    DEGRADED is shown, not guessed: k3's interval wholly outside its margin, a text on which the two differ as no text
    of the reference differs from itself, or tokens that are finite on the first side and impossible or NaN on the
    second, more often than when the reference meets itself. `looks` are those at this probe, as for `look_alpha`.
    """
    if found is None:
        return Fidelity(Verdict.INVALID, (Reason("probe.nothing"),))
    p_noise, times = _against_noise(found, own_noise)
    usual = own_noise.events.sudden / max(1, own_noise.tokens)
    if found.events.sudden and found.events.sudden / max(1, found.tokens) > 2 * usual:
        broken = Reason("probe.impossible", {"n": found.events.sudden})
        return Fidelity(Verdict.DEGRADED, (broken,), p_noise, times, stops=True)
    short = _too_little(found)
    if short:
        return Fidelity(Verdict.INVALID, short, p_noise, times)
    alpha = look_alpha(looks)
    reach = t_quantile(1 - alpha, found.k3.df) * found.k3.standard_error
    interval = Interval(found.k3.point - reach, found.k3.point + reach, round(1 - 2 * alpha, 3))
    told: dict[str, Value] = {"measure": "k3", "x": found.k3.point, "interval": interval, "margin": tolerance.k3}
    outside = [Reason("probe.outside", told)] if interval.low > tolerance.k3 else []
    if not outside and found.worst_text > tolerance.worst_text:
        worst: dict[str, Value] = {"n": found.worst_at + 1, "nats": found.worst_text, "margin": tolerance.worst_text}
        outside.append(Reason("probe.worst_text", worst))
    if outside:
        return Fidelity(Verdict.DEGRADED, tuple(outside), p_noise, times, stops=interval.low > tolerance.stop)
    tails = _tails(found, own_noise)
    if interval.high >= tolerance.k3:
        over = Reason("probe.reaches_over", {**told, "then": _more(found, interval, tolerance.k3)})
        return Fidelity(Verdict.INCONCLUSIVE, (over,), p_noise, times, findings=tails)
    return Fidelity(Verdict.EQUIVALENT, _real(found, p_noise, times), p_noise, times, findings=tails)


def overall_fidelity(judged: Mapping[str, Fidelity]) -> tuple[Verdict, tuple[Reason, ...]]:
    """The verdict over all comparisons, the worst first: DEGRADED, INVALID, INCONCLUSIVE, EQUIVALENT; with reasons."""
    for verdict in (Verdict.DEGRADED, Verdict.INVALID, Verdict.INCONCLUSIVE):
        reasons = _of({name: one.reasons for name, one in judged.items() if one.verdict is verdict})
        if reasons:
            return verdict, reasons
    return Verdict.EQUIVALENT, _of({name: one.reasons for name, one in judged.items()})


def all_findings(judged: Mapping[str, Fidelity]) -> tuple[Reason, ...]:
    """What was found beside the verdicts, by comparison."""
    return _of({name: one.findings for name, one in judged.items()})


def rule_of_three(found: Sequence[Divergence]) -> tuple[Reason, ...]:
    """How often a fault may still strike that was seen on none of the tokens; nothing where one was seen.

    Nothing in n has a 95 % upper limit of 3 / n (J. A. Hanley and A. Lippman-Hand, JAMA 249 (1983) 1743-1745); for a
    fault that strikes whole texts, n is the number of texts.
    """
    if not found or any(one.losses[-1].tokens or one.events.sudden for one in found):
        return ()
    tokens, texts = sum(one.tokens for one in found), sum(one.sequences for one in found)
    rate: dict[str, Value] = {"rate": 3 / tokens, "trace": TRACE_TOKENS, "most": 3 * TRACE_TOKENS / tokens}
    struck: dict[str, Value] = {"nats": found[0].losses[-1].above_nats, "tokens": tokens, "texts": texts}
    return (Reason("probe.rare", {**struck, **rate, "share": 300 / texts}),)


def _of(told: Mapping[str, Sequence[Reason]]) -> tuple[Reason, ...]:
    return tuple(Reason("probe.of", {"compared": name, "why": why}) for name, whys in told.items() for why in whys)


def _too_little(found: Divergence) -> tuple[Reason, ...]:
    missing = sum(sum(side.values()) for side in (found.events.first, found.events.second))
    if found.sequences < LEAST_SEQUENCES or found.tokens < LEAST_TOKENS:
        least = {"least_tokens": LEAST_TOKENS, "least_texts": LEAST_SEQUENCES}
        return (Reason("probe.few", {"tokens": found.tokens, "texts": found.sequences, **least}),)
    if missing > MOST_MISSING * (found.tokens + missing):
        return (Reason("probe.missing", {"n": missing, "all": found.tokens + missing}),)
    return ()


def _more(found: Divergence, interval: Interval, margin: float) -> Reason:
    """How many times the tokens would bring the interval inside, if the estimate stays: intervals shrink as 1/sqrt."""
    room = margin - found.k3.point
    if room <= 0:
        return Reason("probe.no_tokens")
    return Reason("probe.more_tokens", {"times": ((interval.high - interval.low) / 2 / room) ** 2})


def _tails(found: Divergence, own_noise: Divergence) -> tuple[Reason, ...]:
    """Texts with a token of great loss, where they are more than the reference's own as chance has it.

    Were a text as likely to have one in either, those of both together would be split as coins fall.
    """
    told = []
    for here, own in zip(found.losses, own_noise.losses, strict=True):
        if here.texts > own.texts and binomial_upper(here.texts, here.texts + own.texts, 0.5) <= TAIL_ALPHA:
            counts = {"n": here.tokens, "all": found.tokens, "texts": here.texts, "own": own.texts}
            told.append(Reason("probe.tail", {**counts, "nats": here.above_nats, "most": found.largest_loss}))
    return tuple(told)


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
    p = sign_flip(contributions, draws=2_000, seed=0).elevated
    return p, found.mean_abs / own_noise.mean_abs if own_noise.mean_abs > 0 else None
