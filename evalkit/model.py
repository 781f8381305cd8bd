"""The values that flow through evalkit: what is asked, what came back, how it was scored, what a comparison found.

All are frozen, slotted dataclasses of the standard library; nothing here imports the rest of evalkit.
Scores, means, differences, margins and intervals are fractions (a difference lies in [-1, 1]);
a name that ends in `_pt` is in percentage points; differences are candidate minus reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

Message: TypeAlias = Mapping[str, Any]

DEFAULT_MARGIN_PT: Final = 2.0  # the tolerance of a suite for which nobody names one, in percentage points
P_GOLD_MARGIN_PT: Final = 0.5  # that of the p(gold) row of a suite by log-likelihood, in percentage points


def fraction(points: float) -> float:
    """Percentage points, in which people write tolerances, as the fraction that is judged with."""
    return points / 100


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One picture of a prompt: where its bytes come from, and what decides the bytes that are sent.

    `digest` is the SHA-256 of the source bytes; `load` returns them; `max_pixels` is None for "as it is".
    """

    digest: str
    load: Callable[[], bytes] = field(compare=False, repr=False)
    max_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is put before the model: chat messages, or raw text for `/v1/completions`.

    A content part `{"type": "image_ref", "index": i}` in a message stands for `images[i]`.
    `digest` is the SHA-256 of the canonical JSON of the messages (or text) and the image digests.
    """

    digest: str
    messages: tuple[Message, ...] = ()
    text: str | None = None
    images: tuple[ImageRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a suite. `doc` is the normalised document that the scorer reads.

    `weight` is relative (the headline divides by the sum); `stratum` is the path of headings under the
    suite, outermost first; `cluster` names the passage, story or question that several items share.
    """

    suite: str
    task: str
    id: str
    prompt: Prompt
    doc: Mapping[str, Any]
    target: str
    doc_hash: str
    cluster: str | None = None
    stratum: tuple[str, ...] = ()
    weight: float = 1.0
    parts: tuple[Prompt, ...] = ()

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """What one repeat of the item asks: its prompt, or, where it is asked in parts (options), each of them."""
        return self.parts or (self.prompt,)


@dataclass(frozen=True, slots=True)
class Request:
    """One (item, repeat) to be sent: `key` is a digest of everything that decides the answer.

    `parameters` are the body's fields other than the messages: model, sampling, seed.
    """

    key: str
    suite: str
    item: str
    repeat: int
    prompt: Prompt
    parameters: Mapping[str, Any]
    seed: int | None = None
    continuation: str = ""


class FailureKind(StrEnum):
    """Why a request has no reply. `retryable` says whether asking again can help."""

    CONNECTION = "connection"
    STALL = "stall"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    CONTEXT_OVERFLOW = "context_overflow"
    BAD_REQUEST = "bad_request"
    AUTH = "auth"
    NOT_FOUND = "not_found"
    REDIRECT = "redirect"
    IMAGE = "image"

    @property
    def retryable(self) -> bool:
        """True where the same request may be answered later."""
        return self in {"connection", "stall", "timeout", "rate_limited", "server_error", "malformed"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server reports them; None where it does not."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `raw` is the response body as JSON bytes, exactly what the fields were read from.

    `content` is "" where the server sent null. `seconds` is the time of the last attempt, `address` the base address
    that gave it, without keys; `fingerprint` what the server says of its build, "" where it says nothing.
    """

    content: str
    reasoning: str
    finish_reason: str | None
    usage: Usage
    model: str | None
    seconds: float
    raw: bytes = field(repr=False)
    attempts: int = 1
    address: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `detail` is for people, bounded, and holds no key; `retry_after` is in seconds.

    `status` is the answer's; one of kind CONNECTION or STALL has it where the answer had begun to come. `address` is
    the base address that was asked, without keys; "" where none was. `since_seconds` is how long ago the request was
    first sent.
    """

    kind: FailureKind
    detail: str
    status: int | None = None
    retry_after: float | None = None
    attempts: int = 1
    seconds: float = 0.0
    address: str = ""
    since_seconds: float = 0.0


class Status(StrEnum):
    """What became of one (item, repeat). The last three have no value and never count as wrong."""

    SCORED = "scored"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    REASONING_ONLY = "reasoning_only"
    REFUSED = "refused"
    TOOL_CALL = "tool_call"
    GRADE_ERROR = "grade_error"
    FAILED = "failed"
    NOT_ASKED = "not_asked"

    @property
    def has_value(self) -> bool:
        """True where the score enters the mean (as 0 unless the answer was graded)."""
        return self not in {Status.GRADE_ERROR, Status.FAILED, Status.NOT_ASKED}


@dataclass(frozen=True, slots=True)
class FinalText:
    """The part of a reply that may be graded, after thinking traces are taken off.

    `status` is None where `text` is to be graded; otherwise it says why there is nothing to grade.
    `truncated` means that the server stopped at the token limit: only a strong answer anchor counts then.
    """

    text: str
    status: Status | None = None
    reason: str = ""
    truncated: bool = False

    @property
    def midway(self) -> bool:
        """True where the last word may be unfinished: the server stopped at the limit, no white space follows."""
        return self.truncated and not self.text[-1:].isspace()


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on one reply: `value` in [0, 1], or None where there is none (never 0 for a failure).

    `reason` is a short word from the scorer's own vocabulary ("right", "wrong", "multiple", ...);
    `lenient` is a diagnosis only; `flags` mark known oddities; `metrics` are further numbers of the scorer.
    """

    value: float | None
    status: Status
    reason: str = ""
    answer: str | None = None
    lenient: float | None = None
    flags: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


Scorer: TypeAlias = Callable[[Mapping[str, Any], FinalText], Score]

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

    @classmethod
    def over(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The verdict over several: INVALID where one is or there is none, else an alarm, EQUIVALENT where all are."""
        found = set(verdicts)
        for one in (cls.INVALID, cls.DEGRADED, cls.ELEVATED, cls.INCONCLUSIVE):
            if one in found:
                return one
        return cls.EQUIVALENT if found else cls.INVALID


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval; `level` is its confidence, e.g. 0.9."""

    low: float
    high: float
    level: float


Value: TypeAlias = "str | int | float | Interval | Reason | tuple[str, ...] | tuple[Reason, ...]"


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that evalkit says: which sentence (`code`), and what stands in its places (`values`).

    `reports/reasons.toml` has the sentence of each code in every language and says how its values are printed. Shares
    and differences are fractions; what other programs say is a text; a reason may hold reasons.
    """

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.code)

    def texts(self) -> Iterator[str]:
        """All texts in it, those of its reasons too."""
        for value in self.values.values():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Reason):
                    yield from one.texts()
                elif isinstance(one, str):
                    yield one

    def with_texts(self, change: Callable[[str], str]) -> Reason:
        """The same with every text changed."""

        def changed(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(changed, value))
            if isinstance(value, Reason):
                return value.with_texts(change)
            return change(value) if isinstance(value, str) else value

        return Reason(self.code, {name: changed(value) for name, value in self.values.items()})


