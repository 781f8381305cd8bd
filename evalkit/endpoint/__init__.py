"""Asking an endpoint: `open_client` makes a client of it, everything else here is how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # who only reads what is stored needs neither clients nor the configuration
    from evalkit.endpoint.settings import Client, ClientSettings, Materialise


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
