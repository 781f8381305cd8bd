"""Multiple choice by log-likelihood: the option whose continuation of the prompt the model finds likeliest.

Each option is one completions request with `echo` and `logprobs`, whose reply holds the log-probability of every
prompt token. The answer is the argmax over the options, as lm-eval's `multiple_choice` tasks have it; the sums
themselves are kept as metrics `logprob_A`, `logprob_B`, ..., since they show a numerical change long before the argmax
does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from evalkit.model import Score, Status

VERSION: Final = 1
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def score(doc: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]) -> Score:
    """The score of one item from the reply bodies of its options, in their order.

    `doc` holds `answer` (a letter) and `continuations` (the texts whose log-probability counts). A reply without
    usable log-probabilities gives no value: it is never wrong, and never right by chance.

    Raises:
        ValueError: where `answer` names none of the options.
    """
    gold = LETTERS.find(str(doc["answer"]))
    continuations = doc["continuations"]
    if not 0 <= gold < len(continuations):
        raise ValueError(f"the answer {doc['answer']!r} is none of the {len(continuations)} options")
    sums = [continuation_logprob(body, text) for body, text in zip(bodies, continuations, strict=True)]
    known = [value for value in sums if value is not None and not math.isnan(value)]
    if len(known) < len(sums):
        return Score(None, Status.GRADE_ERROR, "no_logprobs")
    best = max(range(len(known)), key=known.__getitem__)
    metrics = {f"logprob_{LETTERS[n]}": max(value, -1e9) for n, value in enumerate(known)}
    right = best == gold
    return Score(float(right), Status.SCORED, "right" if right else "wrong", answer=LETTERS[best], metrics=metrics)


def continuation_logprob(body: Mapping[str, Any], continuation: str) -> float | None:
    """The log-probability (nats) of `continuation` at the end of the echoed prompt; None where the reply lacks it.

    Reads the completions shape of vLLM and OpenAI: `logprobs` with `tokens` and `token_logprobs`, the prompt's tokens
    first, then those that were generated.
    """
    choice = (body.get("choices") or [{}])[0]
    logprobs = choice.get("logprobs") or {}
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return None
    prompt_tokens = (body.get("usage") or {}).get("prompt_tokens")
    end = prompt_tokens if isinstance(prompt_tokens, int) and prompt_tokens <= len(tokens) else len(tokens)
    text, total, place = "", 0.0, end
    while len(text) < len(continuation) and place > 0:
        place -= 1
        if not isinstance(tokens[place], str) or not isinstance(values[place], int | float):
            return None
        text, total = tokens[place] + text, total + float(values[place])
    return total if text.endswith(continuation) else None


def has_prompt_logprobs(body: Mapping[str, Any], prompt: str) -> bool:
    """True where a reply to a completions request with `echo` and `logprobs` holds what this scorer needs."""
    choice = (body.get("choices") or [{}])[0]
    return str(choice.get("text", "")).startswith(prompt) and continuation_logprob(body, prompt[-3:]) is not None
