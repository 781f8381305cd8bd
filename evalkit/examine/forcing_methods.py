"""Teacher forcing on each server in its own way, and which way a server has: tried, and held to what it must fulfil."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Final, Literal, TypeAlias

from evalkit.endpoint.body import at
from evalkit.endpoint.identity import Native
from evalkit.examine.divergence import Choice, ScoredText
from evalkit.examine.forcing import (
    TOP,
    Drawing,
    Drawn,
    Forcer,
    TokenIds,
    Unanswered,
    choice,
    number,
    scored,
    token_ids,
    unfit,
)
from evalkit.model import FailureKind, Message
from evalkit.resources import toml_file

Entry: TypeAlias = tuple[int, float | None, Choice | None]

FORCED: Final = 1000.0
LOOKED_UP: Final = (500, 1_000_000)
"""So many of the likeliest tokens are asked for, and all of them where the wanted one is not there."""
_PLAIN_SAMPLING: Final[Mapping[str, Any]] = {**toml_file("examine/forcing.toml")["llama_cpp"], "n_probs": TOP}
_SAMPLERS: Final = ("penalties", "top_k", "top_p", "min_p", "temperature")


class LlamaCpp(Forcer):
    """llama.cpp's native `/completion`, which ignores `echo` and `prompt_logprobs`: one request a token.

    `/completion` takes a prompt as token numbers; `logit_bias` of +1000 makes the wanted token the next one, and
    `n_probs` reports its log-probability from before the bias. The prompt cache keeps the work at one token a request,
    so a text is scored by the same one-token steps that decoding takes, not by reading it in one piece; as many texts
    at once as there are slots, so that prefixes stay cached.

    Two habits of the server matter (seen with the build of October 2026). It says nothing of a token that ends within a
    character (Chinese, emoji): such a one is looked up in the whole distribution. And with `id_slot`, two clients on
    one slot get tokens of each other's texts: slots are left to the server.
    """

    request_per_token = True

    def __init__(self, native: Native, chat_fields: Mapping[str, Any], slots: int) -> None:
        super().__init__(native, chat_fields, "logit_bias on llama.cpp's /completion")
        self.most_at_once = max(1, slots)
        self._spoken: int | None = None

    async def prompt_ids(self, messages: Sequence[Message]) -> TokenIds:
        """The template applied by the server, then tokenised as its chat endpoint does."""
        rendered = await self._post("/apply-template", {"messages": list(messages), **self._template_fields()})
        text = rendered.get("prompt")
        if not isinstance(text, str):
            raise unfit("/apply-template gives no prompt")
        return await self._tokenised({"content": text, "add_special": True, "parse_special": True})

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn:
        """Generate after a prompt given as token numbers."""
        more = {{"repetition_penalty": "repeat_penalty"}.get(name, name): value for name, value in drawing.more.items()}
        wanted = {"n_predict": drawing.tokens, "temperature": drawing.temperature, "seed": drawing.seed, **more}
        reply = await self._completion(
            prompt, return_tokens=True, **wanted, **({"samplers": list(_SAMPLERS)} if more else {})
        )
        return replace(_drawn(reply), ended=reply.get("stop_type") == "eos")

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText:
        """Force the tokens one after the other."""
        told: list[tuple[float | None, Choice | None]] = []
        for position, token in enumerate(ids):
            before = (*prompt, *ids[:position])
            entry = await self._forced(before, token) or await self._looked_up(before, token)
            told.append(entry[1:])
        return scored(told)

    async def _forced(self, before: TokenIds, token: int) -> Entry | None:
        """What the server says of a token that it is made to take; None where it keeps silent (half a character)."""
        reply = await self._completion(before, n_predict=1, temperature=0.0, logit_bias=[[token, FORCED]])
        entry = _read(at(reply, "completion_probabilities", 0))
        if entry is not None and entry[0] != token:
            raise unfit("/completion did not take the token that logit_bias forces")
        if entry is not None:
            self._spoken = token
        return entry

    async def _looked_up(self, before: TokenIds, token: int) -> Entry:
        """The same out of the whole distribution, told beside another token, on which the server is not silent."""
        bias = {} if self._spoken is None else {"logit_bias": [[self._spoken, FORCED]]}
        known: dict[int, float] = {}
        for size in LOOKED_UP:
            reply = await self._completion(before, n_predict=1, temperature=0.0, n_probs=size, **bias)
            told = at(reply, "completion_probabilities", 0, "top_logprobs")
            known = {top["id"]: number(top.get("logprob")) for top in told or () if isinstance(at(top, "id"), int)}
            if token in known:
                break
        return token, known.get(token), choice(known.items())

    async def _completion(self, prompt: TokenIds, **wanted: Any) -> dict[str, Any]:
        reply = await self._post("/completion", {"prompt": list(prompt), **_PLAIN_SAMPLING, **wanted})
        self._spend(at(reply, "timings", "prompt_n"), at(reply, "tokens_predicted"))
        return reply


def _drawn(reply: Mapping[str, Any]) -> Drawn:
    """A generated text. Tokens that end within a character have no entry: the entries are matched from the end."""
    ids = token_ids(reply.get("tokens"))
    entries = reply.get("completion_probabilities")
    if ids is None or not isinstance(entries, list):
        raise unfit("/completion gives no tokens with completion_probabilities")
    left = [_read(entry) for entry in entries]
    told: list[tuple[float | None, Choice | None]] = []
    for token in reversed(ids):
        entry = left[-1] if left else None
        if entry is not None and entry[0] == token:
            left.pop()
            told.append(entry[1:])
        else:
            told.append((None, None))
    if left:
        raise unfit("completion_probabilities speaks of other tokens than those generated")
    return Drawn(ids, scored(reversed(told)))


def _read(entry: Any) -> Entry | None:
    """One entry of completion_probabilities: the token, its log-probability and the server's choice."""
    token = at(entry, "id") if isinstance(entry, Mapping) else None
    if not isinstance(token, int):
        return None
    tops = at(entry, "top_logprobs")
    told = [(at(top, "id"), number(at(top, "logprob"))) for top in tops or () if isinstance(top, Mapping)]
    return token, number(at(entry, "logprob")), choice((i, lp) for i, lp in told if isinstance(i, int))


