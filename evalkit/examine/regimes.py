"""The regimes that a sweep walks through: how an endpoint is brought into each, at a size, and what it then gives.

In a regime the candidate draws texts after prompts given as token numbers; the reference reads them, alone and plainly.
Between two endpoints of the same kernels only the regime differs, whatever it is, and no template has a part in it.
"""

import asyncio
import base64
import math
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from evalkit.endpoint import http
from evalkit.endpoint.body import at
from evalkit.endpoint.identity import Native
from evalkit.examine.divergence import ScoredText
from evalkit.examine.forcing import Drawing, Drawn, Forcer, TokenIds, number
from evalkit.examine.serving import WORDS, drawn
from evalkit.model import Failure, Verdict
from evalkit.resources import toml_table

Made = TypeVar("Made")
Texts: TypeAlias = list[tuple[TokenIds, Drawn]]
Compared: TypeAlias = tuple[list[ScoredText], list[ScoredText]]
Pair: TypeAlias = "tuple[Bench, Bench]"
"""The reference and the candidate."""

TOKENS: Final = 256
"""So many tokens are judged at each size, in pieces of 32: what a few texts can show."""
PIECE: Final = 32
SHORT: Final = 64
LONGEST: Final = 16_384
"""Prompts of so many tokens in all at each size, and never fewer than two of them."""
MOST_READ: Final = 16
"""So many texts of a full batch are judged."""
SALT: Final = 4
MOST_GENERATED: Final = 8_192
EDGE: Final = 1_000
"""Token numbers at both ends of a vocabulary that are left out: special ones stand there, those of pictures too."""
PLAIN: Final[Mapping[str, float]] = {"ignore_eos": True}


class Unaskable(Exception):  # noqa: N818 - it carries why a server cannot be asked for a regime
    """A regime that a server cannot be brought into, was not, or is judged in without tokens: why, and the verdict."""


@cache
def names() -> Mapping[str, Mapping[str, Any]]:
    """The regimes in their order: what each is called, its unit, and what shows that it was reached."""
    return toml_table(Path(__file__).with_name("regimes.toml"), "regimes")


@dataclass(slots=True)
class Bench:
    """One endpoint of a sweep: its addresses, the context that it serves, and how many requests it may have in flight.

    `pool` are stretches of text as token numbers, `traces` long answers after their prompts, from stored runs.
    `capacity` is what its KV cache holds, in tokens, 0 where it is not told; `vocabulary` the largest number of a
    token that is known. `seen` is by how much its counters rose when it was asked last.
    """

    name: str
    posts: Sequence[tuple[Native, Forcer]]
    watcher: Native
    context: int
    most: int
    pool: Sequence[TokenIds] = ()
    traces: Sequence[TokenIds] = ()
    vocabulary: int = 0
    capacity: int = 0
    seen: dict[str, float] = field(default_factory=dict)

    @property
    def slow(self) -> bool:
        """Whether a text takes a request for each of its tokens."""
        return self.posts[0][1].request_per_token

    @property
    def spent(self) -> tuple[int, int]:
        """Tokens read and generated so far."""
        forcers = [forcer for _, forcer in self.posts]
        return sum(one.prompt_tokens for one in forcers), sum(one.completion_tokens for one in forcers)

    def prompt(self, length: int, rng: random.Random) -> TokenIds:
        """A prompt of so many tokens; it begins with tokens of its own, so that no cache holds any of it."""
        ids: list[int] = []
        while len(ids) < length:
            ids = [*rng.choice(self.pool), *ids]
        salt = [rng.choice(rng.choice(self.pool)) for _ in range(SALT)]
        return (*salt, *ids[len(ids) - length + SALT :])

    async def draw(self, prompts: Sequence[TokenIds], tokens: int, rng: random.Random, at_once: int = 1) -> Texts:
        """A text of so many tokens after each prompt, at temperature 1, never ended before."""
        drawings = [Drawing(tokens, 1.0, rng.randrange(2**31), PLAIN) for _ in prompts]
        asked = zip(cycle(self.posts), prompts, drawings, strict=False)
        drawn = await together([partial(one.draw, prompt, how) for (_, one), prompt, how in asked], at_once)
        return list(zip(prompts, drawn, strict=True))

    async def read(self, texts: Sequence[tuple[TokenIds, TokenIds]]) -> list[ScoredText]:
        """The log-probabilities of texts after their prompts."""
        work = [partial(one.score, *text) for (_, one), text in zip(cycle(self.posts), texts, strict=False)]
        return await together(work, min(8, self.most))

    async def account(self) -> dict[str, Any]:
        """What the sweep cost here, and what the server says of accepted drafts since it was started."""
        read, made = self.spent
        told = await self.metrics()
        share = told["accepted"] / told["drafted"] if told.get("drafted") and "accepted" in told else None
        requests = sum(native.requests for native, _ in self.posts)
        return {"requests": requests, "prompt_tokens": read, "completion_tokens": made, "drafts_accepted": share}

    async def metrics(self) -> dict[str, float]:
        """What the server's own page of metrics says, under the names of `regimes.toml`; empty where it has none."""
        page = await self.watcher.answer("/metrics")
        text = page.body.decode("utf-8", "replace") if isinstance(page, http.Answer) and page.status == 200 else ""
        return figures(text)

    async def watched(self, work: Awaitable[Texts]) -> Texts:
        """Does the work, and keeps in `seen` by how much the server's counters rose, and its fullest batch."""
        before, running = await self.metrics(), 0.0
        doing = asyncio.ensure_future(work)
        while before and not doing.done():
            running = max(running, (await self.metrics()).get("running", 0.0))
            await asyncio.wait([doing], timeout=0.02)
        made, after = await doing, await self.metrics()
        self.seen = {name: value - before.get(name, 0.0) for name, value in after.items()}
        self.seen |= {"running": running} if "running" in after else {}
        return made


