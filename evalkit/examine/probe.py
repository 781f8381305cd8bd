"""The fidelity probe: do two endpoints give the same tokens the same probabilities?

    reference: draws texts, scores them twice (its own noise)     candidate: scores those texts through its own template
    candidate: draws texts of its own and re-scores them           reference: scores the candidate's texts

Texts are drawn at temperature 1 with nothing cut off, so that log-probabilities are those of the distribution.
Re-scoring a text runs the kernels that read prompts, drawing it those that decode: a fault of either shows, also
without a reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from evalkit.config import EndpointConfig
from evalkit.endpoint.identity import Native, endpoint_identity
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import EndpointError
from evalkit.examine.divergence import ScoredText
from evalkit.examine.forcing import Drawing, Drawn, Forcer, TokenIds, Unanswered, without_ends
from evalkit.examine.forcing_methods import Unsupported, find_forcer
from evalkit.model import Failure, Message
from evalkit.serve import launch
from evalkit.waits import announce

Scores: TypeAlias = tuple[ScoredText | None, ...]
Work = TypeVar("Work")
Made = TypeVar("Made")

MOST_FAILING: Final = 0.2
SAMPLED: Final = 32
AGAIN_FRACTION: Final = 4
"""The second scoring asks a quarter as much at a time, in reverse order: other batches, the same tokens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: a text of at most `tokens` for each prompt, and a greedy one for the first `greedy` of them.

    Where `sampler` says how the suites draw (temperature, top_p, ...), the first 32 prompts are answered so, too.
    Without `slow_methods` a server that scores a text with a request for each token counts as not supported.
    """

    prompts: tuple[tuple[Message, ...], ...]
    tokens: int = 128
    greedy: int = 16
    seed: int = 0
    at_once: int = 8
    slow_methods: bool = True
    sampler: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """One endpoint: `opened` gives its client settings for as long as it is needed, starting it where need be.

    `chat_fields` are further fields of chat requests that decide the prompt, such as `chat_template_kwargs`.
    """

    name: str
    opened: Callable[[], AbstractAsyncContextManager[ClientSettings]]
    chat_fields: Mapping[str, Any] = field(default_factory=dict)


def side_of(
    config: EndpointConfig, log: Path | None = None, opened: AbstractAsyncContextManager[ClientSettings] | None = None
) -> Side:
    """One side of the probe, from its configuration; a server of its own writes to `log` (default: beside its runs).

    `opened` is the endpoint where it is up already.
    """
    sampling = config.sampling
    fields: dict[str, Any] = dict(sampling.extra_body)
    if sampling.chat_template_kwargs:
        fields["chat_template_kwargs"] = sampling.chat_template_kwargs
    file = log or config.runs / config.name / "server.log"
    return Side(config.name, lambda: opened or launch.opened(config, file), fields)


@dataclass(frozen=True, slots=True)
class Material:
    """What one endpoint gave: by prompt its tokens, the text, and the greedy text; None where asking failed.

    `scores` are those that it gave to texts, by prompt, under names such as `candidate_on_reference`: whose texts on
    which side; `reference_again` is the reference's second scoring of its own. `sampled` are the first prompts' texts
    drawn as the suites draw.
    """

    prompts: tuple[TokenIds | None, ...]
    texts: tuple[Drawn | None, ...]
    greedy: tuple[Drawn | None, ...]
    scores: Mapping[str, Scores] = field(default_factory=dict)
    sampled: tuple[Drawn | None, ...] = ()

    def part(self, part: slice) -> Material:
        """What was given for some of the prompts."""
        scores = {name: texts[part] for name, texts in self.scores.items()}
        return Material(self.prompts[part], self.texts[part], self.greedy[part], scores, self.sampled[part])

    def with_scores(self, **more: Scores) -> Material:
        """The same with more scores."""
        return replace(self, scores={**self.scores, **more})


@dataclass(frozen=True, slots=True)
class Asked:
    """How an endpoint was asked and what that cost; `identity` is what it says of its software.

    Of several `addresses` each was asked the prompts whose number leaves its own, divided by how many there are.
    """

    method: str
    identity: Mapping[str, str]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    addresses: tuple[str, ...] = ()

    def plus(self, other: Asked) -> Asked:
        """The costs of two sessions with the same endpoint."""
        costs = ("requests", "prompt_tokens", "completion_tokens")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in costs})


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was measured; `probe_report.assess` judges it."""

    plan: Plan
    reference: Material
    candidate: Material
    asked: Mapping[str, Asked]

    @property
    def scores(self) -> dict[str, Scores]:
        """The scores of both sides."""
        return {**self.reference.scores, **self.candidate.scores}

    def first(self, texts: int) -> Findings:
        """What the probe would hold had it asked only the first `texts` prompts."""
        part = slice(texts)
        plan = replace(self.plan, prompts=self.plan.prompts[part])
        return Findings(plan, self.reference.part(part), self.candidate.part(part), self.asked)


class NotSupportedError(EndpointError):
    """An endpoint whose log-probabilities of given tokens cannot be had, or not be believed."""


