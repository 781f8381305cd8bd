"""One attempt at an endpoint: fill in pictures, choose a replica, send, read the answer, take the time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from evalkit.endpoint import body, failures
from evalkit.endpoint.echo import with_logprobs
from evalkit.endpoint.http import Answer, Transport, endpoint_url, place
from evalkit.endpoint.settings import ClientSettings, Materialise
from evalkit.errors import DataError
from evalkit.model import Failure, FailureKind, Message, Prompt, Reply, Request

FAILURES_TO_REST: Final = 3  # so many failures in a row, and a replica is left alone for a while
FIRST_REST_SECONDS: Final = 5.0
LONGEST_REST_SECONDS: Final = 60.0
TRIAL_SECONDS: Final = 10.0
"""How long a replica on trial is kept from further requests while the first has neither failed nor been answered."""


@dataclass(slots=True)
class Replica:
    """One address and how it has fared. Times are the clock's, in seconds."""

    url: str
    in_flight: int = 0
    failures: int = 0
    rest_seconds: float = FIRST_REST_SECONDS
    rests_until: float | None = None
    failed_at: float = float("-inf")
    rests_taken: int = 0
    turn: int = 0


class Lease(NamedTuple):
    """One request's hold on a replica, to be given back once: the address to send it to, and the rests before it."""

    replica: Replica
    url: str
    rests_taken: int


class Replicas:
    """Spreads requests over replicas and rests those that fail: no connection, a 5xx or a refusal, but no answer.

    Three failures in a row take a replica out for 5 s. After that it gets one request on trial (another every 10 s
    while that one is open): if it fails again it is out for twice as long, up to 60 s; any answer brings it back at
    once. Where all are out, the one whose last failure is longest ago is used, so a lone replica is never refused.
    """

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = tuple(Replica(url) for url in urls)
        self._clock = clock
        self._turn = 0

    def take(self) -> Lease:
        """Choose a replica for one request; equals take turns."""
        replicas = self._replicas
        chosen = replicas[0] if len(replicas) == 1 else self._choose()
        self._turn += 1
        chosen.turn = self._turn
        chosen.in_flight += 1
        return Lease(chosen, chosen.url, chosen.rests_taken)

    def give_back(self, lease: Lease, reached: bool | None) -> None:
        """End a request's hold: `reached` says whether the replica answered, None where nobody knows."""
        replica = lease.replica
        replica.in_flight -= 1
        if reached:
            if replica.failures:
                replica.failures = 0
                replica.rests_until = None
                replica.rest_seconds = FIRST_REST_SECONDS
        elif reached is not None:
            self._failed(replica, lease)

    def _choose(self) -> Replica:
        now = self._clock()
        ready = [replica for replica in self._replicas if replica.rests_until is None or now >= replica.rests_until]
        if not ready:
            return min(self._replicas, key=lambda replica: (replica.failed_at, replica.turn))
        chosen = min(ready, key=lambda replica: (replica.in_flight, replica.turn))
        if chosen.rests_until is not None:
            chosen.rests_until = now + TRIAL_SECONDS
        return chosen

    def _failed(self, replica: Replica, lease: Lease) -> None:
        now = self._clock()
        replica.failed_at = now
        if lease.rests_taken != replica.rests_taken:
            return  # sent before the rest began: no news about how the replica fares after it
        replica.failures += 1
        if replica.failures >= FAILURES_TO_REST:
            replica.rests_until = now + replica.rest_seconds
            replica.rest_seconds = min(2 * replica.rest_seconds, LONGEST_REST_SECONDS)
            replica.rests_taken += 1


# These say nothing about whether a replica is fit to be asked.
_NEVER_SENT = frozenset({FailureKind.STALL, FailureKind.TIMEOUT, FailureKind.BAD_REQUEST, FailureKind.IMAGE})

_PARTIAL: Final = 206
# A replica of another key, path or model.
_REFUSALS: Final = frozenset({401, 403, 404, 405, 407, 410})


class AiohttpClient:
    """Makes one attempt for a request, over aiohttp; use it from one event loop.

    Raises `ConfigError`: the TLS authorities cannot be read, or a proxy of the environment cannot be used.
    """

    def __init__(self, settings: ClientSettings, materialise: Materialise | None = None) -> None:
        self._settings = settings
        self._materialise = materialise
        self._transport = Transport(settings)
        self._replicas = Replicas(settings.base_urls)
        self._redactor = settings.redactor
        self._shown = dict(zip(settings.base_urls, settings.shown_urls, strict=True))

    async def ask(self, request: Request) -> Reply | Failure:
        """Make one attempt; an endpoint's trouble is returned, never raised. Cancellation passes through."""
        messages = await self._messages(request.prompt)
        if isinstance(messages, Failure):
            return failures.redacted(messages, self._redactor, 0.0)
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
        if isinstance(outcome, Reply) and request.continuation:
            outcome = with_logprobs(outcome, request.prompt.text or "", request.continuation)
        if isinstance(outcome, Failure):
            outcome = failures.redacted(outcome, self._redactor, seconds)
        return replace(outcome, address=self._shown[lease.url])

    async def close(self) -> None:
        """Close every connection; the client is not used after it."""
        await self._transport.close()

    async def _send(self, base_url: str, path: str, fields: dict[str, Any]) -> Answer | Failure:
        """Send one request to one replica."""
        data = body.request_bytes(fields)
        if isinstance(data, Failure):
            return data
        silence = self._settings.before_answer(fields)
        return await self._transport.exchange("POST", endpoint_url(base_url, path), body=data, silence=silence)

    def _outcome(self, answer: Answer | Failure, base_url: str, path: str, seconds: float) -> Reply | Failure:
        if isinstance(answer, Failure):
            return answer
        if answer.status == _PARTIAL:
            return failures.malformed("HTTP 206: a part of an answer", status=_PARTIAL)
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
    """Whether the replica is fit to be asked: not where the line breaks or it answers 5xx or refuses; None of silence.

    A replica with a broken device answers 500 to everything, and one with another key 401, at once: as the one with the
    fewest requests in flight it would draw nearly all of them to itself.
    """
    if isinstance(answer, Answer):
        return answer.status < 500 and answer.status not in _REFUSALS
    if answer.kind in {FailureKind.CONNECTION, FailureKind.REDIRECT, FailureKind.AUTH}:
        return False
    return None if answer.kind in _NEVER_SENT else True
