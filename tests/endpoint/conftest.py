"""Fixtures: loopback servers, and clients of both kinds to ask them.

Tests are no package, so what they share is loaded here by its path, under the name `loopback`.
"""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from aiohttp import web

from evalkit.endpoint.opening import open_client
from evalkit.endpoint.settings import ClientSettings

_spec = importlib.util.spec_from_file_location("loopback", Path(__file__).with_name("loopback.py"))
loopback = importlib.util.module_from_spec(_spec)
sys.modules["loopback"] = loopback
_spec.loader.exec_module(loopback)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[loopback.Server]]]:
    """Starts servers: `await serve(says(...), drops())`, with TLS where a context is given."""
    async with AsyncExitStack() as stack:

        async def start(*behaviours: loopback.Behaviour, tls=None) -> loopback.Server:
            server = loopback.Server()
            server.does(*behaviours)
            runner = web.ServerRunner(web.Server(server.handle, handler_cancellation=True), shutdown_timeout=0.01)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            host, port = runner.addresses[0][:2]
            server.origin = f"{'https' if tls else 'http'}://{host}:{port}"
            return server

        yield start


@pytest.fixture
async def serve_bytes() -> AsyncIterator[Callable[[bytes | None], Awaitable[str]]]:
    """Starts a server below HTTP: it sends these bytes to whoever connects and closes; None: it holds still."""
    servers: list[asyncio.Server] = []

    async def start(data: bytes | None) -> str:
        async def connected(reader, writer):
            with suppress(ConnectionError):
                if data is None:
                    await asyncio.Event().wait()
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@pytest.fixture(params=["aiohttp", "openai"])
async def connect(request) -> AsyncIterator[Callable[..., object]]:
    """Opens a client, of each kind in turn: `connect(server.url, stream=True)`."""
    async with AsyncExitStack() as stack:

        def open_(*urls: str, materialise=None, **settings):
            values = {"model": "tiny", "connect_seconds": 5.0, "stall_seconds": 20.0} | settings
            client = open_client(ClientSettings(base_urls=urls, **values), request.param, materialise)
            stack.push_async_callback(client.close)
            return client

        yield open_
