"""What is sent and what comes back, as pure functions: a request's JSON body, and a reply read from a body.

A reply is read strictly: what is not a whole answer of the kind that was asked for is a failure, because anything
let through here would be graded.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from evalkit.endpoint import failures
from evalkit.endpoint.failures import malformed
from evalkit.files import digest
from evalkit.model import Failure, FailureKind, Message, Reply, Request, Usage

CHAT_PATH: Final = "/chat/completions"
TEXT_PATH: Final = "/completions"

_NOTHING: Final = Usage()
ENDINGS: Final = frozenset(
    {"stop", "length", "content_filter", "tool_calls", "function_call", "eos_token", "stop_sequence"}
)
"""The finish reasons of a generation that came to its end, in lower case: some gateways write STOP."""
_GIVEN_UP: Final = frozenset({"failed", "error", "abort", "aborted", "cancelled", "canceled"})
_ASKING: Final = frozenset({"user", "system", "developer", "tool", "function"})  # roles of a prompt's messages


def request_fields(request: Request, messages: Iterable[Message], *, model: str, stream: bool) -> dict[str, Any]:
    """The body of a request as a dictionary, in the order in which it is sent.

    `messages` are the prompt's, pictures filled in; they are ignored where the prompt is raw text. A `model` among
    the request's parameters goes before `model`.
    """
    fields: dict[str, Any] = {"model": model, **request.parameters}
    if request.prompt.text is None:
        fields["messages"] = messages
    else:
        fields["prompt"] = request.prompt.text
    if request.seed is not None:
        fields["seed"] = request.seed
    fields["stream"] = stream
    if stream:
        fields.setdefault("stream_options", {"include_usage": True})
    else:
        fields.pop("stream_options", None)
    return fields


def request_bytes(fields: Mapping[str, Any]) -> bytes | Failure:
    """The body as JSON; BAD_REQUEST where a prompt or parameter has no form in JSON (half a surrogate pair, a set).

    The serialised messages are not kept for the next repeat: measured, that would save 2 microseconds of 80 for a
    4 kB prompt and 50 of 1,500 for a picture of 1.5 MB.
    """
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError as error:
        return Failure(FailureKind.BAD_REQUEST, f"the request cannot be written as JSON: {error}")


def parse_reply(body: bytes, *, chat: bool, seconds: float) -> Reply | Failure:
    """Read the body of a 2xx answer to `/chat/completions` (`chat`) or `/completions`.

    `raw` is the body itself, or the same document written anew where the body has line breaks or is only readable
    leniently: always one line of valid JSON. Where a message has a `refusal` or tool calls and no text, that is its
    finish reason ("refusal", "tool_calls"), whatever the server says. A generation that was given up (any other one
    than `ENDINGS`) is SERVER_ERROR, an error inside a 200 is CONTEXT_OVERFLOW where it says so, everything else that is
    not a whole answer is MALFORMED.
    """
    try:
        document, raw = read_document(body)
    except ValueError as error:
        return malformed(_why_not_json(body, error))
    return reply_of(document, raw, chat=chat, seconds=seconds)


def reply_of(document: Any, raw: bytes, *, chat: bool, seconds: float) -> Reply | Failure:
    """Read a body that is JSON already, by the rules of `parse_reply`; `raw` is what it was read from."""
    in_band = failures.in_band(document)
    if in_band is not None:
        return failures.of_body(in_band)
    choice = _choice(document)
    if choice is None:
        return malformed(f"the answer has no choices: {_start(raw)}")
    if problem := _contradicted(document, choice):
        return problem
    finish_reason = ending(choice)
    if isinstance(finish_reason, Failure):
        return finish_reason
    texts = _message_texts(choice.get("message")) if chat else _plain_texts(choice)
    if texts is None:
        expected = "message with content" if chat else "text"
        return malformed(f"the answer's first choice has no {expected}: {_start(raw)}")
    content, reasoning = texts
    if chat and not content.strip():
        finish_reason = _instead(choice["message"]) or finish_reason
    return Reply(
        content=content,
        reasoning=reasoning,
        finish_reason=finish_reason,
        usage=_usage(document.get("usage")),
        model=label(served) if isinstance(served := document.get("model"), str) else None,
        seconds=seconds,
        raw=raw,
        fingerprint=label(document.get("system_fingerprint")),
    )


def _contradicted(document: Any, choice: Mapping[str, Any]) -> Failure | None:
    """What a body says beside its choice that makes it no answer; None for nothing."""
    if str(status := document.get("status")).lower() in _GIVEN_UP:
        return Failure(FailureKind.SERVER_ERROR, f"the server gave the generation up: status {status!r}", status=200)
    if twice(document["choices"]):
        return malformed("several choices have the same index")
    role = at(choice, "message", "role")
    return malformed(f"the answer is a message of the role {role!r}") if str(role).lower() in _ASKING else None


def twice(choices: list[Any]) -> bool:
    """Whether two of several choices have the same index: nobody can say which of them is the answer."""
    told = [choice["index"] for choice in choices if choice.__class__ is dict and choice.get("index") is not None]
    return len(told) > 1 and len(set(map(str, told))) < len(told)


_LONGEST_LABEL: Final = 300  # a path of a hub's cache is a name, too
_MOST_WORDS: Final = 4
_MOST_FOREIGN: Final = 20


def label(told: Any) -> str:
    """What a server calls its model or build, as it may be stored and shown; "" for nothing.

    A text that is no name, long or of many words, may be a question that a server quotes: its digest stands for it.
    """
    text = "" if told is None or told is False else str(told)
    foreign = sum(not one.isascii() for one in text[: _LONGEST_LABEL + 1])
    long = len(text) > _LONGEST_LABEL or len(text.split()) > _MOST_WORDS or foreign > _MOST_FOREIGN
    if long or "?" in text or not text.isprintable():
        return f"(no name, {digest(text)[:12]})"
    return text


def ending(choice: Mapping[str, Any]) -> str | Failure | None:
    """How a choice says that it ended: one of `ENDINGS`, None where it says nothing, or why it is no answer.

    What a server calls the end of a generation that it gave up is its own affair ("cancelled", "ABORT", an object), so
    that only what is known to be an end is one.
    """
    if choice.get("error"):
        return failures.of_choice(choice)
    told = choice.get("finish_reason")
    word = told.get("type") if isinstance(told, dict) else told
    if str(stopped := choice.get("stop_reason")).lower() in _GIVEN_UP:
        word = told = stopped  # beside a finish_reason "stop"
    if told is None or (isinstance(word, str) and word.lower() in ENDINGS):
        return word.lower() if isinstance(word, str) else None
    shown = word if isinstance(word, str) else told
    return Failure(FailureKind.SERVER_ERROR, f"the server gave the generation up: finish_reason {shown!r}", status=200)


def stored_reply(document: Any, *, seconds: float) -> Reply | Failure:
    """The reply that a stored body holds, whichever of the two kinds it is; `raw` is empty."""
    choice = _choice(document)
    return reply_of(document, b"", chat=choice is None or "text" not in choice, seconds=seconds)


def completion_tokens(document: Any) -> int | None:
    """The completion tokens that a body reports."""
    return _count(at(document, "usage", "completion_tokens"))


def generated_logprobs(document: Any) -> tuple[tuple[str, float], ...]:
    """(token, log-probability in nats) of what a chat reply generated, as far as its body has them."""
    content = at(_choice(document), "logprobs", "content")
    return tuple(
        (str(entry.get("token")), float(entry["logprob"]))
        for entry in (content if isinstance(content, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("logprob"), int | float)
    )


def text_of_parts(parts: Any) -> tuple[str, str] | None:
    """Content given as a list of parts: the joined text, and the joined reasoning; None where it is no such list."""
    if not isinstance(parts, list):
        return None
    content: list[str] = []
    reasoning: list[str] = []
    for part in parts:
        if isinstance(part, str):
            content.append(part)
        elif isinstance(part, dict) and part.get("type") in {"thinking", "reasoning"}:
            reasoning.append(_reasoning_of_part(part))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            content.append(part["text"])
    return "".join(content), "".join(reasoning)


def read_document(body: bytes) -> tuple[Any, bytes]:
    """The document, and the one line of JSON that it was read from."""
    try:
        document, raw = orjson.loads(body), body
    except orjson.JSONDecodeError:
        raw = failures.dumps(failures.loads(body))
        return orjson.loads(raw), raw
    if b"\n" in raw or b"\r" in raw:
        # Inside strings line breaks are escaped, so these are white space: usually one at the very end.
        raw = raw.strip()
        if b"\n" in raw or b"\r" in raw:
            raw = failures.dumps(document)
    return document, raw


def at(document: Any, *path: str | int) -> Any:
    """The value under nested keys and indices of a JSON document; None where the path ends early."""
    value = document
    for part in path:
        if isinstance(part, str) and isinstance(value, dict):  # not Mapping: millions of stored replies are looked into
            value = value.get(part)
        elif isinstance(part, int) and isinstance(value, list) and -len(value) <= part < len(value):
            value = value[part]
        else:
            return None
    return value


def _choice(document: Any) -> dict[str, Any] | None:
    """The choice that was asked for: that of index 0, or the first where none says so."""
    choices = at(document, "choices")
    found = first_choice(choices) or at(choices, 0)
    return found if isinstance(found, dict) else None


def first_choice(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0 or none; None where no choice is that."""
    for choice in choices if choices.__class__ is list else ():
        if choice.__class__ is dict and not choice.get("index"):
            found: dict[str, Any] = choice
            return found
    return None


