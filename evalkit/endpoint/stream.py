"""A streamed reply put together: events in, the body that the server would have sent without streaming out.

Only the first choice is kept, as evalkit never asks for more. What is not text (log-probabilities, tool calls,
a server's own fields) is kept too, so that a stored reply says the same whichever way it came.
"""

from typing import Any, Final, TypeAlias

from evalkit.endpoint import body, failures
from evalkit.endpoint.failures import malformed
from evalkit.model import Failure

# Follows the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream": lines end in LF, CRLF or CR, several
# `data` lines are joined by LF, lines that begin with a colon are comments, one leading byte-order mark is dropped, an
# event without data is none. `id` and `retry` are for reconnecting, which a generation cannot do, and are ignored.
Event: TypeAlias = tuple[str, bytes]  # an event's name ("" where the server gave none) and its data, not decoded

_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Feed it the body of a `text/event-stream` as it arrives.

    A chunk may end anywhere: in a line end, in a character, in the byte-order mark. The work is linear in the number
    of bytes however they are cut; what is held is at most one event.
    """

    __slots__ = ("_after_cr", "_ends_line", "_fresh", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._ends_line = True
        self._after_cr = False
        self._fresh = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events that are now complete, in order."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._unix_lines(chunk)
        if not chunk:
            return []
        pieces = self._pieces
        meets_blank = self._ends_line and chunk[0] == 0x0A
        self._ends_line = chunk[-1] == 0x0A
        if not meets_blank and b"\n\n" not in chunk:
            pieces.append(chunk)
            return []
        pieces.append(chunk)
        blocks = b"".join(pieces).split(b"\n\n")
        pieces.clear()
        rest = blocks.pop()
        if rest:
            pieces.append(rest)
        return self._events(blocks)

    def finish(self) -> list[Event]:
        """The stream has ended: return the event that lacks its blank line, if there is one.

        The standard would drop it; servers are known to end `data: [DONE]` with a single line end, or with none.
        """
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return self._events([rest]) if rest else []

    def _unix_lines(self, chunk: bytes) -> bytes:
        """Every line end as LF; a CR at the end of the previous chunk has been counted, so its LF is dropped here."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk[-1] == 0x0D
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, blocks: list[bytes]) -> list[Event]:
        if self._fresh and blocks:
            self._fresh = False
            blocks[0] = blocks[0].removeprefix(_BOM)
        events: list[Event] = []
        for block in blocks:
            # Nearly every event of nearly every server is this one line.
            if block.startswith(b"data: ") and b"\n" not in block:
                if len(block) > 6:
                    events.append(("", block[6:]))
            elif block:
                event = _parse(block)
                if event is not None:
                    events.append(event)
        return events


def _parse(block: bytes) -> Event | None:
    """One event of several lines, or of a less usual form; None where it has no data."""
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    joined = b"\n".join(data)
    return (name.decode("utf-8", "replace"), joined) if joined else None


_DONE: Final = b"[DONE]"
_OF_THE_EVENT: Final = frozenset({"choices", "usage", "object", "error"})
_OF_THE_DELTA: Final = frozenset({"index", "delta", "text", "logprobs"})

_OF_AN_ANSWER: Final = (
    "content", "text", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call",
)  # fmt: skip


