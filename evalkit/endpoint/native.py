"""A server's own JSON interface beside the OpenAI one: a path and a document there, a document or a failure back.

For the doctor and the fidelity probe, which need what the client does not: paths outside `/v1`, and numbers as the
server wrote them, NaN and infinities included. A passing trouble is met with two more attempts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from evalkit.endpoint import failures
from evalkit.endpoint.client import ClientSettings
from evalkit.endpoint.transport import Answer, Transport, endpoint_url, place, server_root
from evalkit.model import Failure, FailureKind

PAUSES_SECONDS: Final = (0.5, 2.0)
PAGE_SECONDS: Final = 60.0

# Asking such a failure's question again is worth the wait here; a malformed answer will be malformed again.
_PASSING: Final = frozenset(
    {FailureKind.CONNECTION, FailureKind.RATE_LIMITED, FailureKind.SERVER_ERROR, FailureKind.TIMEOUT}
)


class Native:
    """Asks the first of an endpoint's addresses; use it as an async context, in one event loop.

    Paths that begin with `/v1/` are taken below the base address, all others below its root. `requests` counts what was
    sent, repeated attempts included.

    Raises:
        ConfigError: the TLS authorities cannot be read, or a proxy of the environment cannot be used.
    """

    def __init__(self, settings: ClientSettings, pauses_seconds: tuple[float, ...] = PAUSES_SECONDS) -> None:
        self.settings = replace(settings, base_urls=settings.base_urls[:1], stream=False)
        self.requests = 0
        self._pauses = pauses_seconds
        self._base = self.settings.base_urls[0].rstrip("/")
        self._root = server_root(self._base)
        self._redactor = failures.Redactor(settings.api_key, settings.headers, settings.base_urls)
        self._transport = Transport(self.settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """The JSON object that answers a document; MALFORMED where the answer is none."""
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        return await self._asked("POST", path, body)

    async def get(self, path: str) -> dict[str, Any] | Failure:
        """The JSON object under a path; MALFORMED where there is something else."""
        return await self._asked("GET", path, None)

    async def answer(self, path: str) -> Answer | Failure:
        """What a GET brings, whatever its status and form; one attempt, and a minute's patience."""
        self.requests += 1
        silence = min(self.settings.between_pieces, PAGE_SECONDS)
        return await self._transport.exchange("GET", endpoint_url(*self._split(path)), silence=silence)

    async def _asked(self, method: str, path: str, body: bytes | None) -> dict[str, Any] | Failure:
        for pause in (*self._pauses, None):
            outcome = await self._once(method, path, body)
            if isinstance(outcome, dict) or outcome.kind not in _PASSING or pause is None:
                return outcome
            await asyncio.sleep(min(outcome.retry_after or pause, 10.0))
        raise AssertionError("the last pause is None")

    async def _once(self, method: str, path: str, body: bytes | None) -> dict[str, Any] | Failure:
        url = endpoint_url(*self._split(path))
        self.requests += 1
        started = time.perf_counter()
        answer = await self._transport.exchange(method, url, body=body)
        outcome = _document(answer, place(url)) if isinstance(answer, Answer) else answer
        if isinstance(outcome, Failure):
            return self._redactor.failure(outcome, time.perf_counter() - started)
        return outcome

    def _split(self, path: str) -> tuple[str, str]:
        return (self._base, path.removeprefix("/v1")) if path.startswith("/v1/") else (self._root, path)


def _document(answer: Answer, where: str) -> dict[str, Any] | Failure:
    if not 200 <= answer.status <= 299:
        return failures.of_status(answer.status, answer.headers, answer.body, where=where, now=time.time())
    try:
        # The standard library's reader keeps NaN and Infinity, which are findings here.
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return Failure(FailureKind.MALFORMED, f"the answer of {where} is not JSON", status=answer.status)
    error = failures.in_band(document)
    if error is not None:
        return failures.of_body(error)
    if not isinstance(document, dict):
        return Failure(FailureKind.MALFORMED, f"the answer of {where} is no JSON object", status=answer.status)
    return document
