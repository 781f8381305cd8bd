"""A sample from its question to its score: what is asked, what came back, how it was scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

Message: TypeAlias = Mapping[str, Any]


# ---------------------------------------------------------------- what is asked


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
    expected_tokens: float | None = None


# ---------------------------------------------------------------- what came back


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
        return self in _RETRYABLE


_RETRYABLE: Final = frozenset(
    {
        FailureKind.CONNECTION,
        FailureKind.STALL,
        FailureKind.TIMEOUT,
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.MALFORMED,
    }
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server reports them; None where it does not."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `raw` is the response body as JSON bytes, exactly what the fields were read from.

    `content` is "" where the server sent null. `seconds` is the time of the last attempt.
    """

    content: str
    reasoning: str
    finish_reason: str | None
    usage: Usage
    model: str | None
    seconds: float
    raw: bytes = field(repr=False)
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `detail` is for people, bounded, and holds no key; `retry_after` is in seconds.

    `status` is the answer's; one of kind CONNECTION or STALL has it where the answer had begun to come.
    """

    kind: FailureKind
    detail: str
    status: int | None = None
    retry_after: float | None = None
    attempts: int = 1
    seconds: float = 0.0


# ---------------------------------------------------------------- how it was scored


class Status(StrEnum):
    """What became of one (item, repeat). The last three have no value and never count as wrong."""

    SCORED = "scored"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    REASONING_ONLY = "reasoning_only"
    REFUSED = "refused"
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
