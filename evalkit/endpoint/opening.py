"""From an endpoint's configuration to a client of it, with the server started first where it says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from evalkit.config import EndpointConfig
from evalkit.endpoint.settings import Client, ClientSettings, Materialise
from evalkit.errors import ConfigError


def open_client(
    settings: ClientSettings, kind: Literal["aiohttp", "openai"] = "aiohttp", materialise: Materialise | None = None
) -> Client:
    """Make a client of the given kind; nothing is connected before the first `ask`.

    Raises:
        ConfigError: a proxy of the environment is of a kind that cannot be used, or the TLS authorities cannot be read.
    """
    if kind == "openai":
        from evalkit.endpoint.openai_client import OpenAIClient

        return OpenAIClient(settings, materialise)
    from evalkit.endpoint.client import AiohttpClient

    return AiohttpClient(settings, materialise)


# ----------------------------------------------------------------
# An endpoint's configuration into settings that a client can use, with the server started first where it says
# so


@asynccontextmanager
async def opened(config: EndpointConfig, log_file: Path) -> AsyncIterator[ClientSettings]:
    """The client settings of an endpoint, which answers for the length of the context; its log goes to `log_file`.

    Raises:
        ConfigError: a key or file that the configuration names cannot be used.
        LaunchError: the server that is to be started does not come up.
    """
    if config.launch is None:
        yield client_settings(config, config.urls)
        return
    from evalkit.serve.launch import launched

    hint = config.urls[0] if config.urls else None
    async with launched(config.launch, hint, log_file, config.known_secrets()) as server:
        yield client_settings(config, config.urls or (server.base_url,))


def client_settings(config: EndpointConfig, urls: tuple[str, ...]) -> ClientSettings:
    """How a client reaches the endpoint of a configuration at these addresses.

    Raises:
        ConfigError: an address or file that cannot be used; names the place in the configuration.
    """
    try:
        return _settings(config, urls)
    except ConfigError as error:
        key = next((name for name in ("base_url", "base_urls", "tls.ca_file") if config.says(name)), "")
        place = config.where("tls.ca_file" if "ca_file" in str(error) else key)
        raise ConfigError(f"{place}: {error}" if place and place not in str(error) else str(error)) from None


def _settings(config: EndpointConfig, urls: tuple[str, ...]) -> ClientSettings:
    limits = config.limits
    return ClientSettings(
        base_urls=urls,
        model=config.model,
        api_key=config.api_key(),
        headers=config.request_headers(),
        connect_seconds=limits.connect_seconds,
        stall_seconds=limits.stall_seconds,
        total_seconds=limits.total_seconds,
        max_body_bytes=int(limits.max_body_mb * 1_000_000),
        stream=config.stream,
        tls_verify=config.tls.verify,
        ca_file=config.tls.ca_file,
        concurrency=limits.connections,
    )
