"""What a comparison found: suite by suite, item by item, and on the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

COMPARISON_SCHEMA_VERSION: Final = 1


class Verdict(StrEnum):
    """What may be said of a suite or of the whole comparison."""

    EQUIVALENT = "EQUIVALENT"
    DEGRADED = "DEGRADED"
    ELEVATED = "ELEVATED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"

    @property
    def exit_code(self) -> int:
        """The process exit code that stands for this verdict."""
        return {"EQUIVALENT": 0, "DEGRADED": 1, "ELEVATED": 1, "INVALID": 3, "INCONCLUSIVE": 4}[self.value]


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval; `level` is its confidence, e.g. 0.9."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class NeededRepeats:
    """How many repeats per item would decide; `repeats` is None where no number can, and `note` says why.

    `samples` and `completion_tokens` are for both sides together.
    """

    repeats: int | None
    samples: int | None
    completion_tokens: int | None
    power: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class SideSummary:
    """One side of one suite. `counts` maps `Status` values to numbers of (item, repeat) samples.

    `k` is the harmonic mean of the repeats that have a value; `failures` maps failure kinds to numbers.
    """

    mean: float | None
    standard_error: float | None
    planned: int
    valued: int
    k: float
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    prompt_tokens: int | None = None
    completion_tokens_mean: float | None = None
    completion_tokens_p95: float | None = None
    latency_p50_seconds: float | None = None
    lenient_mean: float | None = None


@dataclass(frozen=True, slots=True)
class Flips:
    """Numbers of items whose mean score fell or rose, and the share of items that changed either way."""

    regressed: int
    improved: int
    churn: float


@dataclass(frozen=True, slots=True)
class BehaviourRow:
    """Something beside accuracy: `alert` is a sentence where the two sides differ enough to say so."""

    name: str
    reference: float | None
    candidate: float | None
    unit: str
    interval: Interval | None = None
    alert: str = ""


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """One heading under a suite (a subject, a domain, a category): for information, never gating."""

    heading: tuple[str, ...]
    n_items: int
    reference: float
    candidate: float
    difference: float
    ci90: Interval | None = None


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """The judgment on one suite. `margin` is a fraction; `ci90` is at level 1 - 2 alpha."""

    suite: str
    label: str
    verdict: Verdict
    reasons: tuple[str, ...]
    n_items: int
    k_reference: float
    k_candidate: float
    reference: SideSummary
    candidate: SideSummary
    difference: float | None
    ci90: Interval | None
    ci95: Interval | None
    margin: float
    p_tost: float | None
    p_difference: float | None
    method: str
    coverage: float
    flips: Flips
    needed_repeats: NeededRepeats | None = None
    noise_floor: Interval | None = None
    behaviour: tuple[BehaviourRow, ...] = ()
    breakdown: tuple[BreakdownRow, ...] = ()
    headline: str = ""
    chance: float | None = None
    gated: bool = False
    licence: str = ""
    data_digest: str = ""
    protocol_digest: str = ""
    variance_within: float | None = None
    variance_between: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Macro:
    """The unweighted mean over suites of reference, candidate and difference, with its interval."""

    reference: float
    candidate: float
    difference: float
    ci90: Interval
    suites: int
    worst_suite: str
    worst_difference: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose value differs between the two sides' configurations, endpoints or manifests."""

    key: str
    reference: str
    candidate: str


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Which run a side was: enough to find it again and to print under a table."""

    name: str
    run_id: str
    model: str
    path: str
    started: str
    versions: Mapping[str, str]
    endpoint: Mapping[str, str]
    sampling: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Flip:
    """One item that changed, with both replies (a representative repeat each) for the eye.

    `kind` is "regressed", "improved" or "changed" (same score, other answer); `question` is None where
    the data set asks that its questions not be shared; `evidence` ranks flips, largest first.
    """

    suite: str
    item: str
    kind: str
    reference_score: float
    candidate_score: float
    reference_status: str
    candidate_status: str
    reference_answer: str | None
    candidate_answer: str | None
    reference_text: str
    candidate_text: str
    target: str
    evidence: float
    repeat: int = 0
    question: str | None = None
    stratum: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What the fidelity probe found before the suites were asked: its verdict with the reasons, and on how much.

    `tokens` are those of the reference's texts that both sides scored, of so many `texts`; the mean absolute difference
    of their log-probabilities is in nats, None where nothing could be compared.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    texts: int
    tokens: int
    mean_abs_nats: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a report is made from: two runs, the judgment on each suite, and the verdict.

    Without suites nothing was asked: `reasons` say why, and `probe` where it was the fidelity probe that said so.
    """

    reference: RunIdentity
    candidate: RunIdentity
    suites: tuple[SuiteResult, ...]
    verdict: Verdict
    exit_code: int
    reasons: tuple[str, ...]
    macro: Macro | None
    differences: tuple[Difference, ...]
    alpha: float
    created: str
    evalkit_version: str
    flips: tuple[Flip, ...] = ()
    notes: tuple[str, ...] = ()
    probe: Probe | None = None
    schema_version: int = COMPARISON_SCHEMA_VERSION
