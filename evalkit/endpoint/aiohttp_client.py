"""The client of the hot path: the request's JSON goes straight to aiohttp."""

from __future__ import annotations

from typing import Any

from yarl import URL

from evalkit.endpoint import body
from evalkit.endpoint.attempt import AttemptClient
from evalkit.endpoint.client import ClientSettings, Materialise
from evalkit.endpoint.transport import Answer, endpoint_url
from evalkit.model import Failure


class AiohttpClient(AttemptClient):
    """Asks an endpoint over aiohttp; use it from one event loop.

    Raises:
        ConfigError: the TLS authorities cannot be read, or a proxy of the environment cannot be used.
    """

    def __init__(self, settings: ClientSettings, materialise: Materialise | None = None) -> None:
        super().__init__(settings, materialise)
        self._urls: dict[tuple[str, str], URL] = {
            (base_url, path): endpoint_url(base_url, path)
            for base_url in settings.base_urls
            for path in (body.CHAT_PATH, body.TEXT_PATH)
        }

    async def _send(self, base_url: str, path: str, fields: dict[str, Any]) -> Answer | Failure:
        data = body.request_bytes(fields)
        if isinstance(data, Failure):
            return data
        silence = self._settings.before_answer(fields)
        return await self._transport.exchange("POST", self._urls[base_url, path], body=data, silence=silence)