async def together(work: Sequence[Callable[[], Awaitable[Made]]], at_once: int) -> list[Made]:
    """Does all of it, so much at a time, and gives what each came to; the first failure is everybody's."""
    gate = asyncio.Semaphore(at_once)

    async def one(do: Callable[[], Awaitable[Made]]) -> Made:
        async with gate:
            return await do()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(do)) for do in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def figures(page: str) -> dict[str, float]:
    """The numbers of a page of metrics, under the names of `regimes.toml`, summed over engines and other labels."""
    found: dict[str, float] = {}
    for name, theirs in toml_table(Path(__file__).with_name("regimes.toml"), "metrics").items():
        for other in theirs:
            lines = re.findall(rf"^{re.escape(other)}(?:\{{[^}}\n]*\}})? ([-+0-9.eE]+)$", page, re.MULTILINE)
            if lines and name not in found:
                found[name] = math.fsum(map(float, lines))
    if blocks := re.search(r"^vllm:cache_config_info\{([^}\n]*)\}", page, re.MULTILINE):
        told = dict(re.findall(r'(\w+)="(\d+)"', blocks[1]))
        if "block_size" in told and "num_gpu_blocks" in told:
            found["capacity"] = float(int(told["block_size"]) * int(told["num_gpu_blocks"]))
    return found


