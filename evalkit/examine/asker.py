"""An endpoint whose promises are tried: asked whole and streamed, what its replies hold, and what each trial showed."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import orjson

from evalkit.endpoint.body import at
from evalkit.examine.checks import Patient, Subject
from evalkit.model import Failure, FailureKind, Message, Reply

LATE: Final = Failure(FailureKind.TIMEOUT, "left out: the time was spent")
"""Stands in for the reply to a request that was not sent, because the server is too slow for all of them."""
SHOWN: Final = 160
DEEPEST: Final = 100  # opening brackets that a JSON text may have: a few are enough for every schema here


@cache
def asked() -> dict[str, Any]:
    """What is asked, in words: tools with a question each, histories, texts, schemas, parameters."""
    return dict(json.loads(Path(__file__).with_name("asked.json").read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Trial:
    """One promise in one case. `kept` is None where it cannot be told; `said` is compared with another endpoint's.

    `again` says that it was broken whenever it was asked, of three times, or as no model breaks it; `refused` that no
    reply came.
    """

    promise: str
    case: str
    kept: bool | None
    seen: str = ""
    said: str = ""
    again: bool = False
    refused: bool = False


def value_of(text: str) -> Any:
    """The value of a JSON text; `ValueError` where it is none, or deeper than anything that was asked for."""
    if text.count("[") + text.count("{") > DEEPEST:
        raise ValueError("nested too deep")
    return orjson.loads(text)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool: its name, its arguments as they came, its id."""

    name: str
    arguments: str
    id: str = ""

    @property
    def parsed(self) -> Any:
        """The arguments as a value; None where they are no JSON."""
        try:
            return value_of(self.arguments)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Said:
    """What a reply holds."""

    text: str
    reasoning: str
    calls: tuple[Call, ...]
    finish: str
    prompt_tokens: int | None
    tokens: int | None
    document: Any

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Reads a reply's body."""
        document = orjson.loads(reply.raw)
        listed = at(document, "choices", 0, "message", "tool_calls")
        calls = tuple(
            Call(str(at(one, "function", "name")), _text(at(one, "function", "arguments")), str(at(one, "id") or ""))
            for one in (listed if isinstance(listed, list) else ())
        )
        usage = reply.usage
        finish = str(at(document, "choices", 0, "finish_reason") or "")  # as the server says it
        return cls(
            reply.content, reply.reasoning, calls, finish, usage.prompt_tokens, usage.completion_tokens, document
        )


def _text(value: Any) -> str:
    """Arguments as text; what some servers send instead, the object itself, is made one that is no JSON."""
    return value if isinstance(value, str) else "" if value is None else f"no text but {json.dumps(value)}"


def away(failure: Failure) -> bool:
    """Whether a server was not there, or busy, rather than unwilling: it may have been started anew."""
    return failure.kind in {FailureKind.CONNECTION, FailureKind.RATE_LIMITED} or failure.status in {502, 503, 504}


class Asker:
    """One endpoint under test: asked whole and streamed, with so many requests in flight; collects trials.

    `usual` are fields that go with every request that does not say otherwise. After `until`, a moment of the monotonic
    clock, nothing more is sent: `left` counts what was not.
    """

    def __init__(self, subject: Subject, at_once: int = 4) -> None:
        self.whole = Patient(subject)
        self.pieces = Patient(replace(subject, settings=replace(subject.settings, stream=True)))
        self.trials: list[Trial] = []
        self.tokens = self.left = 0
        self.doubts = Counter[str]()
        self.until = math.inf
        self.usual: dict[str, Any] = {}
        self._slots = asyncio.Semaphore(at_once)

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self.whole.requests + self.pieces.requests

    @property
    def answered(self) -> bool:
        """Whether any request was answered."""
        return self.whole.answered

    @property
    def calls(self) -> bool:
        """Whether a required call of a tool was made."""
        return any(one.kept for one in self.trials if one.promise == "tools.required")

    async def ask(self, prompt: str | Sequence[Message], *, stream: bool = False, **fields: Any) -> Said | Failure:
        """Asks greedily unless said otherwise."""
        async with self._slots:
            return await self.at_once(prompt, stream=stream, **fields)

    async def at_once(self, prompt: str | Sequence[Message], *, stream: bool = False, **fields: Any) -> Said | Failure:
        """As `ask`, however many are in flight."""
        if time.monotonic() > self.until:
            self.left += 1
            return LATE
        outcome = await (self.pieces if stream else self.whole).chat(prompt, **{**self.usual, **fields})
        if isinstance(outcome, Failure):
            return outcome
        said = Said.of(outcome)
        self.tokens += said.tokens or 0
        return said

    def note(self, promise: str, case: str, kept: bool | None, seen: str = "", said: object = "") -> None:
        """Adds a trial; what was seen is bounded and printable."""
        line = "".join(letter if letter.isprintable() else " " for letter in " ".join(seen.split()))[:SHOWN]
        self.trials.append(Trial(promise, case, kept, "" if kept else line, str(said)))

    def failed(self, promise: str, case: str, failure: Failure, kept: bool | None = None) -> None:
        """Adds the trial of a request that got no reply; none where it was not sent, or nobody was there."""
        if failure is not LATE and not away(failure):
            self.note(promise, case, kept, failure.detail)
            self.trials[-1] = replace(self.trials[-1], refused=True)

    def hold(self, promise: str, case: str, said: Said | Failure, wrong: Callable[[Said], str | None]) -> None:
        """Adds the trial of a reply: `wrong` says what is wrong with it, "" for nothing, None where nobody can tell."""
        if isinstance(said, Failure):
            self.failed(promise, case, said)
        else:
            found = wrong(said)
            self.note(promise, case, None if found is None else not found, found or "")

    def counted(self, case: str, said: Said | Failure) -> None:
        """Notes of how many tokens a prompt was counted, which two endpoints must agree on."""
        if isinstance(said, Said):
            self.note("prompt.tokens", case, None if said.prompt_tokens is None else True, said=said.prompt_tokens)

    async def close(self) -> None:
        """Closes the connections."""
        await self.whole.close()
        await self.pieces.close()
