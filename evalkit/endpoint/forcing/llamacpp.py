"""Teacher forcing on llama.cpp's server, which ignores `echo` and `prompt_logprobs`: one request a token.

The native `/completion` takes a prompt as token numbers; `logit_bias` of +1000 makes the wanted token the next one, and
`n_probs` reports its log-probability from before the bias. The prompt cache keeps the work at one token a request, so a
text is scored by the same one-token steps that decoding takes, not by reading it in one piece.

Slots are left to the server: with `id_slot`, two clients on one slot were seen to get tokens of each other's texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from evalkit.endpoint.forcing.base import TOP, Drawing, Drawn, Spent, TokenIds, at, choice, malformed, number, token_ids
from evalkit.endpoint.native import Native
from evalkit.model import Failure, Message
from evalkit.stats.divergence import Choice, ScoredText

FORCED: Final = 1000.0
_PLAIN_SAMPLING: Final[Mapping[str, Any]] = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "samplers": ["temperature"],
    "n_probs": TOP,
    "cache_prompt": True,
}


class LlamaCpp:
    """Scores with the native `/completion`, as many texts at once as there are slots, so that prefixes stay cached."""

    def __init__(self, native: Native, chat_fields: Mapping[str, Any], slots: int) -> None:
        self.method = "logit_bias on llama.cpp's /completion"
        self.most_at_once = max(1, slots)
        self.spent = Spent()
        self._native = native
        self._chat_fields = chat_fields

    async def prompt_ids(self, messages: Sequence[Message]) -> TokenIds | Failure:
        """The template applied by the server, then tokenised as its chat endpoint does."""
        wanted: dict[str, Any] = {"messages": list(messages)}
        if "chat_template_kwargs" in self._chat_fields:
            wanted["chat_template_kwargs"] = self._chat_fields["chat_template_kwargs"]
        rendered = await self._native.post("/apply-template", wanted)
        if isinstance(rendered, Failure):
            return rendered
        text = rendered.get("prompt")
        if not isinstance(text, str):
            return malformed("/apply-template gives no prompt")
        reply = await self._native.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        if isinstance(reply, Failure):
            return reply
        return token_ids(reply.get("tokens")) or malformed("/tokenize gives no token numbers")

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn | Failure:
        """Generate after a prompt given as token numbers."""
        wanted = {
            "n_predict": drawing.tokens,
            "temperature": 0.0 if drawing.greedy else 1.0,
            "seed": drawing.seed,
        }
        reply = await self._completion(prompt, wanted)
        if isinstance(reply, Failure):
            return reply
        entries = reply.get("completion_probabilities")
        if not isinstance(entries, list):
            return malformed("/completion gives no completion_probabilities")
        read = [_read(entry) for entry in entries]
        if any(one is None for one in read):
            return malformed("completion_probabilities does not number its tokens")
        known = [one for one in read if one is not None]
        scores = ScoredText(tuple(one[1] for one in known), tuple(one[2] for one in known))
        return Drawn(tuple(one[0] for one in known), scores)

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText | Failure:
        """Force the tokens one after the other."""
        logprobs: list[float | None] = []
        choices: list[Choice | None] = []
        for position, token in enumerate(ids):
            wanted = {"n_predict": 1, "temperature": 0.0, "logit_bias": [[token, FORCED]]}
            reply = await self._completion((*prompt, *ids[:position]), wanted)
            if isinstance(reply, Failure):
                return reply
            read = _read(at(reply, "completion_probabilities", 0))
            if read is not None and read[0] != token:
                return malformed("/completion did not take the token that logit_bias forces")
            logprobs.append(None if read is None else read[1])
            choices.append(None if read is None else read[2])
        return ScoredText(tuple(logprobs), tuple(choices))

    async def _completion(self, prompt: TokenIds, wanted: Mapping[str, Any]) -> dict[str, Any] | Failure:
        body = {"prompt": list(prompt), **_PLAIN_SAMPLING, **wanted}
        reply = await self._native.post("/completion", body)
        if isinstance(reply, dict):
            self.spent.add(at(reply, "timings", "prompt_n"), at(reply, "tokens_predicted"))
        return reply


def _read(entry: Any) -> tuple[int, float | None, Choice | None] | None:
    """One entry of completion_probabilities: the token, its log-probability and the server's choice."""
    token = at(entry, "id") if isinstance(entry, Mapping) else None
    if not isinstance(token, int):
        return None
    tops = at(entry, "top_logprobs")
    listed = tops if isinstance(tops, list) else []
    likeliest = [(at(top, "id"), number(at(top, "logprob"))) for top in listed if isinstance(top, Mapping)]
    return token, number(at(entry, "logprob")), choice([(i, lp) for i, lp in likeliest if isinstance(i, int)])