PLAIN_SAMPLING: Final[Mapping[str, Any]] = toml_file("examine/forcing.toml")["vllm"]
_NUMBERED: Final = "token_id:"


class TokensApi(Forcer):
    """`/v1/completions` with token numbers, as vLLM offers it: `prompt_logprobs`, or `echo` where `way` says so.

    vLLM's own fields: `return_token_ids` (0.10.2 and later) gives the numbers of a prompt, `return_tokens_as_token_ids`
    those of generated tokens, and `prompt_logprobs: K` the K likeliest tokens and the given one at every position of
    the prompt, the first position aside. With prefix caching it computes such prompts anew.
    """

    def __init__(self, native: Native, chat_fields: Mapping[str, Any], way: Literal["prompt_logprobs", "echo"]) -> None:
        super().__init__(native, chat_fields, f"{way} of /v1/completions")
        self._way = way

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn:
        """Generate after a prompt given as token numbers."""
        reply = await self._completions(
            prompt=list(prompt),
            max_tokens=drawing.tokens,
            seed=drawing.seed,
            temperature=drawing.temperature,
            logprobs=TOP,
            return_tokens_as_token_ids=True,
            **drawing.more,
        )
        read = _listed(at(reply, "choices", 0, "logprobs"))
        return replace(read, ended=at(reply, "choices", 0, "finish_reason") == "stop")

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText:
        """Read prompt and text in one request that generates a single token."""
        given = [*prompt, *ids]
        if self._way == "prompt_logprobs":
            reply = await self._completions(prompt=given, max_tokens=1, temperature=1.0, prompt_logprobs=TOP)
            return _prompt_scores(reply, given, len(prompt))
        reply = await self._completions(
            prompt=given, max_tokens=1, temperature=1.0, echo=True, logprobs=TOP, return_tokens_as_token_ids=True
        )
        return _echo_scores(reply, given, len(prompt))

    async def _completions(self, **fields: Any) -> dict[str, Any]:
        model = self._native.settings.model
        reply = await self._post("/v1/completions", {"model": model, **PLAIN_SAMPLING, **fields})
        self._spend(at(reply, "usage", "prompt_tokens"), at(reply, "usage", "completion_tokens"))
        return reply


def _prompt_scores(reply: Mapping[str, Any], given: Sequence[int], start: int) -> ScoredText:
    """The entries of `prompt_logprobs` from position `start`: objects from token number to what is said of it."""
    entries = at(reply, "choices", 0, "prompt_logprobs") or at(reply, "prompt_logprobs")
    if not isinstance(entries, list):
        raise unfit("the reply has no prompt_logprobs: the server ignores the field")
    if len(entries) != len(given):
        raise unfit(f"prompt_logprobs has {len(entries)} entries for a prompt of {len(given)} tokens")
    if entries[0] is not None:
        raise unfit("prompt_logprobs gives the first token a log-probability, which it cannot have")
    told: list[tuple[float | None, Choice | None]] = []
    for token, entry in zip(given[start:], entries[start:], strict=True):
        if not isinstance(entry, Mapping) or str(token) not in entry:
            raise unfit("prompt_logprobs speaks of other tokens than those that were sent")
        known = {int(name): number(at(said, "logprob")) for name, said in entry.items() if name.isdecimal()}
        told.append((known[token], choice(known.items())))
    return scored(told)


