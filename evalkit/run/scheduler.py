"""One pool of requests per endpoint: bounded, adaptive, with retries; every request ends as a reply or a named failure.

A failure that asking again may heal goes back into the queue with a delay (exponential, with jitter) until its tries
are used up; it is asked once more when all else is through, then recorded. A 429 costs no try: it lowers the number in
flight, and `Retry-After` holds the pool until it has passed or an answer arrives; nothing but 429s is waited for
through `outage_seconds` and the longest such wait. When connections fail in a row before an answer began, or a 502 or
503 stands in for the server, the endpoint counts as down: the pool waits for it with one request at a time and uses up
no tries, for `outage_seconds` at most. A 4xx that will not heal is recorded at once, and a run of them stops the suite.

A refusal (401, 403, 404, a redirect) is that of a wrong key or address, or of a filter that minds what is asked. Of
several addresses another is asked in the place of the one that refuses. Where nothing was answered yet, a greeting
tells whether the endpoint refuses everything, which ends the run, or these questions.

The number in flight is fixed, or a `Finder`'s; then a stall lowers it for a while as a 429 does.

A finder doubles its number for as long as tokens per second rise by a tenth. Their rate at a number is taken as that
number times the tokens of an answer over its seconds, summed over the first answers to requests that were sent at that
number: a request that waits in the server's queue takes longer, so the rate stops rising where the server is full. Long
answers weigh no more in it than short ones, and it is known long before the longest answer is. A refusal (429) says
that the server's own limit lies between the number before and this one: it is closed in on by halves, to an eighth. A
stall or a run of failures ends the search at the number before.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Final, Protocol, Self, TypeAlias

from evalkit.config import Limits
from evalkit.errors import EndpointError
from evalkit.model import Failure, FailureKind, Prompt, Reply, Request
from evalkit.run.records import told

_LIMITS: Final = Limits()
_REFUSALS: Final = frozenset({FailureKind.AUTH, FailureKind.NOT_FOUND, FailureKind.REDIRECT})
_LEAVES_OUT: Final = _REFUSALS | {FailureKind.CONNECTION, FailureKind.SERVER_ERROR}
_STANDS_IN: Final = frozenset({502, 503})
"""What a gateway says whose server is gone, and a server (llama.cpp) that still loads its model."""
_DOWN_AFTER: Final = 8
_FATAL_AFTER: Final = 3
_LONG_HOLD_SECONDS: Final = 5.0  # a Retry-After of as much is told to the one who waits
_LESS_AFTER_STALL: Final = 0.75
_AGAIN_AFTER: Final = 64  # after so many answers without a 429 (or eight for each slot) one more in flight is tried
FIRST: Final = 32
MOST: Final = 512
GAIN: Final = 1.1  # by so much tokens per second must rise when the number is doubled
LOSS: Final = 0.9  # below so much of the rate before, more requests in flight below a server's limit are not worth it
NEAR: Final = 8
"""A limit is known well enough when what is allowed and what was refused differ by less than such a part."""
FEWEST_ANSWERS: Final = 8
_CHARACTERS_PER_TOKEN: Final = 4  # for servers that count none


@dataclass(slots=True)
class Finder:
    """Looks for the number of requests in flight; several endpoints may follow one finder.

    `number` is what is allowed now. Times are those of the event loop's clock, in seconds.
    """

    number: int = FIRST
    settled: bool = False
    why: str = ""
    _before: int = 0
    _rate_before: float = 0.0
    _since: float = 0.0
    _answers: int = 0
    _failures: int = 0
    _tokens: float = 0.0
    _seconds: float = 0.0
    _refused: int = 0
    _watchers: list[Callable[[], None]] = field(default_factory=list)

    def watch(self, changed: Callable[[], None]) -> None:
        """Has `changed` called whenever the number changes."""
        self._watchers.append(changed)

    def answered(self, started: float, now: float, tokens: float) -> None:
        """Takes an answer into account: when its request was sent, when it came, how many tokens it has."""
        if self.settled or started < self._since:
            return
        self._answers += 1
        self._tokens += tokens
        self._seconds += now - started
        if self._answers >= max(FEWEST_ANSWERS, self.number // 2):
            self._judge(now)

    def failed(self, kind: FailureKind, started: float, now: float) -> None:
        """Takes a failure into account: the number falls if it says that this one is too many."""
        if self.settled or started < self._since:
            return
        self._failures += 1
        if kind is FailureKind.RATE_LIMITED:
            self._refused = self.number
            self._close_in(now)
        elif kind in {FailureKind.STALL, FailureKind.TIMEOUT}:
            self._settle(f"at {self.number} an answer did not come in time")
        elif self._failures > max(2, (self._answers + self._failures) // 10):
            self._settle(f"at {self.number} requests began to fail")

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        if self.settled:
            return f"{self.number} requests in flight were found to be enough: {self.why}"
        return f"up to {self.number} requests in flight were used; the answers were too few to look for more"

    def _judge(self, now: float) -> None:
        rate = self.number * self._tokens / self._seconds if self._seconds > 0 else 0.0
        least = LOSS if self._refused else GAIN
        if self._before and rate < least * self._rate_before:
            self._settle(f"{self.number} gave {rate:,.0f} tokens/s, {self._before} had given {self._rate_before:,.0f}")
            return
        self._before, self._rate_before = self.number, rate
        if self._refused:
            self._close_in(now)
        elif self.number >= MOST:
            self.settled, self.why = True, "it is the most that is tried"
        else:
            self._try(min(MOST, 2 * self.number), now)

    def _close_in(self, now: float) -> None:
        """Tries what lies half-way between the number that was answered and the one that was refused."""
        gap = self._refused - self._before
        if gap <= max(1, self._refused // NEAR):
            self._settle(f"{self._refused} were refused (429)")
        else:
            self._try(self._before + gap // 2, now)

    def _try(self, number: int, now: float) -> None:
        self._since, self._answers, self._failures, self._tokens, self._seconds = now, 0, 0, 0.0, 0.0
        self._change(number)

    def _change(self, number: int) -> None:
        self.number = number
        for changed in self._watchers:
            changed()

    def _settle(self, why: str) -> None:
        """Ends the search at the number before, or, where the first one is too many, at half of it."""
        self.settled, self.why = True, why
        self._change(self._before or max(1, self.number // 2))


def tokens_of(completion_tokens: int | None, characters: int) -> float:
    """The tokens of an answer, estimated from its characters where the server counts none; at least one."""
    return float(max(1, completion_tokens or characters // _CHARACTERS_PER_TOKEN))


class Asks(Protocol):
    """The seam to an endpoint: one attempt, never an exception for the endpoint's trouble."""

    async def ask(self, request: Request) -> Reply | Failure:
        """One attempt."""


