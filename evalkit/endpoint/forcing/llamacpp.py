"""Teacher forcing on llama.cpp's server, which ignores `echo` and `prompt_logprobs`: one request a token.

The native `/completion` takes a prompt as token numbers; `logit_bias` of +1000 makes the wanted token the next one, and
`n_probs` reports its log-probability from before the bias. The prompt cache keeps the work at one token a request, so a
text is scored by the same one-token steps that decoding takes, not by reading it in one piece.

Two habits of the server matter (seen with the build of October 2026). It says nothing of a token that ends within a
character (Chinese, emoji): such a one is looked up in the whole distribution. And with `id_slot`, two clients on one
slot get tokens of each other's texts: slots are left to the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from evalkit.endpoint.forcing.base import TOP, Drawing, Drawn, Spent, TokenIds, at, choice, malformed, number, token_ids
from evalkit.endpoint.native import Native
from evalkit.model import Failure, Message
from evalkit.stats.divergence import Choice, ScoredText

Entry: TypeAlias = tuple[int, float | None, Choice | None]

FORCED: Final = 1000.0
LOOKED_UP: Final = (500, 1_000_000)
"""So many of the likeliest tokens are asked for, and all of them where the wanted one is not there."""
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
        self.request_per_token = True
        self.spent = Spent()
        self._native = native
        self._chat_fields = chat_fields
        self._spoken: int | None = None

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
            "return_tokens": True,
        }
        reply = await self._completion(prompt, wanted)
        if isinstance(reply, Failure):
            return reply
        return _drawn(reply)

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText | Failure:
        """Force the tokens one after the other."""
        logprobs: list[float | None] = []
        choices: list[Choice | None] = []
        for position, token in enumerate(ids):
            before = (*prompt, *ids[:position])
            entry = await self._forced(before, token)
            if entry is None:
                entry = await self._looked_up(before, token)
            if isinstance(entry, Failure):
                return entry
            logprobs.append(entry[1])
            choices.append(entry[2])
        return ScoredText(tuple(logprobs), tuple(choices))

    async def _forced(self, before: TokenIds, token: int) -> Entry | Failure | None:
        """What the server says of a token that it is made to take; None where it keeps silent (half a character)."""
        reply = await self._completion(before, {"n_predict": 1, "temperature": 0.0, "logit_bias": [[token, FORCED]]})
        if isinstance(reply, Failure):
            return reply
        entry = _read(at(reply, "completion_probabilities", 0))
        if entry is not None and entry[0] != token:
            return malformed("/completion did not take the token that logit_bias forces")
        if entry is not None:
            self._spoken = token
        return entry

    async def _looked_up(self, before: TokenIds, token: int) -> Entry | Failure:
        """The same out of the whole distribution, told beside another token, on which the server is not silent."""
        wanted: dict[str, Any] = {"n_predict": 1, "temperature": 0.0}
        if self._spoken is not None:
            wanted["logit_bias"] = [[self._spoken, FORCED]]
        known: dict[int, float] = {}
        for size in LOOKED_UP:
            reply = await self._completion(before, {**wanted, "n_probs": size})
            if isinstance(reply, Failure):
                return reply
            told = at(reply, "completion_probabilities", 0, "top_logprobs")
            known = {top["id"]: number(top.get("logprob")) for top in told or () if isinstance(at(top, "id"), int)}
            if token in known:
                break
        return token, known.get(token), choice(known.items())

    async def _completion(self, prompt: TokenIds, wanted: Mapping[str, Any]) -> dict[str, Any] | Failure:
        body = {"prompt": list(prompt), **_PLAIN_SAMPLING, **wanted}
        reply = await self._native.post("/completion", body)
        if isinstance(reply, dict):
            self.spent.add(at(reply, "timings", "prompt_n"), at(reply, "tokens_predicted"))
        return reply


def _drawn(reply: Mapping[str, Any]) -> Drawn | Failure:
    """A generated text. Tokens that end within a character have no entry: the entries are matched from the end."""
    ids = token_ids(reply.get("tokens"))
    entries = reply.get("completion_probabilities")
    if ids is None or not isinstance(entries, list):
        return malformed("/completion gives no tokens with completion_probabilities")
    left = [_read(entry) for entry in entries]
    logprobs: list[float | None] = []
    choices: list[Choice | None] = []
    for token in reversed(ids):
        said = left[-1] if left else None
        if said is not None and said[0] == token:
            left.pop()
            logprobs.append(said[1])
            choices.append(said[2])
        else:
            logprobs.append(None)
            choices.append(None)
    if left:
        return malformed("completion_probabilities speaks of other tokens than those generated")
    return Drawn(ids, ScoredText(tuple(reversed(logprobs)), tuple(reversed(choices))))


def _read(entry: Any) -> Entry | None:
    """One entry of completion_probabilities: the token, its log-probability and the server's choice."""
    token = at(entry, "id") if isinstance(entry, Mapping) else None
    if not isinstance(token, int):
        return None
    tops = at(entry, "top_logprobs")
    told = [(at(top, "id"), number(at(top, "logprob"))) for top in tops or () if isinstance(top, Mapping)]
    return token, number(at(entry, "logprob")), choice((i, lp) for i, lp in told if isinstance(i, int))
