"""A server that answers every question at once with the same bytes, to measure what asking costs.

`python benchmarks/bench/canned.py` serves on a free loopback port, which it prints, until its standard input ends;
`serving` does so for the length of a context.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson

EVENTS: Final = 250
"""Events of a streamed answer."""
MODEL: Final = "canned"
_TEXT: Final = "The answer follows from what is given. " * 10 + "ANSWER: B"


@contextmanager
def serving() -> Iterator[int]:
    """The port of the server, in a process of its own; raises `OSError` where it does not start."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout is not None else b""
        try:
            if not line:
                raise OSError("the loopback server did not start")
            yield int(line)
        finally:
            process.terminate()


def _document(content: dict[str, Any]) -> bytes:
    body = orjson.dumps(content)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def plain_answer() -> bytes:
    """A chat completion of some 100 tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 120, "completion_tokens": 100, "total_tokens": 220}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return _document({**head, "choices": [choice], "usage": usage})


def stream_answer() -> bytes:
    """Every event a chunk of its own, as servers write them; all in one write, as they pile up under load."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": "word"}, None)] * (EVENTS - 2) + [({}, "stop")]
    documents: list[dict[str, Any]] = [
        head | {"choices": [{"index": 0, "delta": d, "logprobs": None, "finish_reason": f}]} for d, f in deltas
    ]
    documents.append(head | {"choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": EVENTS - 2}})
    events = [b"data: " + orjson.dumps(document) + b"\n\n" for document in documents] + [b"data: [DONE]\n\n"]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    head_bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head_bytes + chunks + b"0\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Finds the end of a request and answers; nearly the cheapest server that Python can be."""

    answers = (plain_answer(), stream_answer())
    models = _document({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            asked = not head.startswith(b"GET")
            self._transport.write(self.answers[b'"stream":true' in body] if asked else self.models)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.buffer.read)  # ends with whoever started this, however that ends


if __name__ == "__main__":
    asyncio.run(_serve())