LookAgain: TypeAlias = Callable[[], Awaitable[Failure | None]]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How hard an endpoint is asked. `rate_limit_tries` bounds the 429s of one request.

    `concurrency` is the most requests in flight, unless the pool has a finder.
    """

    concurrency: int = _LIMITS.in_flight
    retries: int = _LIMITS.retries
    rate_limit_tries: int = 200
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 30.0
    outage_seconds: float = _LIMITS.outage_seconds
    permanent_failures_to_stop: int = _LIMITS.permanent_failures_to_stop

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """As an endpoint's configuration says."""
        named = {name: getattr(limits, name) for name in ("retries", "outage_seconds", "permanent_failures_to_stop")}
        return cls(concurrency=limits.in_flight, **named)


@dataclass(slots=True)
class Progress:
    """Running counts of one suite on one endpoint, for whoever shows them. `started` is by the event loop's clock.

    `waits_for` says why nothing is asked at present, "" where something is.
    """

    planned: int = 0
    stored: int = 0
    done: int = 0
    failed: int = 0
    completion_tokens: int = 0
    started: float | None = None
    stopped: str = ""
    waits_for: str = ""


@dataclass(slots=True)
class _Waiting:
    """A request on its way: how often it was tried, and for what it failed."""

    request: Request
    order: int
    tries: int = 0
    limited: int = 0
    attempts: int = 0
    last: Failure | None = None
    sent: float = 0.0
    first_sent: float | None = None