def _echo_scores(reply: Mapping[str, Any], given: Sequence[int], start: int) -> ScoredText:
    """The entries of an echoed prompt from position `start`; the generated token at the end is left out."""
    listed = at(reply, "choices", 0, "logprobs")
    first = at(listed, "token_logprobs", 0) if isinstance(listed, Mapping) else 0.0
    if first is not None:
        raise unfit("the reply does not echo the prompt with its log-probabilities (the first has none)")
    read = _listed(listed)
    if list(read.ids[: len(given)]) != list(given):
        raise unfit("the echoed tokens are not those that were sent")
    return ScoredText(read.scores.logprobs[start : len(given)], read.scores.choices[start : len(given)])


def _listed(logprobs: Any) -> Drawn:
    """OpenAI's older form: parallel lists of tokens (numbered), log-probabilities and the likeliest tokens."""
    tokens, values, tops = (at(logprobs, key) for key in ("tokens", "token_logprobs", "top_logprobs"))
    if not isinstance(tokens, list):
        raise unfit("the reply has no log-probabilities")
    ids = tuple(found for token in tokens if (found := _numbered(token)) is not None)
    if len(ids) < len(tokens) or not isinstance(values, list) or len(values) != len(ids):
        raise unfit("the log-probabilities do not name their tokens by number (return_tokens_as_token_ids)")
    tops = tops if isinstance(tops, list) and len(tops) == len(ids) else [None] * len(ids)
    return Drawn(ids, scored(zip(map(number, values), map(_top, tops), strict=True)))


def _top(top: Any) -> Choice | None:
    items = top.items() if isinstance(top, Mapping) else ()
    return choice((found, number(value)) for name, value in items if (found := _numbered(name)) is not None)


def _numbered(token: Any) -> int | None:
    if isinstance(token, str) and token.startswith(_NUMBERED) and token[len(_NUMBERED) :].isdecimal():
        return int(token[len(_NUMBERED) :])
    return None


class Sglang(Forcer):
    """SGLang's own `/generate`: `return_logprob` with `logprob_start_len` and token numbers.

    Its OpenAI endpoints refuse `echo` together with `logprobs`. Log-probabilities come as `[value, token number,
    text]`; the first of those asked for has no value, so one position more than needed is asked for.
    """

    def __init__(self, native: Native, chat_fields: Mapping[str, Any]) -> None:
        super().__init__(native, chat_fields, "return_logprob of SGLang's /generate")

    async def draw(self, prompt: TokenIds, drawing: Drawing) -> Drawn:
        """Generate after a prompt given as token numbers."""
        wanted = {"max_new_tokens": drawing.tokens, "temperature": drawing.temperature, "sampling_seed": drawing.seed}
        meta = await self._generate(prompt, -1, **wanted, **drawing.more)
        read = _read_sglang(meta.get("output_token_logprobs"), meta.get("output_top_logprobs"))
        return replace(read, ended=at(meta, "finish_reason", "type") == "stop")

    async def score(self, prompt: TokenIds, ids: TokenIds) -> ScoredText:
        """Read prompt and text in one request that generates a single token."""
        meta = await self._generate((*prompt, *ids), max(0, len(prompt) - 1), max_new_tokens=1, temperature=1.0)
        entries, tops = meta.get("input_token_logprobs"), meta.get("input_top_logprobs")
        if not isinstance(entries, list) or len(entries) < len(ids):
            raise unfit("/generate gives no input_token_logprobs for all of the text")
        tops = tops[-len(ids) :] if isinstance(tops, list) and len(tops) >= len(ids) else None
        read = _read_sglang(entries[-len(ids) :], tops)
        if read.ids != ids:
            raise unfit("input_token_logprobs speaks of other tokens than those that were sent")
        return read.scores

    async def _generate(self, given: TokenIds, start: int, **sampling: Any) -> dict[str, Any]:
        body = {
            "input_ids": list(given),
            "sampling_params": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **sampling},
            "return_logprob": True,
            "logprob_start_len": start,
            "top_logprobs_num": TOP,
        }
        reply = await self._post("/generate", body)
        meta = reply.get("meta_info")
        if not isinstance(meta, dict):
            raise unfit("/generate gives no meta_info")
        self._spend(meta.get("prompt_tokens"), meta.get("completion_tokens"))
        return meta


def _read_sglang(entries: Any, tops: Any) -> Drawn:
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) >= 2 for entry in entries):
        raise unfit("/generate gives no log-probabilities")
    ids = [entry[1] for entry in entries]
    if not all(isinstance(one, int) for one in ids):
        raise unfit("/generate does not number its tokens")
    choices: tuple[Choice | None, ...] = ()
    if isinstance(tops, list) and len(tops) == len(entries):
        choices = tuple(_sglang_top(top) for top in tops)
    return Drawn(tuple(ids), ScoredText(tuple(number(entry[0]) for entry in entries), choices))


