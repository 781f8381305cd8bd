"""Fixtures: clients of both kinds, to ask the loopback servers of tests/conftest.py."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from evalkit.endpoint import open_client
from evalkit.endpoint.settings import ClientSettings


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