@dataclass(slots=True)
class _Failing:
    """How often in a row an address has refused, broken or been away, the kind of the last time, and its words."""

    number: int
    kind: FailureKind
    said: str


@dataclass(slots=True)
class Pool:
    """Asks every request of one endpoint and hands each outcome to `sink` exactly once. Time is the event loop's.

    `addresses` is the number of the endpoint's addresses, among which the client chooses. What a server says of the
    requests of `gated` suites is shown nowhere: it may quote the question.

    With a `finder`, its number is the most in flight; a pool that `leads` tells it how the endpoint fares. `look_again`
    is called when an endpoint that was down answers, before its answer is kept and more is asked: it gives a failure
    where the endpoint is not there yet, and raises `EndpointError` where it is another.
    """

    client: Asks
    settings: PoolSettings
    sink: Callable[[Request, Reply | Failure], None]
    progress: dict[str, Progress]
    name: str = "endpoint"
    rng: random.Random = field(default_factory=random.Random)
    finder: Finder | None = None
    leads: bool = True
    look_again: LookAgain | None = None
    addresses: int = 1
    gated: Collection[str] = ()
    _served: set[str] = field(default_factory=set)
    _failing: dict[str, _Failing] = field(default_factory=dict)
    _greeting: bool = False
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _source: Iterator[Request] = field(default_factory=lambda: iter(()))
    _exhausted: bool = False
    _asked: int = 0
    _delayed: list[tuple[float, int, _Waiting]] = field(default_factory=list)
    _later: list[tuple[_Waiting, Failure]] = field(default_factory=list)
    _in_flight: int = 0
    _limit: float = float("inf")
    _since_limited: int = 0
    _lowered: float = 0.0
    _slots: int = 0
    _group: asyncio.TaskGroup | None = None
    _hold_until: float = 0.0
    _refused: int = 0
    _down_since: float | None = None
    _limited_since: float | None = None
    _longest_wait: float = 0.0
    _permanent: Counter[str] = field(default_factory=Counter)
    _fatal: str = ""
    _advice: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _timer: asyncio.TimerHandle | None = None

    async def run(self, requests: Iterable[Request]) -> None:
        """Asks all requests, in their order as far as slots are free.

        Raises `EndpointError`: where the endpoint is gone or refuses everything; what was answered has been handed
        over; `StorageError`: where `sink` cannot keep an outcome.
        """
        self._source = iter(requests)
        if self.finder is not None:
            self.finder.watch(self._number_changed)
        try:
            async with asyncio.TaskGroup() as self._group:
                self._open_slots()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._group = None
            if self._timer is not None:
                self._timer.cancel()
        if self._fatal:
            for entry, failure in self._later:
                self._give_up(entry, failure)
            raise EndpointError.of(self.name, self._fatal, self._advice)

    @property
    def left_out(self) -> list[str]:
        """A sentence for each address that refused, broke or was away to the end while others answered."""
        return [
            f"{self.name}: {address} {'refused' if one.kind in _REFUSALS else 'failed'} {one.number} requests and "
            f"was left out, others answered: {one.said}"
            for address, one in self._failing.items()
            if self._served and one.number >= _FATAL_AFTER and self.addresses > 1
        ]

    @property
    def _most(self) -> int:
        """The most requests in flight, while the endpoint refuses none."""
        return self.settings.concurrency if self.finder is None else self.finder.number

    def _open_slots(self) -> None:
        """Starts as many slots as there may be requests in flight."""
        while self._group is not None and self._slots < self._most and not self._finished():
            self._slots += 1
            self._group.create_task(self._work())

    def _number_changed(self) -> None:
        self._lowered = self._now()
        self._open_slots()
        self._notify()

    async def _work(self) -> None:
        """One slot: takes requests until nothing is left that it may ask."""
        while not self._finished():
            now = self._now()
            entry = self._take(now)
            if entry is None:
                await self._park(now)
            elif stopped := self.progress[entry.request.suite].stopped:
                self._give_up(entry, entry.last or Failure(FailureKind.BAD_REQUEST, f"not asked: {stopped}"))
            else:
                await self._one(entry)
        self._notify()

    def _finished(self) -> bool:
        return bool(self._fatal) or (self._exhausted and not (self._delayed or self._later or self._in_flight))

    def _take(self, now: float) -> _Waiting | None:
        """The next request, or None where there is none now or the endpoint is not to be asked now."""
        allowed = 1 if self._down_since is not None else max(1, int(min(self._limit, self._most)))
        if self._fatal or self._greeting or self._in_flight >= allowed or self._hold_until > now:
            return None
        if self._delayed and self._delayed[0][0] <= now:
            return heappop(self._delayed)[2]
        request = None if self._exhausted else next(self._source, None)
        if request is None:
            self._exhausted = True
            if not self._later or self._delayed or self._in_flight:
                return None
            self._delayed, self._later = sorted((now, one.order, one) for one, _ in self._later), []  # the last pass
            self._notify()
            return heappop(self._delayed)[2]
        self._asked += 1
        return _Waiting(request, self._asked)

    async def _park(self, now: float) -> None:
        """Waits until something changed, or the next delayed request (or the end of a hold) is due.

        `now` is when nothing could be taken: what has become due since then must still wake somebody.
        """
        due = [when for when in (self._hold_until, self._delayed[0][0] if self._delayed else 0.0) if when > now]
        if due and (self._timer is None or self._timer.cancelled() or self._timer.when() > min(due)):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(min(due), self._notify)
        if not self._finished():
            await self._changed.wait()

    def _notify(self) -> None:
        self._timer = None
        self._changed.set()
        self._changed = asyncio.Event()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _one(self, entry: _Waiting) -> None:
        """One attempt, and what follows from its outcome."""
        progress = self.progress[entry.request.suite]
        entry.sent = self._now()
        if entry.first_sent is None:
            entry.first_sent = entry.sent
        if progress.started is None:
            progress.started = entry.sent
        self._in_flight += 1
        try:
            outcome = await self.client.ask(entry.request)
            if self._down_since is not None and self.look_again is not None and not _says_nothing(outcome):
                async with self._looking:  # one look is enough for all in flight
                    outcome = (None if self._down_since is None else await self.look_again()) or outcome
        finally:
            self._in_flight -= 1
        entry.attempts += 1
        if isinstance(outcome, Reply):
            self._answered(entry, outcome)
        else:
            self._failed(entry, outcome)
            if self._is_refused:
                await self._greet(entry.request)
            self._notify()

    def _answered(self, entry: _Waiting, reply: Reply) -> None:
        if self._down_since is not None or self._hold_until:
            self._down_since, self._hold_until = None, 0.0
            self._waits_for("")
            self._notify()
        self._refused, self._limited_since = 0, None
        self._served.add(reply.address)
        self._failing.pop(reply.address, None)
        self._permanent[entry.request.suite] = 0
        self._since_limited += 1
        if self._limit < self._most and self._since_limited >= max(_AGAIN_AFTER, 8 * self._limit):
            self._limit, self._since_limited = self._limit + 1, 0
            self._notify()
        progress = self.progress[entry.request.suite]
        progress.done += 1
        progress.completion_tokens += reply.usage.completion_tokens or 0
        if self.finder is not None and self.leads and not self.finder.settled:
            tokens = tokens_of(reply.usage.completion_tokens, len(reply.content) + len(reply.reasoning))
            self.finder.answered(entry.sent, self._now(), tokens)
        self.sink(entry.request, reply if entry.attempts == 1 else replace(reply, attempts=entry.attempts))

    def _failed(self, entry: _Waiting, failure: Failure) -> None:
        entry.last = failure
        self._count(entry, failure)
        if self.finder is not None:
            self._tell(self.finder, entry, failure)
        if _is_away(failure):
            self._refused += 1
            if self._down(entry, failure):
                return
        elif failure.kind is not FailureKind.STALL:
            if self._down_since is not None:
                self._waits_for("")
            self._refused, self._down_since = 0, None
        if failure.kind is FailureKind.RATE_LIMITED:
            self._rate_limited(entry, failure)
        elif failure.kind.retryable or (failure.kind in _REFUSALS and self.addresses > 1):
            self._again(entry, failure)
        else:
            self._permanent_failure(entry, failure)

    def _said(self, entry: _Waiting, failure: Failure) -> str:
        return told(failure, gated=entry.request.suite in self.gated)

    def _count(self, entry: _Waiting, failure: Failure) -> None:
        """Takes a failure into account that is its address's own."""
        if failure.kind in _LEAVES_OUT:
            before = self._failing.get(failure.address)
            number = 1 if before is None else before.number + 1
            self._failing[failure.address] = _Failing(number, failure.kind, self._said(entry, failure))

    def _tell(self, finder: Finder, entry: _Waiting, failure: Failure) -> None:
        """What a failure says of the number in flight."""
        if failure.kind in {FailureKind.STALL, FailureKind.TIMEOUT} and entry.sent >= self._lowered:
            # One step for all that were sent at the same number and stall together.
            self._limit = max(1.0, _LESS_AFTER_STALL * min(self._limit, self._most))
            self._lowered, self._since_limited = self._now(), 0
        if self.leads and failure.kind.retryable:
            finder.failed(failure.kind, entry.sent, self._now())

    def _down(self, entry: _Waiting, failure: Failure) -> bool:
        """Counts the endpoint as down after refusals in a row; then a refusal costs the request no try."""
        if self._down_since is None:
            if self._refused < min(_DOWN_AFTER, self._most):
                return False
            self._down_since = self._now()
        lasted = self._now() - self._down_since
        if lasted >= self.settings.outage_seconds:
            self._gone(entry, failure, lasted)
            return True
        self._waits_for(f"waiting for {self.name} to come back: {self._said(entry, failure)}")
        asked = min(failure.retry_after or 0.0, self.settings.backoff_limit_seconds)
        self._requeue(entry, max(asked, self._backoff(min(6, 1 + int(lasted // 5)))))
        return True

    def _gone(self, entry: _Waiting, failure: Failure, lasted: float) -> None:
        """Ends the asking of an endpoint that gave no answer for so many seconds."""
        self._fatal = f"{self._said(entry, failure)} (no answer for {lasted:.0f} s)"
        self._advice = "what was answered is kept, run again later"
        self._give_up(entry, failure)

    def _waits_for(self, what: str) -> None:
        for progress in self.progress.values():
            progress.waits_for = what

    def _rate_limited(self, entry: _Waiting, failure: Failure) -> None:
        entry.limited += 1
        searching = self.finder is not None and self.leads and not self.finder.settled
        if self.finder is None or not (searching or entry.sent < self._lowered):  # else it is the finder's business
            self._limit = max(1.0, min(self._limit, float(self._most)) - 1)
            self._since_limited = 0
        wait = failure.retry_after if failure.retry_after is not None else 0.0
        self._hold_until = max(self._hold_until, self._now() + wait)
        if wait >= _LONG_HOLD_SECONDS:
            self._waits_for(f"{self.name} asks to be left alone for {wait:.0f} s: {self._said(entry, failure)}")
        if self._limited_since is None:
            self._limited_since = self._now()
        lasted, self._longest_wait = self._now() - self._limited_since, max(self._longest_wait, wait)
        too_long = not self._in_flight and lasted >= self.settings.outage_seconds + self._longest_wait
        if too_long and not self._exhausted:
            self._gone(entry, failure, lasted)
        elif too_long or entry.limited > self.settings.rate_limit_tries:
            self._give_up(entry, failure)
        else:
            self._requeue(entry, max(wait, self._backoff(min(entry.limited, 5))))

    def _requeue(self, entry: _Waiting, delay: float) -> None:
        heappush(self._delayed, (self._now() + delay, entry.order, entry))

    def _again(self, entry: _Waiting, failure: Failure) -> None:
        """What another try may heal, or another address; once the tries are used up, the last pass."""
        entry.tries += 1
        if entry.tries <= self.settings.retries:
            healing = failure.kind.retryable
            self._requeue(entry, max(self._backoff(entry.tries if healing else 1), failure.retry_after or 0.0))
        elif failure.kind in _REFUSALS:
            self._permanent_failure(entry, failure)
        elif entry.tries == self.settings.retries + 1 and self.settings.retries:
            self._later.append((entry, failure))
        else:
            self._give_up(entry, failure)

    @property
    def _is_refused(self) -> bool:
        """True where several requests were refused and none was answered by any address."""
        refused = sum(one.number for one in self._failing.values() if one.kind in _REFUSALS)
        return not self._served and refused >= _FATAL_AFTER

    async def _greet(self, refused: Request) -> None:
        """Asks every address for a word; where all of them refuse even that, nothing more is asked."""
        async with self._looking:
            if self._fatal or not self._is_refused:
                return
            self._greeting = True
            outcomes = [await self.client.ask(_greeting(refused)) for _ in range(self.addresses)]
            self._greeting = False
            refusals = [one for one in outcomes if isinstance(one, Failure) and one.kind in _REFUSALS]
            if len(refusals) == len(outcomes) and self._is_refused:
                last = refusals[-1]
                self._fatal = f"refuses every request ({last.kind.value}): {last.detail}"
            else:
                self._served.update(one.address for one in outcomes if one not in refusals and not _says_nothing(one))
                if not self._served:
                    self._failing.clear()

    def _permanent_failure(self, entry: _Waiting, failure: Failure) -> None:
        suite = entry.request.suite
        self._permanent[suite] += 1
        self._give_up(entry, failure)
        if self._permanent[suite] >= self.settings.permanent_failures_to_stop and not self.progress[suite].stopped:
            self.progress[suite].stopped = (
                f"stopped after {self._permanent[suite]} failures in a row that asking again cannot heal "
                f"({failure.kind.value}): {self._said(entry, failure)}"
            )

    def _give_up(self, entry: _Waiting, failure: Failure) -> None:
        self.progress[entry.request.suite].failed += 1
        since = 0.0 if entry.first_sent is None else self._now() - entry.first_sent
        self.sink(entry.request, replace(failure, attempts=entry.attempts, since_seconds=since))

    def _backoff(self, tries: int) -> float:
        """Exponential, between half and all of it, so that requests that failed together do not return together."""
        full = min(self.settings.backoff_limit_seconds, self.settings.backoff_seconds * 2.0 ** (tries - 1))
        return full * (0.5 + self.rng.random() / 2)


def _greeting(request: Request) -> Request:
    """The smallest question of a request's kind, to the same model."""
    words = "Hi."
    parameters = {key: value for key, value in request.parameters.items() if key == "model"} | {"max_tokens": 1}
    prompt = Prompt("greeting", ({"role": "user", "content": words},))
    if request.prompt.text is not None:
        prompt = Prompt("greeting", text=words)
    return Request("greeting", request.suite, "greeting", 0, prompt, parameters)


def _says_nothing(outcome: Reply | Failure) -> bool:
    """True where an outcome leaves open whether the endpoint is there again."""
    return isinstance(outcome, Failure) and (outcome.kind is FailureKind.STALL or _is_away(outcome))


def _is_away(failure: Failure) -> bool:
    """True where nobody was there to ask: no connection was made, or something else answered in the server's place.

    A connection that broke in mid-answer has a status.
    """
    if failure.kind is FailureKind.CONNECTION:
        return failure.status is None
    return failure.kind is FailureKind.SERVER_ERROR and failure.status in _STANDS_IN
