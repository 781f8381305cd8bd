"""A server with one fault of its own, before a faithful one: `proxy.py URL PORT FAULT`; ask.py starts one a fault.

Each fault is one that public trackers report of ports (docs/faults.md), at the border of a server, not in its kernels.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout, web

_LONG: Final = 6_000
_CROSSED: Final = 50


def top_p(body: dict[str, Any]) -> None:
    """The server's own value stands over the client's."""
    body["top_p"] = 1.0


def penalties(body: dict[str, Any]) -> None:
    """The sampler knows no penalties."""
    for name in ("presence_penalty", "frequency_penalty", "repetition_penalty"):
        body.pop(name, None)


def seed(body: dict[str, Any]) -> None:
    """Every request is drawn from a generator of the server's own."""
    body.pop("seed", None)


def schema(body: dict[str, Any]) -> None:
    """`response_format` does not reach the engine."""
    body.pop("response_format", None)


def long_prompts(body: dict[str, Any]) -> None:
    """The middle of a long prompt is lost, as by a wrong chunk."""
    for message in body.get("messages") or ():
        text = message.get("content")
        if isinstance(text, str) and len(text) > _LONG:
            message["content"] = text[: _LONG // 2] + text[-_LONG // 2 :]


CHANGES: Final = {one.__name__: one for one in (top_p, penalties, seed, schema, long_prompts)}
FAULTS: Final = (*CHANGES, "piece", "crossed")


class Proxy:
    """Hands requests on, changed as the fault says; `piece` loses the third event of a stream, `crossed` one in 50.

    What is crossed is the reply to another request which waits at the same moment.
    """

    def __init__(self, url: str, fault: str) -> None:
        self.url, self.fault, self.client = url.rstrip("/"), fault, ClientSession(timeout=ClientTimeout(None))
        self.seen = 0
        self.held: tuple[asyncio.Future[bytes], bytes] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        raw = await request.read()
        body = json.loads(raw) if raw else None
        if body is not None and (change := CHANGES.get(self.fault)):
            change(body)
        async with self.client.request(request.method, self.url + request.path_qs, json=body) as reply:
            if body and body.get("stream"):
                return await self.stream(request, reply)
            status, said = reply.status, await self.crossed(reply.status, await reply.read(), request.path)
        return web.Response(body=said, status=status, content_type=reply.content_type)

    async def crossed(self, status: int, said: bytes, path: str) -> bytes:
        """A reply, or that of the next request."""
        if self.fault != "crossed" or status != 200 or not path.endswith("/completions"):
            return said
        self.seen += 1
        if self.held is not None:  # another one waits for a reply that is not its own
            waiting, others, self.held = *self.held, None
            waiting.set_result(said)
            return others
        if self.seen % _CROSSED:
            return said
        waiting = asyncio.get_running_loop().create_future()
        self.held = (waiting, said)
        done, _ = await asyncio.wait({waiting}, timeout=2)
        if not done:
            self.held = None
            return said
        return waiting.result()

    async def stream(self, request: web.Request, reply: Any) -> web.StreamResponse:
        """A stream, event by event."""
        out = web.StreamResponse(status=reply.status, headers={"Content-Type": "text/event-stream"})
        await out.prepare(request)
        pieces = 0
        async for line in reply.content:
            pieces += b'"content":' in line
            if not (self.fault == "piece" and pieces == 3 and b'"content":' in line):
                await out.write(line)
        await out.write_eof()
        return out


async def main(url: str, port: str, fault: str) -> None:
    """Serve until it is killed."""
    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", Proxy(url, fault).handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
