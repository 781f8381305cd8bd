"""Does the server that answers now give the stored answers? A dozen of them are asked for again before all are reused.

Each is asked for twice, first all at once and then one after another, so that a server's own noise shows beside the
distance to what is stored. Texts decide where the server repeats itself; where it does not, right and wrong do; suites
by log-likelihood are held to their numbers. All suites are asked in turn. Where some of a dozen differ and too few to
say why, three dozen more of the suites that differ are asked for. What comes back is no answer of the run: only the
counts are kept.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import chain, zip_longest
from math import fsum, inf
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import orjson

from evalkit.codec import first_difference
from evalkit.compare.behaviour import FAITHFUL_TOKENS_PER_SPLIT
from evalkit.endpoint import open_client
from evalkit.endpoint.echo import continuation_logprob, echoed_logprobs
from evalkit.endpoint.settings import Client, ClientSettings
from evalkit.errors import ConfigError, EndpointError, UsageError
from evalkit.model import Failure, FailureKind, Item, Reason, Reply, Request
from evalkit.run import Observer, journal
from evalkit.run.grade import Wanted
from evalkit.run.manifest import Rechecked
from evalkit.run.plan import Keyed, PlannedSuite, SideRun
from evalkit.run.readiness import look
from evalkit.run.records import ReplyRecord, read_at, told
from evalkit.scoring.answers.reply import final_text
from evalkit.serve.launch import opened
from evalkit.stats.tails import binomial_upper, poisson_upper
from evalkit.tasks.items import by_logprobs
from evalkit.waits import finished

ASKED: Final = 12
MOST: Final = 48  # where some of the dozen differ and too few to say why
_LEAST: Final = 4  # that must come back
_TELLING: Final = (16, 128)  # tokens of an answer that says much and costs little
_LONG: Final = 256  # tokens: a longer answer is asked for only so far
_ONE_AT_ONCE: Final = 1
_CHARACTERS_PER_TOKEN: Final = 4.0
_SHORT: Final = 8  # tokens: a shorter answer may differ as easily as one of so many
_CLEARLY: Final = 2.0  # tokens; counters and clocks begin alike by chance
_ALPHA_TEXTS: Final = 3e-4
_ALPHA_RIGHT: Final = 5e-4
_SECOND_LOOK: Final = 0.1  # of these levels: four dozen show more, and so hardly anything is added to the errors
_NATS: Final = 0.25  # between equal stacks the mean distance of an option is far smaller, between models far larger
_TIMES_ITS_OWN: Final = 4.0

Word: TypeAlias = Literal["same", "other", "open"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one request: the tokens that they begin alike with, and whether they differ after that."""

    tokens: float
    differs: bool

    @property
    def reach(self) -> float:
        """How long they are alike: without end where they do not differ."""
        return self.tokens if self.differs else inf


@dataclass(frozen=True, slots=True)
class Triple:
    """A stored reply against each of two new ones, those against each other; which of the three are right, if known."""

    first: Pair
    second: Pair
    own: Pair
    right: tuple[bool, bool, bool] | None = None


def decided(triples: Sequence[Triple]) -> Word:
    """Whether the stored replies are those of the server that gave the others; "open" where it is too noisy to tell.

    Replies of one server are exchangeable, however noisy it is: each of three is the odd one in a third of cases, and
    so is each the only right or the only wrong one. Where the stored one is it far more often, another server gave it;
    for texts they must also differ more often than those of any faithful stack, which may batch otherwise today. Of a
    thousand faithful servers less than one is called another.
    """
    level = 1.0 if len(triples) <= ASKED else _SECOND_LOOK
    right = [one.right for one in triples if one.right is not None]
    if _unlike(triples, level) or _right_before(right) <= level * _ALPHA_RIGHT:
        return "other"
    return "open" if 2 * sum(one.own.differs for one in triples) > len(triples) else "same"


def is_open(word: str, differing: int, own_differing: int) -> bool:
    """Whether stored replies differ more often than new ones among themselves, and too few were asked to say why."""
    return word != "other" and differing > own_differing