class Session:
    """One endpoint for as long as it is open: every address of it with a verified method, and the costs so far.

    The addresses are asked in turn, by the number of the prompt; scoring again goes to the next one, so that it also
    shows whether they are alike.
    """

    def __init__(self, posts: Sequence[tuple[Native, Forcer]], identity: Mapping[str, str], at_once: int) -> None:
        self.posts = posts
        self.identity = identity
        self._at_once = min(at_once, sum(forcer.most_at_once for _, forcer in posts))
        self._told = posts[0][0].settings.shown_urls[0]

    async def prompts(self, plan: Plan) -> tuple[TokenIds | None, ...]:
        """The plan's prompts as this endpoint's tokens."""
        return await self._each(plan.prompts, lambda forcer, _, messages: forcer.prompt_ids(messages))

    async def draw(self, plan: Plan) -> Material:
        """Texts for every prompt of the plan, at temperature 1, greedily, and as the suites draw."""
        self._tell(f"draws {len(plan.prompts)} texts of up to {plan.tokens} tokens, and {plan.greedy} greedy ones")
        prompts = await self.prompts(plan)

        async def drawn(count: int, temperature: float, more: Mapping[str, float]) -> tuple[Drawn | None, ...]:
            async def one(forcer: Forcer, index: int, prompt: TokenIds | None) -> Drawn | None:
                drawing = Drawing(plan.tokens, temperature, plan.seed + index, more)
                return None if prompt is None else await forcer.draw(prompt, drawing)

            return await self._each(prompts[:count], one)

        texts, greedy = await drawn(len(prompts), 1.0, {}), await drawn(plan.greedy, 0.0, {})
        more = dict(plan.sampler)
        sampled = await drawn(SAMPLED, more.pop("temperature"), more) if more else ()
        whole = without_ends((*texts, *greedy, *sampled))
        texts, greedy, sampled = (
            whole[: len(texts)],
            whole[len(texts) : len(texts) + len(greedy)],
            whole[len(texts) + len(greedy) :],
        )
        return Material(prompts, texts, greedy, sampled=await self._raw(prompts, sampled))

    async def _raw(self, prompts: Sequence[TokenIds | None], texts: Sequence[Drawn | None]) -> tuple[Drawn | None, ...]:
        """Texts with the log-probabilities of reading: some servers tell those of decoding after the temperature."""
        if any(forcer.request_per_token for _, forcer in self.posts) or not texts:
            return tuple(texts)  # llama.cpp tells them as they were before
        scores = await self.score(prompts[: len(texts)], texts)
        return tuple(
            None if text is None or read is None else replace(text, scores=read)
            for text, read in zip(texts, scores, strict=True)
        )

    async def score(
        self, prompts: Sequence[TokenIds | None], texts: Sequence[Drawn | None], *, again: bool = False
    ) -> Scores:
        """Score texts after this endpoint's own prompts; `again` in reverse order and with less at a time."""

        async def scored(forcer: Forcer, _: int, pair: tuple[TokenIds | None, Drawn | None]) -> ScoredText | None:
            prompt, text = pair
            if prompt is None or text is None or not text.ids:
                return None
            return await forcer.score(prompt, text.ids)

        self._tell(f"scores {sum(text is not None for text in texts)} texts")
        return await self._each(list(zip(prompts, texts, strict=True)), scored, again=again)

    def asked(self) -> Asked:
        """The costs so far."""
        natives, forcers = zip(*self.posts, strict=True)
        read, made = (sum(getattr(by, name) for by in forcers) for name in ("prompt_tokens", "completion_tokens"))
        addresses = tuple(native.settings.shown_urls[0] for native in natives)
        requests = sum(native.requests for native in natives)
        return Asked(forcers[0].method, self.identity, requests, read, made, addresses)

    def _tell(self, what: str) -> None:
        announce(f"probe: {self._told} {what}")

    async def _each(
        self, work: Sequence[Work], do: Callable[[Forcer, int, Work], Awaitable[Made | None]], again: bool = False
    ) -> tuple[Made | None, ...]:
        """`do` for each, so many at once; None for a failure, and an error where too many fail."""
        gate = asyncio.Semaphore(max(1, self._at_once // AGAIN_FRACTION) if again else self._at_once)
        failed: list[tuple[str, Failure]] = []

        async def one(index: int) -> Made | None:
            native, forcer = self.posts[(index + again) % len(self.posts)]
            try:
                async with gate:
                    return await do(forcer, index, work[index])
            except Unanswered as error:
                failed.append((native.settings.shown_urls[0], error.failure))
                return None

        order = range(len(work))
        async with asyncio.TaskGroup() as group:
            tasks = {index: group.create_task(one(index)) for index in (reversed(order) if again else order)}
        if len(failed) > MOST_FAILING * len(work):
            raise EndpointError(
                f"{failed[-1][0]}: {len(failed)} of {len(work)} requests of the fidelity probe failed; the last: "
                f"{failed[-1][1].detail}"
            )
        return tuple(tasks[index].result() for index in order)


@asynccontextmanager
async def open_session(side: Side, plan: Plan) -> AsyncIterator[Session]:
    """An endpoint, open for the length of the context, and how its tokens can be scored.

    Raises `NotSupportedError`: no method works there; says what each said; `EndpointError`: the key is refused.
    """
    async with side.opened() as settings, AsyncExitStack() as natives:
        identity = await endpoint_identity(settings)
        posts = []
        for url in settings.base_urls:
            native = await natives.enter_async_context(Native(replace(settings, base_urls=(url,))))
            posts.append((native, await _forcer(side, native, plan)))
        yield Session(posts, identity, plan.at_once)


async def _forcer(side: Side, native: Native, plan: Plan) -> Forcer:
    forcer = await find_forcer(native, side.chat_fields)
    if isinstance(forcer, Unsupported) and forcer.refused:
        raise EndpointError(f"{side.name}: {forcer.reasons[0]}")
    if isinstance(forcer, Unsupported):
        why, url = "; ".join(forcer.reasons), native.settings.shown_urls[0]
        raise NotSupportedError(f"{side.name}: the fidelity probe is not supported by {url} ({why})")
    if forcer.request_per_token and not plan.slow_methods:
        why = f"takes a request for each token there ({forcer.method}): --probe asks so"
        raise NotSupportedError(f"{side.name}: the fidelity probe {why}")
    return forcer


async def run_probe(reference: Side, candidate: Side, plan: Plan, *, in_turn: bool = False) -> Findings:
    """Ask both endpoints all that is to be compared; `in_turn` has only one of them open at a time.

    In turn, the reference is opened a second time at the end, to score the candidate's texts. Two sides of one name
    are told apart as `name` and `name (candidate)` in the costs.

    Raises `NotSupportedError`: one of them cannot score given tokens; `EndpointError`: one of them does not come up, or
    fails too often.
    """
    try:
        return await (_in_turn if in_turn else _side_by_side)(reference, candidate, plan)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _side_by_side(reference: Side, candidate: Side, plan: Plan) -> Findings:
    async with open_session(reference, plan) as first, open_session(candidate, plan) as second:
        async with asyncio.TaskGroup() as group:
            drawing = (group.create_task(first.draw(plan)), group.create_task(second.draw(plan)))
        theirs, own = (task.result() for task in drawing)
        async with asyncio.TaskGroup() as group:
            given = group.create_task(reference_part(first, theirs))
            made = group.create_task(candidate_part(second, own, theirs))
        back = await first.score(theirs.prompts, own.texts)
        costs = dict(zip(told_apart(reference.name, candidate.name), (first.asked(), second.asked()), strict=True))
        return Findings(plan, given.result().with_scores(candidate_on_reference=back), made.result(), costs)


async def _in_turn(reference: Side, candidate: Side, plan: Plan) -> Findings:
    async with open_session(reference, plan) as first:
        given = await reference_part(first, await first.draw(plan))
    async with open_session(candidate, plan) as second:
        made = await candidate_part(second, await second.draw(plan), given)
    async with open_session(reference, plan) as third:
        back = await third.score(given.prompts, made.texts)
    asked = first.asked().plus(third.asked()), second.asked()
    costs = dict(zip(told_apart(reference.name, candidate.name), asked, strict=True))
    return Findings(plan, given.with_scores(candidate_on_reference=back), made, costs)


def told_apart(reference: str, candidate: str) -> tuple[str, str]:
    """The names of both sides; of two that are the same, the candidate's says that it is the candidate."""
    return reference, candidate if candidate != reference else f"{candidate} (candidate)"


async def with_second_serving(findings: Findings, second: Side) -> Findings:
    """With what the reference, served a second way, says of the reference's texts."""
    async with open_session(second, findings.plan) as session:
        read = await session.score(await session.prompts(findings.plan), findings.reference.texts)
    return replace(findings, reference=findings.reference.with_scores(reference_otherwise=read))


async def reference_part(session: Session, own: Material) -> Material:
    """With what the reference says of its own texts, twice."""
    scored = await session.score(own.prompts, own.texts)
    again = await session.score(own.prompts, own.texts, again=True)
    return own.with_scores(reference_again=again, reference_on_reference=scored)


async def candidate_part(session: Session, own: Material, reference: Material) -> Material:
    """With what the candidate says of the reference's texts, after its own prompts, and of its own texts."""
    theirs = await session.score(own.prompts, reference.texts)
    scored = await session.score(own.prompts, own.texts)
    return own.with_scores(reference_on_candidate=theirs, candidate_on_candidate=scored)


def neutral_prompts(count: int) -> tuple[tuple[Message, ...], ...]:
    """The first `count` of 64 short prompts of many kinds as chat messages, for when no suite's data set is at hand."""
    texts = Path(__file__).with_name("neutral_prompts.txt").read_text(encoding="utf-8").splitlines()
    return tuple(({"role": "user", "content": text},) for text in texts[:count])


def spread(prompts: Sequence[tuple[Message, ...]], count: int) -> tuple[tuple[Message, ...], ...]:
    """So many of the prompts, evenly spread over their order; all of them where there are no more."""
    count = min(count, len(prompts))
    return tuple(prompts[index * len(prompts) // count] for index in range(count))
