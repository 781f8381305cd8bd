"""What a teacher-forcing method offers, whatever the server behind it, and small readers of what servers send."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from evalkit.endpoint.body import at
from evalkit.endpoint.failures import malformed
from evalkit.endpoint.identity import Native
from evalkit.examine.divergence import Choice, ScoredText
from evalkit.model import Failure, FailureKind, Message

TokenIds: TypeAlias = tuple[int, ...]

TOP: Final = 2  # how many of the likeliest tokens are asked for at each position: enough for the choice and its lead

# vLLM writes minus infinity as this number, because JSON has none.
_VLLM_MINUS_INFINITY: Final = -9999.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a text is to be generated: at most `tokens`, with nothing cut off but by `more` (`top_p`, `top_k`, ...)."""

    tokens: int
    temperature: float
    seed: int
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A text that a server generated, with the log-probabilities of its own decoding.

    `ended` says that the model ended it, not the limit.
    """

    ids: TokenIds
    scores: ScoredText
    ended: bool = False

    def without_last(self) -> Drawn:
        """The same text without its last token."""
        return Drawn(self.ids[:-1], ScoredText(self.scores.logprobs[:-1], self.scores.choices[:-1]), self.ended)


def without_ends(texts: Sequence[Drawn | None]) -> tuple[Drawn | None, ...]:
    """One server's texts without the tokens that ended them.

    Some servers list that token and some do not, and no field says which do. It can stand only where a text ended: if
    no last token of a text that ended stands elsewhere in any text, they are such tokens. A server that leaves them out
    has texts that end with a full stop.
    """
    drawn = [text for text in texts if text is not None and text.ids]
    inside = {token for text in drawn for token in (text.ids[:-1] if text.ended else text.ids)}
    if any(text.ended and text.ids[-1] in inside for text in drawn):
        return tuple(texts)
    return tuple(text.without_last() if text is not None and text.ids and text.ended else text for text in texts)


class Unanswered(Exception):  # noqa: N818 - it carries a Failure out of a method, to be data again where it is asked
    """A request got no answer, or one that does not hold what was asked for; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def unfit(detail: str) -> Unanswered:
    """What a method raises for an answer that does not hold what was asked for."""
    return Unanswered(malformed(detail))


class Forcer(ABC):
    """One server's way of scoring given tokens: `method` names it, `most_at_once` bounds its requests in flight.

    Whatever it asks raises `Unanswered` where no answer comes that can be used.

    `request_per_token` says that a text takes as many requests as it has tokens, not one. `prompt_tokens` (without
    cached ones where the server says) and `completion_tokens` are what asking has cost. `chat_fields` are further
    fields of chat requests that decide the prompt.
    """

    most_at_once = 64
    request_per_token = False

    def __init__(self, native: Native, chat_fields: Mapping[str, Any], method: str) -> None:
        self.method = method
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._native = native
        self._chat_fields = chat_fields

    async def prompt_ids(self, messages: Sequence[Message]) -> TokenIds:
        """The tokens that the server makes of chat messages, template and generation prompt included.

        As the chat endpoint itself reports them, else from `/tokenize`, which vLLM and SGLang have beside `/v1`.
        """
        try:
            reply = await self.greet(messages, return_token_ids=True)
        except Unanswered as error:
            if error.failure.kind is FailureKind.AUTH:
                raise
            reply = {}
        # vLLM puts them beside the choices, SGLang into each.
        found = token_ids(at(reply, "prompt_token_ids")) or token_ids(at(reply, "choices", 0, "prompt_token_ids"))
        if found:
            return found
        body = {"model": self._native.settings.model, "messages": list(messages), "add_generation_prompt": True}
        return await self._tokenised({**body, **self._template_fields()}, " for chat messages")

    async def greet(self, messages: Sequence[Message], **more: Any) -> dict[str, Any]:
        """The chat endpoint's answer of one token."""
        body = {"model": self._native.settings.model, **self._chat_fields, "messages": list(messages)}
        reply = await self._post("/v1/chat/completions", {**body, "max_tokens": 1, "temperature": 0.0, **more})
        self._spend(at(reply, "usage", "prompt_tokens"), at(reply, "usage", "completion_tokens"))
        return reply

    @abstractmethod
    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn:
        """Generate a text after the prompt, given as token numbers."""

    @abstractmethod
    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText:
        """The log-probability of each of `ids` after the prompt and those before it."""

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        reply = await self._native.post(path, body)
        if isinstance(reply, Failure):
            raise Unanswered(reply)
        return reply

    async def _tokenised(self, body: Mapping[str, Any], of_what: str = "") -> TokenIds:
        found = token_ids((await self._post("/tokenize", body)).get("tokens"))
        if not found:
            raise unfit(f"/tokenize gives no token numbers{of_what}")
        return found

    def _template_fields(self) -> dict[str, Any]:
        return {key: self._chat_fields[key] for key in ("chat_template_kwargs",) if key in self._chat_fields}

    def _spend(self, prompt: Any, completion: Any) -> None:
        """Counts what a server reported; anything that is no number counts as nothing."""
        self.prompt_tokens += prompt if isinstance(prompt, int) else 0
        self.completion_tokens += completion if isinstance(completion, int) else 0


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


def scored(told: Iterable[tuple[float | None, Choice | None]]) -> ScoredText:
    """A text out of the log-probability of each token and the server's choice there."""
    pairs = tuple(told)
    return ScoredText(tuple(value for value, _ in pairs), tuple(chosen for _, chosen in pairs))
