"""The prompt that a completions reply echoes with its log-probabilities: what is read of it, and what is stored.

A request by log-likelihood has its whole prompt echoed, token by token, to score the few tokens at its end. Only those
are kept, with the number of the tokens before them and a digest of their text.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import orjson

from evalkit.endpoint.body import at
from evalkit.endpoint.failures import malformed
from evalkit.model import Failure, Reply

DROPPED: Final = "echo_dropped"
"""The key under which a stored body says how many tokens of the echo it lacks, and the SHA-256 of their text."""
_ROUNDING: Final = 1e-4  # nats by which rounding may lift a log-probability above 0
# What stands for a token that is a part of a character, or that the vocabulary lacks.
_LOST: Final = re.compile(r"\ufffd|<0x[0-9a-f]{2}>|bytes:(?:\\x[0-9a-f]{2})+|<unk>|\[unk\]")
_LONGEST_LOST: Final = 4  # characters that one of them may stand for, compatibility forms spelt out
_MOST_BEGINNING: Final = 2  # special tokens that a server puts before a prompt: [gMASK]<sop>

Echo: TypeAlias = Sequence[tuple[str, float | None]]
"""(token, log-probability in nats) of a prompt that a reply echoed; () where the reply has none."""


def echoed_logprobs(document: Any) -> Echo:
    """(token, log-probability in nats) of the prompt in a completions reply with `echo` and `logprobs`; () without.

    Reads the shape of vLLM and OpenAI: `tokens` and `token_logprobs`, the prompt's first, then those that were
    generated. The first token has None, and so has one of which nothing usable is said: no number, or one above 0. Of a
    stored body it is the end of the prompt.
    """
    tokens, values = (at(document, "choices", 0, "logprobs", key) for key in ("tokens", "token_logprobs"))
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return ()
    end = _prompt_tokens(document)
    return tuple(
        (token, float(value))
        if isinstance(token, str) and isinstance(value, int | float) and value <= _ROUNDING  # which NaN is not
        else ("", None)
        for token, value in zip(tokens[:end], values[:end], strict=True)
    )


def continuation_logprob(echo: Echo, continuation: str) -> float | None:
    """The log-probability (nats) of `continuation` at the end of the echoed prompt; None where the reply lacks it."""
    text, total = "", 0.0
    for token, value in reversed(echo):
        if len(text) >= len(continuation):
            break
        if value is None:
            return None
        text, total = token + text, total + value
    return total if text.endswith(continuation) else None


def with_logprobs(reply: Reply, prompt: str, continuation: str) -> Reply | Failure:
    """The reply where it says how likely `continuation` is at the end of `prompt`; else MALFORMED, to be asked again.

    A server may say so of most prompts and break on some: without numbers, or with ones that are none; or it may answer
    with those of another request.
    """
    document = orjson.loads(reply.raw)
    if continuation_logprob(echoed_logprobs(document), continuation) is None:
        return malformed("the reply has no log-probabilities of the option")
    if not echoes(document, prompt):
        return malformed("the prompt that the reply echoes is not the one that was sent: it is another request's reply")
    return reply


def echoes(document: Any, prompt: str) -> bool:
    """Whether the tokens of a whole body are those of `prompt`, special tokens before it aside.

    White space, case and compatibility forms may differ, as tokenizers normalise. A token that is a part of a character
    reads as U+FFFD or <0xE2>; as many characters of the prompt may be missing.
    """
    tokens = [str(token) for token in at(document, "choices", 0, "logprobs", "tokens")[: _prompt_tokens(document)]]
    if "".join(tokens).endswith(prompt):
        return True
    sent = _folded(prompt)
    return any(_is_text(_folded("".join(tokens[skipped:])), sent) for skipped in range(_MOST_BEGINNING + 1))


def _is_text(echoed: str, sent: str) -> bool:
    """Whether `echoed` is `sent` (both folded), but for what its tokens lost."""
    pieces = _LOST.split(echoed)
    missing = len(sent) - sum(map(len, pieces))
    if not 0 <= missing <= _LONGEST_LOST * (len(pieces) - 1) or not sent.startswith(pieces[0]):
        return False
    end = 0
    for piece in pieces:  # in their order
        found = sent.find(piece, end)
        if found < 0:
            return False
        end = found + len(piece)
    return True


def _folded(text: str) -> str:
    """`text` without white space, case, accents and compatibility forms."""
    if not text.isascii():
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return "".join(text.casefold().split())


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
    lists = {name for name, value in logprobs.items() if isinstance(value, list) and len(value) == len(tokens)}
    kept = {name: value[first:] if name in lists else value for name, value in logprobs.items()}
    before = hashlib.sha256("".join(tokens[:first]).encode(errors="surrogatepass")).hexdigest()
    choice = {**document["choices"][0], "text": "".join(tokens[first:]), "logprobs": kept}
    return {**document, "choices": [choice, *document["choices"][1:]], DROPPED: {"tokens": first, "sha256": before}}


def _prompt_tokens(document: Any) -> int | None:
    """How many of the tokens that a body holds are the prompt's; None where it does not say."""
    asked, dropped = at(document, "usage", "prompt_tokens"), at(document, DROPPED, "tokens") or 0
    if asked.__class__ is not int or asked < 0 or dropped.__class__ is not int:
        return None
    return max(0, asked - dropped)
