"""What two servers' own texts say without being scored: how they are drawn, where they end, and which greedy ones part.

Servers report log-probabilities from before temperature, penalties and nucleus. A forced one does not show in them: it
shows in which tokens are drawn, and so in the mean nll of the drawn texts, paired by prompt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evalkit import codec
from evalkit.examine.fidelity import Fidelity
from evalkit.examine.forcing import Drawn
from evalkit.model import Reason, Verdict
from evalkit.stats.methods import exact_mcnemar
from evalkit.stats.tails import t_sf

SAMPLER_ALPHA: Final = 0.001
"""Forced temperature, top-k, top-p and penalties gave |z| of 8 to 12, faithful servers 2.3 at most."""
ENDS_ALPHA: Final = 0.01
LEAST_PAIRS: Final = 8
SAMPLER: Final = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class Greedy:
    """Greedy texts of both sides: how many are identical, and where the others first differ (position from 0).

    `near_ties` is how many of the first differences are at tokens whose lead on the reference is within its own noise,
    `unexplained` how many at a lead that no measured difference of two tokens can turn round.
    """

    compared: int
    identical: int
    first_differences: tuple[int, ...]
    near_ties: int
    unexplained: int = 0


@dataclass(frozen=True, slots=True)
class DrawnNll:
    """The mean nll of both sides' drawn texts over prompts, in nats per token; z of the paired difference."""

    texts: int
    reference: float
    candidate: float
    z: float


def drawn_nll(ours: Sequence[Drawn | None], theirs: Sequence[Drawn | None]) -> DrawnNll | None:
    """Texts of the same prompts, each pair as long as its shorter one; None for fewer than eight pairs."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    means = [(_nll(a, b), _nll(b, a)) for a, b in pairs]
    known = np.array([pair for pair in means if not math.isnan(sum(pair))]).reshape(-1, 2)
    if len(known) < LEAST_PAIRS:
        return None
    difference = known[:, 1] - known[:, 0]
    error = float(difference.std(ddof=1)) / math.sqrt(difference.size)
    z = float(difference.mean()) / error if error > 0 else 0.0
    return DrawnNll(len(known), float(known[:, 0].mean()), float(known[:, 1].mean()), z)


def judge_drawn(found: DrawnNll) -> Fidelity:
    """DEGRADED where the texts are drawn otherwise beyond chance (p at most 0.001, Student's t on both sides)."""
    if 2 * t_sf(abs(found.z), found.texts - 1) > SAMPLER_ALPHA:
        return Fidelity(Verdict.EQUIVALENT, ())
    sizes = {"n": found.texts, "reference": found.reference, "candidate": found.candidate, "z": found.z}
    return Fidelity(Verdict.DEGRADED, (Reason("probe.drawn", sizes),))


def ends(ours: Sequence[Drawn | None], theirs: Sequence[Drawn | None], limit: int) -> tuple[Reason, ...]:
    """Texts that on one side alone run to the token limit, or stop below it without an end of their own."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    told = []
    for at_limit in (True, False):
        flags = [tuple(not text.ended and (len(text.ids) >= limit) is at_limit for text in pair) for pair in pairs]
        here, there = sum(b and not a for a, b in flags), sum(a and not b for a, b in flags)
        if exact_mcnemar(there, here).two_sided <= ENDS_ALPHA:
            counts = {"n": here, "other": there, "all": len(pairs)}
            told.append(Reason("probe.capped" if at_limit else "probe.cut", counts))
    return tuple(told)


def greedy_texts(
    ours: Sequence[Drawn | None], theirs: Sequence[Drawn | None], near_tie: float, largest: float
) -> Greedy:
    """Greedy texts of both sides; `largest` is the largest measured difference of log-probabilities, in nats."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    others = [(a, at) for a, b in pairs if (at := codec.first_difference(a.ids, b.ids)) is not None]
    leads = [a.scores.choices[at] for a, at in others if at < len(a.scores.choices)]
    gaps = [lead.gap for lead in leads if lead is not None]
    ties, strange = sum(gap <= near_tie for gap in gaps), sum(gap > max(near_tie, 2 * largest) for gap in gaps)
    return Greedy(len(pairs), len(pairs) - len(others), tuple(at for _, at in others), ties, strange)


def sampler_of(parameters: Mapping[str, Any]) -> dict[str, float]:
    """The temperature and what cuts or bends a distribution, of a request's parameters; nothing at temperature 0."""
    if not parameters.get("temperature"):
        return {}
    return {name: parameters[name] for name in ("temperature", *SAMPLER) if parameters.get(name) is not None}


def _nll(text: Drawn, other: Drawn) -> float:
    values = [value for value in text.scores.logprobs[: len(other.ids)] if value is not None and math.isfinite(value)]
    return -math.fsum(values) / len(values) if values else math.nan
