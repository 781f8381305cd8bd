"""Teacher forcing through `/v1/completions` with token numbers, as vLLM offers it: `prompt_logprobs`, else `echo`.

vLLM's own fields: `return_token_ids` (0.10.2 and later) gives the numbers of a prompt, `return_tokens_as_token_ids`
those of generated tokens, and `prompt_logprobs: K` the K likeliest tokens and the given one at every position of the
prompt, the first position aside. With prefix caching it computes such prompts anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from evalkit.endpoint.forcing.base import TOP, Drawing, Drawn, Spent, TokenIds, at, choice, malformed, number, token_ids
from evalkit.endpoint.native import Native
from evalkit.model import Failure, FailureKind, Message
from evalkit.stats.divergence import Choice, ScoredText

# Unset parameters would be filled by the server from the model's generation_config.
PLAIN_SAMPLING: Final[Mapping[str, Any]] = {
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}
_NUMBERED: Final = "token_id:"


class TokensApi:
    """Scores with `prompt_logprobs`, or with `echo` where `way` says so."""

    def __init__(self, native: Native, chat_fields: Mapping[str, Any], way: Literal["prompt_logprobs", "echo"]) -> None:
        self.method = f"{way} of /v1/completions"
        self.most_at_once = 64
        self.request_per_token = False
        self.spent = Spent()
        self._native = native
        self._chat_fields = chat_fields
        self._way = way

    async def prompt_ids(self, messages: Sequence[Message]) -> TokenIds | Failure:
        """As the chat endpoint itself reports them, else from `/tokenize`."""
        found = await chat_prompt_ids(self._native, self._chat_fields, messages, self.spent)
        if not isinstance(found, Failure) or found.kind is FailureKind.AUTH:
            return found
        return await tokenized(self._native, self._chat_fields, messages)

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn | Failure:
        """Generate after a prompt given as token numbers."""
        reply = await self._completions(
            prompt=list(prompt),
            max_tokens=drawing.tokens,
            seed=drawing.seed,
            temperature=0.0 if drawing.greedy else 1.0,
            logprobs=TOP,
            return_tokens_as_token_ids=True,
        )
        if isinstance(reply, Failure):
            return reply
        read = _listed(at(reply, "choices", 0, "logprobs"))
        if isinstance(read, Failure):
            return read
        # The token that ended the text counts on this server and not on others.
        ended = at(reply, "choices", 0, "finish_reason") == "stop"
        return Drawn(*read).without_end() if ended else Drawn(*read)

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText | Failure:
        """Read prompt and text in one request that generates a single token."""
        given = [*prompt, *ids]
        if self._way == "prompt_logprobs":
            reply = await self._completions(prompt=given, max_tokens=1, temperature=1.0, prompt_logprobs=TOP)
            return reply if isinstance(reply, Failure) else _prompt_scores(reply, given, len(prompt))
        reply = await self._completions(
            prompt=given, max_tokens=1, temperature=1.0, echo=True, logprobs=TOP, return_tokens_as_token_ids=True
        )
        return reply if isinstance(reply, Failure) else _echo_scores(reply, given, len(prompt))

    async def _completions(self, **fields: Any) -> dict[str, Any] | Failure:
        body = {"model": self._native.settings.model, **PLAIN_SAMPLING, **fields}
        reply = await self._native.post("/v1/completions", body)
        if isinstance(reply, dict):
            self.spent.add(at(reply, "usage", "prompt_tokens"), at(reply, "usage", "completion_tokens"))
        return reply


async def chat_prompt_ids(
    native: Native, chat_fields: Mapping[str, Any], messages: Sequence[Message], spent: Spent
) -> TokenIds | Failure:
    """The prompt's token numbers that the chat endpoint returns beside a one-token answer."""
    body = {
        "model": native.settings.model,
        **chat_fields,
        "messages": list(messages),
        "max_tokens": 1,
        "temperature": 0.0,
        "return_token_ids": True,
    }
    reply = await native.post("/v1/chat/completions", body)
    if isinstance(reply, Failure):
        return reply
    spent.add(at(reply, "usage", "prompt_tokens"), at(reply, "usage", "completion_tokens"))
    # vLLM puts them beside the choices, SGLang into each.
    found = token_ids(at(reply, "prompt_token_ids")) or token_ids(at(reply, "choices", 0, "prompt_token_ids"))
    return found or malformed("the chat endpoint does not return the token numbers of the prompt (return_token_ids)")


