"""A serving engine that is none, behind SGLang's own interface: a prefix cache, chunks, a batch, pre-emption, a fault.

The next token is drawn from 256, with low numbers, by chances that follow from the two tokens before;
what a request computes is computed as a real engine would: a prompt in chunks that stop at the cached part, one token a
step for each request of the batch, the latest request thrown out where the KV cache is full. Each step tells a
`RegimeFault` what is computed and how; from the first position that it strikes on, all that the request says is wrong.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

BLOCK: Final = 16
COLUMNS: Final = 256
END: Final = 0
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """What is computed at once for one request: positions `start` to `stop` of its tokens, and in which state.

    `cached` tokens came from the prefix cache, `prompt` is the length of the prompt, `batch` how many requests run,
    `decoding` how many of them decode, `preempted` whether this one was thrown out before.
    """

    start: int
    stop: int
    prompt: int
    cached: int
    batch: int
    decoding: int
    chunk: int
    preempted: bool
    ids: Sequence[int]

    @property
    def decodes(self) -> bool:
        """Whether it computes a token of the answer."""
        return self.start >= self.prompt

    @property
    def chunked(self) -> bool:
        """Whether it computes a later chunk of a prompt."""
        return self.cached < self.start < self.prompt


class RegimeFault:
    """A fault of an engine; this one is none. `regime` should be named, `switch` is where it begins."""

    source = ""
    regime = ""
    nats = 1.0

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.switch = 0
        self.settle()

    def settle(self) -> None:
        """Draws the switch point."""

    def between(self, low: int, high: int) -> int:
        """A switch point, drawn evenly on the logarithm."""
        return round(low * (high / low) ** self.rng.random())

    def strikes(self, step: Step) -> int | None:
        """The first position of this step that is computed wrongly; None where all are right."""
        return None

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...], step: Step) -> Floats | float:
        """The error of every logit of a step, as other kernels round."""
        return 0.0


class OtherKernels(RegimeFault):
    """No fault: logits with an error of a hundredth of a nat, new for every step."""

    error = 1e-2

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...], step: Step) -> Floats | float:
        return rng.normal(0.0, self.error, shape)


class Rounded(OtherKernels):
    """No fault: errors as of a cache in eight bits."""

    error = 3e-2


@cache
def table(vocabulary: int) -> tuple[Floats, Floats]:
    """Logits by the last token, and by the one before."""
    rng = np.random.default_rng(vocabulary)
    rows = min(vocabulary, 1024)
    near, far = rng.normal(0.0, 1.6, (rows, COLUMNS)), rng.normal(0.0, 0.6, (rows, COLUMNS))
    return near, far


@dataclass(slots=True, eq=False)
class Running:
    """One request in the engine."""

    ids: list[int]
    prompt: int
    tokens: int
    start: int
    temperature: float
    rng: random.Random
    done: asyncio.Future[None]
    ignores_end: bool
    cached: int = 0
    position: int = 0
    preempted: bool = False
    struck: bool = False
    told: dict[int, tuple[float, list[tuple[int, float]]]] = field(default_factory=dict)


class Engine:
    """The server; `running` and other counters stand on its page of metrics."""

    def __init__(
        self,
        fault: RegimeFault | None = None,
        *,
        context: int = 4096,
        chunk: int = 512,
        capacity: int = 16_384,
        vocabulary: int = 8192,
        metrics: bool = True,
    ) -> None:
        self.fault = fault or RegimeFault()
        self.context, self.chunk, self.capacity, self.vocabulary, self.metered = (
            context,
            chunk,
            capacity,
            vocabulary,
            metrics,
        )
        self.waiting: list[Running] = []
        self.batch: list[Running] = []
        self.cache: set[int] = set()
        self.counters = {"cached_tokens_total": 0, "num_retracted_requests_total": 0}
        self.requests = 0
        self._loop: asyncio.Task[None] | None = None
        self._noise = np.random.default_rng(self.fault.seed)

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=2**24)
        app.router.add_get("/get_model_info", self.info)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_post("/generate", self.generate)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app

    async def info(self, _request: web.Request) -> web.Response:
        """What SGLang says of its model."""
        return web.json_response({"model_path": "museum/engine"})

    async def models(self, _request: web.Request) -> web.Response:
        """The list of the one model."""
        card = {"id": "toy", "object": "model", "owned_by": "sglang", "max_model_len": self.context}
        return web.json_response({"object": "list", "data": [card]})

    async def metrics(self, _request: web.Request) -> web.Response:
        """The page of metrics."""
        if not self.metered:
            raise web.HTTPNotFound
        figures = {**self.counters, "num_running_reqs": len(self.batch), "max_total_num_tokens": self.capacity}
        return web.Response(
            text="".join(f'sglang:{name}{{model_name="toy"}} {value}\n' for name, value in figures.items())
        )

    def prompt_ids(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The tokens of a chat: one for each word, by its letters."""
        words = " ".join(str(one["content"]) for one in messages).split()
        return [
            1,
            2,
            *(self.token(zlib.crc32(word.encode()) % COLUMNS) for word in words),
            3,
            self.vocabulary - 1,
        ]

    async def chat(self, request: web.Request) -> web.Response:
        """One token of a chat, for its prompt's numbers."""
        body = await request.json()
        prompt = self.prompt_ids(body["messages"])
        made = await self.made(prompt, {"max_new_tokens": 1, "temperature": 0.0}, len(prompt))
        usage = {"prompt_tokens": len(prompt), "completion_tokens": 1}
        message = {"role": "assistant", "content": str(made.ids[-1])}
        choice = {"index": 0, "message": message, "finish_reason": "length", "prompt_token_ids": prompt}
        return web.json_response(
            {"id": "x", "object": "chat.completion", "model": "toy", "choices": [choice], "usage": usage}
        )

    async def generate(self, request: web.Request) -> web.Response:
        """SGLang's own interface: token numbers in, log-probabilities out."""
        body = await request.json()
        given, sampling, start = body["input_ids"], body["sampling_params"], body["logprob_start_len"]
        if len(given) + sampling["max_new_tokens"] > self.context or max(given) >= self.vocabulary:
            return web.json_response(
                {"error": {"message": "the input is too long or out of the vocabulary"}}, status=400
            )
        made = await self.made(given, sampling, len(given) if start < 0 else start)
        after = range(len(given), len(made.ids))
        ended = made.ids[-1] == END and not sampling.get("ignore_eos")
        meta: dict[str, Any] = {
            "prompt_tokens": len(given),
            "completion_tokens": len(after),
            "finish_reason": {"type": "stop" if ended else "length"},
            "output_token_logprobs": [[made.told[n][0], made.ids[n], None] for n in after],
            "output_top_logprobs": [[[lp, token, None] for token, lp in made.told[n][1]] for n in after],
        }
        if start >= 0:
            there = range(start + 1, len(given))
            meta["input_token_logprobs"] = [
                [None, given[start], None],
                *([made.told[n][0], given[n], None] for n in there),
            ]
            meta["input_top_logprobs"] = [None, *([[lp, t, None] for t, lp in made.told[n][1]] for n in there)]
        return web.json_response({"text": "", "meta_info": meta})

    # ------------------------------------------------------------ the engine

    async def made(self, given: Sequence[int], sampling: Mapping[str, Any], start: int) -> Running:
        """A request, computed among those that are in flight with it."""
        self.requests += 1
        seed = sampling.get("sampling_seed")
        rng = random.Random(f"{seed} {zlib.crc32(str(given[-9:]).encode())}")
        future = asyncio.get_running_loop().create_future()
        one = Running(
            list(given), len(given), sampling["max_new_tokens"], start, float(sampling["temperature"]), rng, future,
            bool(sampling.get("ignore_eos")),
        )  # fmt: skip
        self.waiting.append(one)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run())
        await future
        return one

    async def _run(self) -> None:
        """Steps until nothing is left; requests that arrive together are begun together, however busy the machine."""
        quiet, known, steps = 0, 0, 0
        while quiet < 12:
            await asyncio.sleep(0.0002)
            quiet, known = (quiet + 1, known) if len(self.waiting) == known else (0, len(self.waiting))
            if known <= 1 and quiet > 2:
                break
        while self.waiting or self.batch:
            self._admit()
            decoding = sum(one.position >= one.prompt for one in self.batch)
            for one in list(self.batch):
                if one in self.batch:
                    self._step(one, decoding)
            steps += 1
            if steps % 4 == 0:  # so that what is sent meanwhile finds it at work
                young = any(len(one.ids) - one.prompt < 300 for one in self.batch)
                await asyncio.sleep(0.0005 if young else 0)

    def _held(self) -> int:
        return sum(max(one.position, one.prompt) for one in self.batch)

    def _admit(self) -> None:
        while self.waiting and (not self.batch or self._held() + len(self.waiting[0].ids) <= self.capacity):
            one = self.waiting.pop(0)
            one.position, one.cached, one.struck = 0, 0, False
            if one.start >= one.prompt:  # as SGLang, which computes anew what it is asked the log-probabilities of
                blocks = self._blocks(one.ids[: one.prompt])
                hit = next((n for n, block in enumerate(blocks) if block not in self.cache), len(blocks))
                one.position = one.cached = min(hit * BLOCK, one.prompt - 1)
                self.counters["cached_tokens_total"] += one.cached
            self.batch.append(one)

    @staticmethod
    def _blocks(ids: Sequence[int]) -> list[int]:
        found, before = [], 0
        for end in range(BLOCK, len(ids) + 1, BLOCK):
            before = zlib.crc32(np.array(ids[end - BLOCK : end]).tobytes(), before)
            found.append(before)
        return found

    def _step(self, one: Running, decoding: int) -> None:
        """One chunk of a prompt, or one token of an answer."""
        start = one.position
        stop = min(start + self.chunk, len(one.ids))
        if start >= one.prompt and self._held() > self.capacity and len(self.batch) > 1:
            last = self.batch[-1]
            self.batch.remove(last)
            last.preempted = True
            self.counters["num_retracted_requests_total"] += 1
            self.waiting.insert(0, last)
            if last is one:
                return
        step = Step(start, stop, one.prompt, one.cached, len(self.batch), decoding, self.chunk, one.preempted, one.ids)
        rows = self._rows(one, step)
        one.position = stop
        if stop < len(one.ids):
            return
        self._next(one, rows[-1])
        if len(one.ids) - one.prompt >= one.tokens or (one.ids[-1] == END and not one.ignores_end):
            self.cache.update(self._blocks(one.ids[: one.prompt]))
            self.batch.remove(one)
            one.done.set_result(None)

    def _next(self, one: Running, row: Floats) -> None:
        token = (
            int(row.argmax())
            if one.temperature <= 0
            else min(COLUMNS - 1, int(np.searchsorted(np.cumsum(np.exp(row)), one.rng.random())))
        )
        one.ids.append(self.token(token))
        one.told[len(one.ids) - 1] = self._said(row, one.ids[-1])

    @staticmethod
    def token(column: int) -> int:
        """The token of a column of the logits: usual ones have low numbers; rare ones share their chances."""
        return 4 + 7 * column

    @staticmethod
    def column(token: int) -> int:
        """The column of the logits of a token."""
        return (token - 4) // 7 if 4 <= token < 4 + 7 * COLUMNS else token % COLUMNS

    def _said(self, row: Floats, token: int) -> tuple[float, list[tuple[int, float]]]:
        top = sorted(np.argpartition(-row, 2)[:2].tolist(), key=lambda n: -float(row[n]))
        alternatives = [(self.token(n), float(row[n])) for n in top]
        return float(row[self.column(token)]), alternatives

    def _rows(self, one: Running, step: Step) -> Floats:
        """Log-probabilities after each token of a step; those of given tokens are kept where they are asked for."""
        near, far = table(self.vocabulary)
        first = max(step.start, min(one.start, step.stop - 1))
        last = np.array(one.ids[first : step.stop])
        before = np.array([0, *one.ids][first : step.stop])
        logits = near[last % len(near)] + far[before % len(far)]
        logits = logits + self.fault.noise(self._noise, logits.shape, step)
        struck = step.start if one.struck else self.fault.strikes(step)
        if struck is not None:
            one.struck = True
            wrong = np.random.default_rng([self.fault.seed, zlib.crc32(last.tobytes()), step.stop])
            logits[max(0, struck - first) :] += wrong.normal(
                0.0, self.fault.nats, logits[max(0, struck - first) :].shape
            )
        rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        for n, row in enumerate(rows[: len(one.ids) - 1 - first]):
            if first + n + 1 not in one.told:
                one.told[first + n + 1] = self._said(row, one.ids[first + n + 1])
        return rows