def _sglang_top(top: Any) -> Choice | None:
    entries = top if isinstance(top, list) else ()
    return choice((entry[1], number(entry[0])) for entry in entries if isinstance(entry, list) and len(entry) >= 2)


CANARY: Final[tuple[Message, ...]] = ({"role": "user", "content": "Name the days of the week, from Monday to Sunday."},)
CANARY_TOKENS: Final = 12
LEAST_TOKENS: Final = 3
LEAST_DROP_NATS: Final = 0.5
MOST_DRIFT_NATS: Final = 1.0
"""Re-scoring may differ from decoding (that is what the probe measures), but not as two unrelated texts differ."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Why no method works on this server: one sentence for each that was tried.

    `refused` says that the server wants another key: whether a method would work is not known then.
    """

    reasons: tuple[str, ...]
    refused: bool = False


async def find_forcer(native: Native, chat_fields: Mapping[str, Any] | None = None) -> Forcer | Unsupported:
    """The method that works on a server, verified with a dozen short requests; or why none does.

    A server that ignores a field answers all the same, so a method counts only where its answers behave like
    log-probabilities of the tokens that were sent: a number for each, none above 0, not all alike, the server's own
    text likelier than its tokens in another order, and re-scored about as it was decoded.

    `chat_fields` are further fields of chat requests, such as `chat_template_kwargs`: they decide the prompt.
    """
    fields = dict(chat_fields or {})
    props = await native.get("/props")
    slots = props.get("total_slots") if isinstance(props, dict) else None
    forcers: list[Forcer]
    if isinstance(slots, int):
        forcers = [LlamaCpp(native, fields, slots)]
    elif isinstance(info := await native.get("/get_model_info"), dict) and "model_path" in info:
        forcers = [Sglang(native, fields)]
    else:
        forcers = [TokensApi(native, fields, "prompt_logprobs"), TokensApi(native, fields, "echo")]
    reasons: dict[str, list[str]] = {}
    for forcer in forcers:
        prompt: TokenIds | None = None
        try:
            prompt = await forcer.prompt_ids(CANARY)
            why = await _trouble(forcer, prompt)
        except Unanswered as error:
            why = error.failure.detail
            if prompt is None and error.failure.kind is FailureKind.AUTH:
                return Unsupported((why,), refused=True)
        if why is None:
            return forcer
        reasons.setdefault(why, []).append(forcer.method)
    return Unsupported(tuple(f"{' and '.join(methods)}: {why}" for why, methods in reasons.items()))


async def _trouble(forcer: Forcer, prompt: TokenIds) -> str | None:
    """What is wrong with a method on this server; None where it can be used."""
    # The chat endpoint, which the suites use, must read as many tokens as the method believes.
    read = at(await forcer.greet(CANARY), "usage", "prompt_tokens")
    if isinstance(read, int) and read != len(prompt):
        return f"the chat endpoint reads {read} tokens where the prompt as token numbers has {len(prompt)}"
    drawn = await forcer.draw(prompt, Drawing(CANARY_TOKENS, temperature=0.0, seed=0))
    if len(drawn.ids) < LEAST_TOKENS or len(set(drawn.ids)) == 1:
        # A broken model may say nothing, or one token over and over: its prompt is text enough.
        tail = prompt[-CANARY_TOKENS:]
        prompt, drawn = prompt[: -len(tail)] or prompt[:1], Drawn(tail, ScoredText(()))
    scored = await forcer.score(prompt, drawn.ids)
    return _not_logprobs(drawn, _finite(scored), _finite(await forcer.score(prompt, drawn.ids[::-1])))


def _not_logprobs(drawn: Drawn, values: list[float], turned: list[float]) -> str | None:
    if len(values) < max(2, len(drawn.ids) / 2):
        missing = len(drawn.ids) - len(values)
        return f"{missing} of {len(drawn.ids)} tokens have no finite log-probability"
    if max(values) > 1e-3:
        return f"a log-probability of {max(values):.3g} is above 0"
    if len({*values, *turned}) == 1:
        return f"every token has the same log-probability, {values[0]:.3g}"
    drop = fmean(values) - fmean(turned) if turned else math.inf
    if drop < LEAST_DROP_NATS:
        return "the tokens in reverse order are as likely as the text itself: the values do not depend on what is sent"
    decoded = _finite(drawn.scores)
    if len(decoded) == len(values):
        drift = fmean(abs(a - b) for a, b in zip(values, decoded, strict=True))
        if drift > MOST_DRIFT_NATS:
            return f"the server's own text comes back with other log-probabilities ({drift:.2g} nats per token apart)"
    return None


def _finite(text: ScoredText) -> list[float]:
    return [value for value in text.logprobs if value is not None and math.isfinite(value)]