def _instead(message: Mapping[str, Any]) -> str:
    """What a message without text has in the place of one: "refusal", "tool_calls" or ""."""
    parts = message["content"] if isinstance(message.get("content"), list) else ()
    if any(at(part, "refusal") for part in (message, *parts)):
        return "refusal"
    return "tool_calls" if message.get("tool_calls") or message.get("function_call") else ""


def _message_texts(message: Any) -> tuple[str, str] | None:
    """Content and reasoning of a chat message; None where it is none."""
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    thought = reasoning if isinstance(reasoning, str) else ""
    if isinstance(content, str):
        return content, thought
    if content is None:
        return "", thought
    parts = text_of_parts(content)
    return None if parts is None else (parts[0], thought or parts[1])


def _plain_texts(choice: Mapping[str, Any]) -> tuple[str, str] | None:
    if "text" not in choice:
        return None
    text = choice["text"]
    return ("" if text is None else text, "") if text is None or isinstance(text, str) else None


def _reasoning_of_part(part: Mapping[str, Any]) -> str:
    """Mistral nests parts under `thinking`; others put a string there, or under `text`."""
    for key in ("thinking", "reasoning", "text"):
        value = part.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(p["text"] for p in value if isinstance(p, dict) and isinstance(p.get("text"), str))
    return ""


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return _NOTHING
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: Any) -> int | None:
    """A number of tokens: a whole number that is not negative, and not `true`."""
    return value if value.__class__ is int and value >= 0 else None


def _why_not_json(body: bytes, error: ValueError) -> str:
    if not body.strip():
        return "status 200 with an empty body"
    if failures.looks_like_html(body):
        return f"{failures.read_error(body).message} in place of JSON: is base_url the address of the API?"
    reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON ({error})"
    return f"the answer is {reason}: {_start(body)}"


def _start(body: bytes) -> str:
    """The beginning of a body, for people."""
    return body[:2000].decode("utf-8", "replace")
