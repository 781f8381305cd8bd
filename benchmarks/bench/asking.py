"""What asking costs this machine: requests per second and CPU per request, of evalkit's client and of less around it.

    python benchmarks/bench/asking.py '{"requests": 6000, "in_flight": 64}'

This is what `evalkit bench-client` runs; further settings are the fields of `Load`, and `as_json`.
Three ways to ask the same server: the floor (aiohttp and orjson with nothing around them: no limits, redirects,
replicas or failures), a client alone, and a client with what a run has around it (pool and journal, on this disk).
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import aiohttp
import canned
import orjson

from evalkit.endpoint import open_client
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import EndpointError, EvalkitError
from evalkit.model import Failure, Prompt, Reply, Request
from evalkit.run import journal
from evalkit.run.records import packed
from evalkit.run.scheduler import Pool, PoolSettings, Progress

ROUNDS: Final = 3
Way: TypeAlias = Literal["floor", "client", "run"]
MEANING: Final[dict[Way, str]] = {
    "floor": "aiohttp and JSON alone",
    "client": "evalkit's client",
    "run": "client, pool, journal",
}
_MESSAGES: Final = ({"role": "user", "content": "Which of these is right, and why? " * 15},)
_PARAMETERS: Final = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 1024}
_PROMPT: Final = Prompt("bench", _MESSAGES)

_Ask: TypeAlias = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured: `requests` for each way, `in_flight` at a time, plain or streamed, by a kind of client."""

    requests: int
    in_flight: int
    stream: bool = False
    client: Literal["aiohttp", "openai"] = "aiohttp"


def report(load: Load) -> dict[str, Any]:
    """Starts the server and asks it in every way, in turn for some rounds: the medians, as JSON-like values.

    Raises:
        OSError: where the server does not start.
        EndpointError: where it answers wrongly.
    """
    number = max(load.in_flight, load.requests // ROUNDS)
    figures: dict[Way, list[tuple[float, float]]] = {way: [] for way in MEANING}
    with canned.serving() as port:
        base_url = f"http://127.0.0.1:{port}/v1"
        for _ in range(ROUNDS):
            for way in MEANING:
                gc.collect()  # what an earlier way left is not this one's
                figures[way].append(asyncio.run(_round(way, load, base_url, number)))
    floor_ms = statistics.median(cpu_ms for _rate, cpu_ms in figures["floor"])
    rows = []
    for way, rounds in figures.items():
        rate, cpu_ms = map(statistics.median, zip(*rounds, strict=True))
        row = {"way": way, "requests_per_second": round(rate, 1), "cpu_ms_per_request": round(cpu_ms, 4)}
        rows.append({**row, "over_floor": round(cpu_ms / floor_ms, 3) if floor_ms else None})
    return {**asdict(load), "python": sys.version.split()[0], "rows": rows}


async def _round(way: Way, load: Load, base_url: str, number: int) -> tuple[float, float]:
    """Requests per second and CPU milliseconds per request; connections are open before the clock starts."""
    if way == "run":
        return await _as_a_run(load, base_url, number)
    opened = _floor if way == "floor" else _client
    async with opened(load, base_url) as ask:
        await _all(ask, load.in_flight, load.in_flight)
        return await _timed(_all(ask, number, load.in_flight), number)


async def _timed(work: Awaitable[None], number: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return number / wall, 1000 * cpu / number


async def _all(ask: _Ask, number: int, in_flight: int) -> None:
    numbers = iter(range(number))

    async def slot() -> None:
        for one in numbers:
            await ask(one)

    await asyncio.gather(*(slot() for _ in range(in_flight)))


def _request(number: int) -> Request:
    return Request(f"{number:032}", "bench", str(number), 0, _PROMPT, _PARAMETERS, seed=number)


def _settings(load: Load, base_url: str) -> ClientSettings:
    return ClientSettings((base_url,), canned.MODEL, api_key="EMPTY", stream=load.stream, concurrency=load.in_flight)


def _check(outcome: Reply | Failure) -> None:
    if isinstance(outcome, Failure):
        raise EndpointError(f"the loopback server: {outcome.detail}")


@asynccontextmanager
async def _client(load: Load, base_url: str) -> AsyncIterator[_Ask]:
    client = open_client(_settings(load, base_url), load.client)

    async def ask(number: int) -> None:
        _check(await client.ask(_request(number)))

    try:
        yield ask
    finally:
        await client.close()


@asynccontextmanager
async def _floor(load: Load, base_url: str) -> AsyncIterator[_Ask]:
    url = base_url + "/chat/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer EMPTY"}
    connector = aiohttp.TCPConnector(limit=load.in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(number: int) -> None:
            body: dict[str, Any] = {"model": canned.MODEL, **_PARAMETERS, "messages": _MESSAGES, "seed": number}
            async with session.post(url, data=orjson.dumps(body | {"stream": load.stream})) as response:
                text = await (_streamed if load.stream else _plain)(response)
            if not text:
                raise EndpointError("the loopback server: no text")

        yield ask


async def _plain(response: aiohttp.ClientResponse) -> str:
    text: str = orjson.loads(await response.read())["choices"][0]["message"]["content"]
    return text


async def _streamed(response: aiohttp.ClientResponse) -> str:
    pieces = []
    async for line in response.content:
        if line.startswith(b"data: {"):
            choices = orjson.loads(line[6:])["choices"]
            if choices and choices[0]["delta"].get("content"):
                pieces.append(choices[0]["delta"]["content"])
    return "".join(pieces)


async def _as_a_run(load: Load, base_url: str, number: int) -> tuple[float, float]:
    client = open_client(_settings(load, base_url), load.client)
    with tempfile.TemporaryDirectory(prefix="evalkit-bench-") as folder, journal.Journal(Path(folder)) as out:

        def keep(request: Request, outcome: Reply | Failure) -> None:
            _check(outcome)
            out.append(packed(request, outcome, time.time()))

        async def ask(count: int) -> None:
            settings = PoolSettings(concurrency=load.in_flight)
            pool = Pool(client, settings, keep, {"bench": Progress(planned=count)})
            await pool.run(_request(one) for one in range(count))

        try:
            await ask(load.in_flight)
            return await _timed(ask(number), number)
        finally:
            await client.close()


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    answers = "streamed answers of 250 events" if report["stream"] else "answers of 100 tokens"
    lines = [
        f"{report['requests']} requests a row, {report['in_flight']} in flight, {answers}, client {report['client']}",
        f"{'':<28}{'requests/s':>12}{'CPU ms/request':>16}{'over floor':>12}",
    ]
    for row in report["rows"]:
        over = "" if row["over_floor"] is None else f"{row['over_floor']:.2f}"
        rate, cpu = row["requests_per_second"], row["cpu_ms_per_request"]
        lines.append(f"{MEANING[row['way']]:<28}{rate:>12,.0f}{cpu:>16.3f}{over:>12}")
    return "\n".join(lines)


def main(settings: dict[str, Any]) -> int:
    """Measures and prints; the exit code."""
    as_json = settings.pop("as_json", False)
    try:
        found = report(Load(**settings))
    except (EvalkitError, OSError) as error:
        sys.stderr.write(f"evalkit: {error}\n")
        return error.exit_code if isinstance(error, EvalkitError) else EndpointError.exit_code
    print(json.dumps(found, indent=2) if as_json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
