"""The prompt that a completions reply echoes with its log-probabilities: what is read of it, and what is stored.

A request by log-likelihood has its whole prompt echoed, token by token, to score the few tokens at its end. Only those
are kept, with the number of the tokens before them and a digest of their text.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from evalkit.endpoint.body import at

DROPPED: Final = "echo_dropped"
"""The key under which a stored body says how many tokens of the echo it lacks, and the SHA-256 of their text."""


def echoed_logprobs(document: Any) -> tuple[tuple[str, float | None], ...]:
    """(token, log-probability in nats) of the prompt in a completions reply with `echo` and `logprobs`; () without.

    Reads the shape of vLLM and OpenAI: `tokens` and `token_logprobs`, the prompt's first, then those that were
    generated. The first token, and one of which nothing usable is said, has None. Of a stored body it is the end of the
    prompt.
    """
    tokens, values = (at(document, "choices", 0, "logprobs", key) for key in ("tokens", "token_logprobs"))
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return ()
    end = _prompt_tokens(document)
    return tuple(
        (token, float(value)) if isinstance(token, str) and isinstance(value, int | float) else ("", None)
        for token, value in zip(tokens[:end], values[:end], strict=True)
    )


def without_echo(document: dict[str, Any], continuation: str) -> dict[str, Any]:
    """The body with no more of the echoed prompt than the tokens that end in `continuation`, and what follows them.

    A body that has no such echo is given back as it is.
    """
    echo = echoed_logprobs(document)
    first, length = len(echo), 0
    while first > 0 and length < len(continuation):
        first -= 1
        length += len(echo[first][0])
    logprobs = at(document, "choices", 0, "logprobs")
    if first == 0 or DROPPED in document or any(not isinstance(token, str) for token in logprobs["tokens"]):
        return document
    tokens = logprobs["tokens"]
    kept = {name: value[first:] if _as_long(value, tokens) else value for name, value in logprobs.items()}
    before = hashlib.sha256("".join(tokens[:first]).encode(errors="surrogatepass")).hexdigest()
    choice = {**document["choices"][0], "text": "".join(tokens[first:]), "logprobs": kept}
    return {**document, "choices": [choice, *document["choices"][1:]], DROPPED: {"tokens": first, "sha256": before}}


def _as_long(value: Any, tokens: list[str]) -> bool:
    return isinstance(value, list) and len(value) == len(tokens)


def _prompt_tokens(document: Any) -> int | None:
    """How many of the tokens that a body holds are the prompt's; None where it does not say."""
    asked, dropped = at(document, "usage", "prompt_tokens"), at(document, DROPPED, "tokens") or 0
    if asked.__class__ is not int or asked < 0 or dropped.__class__ is not int:
        return None
    return max(0, asked - dropped)