async def tokenized(native: Native, chat_fields: Mapping[str, Any], messages: Sequence[Message]) -> TokenIds | Failure:
    """The same from `/tokenize`, which vLLM and SGLang have beside `/v1`."""
    body: dict[str, Any] = {"model": native.settings.model, "messages": list(messages), "add_generation_prompt": True}
    if "chat_template_kwargs" in chat_fields:
        body["chat_template_kwargs"] = chat_fields["chat_template_kwargs"]
    reply = await native.post("/tokenize", body)
    if isinstance(reply, Failure):
        return reply
    return token_ids(reply.get("tokens")) or malformed("/tokenize gives no token numbers for chat messages")


def _prompt_scores(reply: Mapping[str, Any], given: Sequence[int], start: int) -> ScoredText | Failure:
    """The entries of `prompt_logprobs` from position `start`: objects from token number to what is said of it."""
    entries = at(reply, "choices", 0, "prompt_logprobs") or at(reply, "prompt_logprobs")
    if not isinstance(entries, list):
        return malformed("the reply has no prompt_logprobs: the server ignores the field")
    if len(entries) != len(given):
        return malformed(f"prompt_logprobs has {len(entries)} entries for a prompt of {len(given)} tokens")
    if entries[0] is not None:
        return malformed("prompt_logprobs gives the first token a log-probability, which it cannot have")
    logprobs: list[float | None] = []
    choices: list[Choice | None] = []
    for token, entry in zip(given[start:], entries[start:], strict=True):
        if not isinstance(entry, Mapping) or str(token) not in entry:
            return malformed("prompt_logprobs speaks of other tokens than those that were sent")
        known = {int(name): number(at(said, "logprob")) for name, said in entry.items() if name.isdecimal()}
        logprobs.append(known[token])
        choices.append(choice(tuple(known.items())))
    return ScoredText(tuple(logprobs), tuple(choices))


def _echo_scores(reply: Mapping[str, Any], given: Sequence[int], start: int) -> ScoredText | Failure:
    """The entries of an echoed prompt from position `start`; the generated token at the end is left out."""
    listed = at(reply, "choices", 0, "logprobs")
    first = at(listed, "token_logprobs", 0) if isinstance(listed, Mapping) else 0.0
    if first is not None:
        return malformed("the reply does not echo the prompt with its log-probabilities (the first has none)")
    read = _listed(listed)
    if isinstance(read, Failure):
        return read
    ids, scores = read
    if list(ids[: len(given)]) != list(given):
        return malformed("the echoed tokens are not those that were sent")
    return ScoredText(scores.logprobs[start : len(given)], scores.choices[start : len(given)])


def _listed(logprobs: Any) -> tuple[TokenIds, ScoredText] | Failure:
    """OpenAI's older form: parallel lists of tokens (numbered), log-probabilities and the likeliest tokens."""
    if not isinstance(logprobs, Mapping) or not isinstance(logprobs.get("tokens"), list):
        return malformed("the reply has no log-probabilities")
    ids = [_numbered(token) for token in logprobs["tokens"]]
    values, tops = logprobs.get("token_logprobs"), logprobs.get("top_logprobs")
    if any(one is None for one in ids) or not isinstance(values, list) or len(values) != len(ids):
        return malformed("the log-probabilities do not name their tokens by number (return_tokens_as_token_ids)")
    tops = tops if isinstance(tops, list) and len(tops) == len(ids) else [None] * len(ids)
    choices = tuple(_top(top) for top in tops)
    return tuple(one for one in ids if one is not None), ScoredText(tuple(map(number, values)), choices)


def _top(top: Any) -> Choice | None:
    if not isinstance(top, Mapping):
        return None
    known = [(found, number(value)) for name, value in top.items() if (found := _numbered(name)) is not None]
    return choice(known)


def _numbered(token: Any) -> int | None:
    if isinstance(token, str) and token.startswith(_NUMBERED) and token[len(_NUMBERED) :].isdecimal():
        return int(token[len(_NUMBERED) :])
    return None
