"""What a run folder holds beside its tables, one dataclass a kind of line: replies, failures, documents, sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from evalkit.errors import RunError
from evalkit.model import Failure, Reason, Reply, Request, RunIdentity

# ---------------------------------------------------------------- lines of a journal


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """One answer: what was asked, by key, and the body as JSON, exactly as the server sent it.

    `at` is when it was kept, in seconds since 1970; `seconds` is the time of the last of its `attempts`.
    """

    key: str
    body: Any
    seconds: float
    suite: str = ""
    item: str = ""
    repeat: int = 0
    seed: int | None = None
    at: float = 0.0
    attempts: int = 1

    def reply(self) -> Reply:
        """The reply, read from the body by the rules that the client reads a fresh one by; its `raw` is empty.

        Raises:
            RunError: where the body cannot be read any more.
        """
        from evalkit.endpoint.body import stored_reply  # most comparisons read scores and few replies

        reply = stored_reply(self.body, seconds=float(self.seconds))
        if not isinstance(reply, Reply):
            raise RunError(f"the stored reply {self.key} cannot be read: {reply.detail}")
        return reply


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """One request that was given up: `kind` is a `model.FailureKind`, `status` the HTTP status of its last answer."""

    key: str
    kind: str
    detail: str
    status: int | None = None
    seconds: float = 0.0
    suite: str = ""
    item: str = ""
    repeat: int = 0
    seed: int | None = None
    at: float = 0.0
    attempts: int = 1


Record: TypeAlias = ReplyRecord | FailureRecord
_RECORDS: Final[Mapping[str, type[Record]]] = {"reply": ReplyRecord, "failure": FailureRecord}


def journal_line(request: Request, outcome: Reply | Failure, at: float) -> bytes:
    """The journal's line for what became of a request."""
    line: dict[str, Any] = {
        "record": "reply" if isinstance(outcome, Reply) else "failure",
        "key": request.key,
        "suite": request.suite,
        "item": request.item,
        "repeat": request.repeat,
        "seed": request.seed,
        "at": round(at, 3),
        "seconds": round(outcome.seconds, 4),
        "attempts": outcome.attempts,
    }
    if isinstance(outcome, Reply):
        line["body"] = orjson.Fragment(outcome.raw)
    else:
        line |= {"kind": outcome.kind.value, "status": outcome.status, "detail": outcome.detail}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def journal_record(line: bytes) -> Record | None:
    """The record of a journal's line; None for a line that a crash tore, and for what is no record.

    A record is one JSON object: a line that was cut anywhere but after its last brace does not parse.
    """
    try:
        found = orjson.loads(line)
        return _RECORDS[found.pop("record")](**found)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None


# ---------------------------------------------------------------- what is known of an item beside its score


@dataclass(frozen=True, slots=True)
class Document:
    """One item's question and target, for people, and the document that its scorer reads."""

    suite: str
    item: str
    target: str
    question: str
    doc: Mapping[str, Any]


# ---------------------------------------------------------------- lines of a manifest


@dataclass(frozen=True, slots=True)
class SuiteRecord:
    """What a session says of one suite: enough to judge it without its data set or lm-eval.

    `items` of `items_in_data` (or, where a suite says so itself, of `rows`) are asked, `repeats` times each;
    `complete` says that one missing answer withholds the verdict, `right_or_wrong` that scores are 1 or 0 and nothing
    between; `digests` name data, prompts, scorer and protocol.
    """

    suite: str
    label: str
    margin_pt: float
    parameters: Mapping[str, Any]
    digests: Mapping[str, str]
    repeats: int
    items: int
    items_in_data: int
    rows: int | None = None
    origin: str = ""
    headline: str = "micro"
    strata: Sequence[str] = ()
    chance: float | None = None
    gated: bool = False
    licence: str = ""
    complete: bool = False
    right_or_wrong: bool = False
    notes: Sequence[Reason] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many requests in flight were found to be right, whether the search came to its end, and a sentence."""

    number: int
    settled: bool
    why: str


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a run: what was asked of what, with which versions and digests; it never holds a secret.

    `plan` is the digest of the plan, `started` ISO 8601 in UTC, `served` what identifies the model that answers, and
    `endpoint` what the server said of itself.
    """

    name: str
    plan: str
    started: str
    model: str
    served: Mapping[str, Any]
    versions: Mapping[str, str]
    endpoint: Mapping[str, str]
    config: Mapping[str, Any]
    suites: Sequence[SuiteRecord]
    in_flight: InFlight | None = None
    format: int = 1

    @property
    def run_id(self) -> str:
        """Twelve digits that name the plan."""
        return self.plan[:12]

    def identity(self, path: str) -> RunIdentity:
        """Which run this is; the user's word on what is served there is part of the endpoint."""
        build = self.served.get("build")
        return RunIdentity(
            name=self.name,
            run_id=self.run_id,
            model=self.model,
            path=path,
            started=self.started,
            versions=self.versions,
            endpoint={**self.endpoint, **({"build": str(build)} if build else {})},
            sampling=self.suites[0].parameters if self.suites else {},
        )