def _unlike(triples: Sequence[Triple], level: float) -> bool:
    hits = sum(one.first.differs for one in triples)
    usual = fsum(max(_SHORT, one.first.tokens) for one in triples) / FAITHFUL_TOKENS_PER_SPLIT
    if hits <= usual or poisson_upper(hits, usual) > level * _ALPHA_TEXTS:
        return False
    odd, cases = 0, 0
    for one in triples:
        stored, own = max(one.first.reach, one.second.reach), one.own.reach
        longest, others = max(stored, own), min(one.first.reach, one.second.reach)
        if longest > others + _CLEARLY:  # of three texts two pairs part at the same place, and the third no earlier
            odd, cases = odd + (own > stored), cases + 1
    return binomial_upper(odd, cases, 1 / 3) <= level * _ALPHA_TEXTS


def _right_before(right: Sequence[tuple[bool, bool, bool]]) -> float:
    """How likely the stored replies are right so often where not all three are, were they like the others."""
    chances, hits = np.ones(1), 0
    for stored, *others in right:
        number = stored + sum(others)
        if number in {1, 2}:
            chances = np.convolve(chances, [1 - number / 3, number / 3])
            hits += stored
    return float(chances[hits:].sum())


def pair_of(one: str, other: str, *, cut: tuple[bool, bool]) -> Pair:
    """The pair of two texts; `cut` says which of them a token limit ended."""
    shared = first_difference(one, other)
    if shared is None:
        return Pair(len(one) / _CHARACTERS_PER_TOKEN, False)
    ended = (cut[0] and shared == len(one)) or (cut[1] and shared == len(other))
    return Pair(shared / _CHARACTERS_PER_TOKEN, not ended)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A stored answer that is asked for again."""

    suite: PlannedSuite
    item: Item
    repeat: int
    request: Request
    record: ReplyRecord


class UnreachableError(EndpointError):
    """Nothing could be asked again."""


# What is about a request and not about the moment: a server that answered it before would answer it again.
_REFUSALS: Final = frozenset(
    {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_OVERFLOW, FailureKind.IMAGE, FailureKind.MALFORMED}
)


def reused(side: SideRun, observer: Observer, *, stored: bool) -> tuple[Rechecked | None, str]:
    """What came of asking for some of a side's stored answers again, or why nothing was; with `stored` they are taken.

    Raises `UsageError`: another server answers.
    """
    if not side.answered or side.missing == sum(suite.planned for suite in side.plan.suites):
        return None, ""
    if stored:
        return None, "--stored"
    if side.config.launch is not None:
        return None, "all was answered, and no server is started for that"
    observer.step(f"{side.config.name}: asking for {ASKED} of its stored answers again")
    try:
        return finished(recheck(side)), ""
    except UnreachableError as error:
        return None, str(error)


def set_aside(sides: Iterable[SideRun | None], observer: Observer) -> None:
    """Makes room for runs that begin anew."""
    for folder in (side.folder for side in sides if side is not None):
        if kept := journal.set_aside(folder):
            observer.notice(f"{folder}: what was answered before is kept as {kept}")


async def recheck(side: SideRun) -> Rechecked | None:
    """Asks for a few stored answers of a side again; None where none are stored.

    Raises `UnreachableError`: the endpoint does not answer; `UsageError`: another server answers there.
    """
    ranked = _ranked(side)
    if not ranked:
        return None
    chosen = [_chosen(side, sample) for sample in ranked[:ASKED]]
    started = time.perf_counter()
    try:
        async with opened(side.config, side.folder / "server.log") as settings:
            await look(side.config, side.plan, settings)
            replies = await _asked_twice(side, settings, [one.request for one in chosen])
            found, differing = _judged(side, _came(side, chosen, replies))
            more = [sample for sample in ranked[ASKED:] if sample[1].name in differing][: MOST - ASKED]
            if is_open(found.word, found.differing, found.own_differing) and more:
                further = [_chosen(side, sample) for sample in more]
                replies += await _asked_twice(side, settings, [one.request for one in further])
                found, _ = _judged(side, _came(side, [*chosen, *further], replies))
    except ConfigError as error:
        raise UsageError(f"{error}: {_ADVICE}") from error
    except EndpointError as error:
        raise UnreachableError(str(error)) from error
    tokens = sum(x.usage.completion_tokens or 0 for pair in replies for x in pair if isinstance(x, Reply))
    found = replace(found, requests=2 * len(replies), tokens=tokens, seconds=round(time.perf_counter() - started, 1))
    if found.word == "other":
        raise UsageError(_refusal(side, found))
    return found


_ADVICE: Final = "`--stored` compares the stored answers as they are, `--again` asks for all anew"


def _where(side: SideRun) -> str:
    return side.config.where("base_url") or side.config.where("base_urls") or side.config.name


def _refusal(side: SideRun, found: Rechecked) -> str:
    if found.nats is None:
        told = f"{found.differing} of {found.asked} begin otherwise or are right no more"
        told += f", of its own two replies to each {found.own_differing} differ"
    else:
        told = f"{found.asked} log-probabilities lie {found.nats:.2f} nats from the stored ones on the mean"
    address = ", ".join(side.config.urls)
    return (
        f"{_where(side)}: another server answers at {address} than the one that gave the stored answers of "
        f"{side.config.name} ({told}): {_ADVICE}, another `name:` or `build:` keeps both"
    )


def _ranked(side: SideRun) -> list[Keyed]:
    """The stored answers of all suites in turn, those first that say most and cost least.

    Texts stand before log-probabilities, greedy ones before others: of more suites than are asked, these are.
    """

    def cost(sample: Keyed) -> tuple[bool, bool, bool, int, str]:
        key, suite, item, _repeat = sample
        tokens = side.answered[key].completion_tokens or _TELLING[0]
        beyond = max(_TELLING[0] - tokens, tokens - _TELLING[1], 0)
        pictures, sampled = bool(item.prompt.images), bool(suite.parameters.get("temperature"))
        return by_logprobs(suite.loaded.suite), pictures, sampled, beyond, key

    stored: dict[str, list[Keyed]] = {}
    for sample in side.plan.keyed():
        if sample[0] in side.answered:
            stored.setdefault(sample[1].name, []).append(sample)
    best = sorted((nsmallest(MOST, of, key=cost) for of in stored.values()), key=lambda of: cost(of[0]))
    return [sample for sample in chain.from_iterable(zip_longest(*best)) if sample is not None]


def _chosen(side: SideRun, sample: Keyed) -> _Chosen:
    key, suite, item, repeat = sample
    place = side.answered[key]
    request = side.plan.request(suite, item, repeat)
    if not by_logprobs(suite.loaded.suite) and (limit := request.parameters.get("max_tokens")):
        tokens = place.completion_tokens
        most = _LONG if tokens is None or tokens > _LONG else 2 * tokens + _SHORT
        request = replace(request, parameters={**request.parameters, "max_tokens": min(int(limit), most)})
    return _Chosen(suite, item, repeat, request, read_at(place.file, place.offset, key))


async def _asked_twice(
    side: SideRun, settings: ClientSettings, requests: Sequence[Request]
) -> list[tuple[Reply | Failure, Reply | Failure]]:
    """Two replies to each: the first all at once, as a run asks, the second one after another."""
    encoder = None
    if any(request.prompt.images for request in requests):
        from evalkit.endpoint.images import ImageEncoder  # loads what reads pictures

        encoder = ImageEncoder(cache_bytes=0)
    client = open_client(settings, side.config.client, encoder.messages if encoder is not None else None)
    try:
        at_once = min(len(requests), side.config.limits.in_flight)
        first, second = [await _asked(client, requests, number) for number in (at_once, _ONE_AT_ONCE)]
    finally:
        await client.close()
        if encoder is not None:
            encoder.close()
    return list(zip(first, second, strict=True))


async def _asked(client: Client, requests: Sequence[Request], at_once: int) -> list[Reply | Failure]:
    gate = asyncio.Semaphore(at_once)

    async def ask(request: Request) -> Reply | Failure:
        async with gate:
            return await client.ask(request)

    return list(await asyncio.gather(*map(ask, requests)))


Came: TypeAlias = "Sequence[tuple[_Chosen, tuple[Any, Any]]]"  # what was asked for, each with its two replies


def _came(side: SideRun, chosen: Sequence[_Chosen], replies: Sequence[tuple[Reply | Failure, Reply | Failure]]) -> Came:
    """What came back of what was asked first.

    Raises `UnreachableError`: hardly anything did; `UsageError`: the server is there, and refuses each of the requests
    that it is said to have answered.
    """
    came = [(one, pair) for one, pair in zip(chosen, replies, strict=False) if all(isinstance(x, Reply) for x in pair)]
    if len(came) < min(_LEAST, len(chosen)):
        pairs = zip(chosen, replies, strict=False)
        lost = [(one, x) for one, pair in pairs for x in pair if isinstance(x, Failure)]
        said = told(lost[0][1], gated=lost[0][0].suite.loaded.suite.gated)
        if not came and len(lost) == 2 * len(replies) and all(x.kind in _REFUSALS for _, x in lost):
            raise UsageError(
                f"{_where(side)}: the server at {', '.join(side.config.urls)} answers none of {len(replies)} requests "
                f"that {side.config.name} has stored answers to ({said}): it is not the one that gave them: {_ADVICE}"
            )
        raise UnreachableError(f"{side.config.name}: {said}")
    return came


def _judged(side: SideRun, came: Came) -> tuple[Rechecked, set[str]]:
    """What the replies say, and the suites whose stored replies differ from what the server repeats."""
    triples: list[Triple] = []
    gaps: dict[str, list[tuple[float, float]]] = {}
    differ: list[tuple[str, bool, bool]] = []
    for one, pair in came:
        name = one.suite.name
        if not by_logprobs(one.suite.loaded.suite):
            triples.append(triple := _triple(side, one, pair))
            differ.append((name, triple.first.differs, triple.own.differs))
        elif (gap := _gap(one, pair)) is not None:
            gaps.setdefault(name, []).append(gap)
            differ.append((name, gap[0] > _NATS, gap[1] > _NATS))
    word: Word = decided(triples) if triples else "same" if gaps else "open"
    counts = sum(first for _, first, _ in differ), sum(own for _, _, own in differ)
    found = Rechecked(word, len(differ) or len(came), *counts)
    told = [of for of in gaps.values() if len(of) >= ASKED]
    if gaps and not triples:
        told.append([gap for of in gaps.values() for gap in of])
    for of in told if word != "other" else ():
        nats, own = (fsum(numbers) / len(of) for numbers in zip(*of, strict=True))
        if nats > max(_NATS, _TIMES_ITS_OWN * own):
            return Rechecked("other", len(of), 0, 0, nats=nats), set()
        found = found if triples else replace(found, nats=nats)
    return found, {name for name, first, own in differ if first and not own}


def _triple(side: SideRun, one: _Chosen, pair: tuple[Reply, Reply]) -> Triple:
    replies = (one.record.reply(), *pair)
    texts = [f"{reply.reasoning}{reply.content}".lstrip() for reply in replies]  # one that is cut may hold no content
    cut = [reply.finish_reason == "length" for reply in replies]
    first, second, own = (pair_of(texts[a], texts[b], cut=(cut[a], cut[b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    if any(cut) or "judge" in one.suite.loaded.suite.needs or not (first.differs or second.differs):
        return Triple(first, second, own)
    wanted, tags = Wanted(one.suite, one.item, one.repeat), tuple(side.config.thinking.closing_tags)
    values = [wanted.score(final_text(reply, tags)).value for reply in replies]
    known = [value >= 0.5 for value in values if value is not None]
    return Triple(first, second, own, (known[0], known[1], known[2]) if len(known) == len(values) else None)


def _gap(one: _Chosen, pair: tuple[Reply, Reply]) -> tuple[float, float] | None:
    """How far a new log-probability lies from the stored one, and from the other new one (nats)."""
    bodies = [one.record.body, *(orjson.loads(reply.raw) for reply in pair)]
    stored, first, second = (continuation_logprob(echoed_logprobs(body), one.request.continuation) for body in bodies)
    if stored is None or first is None or second is None:
        return None
    return abs(first - stored), abs(second - first)


def note(name: str, found: Rechecked) -> Reason:
    """What came of it, with what it cost."""
    cost = {"requests": found.requests, "tokens": found.tokens, "seconds": found.seconds}
    told: dict[str, Any] = {"name": name, "n": found.asked, **cost}
    if found.word == "open":
        return Reason("note.recheck_open", told)
    if found.differing or found.own_differing:  # behind one address two may take turns
        return Reason("note.recheck_few", {**told, "differing": found.differing, "own": found.own_differing})
    return Reason("note.rechecked", told)
