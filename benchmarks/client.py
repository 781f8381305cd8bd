"""What asking costs: requests a second and CPU per request of both clients, beside the least that aiohttp can do.

A server in a process of its own answers at once with the same bytes. The floor is aiohttp and orjson with nothing
around them: no limits, no redirects, no replicas, no failures, and of a stream the content alone. Compare ratios
within one run, not figures of different machines: `python benchmarks/client.py [--runs 3] [--in-flight 64]`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import orjson

from evalkit.endpoint.client import ClientSettings, open_client
from evalkit.model import Prompt, Reply, Request

EVENTS = 250
MODEL = "bench"
TEXT = "The answer follows from what is given. " * 10 + "ANSWER: B"
MESSAGES = ({"role": "user", "content": "Which of these is right, and why? " * 15},)
PARAMETERS = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 1024}
REQUESTS = {
    "plain": {"floor": 4000, "aiohttp": 4000, "openai": 800},
    "stream": {"floor": 600, "aiohttp": 600, "openai": 400},
}

Ask = Callable[[int], Awaitable[None]]


def plain_answer() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 120, "completion_tokens": 100, "total_tokens": 220}
    body = orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }
    )
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def stream_answer() -> bytes:
    """Every event a chunk of its own, as servers write them; all in one write, as they pile up under load."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    deltas = [({"content": "word"}, None)] * (EVENTS - 2) + [({}, "stop")]
    documents = [
        head | {"choices": [{"index": 0, "delta": d, "logprobs": None, "finish_reason": f}]} for d, f in deltas
    ]
    documents.append(head | {"choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": EVENTS - 2}})
    events = [b"data: " + orjson.dumps(document) + b"\n\n" for document in documents] + [b"data: [DONE]\n\n"]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )


class CannedServer(asyncio.Protocol):
    """Finds the end of a request and answers; the cheapest server that Python can be."""

    answers = (plain_answer(), stream_answer())

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
            body, self.buffer = rest[:length], rest[length:]
            self.transport.write(self.answers[b'"stream":true' in body])


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(CannedServer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def server_process():
    """The server's base address, for as long as it is needed."""
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


@asynccontextmanager
async def evalkit_client(kind: str, base_url: str, stream: bool, in_flight: int) -> AsyncIterator[Ask]:
    settings = ClientSettings((base_url,), MODEL, api_key="EMPTY", stream=stream, concurrency=in_flight)
    client = open_client(settings, kind)
    prompt = Prompt("digest", MESSAGES)

    async def ask(number: int) -> None:
        reply = await client.ask(Request(str(number), "suite", "item", number, prompt, PARAMETERS, seed=number))
        assert isinstance(reply, Reply), reply
        assert reply.finish_reason == "stop"

    yield ask
    await client.close()


@asynccontextmanager
async def floor_client(_kind: str, base_url: str, stream: bool, in_flight: int) -> AsyncIterator[Ask]:
    url = base_url + "/chat/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer EMPTY"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight), headers=headers) as session:

        async def ask(number: int) -> None:
            body = {"model": MODEL, **PARAMETERS, "messages": MESSAGES, "seed": number, "stream": stream}
            async with session.post(url, data=orjson.dumps(body)) as response:
                if not stream:
                    assert orjson.loads(await response.read())["choices"][0]["message"]["content"]
                    return
                pieces = []
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        choices = orjson.loads(line[6:])["choices"]
                        if choices and choices[0]["delta"].get("content"):
                            pieces.append(choices[0]["delta"]["content"])
                assert "".join(pieces)

        yield ask


async def measure(kind: str, base_url: str, stream: bool, in_flight: int, number: int) -> tuple[float, float]:
    """Requests a second, and CPU milliseconds a request, of this process; connections are open before it starts."""
    opened = floor_client if kind == "floor" else evalkit_client
    async with opened(kind, base_url, stream, in_flight) as ask:
        await asyncio.gather(*(ask(-n) for n in range(in_flight)))
        numbers = iter(range(number))

        async def slot() -> None:
            for n in numbers:
                await ask(n)

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(slot() for _ in range(in_flight)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return number / wall, 1000 * cpu / number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="medians of so many runs, taken in turn")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return
    with server_process() as base_url:
        print(f"{arguments.in_flight} in flight, medians of {arguments.runs} runs")
        print(f"{'reply':<12}{'client':<10}{'requests/s':>12}{'CPU ms/request':>16}{'over floor':>12}")
        for reply, numbers in REQUESTS.items():
            rows: dict[str, list[tuple[float, float]]] = {kind: [] for kind in numbers}
            for _ in range(arguments.runs):
                for kind, number in numbers.items():
                    rows[kind].append(
                        asyncio.run(measure(kind, base_url, reply == "stream", arguments.in_flight, number))
                    )
            floor = statistics.median(cpu for _, cpu in rows["floor"])
            for kind, figures in rows.items():
                rate = statistics.median(rate for rate, _ in figures)
                cpu = statistics.median(cpu for _, cpu in figures)
                name = reply if reply == "plain" else f"{EVENTS} events"
                print(f"{name:<12}{kind:<10}{rate:>12,.0f}{cpu:>16.3f}{cpu / floor:>12.2f}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