def in_pieces(texts: Sequence[ScoredText]) -> list[ScoredText]:
    """Texts cut into pieces of 32 tokens, the rest of each left out where it is short."""
    cuts = ((text, start) for text in texts for start in range(0, len(text.logprobs) - PIECE // 2 + 1, PIECE))
    return [ScoredText(text.logprobs[start : start + PIECE]) for text, start in cuts]


@dataclass(frozen=True, slots=True)
class Regime:
    """One regime by its name in `regimes.toml`, whose entry `words` is."""

    name: str

    @property
    def words(self) -> Mapping[str, Any]:
        """What it is called, its unit, its smallest size, and how it is judged."""
        return names()[self.name]

    def most(self, bench: Bench) -> int:
        """The largest size that an endpoint can be asked. Raises `Unaskable`: it can be asked none."""
        match self.name:
            case "decode" if bench.slow:
                raise Unaskable("it scores by one-token steps: no text is read in one piece")
            case "batch" | "chunk" if bench.most < 2:
                raise Unaskable("its slots, or limits.concurrency, allow one request in flight")
            case "preemption" if not bench.capacity:
                raise Unaskable("the server does not tell how many tokens its KV cache holds")
            case "preemption" if self.shape(200, bench)[1] > bench.context - TOKENS:
                raise Unaskable(f"{bench.most} requests in flight cannot fill a KV cache of {bench.capacity:,} tokens")
            case "rare" if bench.vocabulary < 3 * EDGE:
                raise Unaskable(f"no token number above {bench.vocabulary:,} is known to be one")
        generated = max(map(len, bench.traces)) if bench.traces else MOST_GENERATED
        known = {"prompt": bench.context - TOKENS, "hit": bench.context // 2, "chunk": bench.context // 2}
        known |= {"batch": bench.most, "rare": bench.vocabulary - EDGE}
        known["answer"] = min(bench.context - TOKENS - 2 * SHORT, generated)
        return known.get(self.name, int(self.words.get("last", SHORT)))

    def shape(self, size: int, bench: Bench) -> tuple[int, int, int, int]:
        """How many texts a size takes, after prompts of how many tokens, their own tokens, and how many at once."""
        match self.name:
            case "batch":
                return max(size, 8 // size * size), SHORT, PIECE, size
            case "hit" | "chunk":
                return 4, size, TOKENS // 4, 1 + (self.name == "chunk")
            case "answer":
                return (2, size, TOKENS // 2, 1) if bench.traces else (1, SHORT, size + TOKENS, 1)
            case "preemption":
                texts = min(bench.most, 64)
                return texts, max(SHORT, size * bench.capacity // 100 // texts), 2 * PIECE, texts
            case "rare":
                return (8, 1, PIECE, 8) if bench.slow else (-(-(size - size // 2) // TOKENS), 1, TOKENS, 8)
        texts = max(2, min(8, LONGEST // size))
        return texts, size, TOKENS // texts, 1

    async def measure(self, pair: Pair, size: int, rng: random.Random) -> Compared:
        """Pieces of texts as the candidate, second of the pair, gave them in the regime, and as they are read plainly.

        Raises `Unaskable`: it was not reached, or no token need be compared.
        """
        if self.name in PICTURES:
            return await _described(pair, PICTURES[self.name](size), rng)
        reference, candidate = pair
        made = await candidate.watched(ASKED.get(self.name, _plainly)(self, candidate, size, rng))
        counted = candidate.seen.get(self.words.get("shows", ""))
        if counted == 0 and size > self.words.get("above", math.inf):
            raise Unaskable(f"it was not reached: the server's metrics say 0 {self.words['counted']}")
        reader = candidate if "itself" in self.words else reference
        read = await reader.read([(prompt, text.ids) for prompt, text in made])
        return in_pieces([text.scores for _, text in made]), in_pieces(read)


Ask: TypeAlias = Callable[[Regime, Bench, int, random.Random], Awaitable[Texts]]


async def _plainly(regime: Regime, bench: Bench, size: int, rng: random.Random) -> Texts:
    """Texts after prompts, so many in flight at a time as the size says."""
    texts, length, tokens, at_once = regime.shape(size, bench)
    prompts = [bench.prompt(length - rng.randrange(1, PIECE // 2), rng) for _ in range(texts)]  # no whole chunks
    made = await bench.draw(prompts, tokens, rng, at_once)
    return rng.sample(made, min(MOST_READ, len(made)))


async def _hit(regime: Regime, bench: Bench, size: int, rng: random.Random) -> Texts:
    """After prompts that were asked before: once more as they were, or with another end, beside block boundaries."""
    made: Texts = []
    for more in (0, 1, -1, 0):
        one = bench.prompt(size + more, rng)
        await bench.draw([one], 1, rng)
        again = one if len(made) < 2 else (*one, *bench.prompt(PIECE, rng))
        made += await bench.draw([again], regime.shape(size, bench)[2], rng)
    return made


async def _chunk(regime: Regime, bench: Bench, size: int, rng: random.Random) -> Texts:
    """After prompts that end beside a chunk's end, read while another text is decoded."""
    made: Texts = []
    for more in (-1, 0, 1, 2):
        other = asyncio.ensure_future(bench.draw([bench.prompt(SHORT, rng)], TOKENS, rng))
        await asyncio.wait([other], timeout=0.02)  # it should decode by then, and does so for long
        made += await bench.draw([bench.prompt(size + more, rng)], regime.shape(size, bench)[2], rng)
        await other
    return made


async def _answer(regime: Regime, bench: Bench, size: int, rng: random.Random) -> Texts:
    """Late tokens of an answer: generated up to there, or after that much of a stored run's own answer."""
    texts, _, tokens, _ = regime.shape(size, bench)
    if bench.traces:
        long = [trace for trace in bench.traces if len(trace) >= size]
        salted = [(*bench.prompt(2 * SALT, rng), *rng.choice(long)[: size - 2 * SALT]) for _ in range(texts)]
        return await bench.draw(salted, tokens, rng)
    ((prompt, text),) = await bench.draw([bench.prompt(SHORT, rng)], tokens, rng)
    return [((*prompt, *text.ids[:size]), Drawn(text.ids[size:], ScoredText(text.scores.logprobs[size:])))]


async def _rare(regime: Regime, bench: Bench, size: int, rng: random.Random) -> Texts:
    """What is said of prompts made of the token numbers below a size, down to its half: each once, or some of them."""
    texts, _, tokens, _ = regime.shape(size, bench)
    ids = rng.sample(range(max(EDGE, size // 2), size), size - max(EDGE, size // 2))
    parts = [tuple(ids[start : start + tokens]) for start in range(0, texts * tokens, tokens)]
    pairs = [(part[:1], part[1:]) for part in parts if len(part) > PIECE // 2]
    read = await bench.read(pairs)
    return [(prompt, Drawn(ids, one)) for (prompt, ids), one in zip(pairs, read, strict=True)]


ASKED: Final[Mapping[str, Ask]] = {"hit": _hit, "chunk": _chunk, "answer": _answer, "rare": _rare}


PICTURES: Final[Mapping[str, Callable[[int], Sequence[tuple[int, int]]]]] = {
    "picture-count": lambda size: [(224, 224)] * size,
    "picture-size": lambda size: [(size, size)],
    "picture-aspect": lambda size: [(96 * size, 96)],
}


async def _described(pair: Pair, sizes: Sequence[tuple[int, int]], rng: random.Random) -> Compared:
    """Greedy answers to the same pictures on both sides, as far as they are alike, and where they part."""
    told: Compared = ([], [])
    for _ in range(8):
        pictures = [drawn(f"{rng.choice(WORDS)} {rng.randrange(100)}", size) for size in sizes]
        (ours, counted), (theirs, other) = [await _told(bench, pictures) for bench in pair]
        if counted != other:
            raise Unaskable(f"the same prompt is counted as {counted} and {other} tokens", Verdict.DEGRADED)
        for texts, text in zip(told, until_they_part(ours, theirs), strict=True):
            texts.append(text)
    return told


async def _told(bench: Bench, pictures: Sequence[bytes]) -> tuple[list[Any], Any]:
    """The tokens of an answer with their likeliest alternatives, and how many tokens its prompt had."""
    native = bench.posts[0][0]
    urls = [f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    asked = {"role": "user", "content": [*content, {"type": "text", "text": "Describe this in one sentence."}]}
    body = {"model": native.settings.model, "messages": [asked], "max_tokens": PIECE, "temperature": 0.0}
    reply = await native.post("/v1/chat/completions", {**body, "logprobs": True, "top_logprobs": 5})
    told = reply if isinstance(reply, Failure) else at(reply, "choices", 0, "logprobs", "content")
    if not isinstance(told, list):
        raise Unaskable(told.detail if isinstance(told, Failure) else "its answers to pictures have no logprobs")
    return told, at(reply, "usage", "prompt_tokens")


def until_they_part(ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[ScoredText, ScoredText]:
    """The log-probabilities of the first answer's tokens in both, to the first that is another in the second."""
    told: list[tuple[float, float]] = []
    for one, other in zip(ours, theirs, strict=False):
        known = {at(top, "token"): number(at(top, "logprob")) for top in at(other, "top_logprobs") or ()}
        known[at(other, "token")] = number(at(other, "logprob"))
        token = at(one, "token")
        told.append((number(at(one, "logprob")), known.get(token, min(known.values()))))
        if token != at(other, "token"):
            break
    return ScoredText([a for a, _ in told]), ScoredText([b for _, b in told])
