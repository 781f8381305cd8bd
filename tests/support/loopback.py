"""A loopback server that does exactly what a test tells it, what it can be told, and requests to send to it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from evalkit.model import Prompt, Request

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

OK_BODY = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "model": "tiny-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
)


@dataclass
class Received:
    method: str
    path: str
    query: str
    host: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return orjson.loads(self.body)


@dataclass
class Server:
    """Does one behaviour for each request, in order; the last one for all that follow."""

    behaviours: deque[Behaviour] = field(default_factory=deque)
    received: list[Received] = field(default_factory=list)
    connections: set[asyncio.BaseTransport] = field(default_factory=set)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    origin: str = ""

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def does(self, *behaviours: Behaviour) -> None:
        self.behaviours.extend(behaviours)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.content.read()  # as large as it comes
        headers = {name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers}
        self.received.append(Received(request.method, request.path, request.query_string, request.host, headers, body))
        self.connections.add(request.transport)
        self.arrived.set()
        behaviour = self.behaviours.popleft() if len(self.behaviours) > 1 else self.behaviours[0]
        try:
            return await behaviour(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone.set()
            raise


def says(body: bytes = OK_BODY, status: int = 200, **headers: str) -> Behaviour:
    """A whole answer; headers are given as Content_Type="text/html"."""
    named = {"Content-Type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}

    async def behave(_request):
        return web.Response(body=body, status=status, headers=named)

    return behave


def streams(
    *chunks: bytes, drop: bool = False, content_type: str = "text/event-stream", pause_seconds: float = 0.0
) -> Behaviour:
    """A chunked answer, one write a chunk; then a pause; `drop` breaks the connection in place of the end."""

    async def behave(request):
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        await asyncio.sleep(pause_seconds)
        if drop:
            request.transport.abort()
        else:
            await response.write_eof()
        return response

    return behave


def drops_after(sent: bytes, promised: int) -> Behaviour:
    """Promises so many bytes and breaks the connection earlier."""

    async def behave(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(promised)})
        await response.prepare(request)
        await response.write(sent)
        request.transport.abort()
        return response

    return behave


def drops() -> Behaviour:
    """Breaks the connection without a word."""

    async def behave(request):
        request.transport.abort()
        return web.Response()

    return behave


def holds(after: tuple[bytes, ...] = (), content_type: str = "text/event-stream") -> Behaviour:
    """Says something, or nothing, and then never anything again."""

    async def behave(request):
        response = web.StreamResponse(headers={"Content-Type": content_type})
        if after:
            await response.prepare(request)
            for chunk in after:
                await response.write(chunk)
        await asyncio.Event().wait()
        return response

    return behave


def never_ends(chunk: bytes = b" " * 65_536, content_type: str = "application/json") -> Behaviour:
    """Sends the same bytes until the client goes away."""

    async def behave(request):
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        while True:
            await response.write(chunk)

    return behave


def event(document) -> bytes:
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return b"data: " + data + b"\n\n"


def delta(content=None, finish=None, **more) -> bytes:
    """One event of a streamed chat answer."""
    piece = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": piece, "finish_reason": finish} | more
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "tiny-1", "choices": [choice]})


DONE = b"data: [DONE]\n\n"


def chat(text: str = "Which city is the capital of France?", **parameters) -> Request:
    prompt = Prompt(digest="d", messages=({"role": "user", "content": text},))
    return Request(key="k", suite="capitals", item="1", repeat=0, prompt=prompt, parameters=parameters, seed=11)


def plain(text: str = "The capital of France is", **parameters) -> Request:
    prompt = Prompt(digest="d", text=text)
    return Request(key="k", suite="capitals", item="1", repeat=0, prompt=prompt, parameters=parameters)