def said(text: str) -> Reason:
    """A sentence of foreign origin, in whatever language it came."""
    return Reason("said", {"text": text})


@dataclass(frozen=True, slots=True)
class NeededRepeats:
    """How many repeats per item would decide; `repeats` is None where no number can, and `note` says why.

    `samples` and `completion_tokens` are for both sides together. Beside a number `note` says what was assumed.
    """

    repeats: int | None
    samples: int | None
    completion_tokens: int | None
    power: float
    note: Reason | None = None

    @property
    def told(self) -> dict[str, Value]:
        """What a sentence says of the repeats and their cost, as far as it is known."""
        known = {"repeats": self.repeats, "samples": self.samples, "tokens": self.completion_tokens}
        return {"power": self.power, **{name: number for name, number in known.items() if number is not None}}


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
    """Something beside accuracy; `alert` is there where the two sides differ enough to say so.

    `name` and `unit` are words of `reports/words.toml` (`row.identical_texts`, `unit.tokens`), without their groups.
    """

    name: str
    reference: float | None
    candidate: float | None
    unit: str
    interval: Interval | None = None
    alert: Reason | None = None


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
    """The judgment on one suite. `margin` is a fraction; `ci90` is at level 1 - 2 alpha.

    `waiver` is there where somebody accepts that it is DEGRADED or ELEVATED, for a time, or calls it advisory: the exit
    code leaves it out.
    `row_of` is there where this is a further row of that suite (p(gold)): a guard of its own, and no part of the mean.
    """

    suite: str
    label: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
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
    notes: tuple[Reason, ...] = ()
    waiver: Reason | None = None
    row_of: str = ""


@dataclass(frozen=True, slots=True)
class Macro:
    """The overall row: the unweighted mean over suites, judged against a margin of its own (a fraction).

    `suites` counts those that may be judged; the worst is the one furthest out of its own margin, or least far inside.
    """

    reference: float
    candidate: float
    difference: float
    ci90: Interval
    suites: int
    worst_suite: str
    worst_difference: float
    margin: float
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    waiver: Reason | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose value differs between the two sides' configurations, endpoints or manifests."""

    key: str
    reference: str
    candidate: str


CONTRACT: Final = "contract-"  # what the id of a side begins with that was held to a contract


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

    def withheld(self) -> Flip:
        """The flip without what data set and replies say: a reply can quote the question, answers are its key."""
        empty = replace(self, question=None, target="", reference_answer=None, candidate_answer=None)
        return replace(empty, reference_text="", candidate_text="")


@dataclass(frozen=True, slots=True)
class Probe:
    """What the fidelity probe found before the suites were asked: its verdict with the reasons, and on how much.

    `tokens` are those of the reference's texts that both sides scored, of so many `texts`; the mean absolute difference
    of their log-probabilities is in nats, None where nothing could be compared.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    texts: int
    tokens: int
    mean_abs_nats: float | None


@dataclass(frozen=True, slots=True)
class Rounds:
    """Where a comparison in rounds stands: how many looks were taken, of how many at most, and the error they spent.

    `alpha_spent` and `alpha_left` are of the level at which the overall row may be called EQUIVALENT (of the suite,
    where there is one); `decided` has the look at which each suite was, if it is. Look 0 is the one that fails fast.
    """

    look: int
    most: int
    alpha_spent: float
    alpha_left: float
    decided: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a report is made from: two runs, the judgment on each suite, and the verdict.

    Without suites nothing was asked: `reasons` say why, and `probe` where it was the fidelity probe that said so.
    `rounds` is there where it was asked in rounds; each interval has the level of its row's look.
    """

    reference: RunIdentity
    candidate: RunIdentity
    suites: tuple[SuiteResult, ...]
    verdict: Verdict
    exit_code: int
    reasons: tuple[Reason, ...]
    macro: Macro | None
    differences: tuple[Difference, ...]
    alpha: float
    created: str
    evalkit_version: str
    flips: tuple[Flip, ...] = ()
    notes: tuple[Reason, ...] = ()
    probe: Probe | None = None
    rounds: Rounds | None = None
    schema_version: int = COMPARISON_SCHEMA_VERSION

    @property
    def of_contract(self) -> bool:
        """Whether its suites are the promises of `evalkit contract`, which are no accuracy."""
        return self.candidate.run_id.startswith(CONTRACT)
