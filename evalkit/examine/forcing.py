"""What a teacher-forcing method offers, whatever the server behind it, and small readers of what servers send."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from evalkit.model import Failure, FailureKind, Message
from evalkit.stats.divergence import Choice, ScoredText

TokenIds: TypeAlias = tuple[int, ...]

TOP: Final = 2
"""How many of the likeliest tokens are asked for at each position: enough for the choice and its lead."""

# vLLM writes minus infinity as this number, because JSON has none.
_VLLM_MINUS_INFINITY: Final = -9999.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a text is to be generated: at most `tokens`, at temperature 1 with nothing cut off, or greedily."""

    tokens: int
    greedy: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A text that a server generated, with the log-probabilities of its own decoding."""

    ids: TokenIds
    scores: ScoredText

    def without_end(self) -> Drawn:
        """The same text without its last token."""
        return Drawn(self.ids[:-1], ScoredText(self.scores.logprobs[:-1], self.scores.choices[:-1]))


@dataclass(slots=True)
class Spent:
    """What asking has cost: tokens read as prompts (without cached ones where the server says), and generated."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, prompt: Any, completion: Any) -> None:
        """Counts what a server reported; anything that is no number counts as nothing."""
        self.prompt_tokens += prompt if isinstance(prompt, int) else 0
        self.completion_tokens += completion if isinstance(completion, int) else 0


class Forcer(Protocol):
    """One server's way of scoring given tokens: `method` names it, `most_at_once` bounds its requests in flight.

    `request_per_token` says that a text takes as many requests as it has tokens, not one.
    """

    method: str
    most_at_once: int
    request_per_token: bool
    spent: Spent

    async def prompt_ids(self, messages: Sequence[Message]) -> TokenIds | Failure:
        """The tokens that the server makes of chat messages, template and generation prompt included."""
        ...

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn | Failure:
        """Generate a text after the prompt."""
        ...

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText | Failure:
        """The log-probability of each of `ids` after the prompt and those before it."""
        ...


def malformed(detail: str) -> Failure:
    """A reply that does not hold what was asked for."""
    return Failure(FailureKind.MALFORMED, detail, status=200)


def number(value: Any) -> float:
    """A log-probability as a server wrote it; NaN where a number was due and there is none.

    JSON has no NaN: most servers write null for it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return -math.inf if value <= _VLLM_MINUS_INFINITY else float(value)


def token_ids(value: Any) -> TokenIds | None:
    """A list of token numbers; None where it is none."""
    if not isinstance(value, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        return None
    return tuple(value)


def choice(likeliest: Iterable[tuple[int, float]]) -> Choice | None:
    """The server's choice from tokens with log-probabilities; None where fewer than two have a number."""
    known = sorted(((lp, token) for token, lp in likeliest if math.isfinite(lp)), reverse=True)
    if len(known) < 2:
        return None
    return Choice(known[0][1], known[0][0] - known[1][0])


def at(document: Mapping[str, Any], *path: str | int) -> Any:
    """The value under nested keys and indices of a JSON document; None where the path ends early."""
    value: Any = document
    for part in path:
        if isinstance(part, str) and isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(part, int) and isinstance(value, list) and -len(value) <= part < len(value):
            value = value[part]
        else:
            return None
    return value
