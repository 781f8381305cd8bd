"""Teacher forcing through SGLang's own `/generate`: `return_logprob` with `logprob_start_len` and token numbers.

Its OpenAI endpoints refuse `echo` together with `logprobs`. Log-probabilities come as `[value, token number, text]`;
the first of those asked for has no value, so one position more than needed is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.endpoint.forcing.base import TOP, Drawing, Drawn, Spent, TokenIds, at, choice, malformed, number
from evalkit.endpoint.forcing.tokens_api import chat_prompt_ids, tokenized
from evalkit.endpoint.native import Native
from evalkit.model import Failure, Message
from evalkit.stats.divergence import Choice, ScoredText


class Sglang:
    """Scores and generates with `/generate`."""

    def __init__(self, native: Native, chat_fields: Mapping[str, Any]) -> None:
        self.method = "return_logprob of SGLang's /generate"
        self.most_at_once = 64
        self.request_per_token = False
        self.spent = Spent()
        self._native = native
        self._chat_fields = chat_fields

    async def prompt_ids(self, messages: Sequence[Message]) -> TokenIds | Failure:
        """As the chat endpoint itself reports them, else from `/tokenize`; older versions have neither."""
        found = await chat_prompt_ids(self._native, self._chat_fields, messages, self.spent)
        return found if not isinstance(found, Failure) else await tokenized(self._native, self._chat_fields, messages)

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn | Failure:
        """Generate after a prompt given as token numbers."""
        sampling = {
            "max_new_tokens": drawing.tokens,
            "temperature": 0.0 if drawing.greedy else 1.0,
            "sampling_seed": drawing.seed,
        }
        meta = await self._generate(prompt, sampling, start=-1)
        if isinstance(meta, Failure):
            return meta
        read = _read(meta.get("output_token_logprobs"), meta.get("output_top_logprobs"))
        if isinstance(read, Failure):
            return read
        return Drawn(*read).without_end() if at(meta, "finish_reason", "type") == "stop" else Drawn(*read)

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText | Failure:
        """Read prompt and text in one request that generates a single token."""
        sampling = {"max_new_tokens": 1, "temperature": 1.0}
        meta = await self._generate((*prompt, *ids), sampling, start=max(0, len(prompt) - 1))
        if isinstance(meta, Failure):
            return meta
        entries, tops = meta.get("input_token_logprobs"), meta.get("input_top_logprobs")
        if not isinstance(entries, list) or len(entries) < len(ids):
            return malformed("/generate gives no input_token_logprobs for all of the text")
        tops = tops[-len(ids) :] if isinstance(tops, list) and len(tops) >= len(ids) else None
        read = _read(entries[-len(ids) :], tops)
        if isinstance(read, Failure):
            return read
        if read[0] != ids:
            return malformed("input_token_logprobs speaks of other tokens than those that were sent")
        return read[1]

    async def _generate(self, given: TokenIds, sampling: Mapping[str, Any], start: int) -> dict[str, Any] | Failure:
        body = {
            "input_ids": list(given),
            "sampling_params": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **sampling},
            "return_logprob": True,
            "logprob_start_len": start,
            "top_logprobs_num": TOP,
        }
        reply = await self._native.post("/generate", body)
        if isinstance(reply, Failure):
            return reply
        meta = reply.get("meta_info")
        if not isinstance(meta, dict):
            return malformed("/generate gives no meta_info")
        self.spent.add(meta.get("prompt_tokens"), meta.get("completion_tokens"))
        return meta


def _read(entries: Any, tops: Any) -> tuple[TokenIds, ScoredText] | Failure:
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) >= 2 for entry in entries):
        return malformed("/generate gives no log-probabilities")
    ids = [entry[1] for entry in entries]
    if not all(isinstance(one, int) for one in ids):
        return malformed("/generate does not number its tokens")
    choices: tuple[Choice | None, ...] = ()
    if isinstance(tops, list) and len(tops) == len(entries):
        choices = tuple(_top(top) for top in tops)
    return tuple(ids), ScoredText(tuple(number(entry[0]) for entry in entries), choices)


def _top(top: Any) -> Choice | None:
    if not isinstance(top, list):
        return None
    return choice([(entry[1], number(at({"entry": entry}, "entry", 0))) for entry in top if len(entry) >= 2])
