"""What both clients do around sending: fill in pictures, choose a replica, read the answer, take the time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from evalkit.endpoint import body, failures
from evalkit.endpoint.client import ClientSettings, Materialise
from evalkit.endpoint.replicas import Replicas
from evalkit.endpoint.transport import Answer, Transport, endpoint_url, place
from evalkit.errors import DataError
from evalkit.model import Failure, FailureKind, Message, Prompt, Reply, Request

# These say nothing about whether a replica is fit to be asked.
_NEVER_SENT = frozenset({FailureKind.STALL, FailureKind.TIMEOUT, FailureKind.BAD_REQUEST, FailureKind.IMAGE})


class AttemptClient(ABC):
    """One attempt for a request, but for the sending itself."""

    def __init__(self, settings: ClientSettings, materialise: Materialise | None) -> None:
        self._settings = settings
        self._materialise = materialise
        self._transport = Transport(settings)
        self._replicas = Replicas(settings.base_urls)
        self._redactor = failures.Redactor(settings.api_key, settings.headers, settings.base_urls)

    async def ask(self, request: Request) -> Reply | Failure:
        """Make one attempt; an endpoint's trouble is returned, never raised. Cancellation passes through."""
        messages = await self._messages(request.prompt)
        if isinstance(messages, Failure):
            return self._redactor.failure(messages, 0.0)
        settings = self._settings
        fields = body.request_fields(request, messages, model=settings.model, stream=settings.stream)
        path = body.CHAT_PATH if request.prompt.text is None else body.TEXT_PATH
        lease = self._replicas.take()
        reached: bool | None = None
        started = time.perf_counter()
        try:
            answer = await self._send(lease.url, path, fields)
            reached = _reached(answer)
        finally:
            self._replicas.give_back(lease, reached)
        seconds = time.perf_counter() - started
        outcome = self._outcome(answer, lease.url, path, seconds)
        return self._redactor.failure(outcome, seconds) if isinstance(outcome, Failure) else outcome

    async def close(self) -> None:
        """Close every connection; the client is not used after it."""
        await self._transport.close()

    @abstractmethod
    async def _send(self, base_url: str, path: str, fields: dict[str, Any]) -> Answer | Failure:
        """Send one request to one replica."""

    def _outcome(self, answer: Answer | Failure, base_url: str, path: str, seconds: float) -> Reply | Failure:
        if isinstance(answer, Failure):
            return answer
        if 200 <= answer.status <= 299:
            return body.parse_reply(self._redactor.body(answer.body), chat=path == body.CHAT_PATH, seconds=seconds)
        where = place(endpoint_url(base_url, path))
        return failures.of_status(answer.status, answer.headers, answer.body, where=where, now=time.time())

    async def _messages(self, prompt: Prompt) -> tuple[Message, ...] | Failure:
        if not prompt.images:
            return prompt.messages
        if self._materialise is None:
            return Failure(FailureKind.IMAGE, "the prompt has pictures, and this client has nothing to read them with")
        try:
            return await self._materialise(prompt)
        except DataError as error:
            return Failure(FailureKind.IMAGE, str(error))


def _reached(answer: Answer | Failure) -> bool | None:
    """Whether the replica is fit to be asked: not where the line breaks or it answers 5xx; silence leaves it open.

    A replica with a broken device answers 500 to everything, and at once: as the one with the fewest requests in flight
    it would draw nearly all of them to itself.
    """
    if isinstance(answer, Answer):
        return answer.status < 500
    if answer.kind is FailureKind.CONNECTION:
        return False
    return None if answer.kind in _NEVER_SENT else True