class StreamedReply:
    """Collects one `text/event-stream` of `/chat/completions` or `/completions`; `events` counts what has come."""

    def __init__(self) -> None:
        self.events = 0
        self._parser = SseParser()
        self._texts: dict[str, list[str]] = {}
        self._tool_calls: dict[int, dict[str, Any]] = {}
        self._logprobs: dict[str, Any] = {}
        self._head: dict[str, Any] = {}
        self._ending: dict[str, Any] = {"finish_reason": None}
        self._usage: Any = None
        self._chat: bool | None = None
        self._id: Any = None
        self._model: Any = None
        self._done = False
        self._failure: Failure | None = None

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; True where nothing that follows can matter: the end, or an error event."""
        return self._take(self._parser.feed(chunk))

    def finish(self) -> bytes | Failure:
        """The stream has ended: the body as one line of JSON, or why there is no whole reply.

        MALFORMED where the stream ended without a finish reason, holds events of two completions or is no stream of
        completions; SERVER_ERROR or CONTEXT_OVERFLOW where the server sent an error in place of the rest, or gave the
        generation up.
        """
        if not self._done and self._failure is None:
            self._take(self._parser.finish())
        if self._failure is not None:
            return self._failure
        if self._chat is None:
            return malformed("the stream has no choices")
        if self._ending["finish_reason"] is None:
            return malformed("the stream broke off: it ended without a finish reason")
        try:
            return failures.dumps(self._document(chat=self._chat))
        except ValueError as error:
            return malformed(f"the stream cannot be written as JSON: {error}")

    def _take(self, events: list[Event]) -> bool:
        self.events += len(events)
        for name, data in events:
            if data == _DONE:
                self._done = True
                return True
            if self._event(name, data):
                return True
        return False

    def _event(self, name: str, data: bytes) -> bool:
        """One event: the hot loop, as a long answer is ten thousand of them; True where it is an error."""
        try:
            document = failures.loads(data)
        except ValueError as error:
            if name == "error":
                return self._fail(failures.of_stream(failures.read_error(data)))
            return self._fail(malformed(f"an event of the stream is not JSON: {error}"))
        choice = body.first_choice(document.get("choices")) if document.__class__ is dict else None
        if choice is None or name == "error" or document.get("error"):
            return self._without_choice(name, document)
        if self._chat is None:
            self._begin(document, choice)
        if document.get("id") != self._id and self._is_another(document.get("id")):
            return True
        if document.get("model") != self._model:
            self._name(document.get("model"))
        if document.get("usage") is not None:
            self._usage = document["usage"]
        if (len(document["choices"]) > 1 or self._ending["finish_reason"]) and self._is_stray(document, choice):
            return True
        self._add(choice)
        # Some servers write "" until the end has come.
        return bool(choice.get("finish_reason") or choice.get("error")) and self._ends_badly(choice)

    def _add(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if delta.__class__ is dict:
            self._add_delta(delta)
        elif choice.get("text").__class__ is str:
            self._texts.setdefault("text", []).append(choice["text"])
        if choice.get("logprobs").__class__ is dict:
            self._add_logprobs(choice["logprobs"])

    def _ends_badly(self, choice: dict[str, Any]) -> bool:
        """Keeps what the event with the finish reason says; True where it is no end of an answer."""
        if isinstance(ended := body.ending(choice), Failure):
            return self._fail(ended)
        self._ending.update((key, value) for key, value in choice.items() if key not in _OF_THE_DELTA)
        return False

    def _is_another(self, id_: Any) -> bool:
        """Whether an event is of another completion than those before it; some servers send "" with a few events."""
        if not id_ or not self._id:
            self._id = self._id or id_
            return False
        return self._fail(malformed(f"events of two completions in one stream: id {self._id!r}, then {id_!r}"))

    def _is_stray(self, document: dict[str, Any], choice: dict[str, Any]) -> bool:
        """Whether an event cannot be of the answer; some servers send an empty delta or a role after its end."""
        if body.twice(document["choices"]):
            return self._fail(malformed("several choices of one event have the same index"))
        holder = choice["delta"] if choice.get("delta").__class__ is dict else choice
        said = map(holder.get, _OF_AN_ANSWER if self._ending["finish_reason"] else ())
        if any(value.strip() if value.__class__ is str else value for value in said):
            return self._fail(malformed("the stream goes on with text after the event with its finish reason"))
        return False

    def _name(self, model: Any) -> None:
        """A reply under two names is of neither; some gateways give the name with later events only."""
        if model and self._model is None:
            self._model = self._head["model"] = model
        elif model and model != self._model:
            self._head["model"] = f"{self._model} then {model}"

    def _add_delta(self, delta: dict[str, Any]) -> None:
        texts = self._texts
        for key, value in delta.items():
            if value.__class__ is str:
                if key in texts:
                    texts[key].append(value)
                else:
                    texts[key] = [value]
            elif value is not None:
                self._structured(key, value)

    def _fail(self, failure: Failure) -> bool:
        self._failure = failure
        return True

    def _begin(self, document: dict[str, Any], choice: dict[str, Any]) -> None:
        """The first event that belongs to a completion says of which kind it is, and carries the body's own fields."""
        if isinstance(choice.get("delta"), dict):
            self._chat = True
        elif isinstance(choice.get("text"), str):
            self._chat = False
        else:
            return
        self._head |= {key: value for key, value in document.items() if key not in _OF_THE_EVENT}

    def _without_choice(self, name: str, document: Any) -> bool:
        """The events that carry no text: usage, an error, a server's own news; True where it is an error."""
        error = failures.in_band(document, named_error=name == "error")
        if error is not None:
            return self._fail(failures.of_stream(error))
        if isinstance(document, dict):
            self._name(document.get("model"))
            self._usage = document.get("usage") or self._usage
        return False

    def _structured(self, key: str, value: Any) -> None:
        """What is not plain text in a delta: content in parts, tool calls."""
        if key == "content":
            content, reasoning = body.text_of_parts(value) or ("", "")
            self._texts.setdefault("content", []).append(content)
            if reasoning:
                self._texts.setdefault("reasoning_content", []).append(reasoning)
        elif key == "tool_calls" and isinstance(value, list):
            for call in value:
                if isinstance(call, dict):
                    self._add_tool_call(call)

    def _add_tool_call(self, call: dict[str, Any]) -> None:
        index = call.get("index")
        whole = self._tool_calls.setdefault(index if isinstance(index, int) else 0, {"function": {}})
        whole.update((k, v) for k, v in call.items() if k not in {"function", "index"} and v is not None)
        function = call.get("function")
        if isinstance(function, dict):
            for key, value in function.items():
                if isinstance(value, str):
                    whole["function"][key] = whole["function"].get(key, "") + value

    def _add_logprobs(self, logprobs: dict[str, Any]) -> None:
        for key, value in logprobs.items():
            if isinstance(value, list) and isinstance(self._logprobs.get(key), list):
                self._logprobs[key].extend(value)
            elif value is not None:
                self._logprobs[key] = value

    def _document(self, *, chat: bool) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0}
        joined = {key: "".join(pieces) for key, pieces in self._texts.items()}
        if chat:
            message: dict[str, Any] = {"role": "assistant", "content": "", **joined}
            message["role"] = next(
                filter(None, self._texts.get("role", ())), "assistant"
            )  # some servers send it with every event
            if self._tool_calls:
                message["tool_calls"] = [self._tool_calls[index] for index in sorted(self._tool_calls)]
            choice["message"] = message
        else:
            choice["text"] = joined.get("text", "")
        choice["logprobs"] = self._logprobs or None
        choice.update(self._ending)
        kind = "chat.completion" if chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": self._usage}
