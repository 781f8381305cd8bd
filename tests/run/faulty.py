"""A server that misbehaves as it is told, in a process of its own: `python faulty.py [PORT]` prints its port.

Speaks HTTP at the level of bytes, as most of what it does wrong no web framework would do. It answers with the item that
it was asked for, so that a test sees whether an answer has gone to another item. POST /plan with a list of faults
`{"kind": ..., "share": 0.1, "times": 2}`: of the questions (item and seed), a share picked by hash gets that fault
in place of an answer the first `times` times that it is asked, -1: for ever. Shares follow each other, so no question
has two faults. `{"kind": "restart", "after": 100, "seconds": 0.5}` breaks all connections and refuses new ones for a
while; `{"kind": "die", "after": 100}` ends the process; `{"kind": "full", "most": 8}` answers 429 beyond 8 in flight.
`{"kind": "another", "after": 100, "listed": [...], "told": [...]}`: from then on (without "after" at once) other entries are in the list of
models, and the replies carry these fields in turn; with "seconds" it breaks connections as a restart does.
GET /stats says what was counted.
"""

import asyncio
import gzip
import hashlib
import itertools
import json
import os
import re
import sys
from collections import Counter

MARK = re.compile(r"item=(\S+) answer=(\w+)")
HUGE = 100_000_000
DONE = b"data: [DONE]\n\n"
GZIP_HUGE = gzip.compress(b" " * HUGE)


def whole(status, body, *headers, length=None, content_type="application/json"):
    lines = (f"content-type: {content_type}", f"content-length: {len(body) if length is None else length}", *headers)
    return f"HTTP/1.1 {status} X\r\n{''.join(line + chr(13) + chr(10) for line in lines)}\r\n".encode() + body


def document(text, of=None, **more):
    """Every answer has the same id; `of` are fields of the body, the model's name among them."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | more
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    return json.dumps({"id": "same", "model": "faulty", "choices": [choice], "usage": usage} | (of or {})).encode()


def error(message):
    return json.dumps({"error": {"message": message}}).encode()


def events(text, *, upto=None):
    pieces = [text[n : n + 4] for n in range(0, len(text), 4)]
    documents = [{"id": "same", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    documents.append({"id": "same", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    data = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents[:upto]]
    return data if upto is not None else [*data, DONE]


def chunked(content_type, *pieces, end=True):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + (b"0\r\n\r\n" if end else b"")


# What is sent in place of the answer `good` whose text is `text`.
BYTES = {
    "500": lambda good, text: whole(500, error("injected")),
    "502_html": lambda good, text: whole(502, b"<html><h1>Bad Gateway</h1></html>", content_type="text/html"),
    "503": lambda good, text: whole(503, error("loading"), "retry-after: 0"),
    "401": lambda good, text: whole(401, error("no such key")),
    "waf": lambda good, text: whole(403, b"<html><title>Request blocked</title></html>", content_type="text/html"),
    "400": lambda good, text: whole(400, error("this prompt is not to my taste")),
    "429": lambda good, text: whole(429, error("slow down"), "retry-after: 0"),
    "html": lambda good, text: whole(200, b"<html><title>Welcome</title></html>", content_type="text/html"),
    "half_json": lambda good, text: whole(200, good[: len(good) // 2]),
    "not_utf8": lambda good, text: whole(200, good.replace(b"item=", b"\xff\xfe\x80=")),
    "empty": lambda good, text: whole(200, b""),
    "no_choices": lambda good, text: whole(200, b'{"id": "same", "choices": []}'),
    "null": lambda good, text: whole(200, b"null"),
    "error_in_200": lambda good, text: whole(200, error("CUDA error: an illegal memory access was encountered")),
    "aborted": lambda good, text: whole(200, document(text, finish_reason="abort")),
    "cancelled": lambda good, text: whole(200, document(text, finish_reason="cancelled")),
    "partial": lambda good, text: whole(206, good),
    "stream_without_reason": lambda good, text: chunked("text/event-stream", *events(text)[:-2], DONE),
    "declared_huge": lambda good, text: whole(200, good, length=HUGE),
    "gzip_bomb": lambda good, text: whole(200, GZIP_HUGE, "content-encoding: gzip"),
    "not_gzip": lambda good, text: whole(200, good, "content-encoding: gzip"),
    "not_http": lambda good, text: b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "json_as_stream": lambda good, text: whole(200, good, content_type="text/event-stream"),
    "half_event": lambda good, text: chunked("text/event-stream", *events(text, upto=1), b'data: {"choi\n\n'),
    "stream_without_end": lambda good, text: chunked("text/event-stream", *events(text, upto=2)),
    # These are whole answers, and must be taken.
    "text_plain": lambda good, text: whole(200, good, content_type="text/plain"),
    "no_type": lambda good, text: b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(good), good),
    "stream": lambda good, text: chunked("text/event-stream", *events(text)),
    "twice": lambda good, text: 2 * whole(200, good),
}
CUT = {  # and then the connection is closed
    "dropped": lambda good, text: b"",
    "half_body": lambda good, text: whole(200, good[: len(good) // 2], length=len(good)),
    "half_chunks": lambda good, text: chunked("application/json", good[: len(good) // 2], end=False),
    "half_stream": lambda good, text: chunked("text/event-stream", *events(text, upto=2), end=False),
}
SLOW = {  # what comes at first, and what then comes again and again
    "silent": (b"", b""),
    "loris": (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n", b" "),
    "loris_stream": (chunked("text/event-stream", end=False), b"c\r\n: no news  \n\r\n"),
    "loris_error": (b"HTTP/1.1 500 X\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n", b" "),
    "huge": (chunked("application/json", end=False), b"10000\r\n" + b" " * 65536 + b"\r\n"),
}
HEALTHY = frozenset({"text_plain", "no_type", "stream", "twice"})
DRIP_SECONDS = 0.02


class State:
    def __init__(self):
        self.connections = set()
        self.reset([])

    def reset(self, plan):
        self.faults = [fault for fault in plan if "share" in fault]
        self.outages = [fault for fault in plan if "after" in fault]
        self.listed = [{"id": "faulty", "object": "model"}]
        self.become(next((fault for fault in plan if fault["kind"] == "another" and "after" not in fault), {}))
        self.most = next((fault["most"] for fault in plan if fault["kind"] == "full"), None)
        self.asked, self.answered, self.did = Counter(), Counter(), Counter()
        self.peak_connections = self.in_flight = self.received = 0

    def become(self, another):
        """Serves another model, or more than one."""
        self.listed = another.get("listed", self.listed)
        self.told = itertools.cycle(another.get("told", [{}]))

    def fault(self, question):
        draw = int.from_bytes(hashlib.blake2b(question.encode(), digest_size=6).digest()) / 2**48
        times = self.asked[question]
        for fault in self.faults:
            draw -= fault["share"]
            if draw < 0:
                return fault["kind"] if fault["times"] < 0 or times < fault["times"] else None
        return None

    def stats(self):
        return {
            "received": self.received,
            "questions": len(self.asked),
            "answered": sum(self.answered.values()),
            "answered_twice": sum(1 for count in self.answered.values() if count > 1),
            "did": self.did,
            "connections": len(self.connections),
            "peak_connections": self.peak_connections,
        }


class Connection(asyncio.Protocol):
    def __init__(self, server):
        self.server, self.state = server, server.state
        self.buffer, self.drip, self.paused = b"", None, False

    def connection_made(self, transport):
        self.transport = transport
        self.state.connections.add(self)
        self.state.peak_connections = max(self.state.peak_connections, len(self.state.connections))

    def connection_lost(self, exc):
        self.state.connections.discard(self)
        if self.drip is not None:
            self.drip.cancel()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False

    def data_received(self, data):
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            length = int(length[1]) if length else 0
            if not found or len(rest) < length:
                return
            body, self.buffer = rest[:length], rest[length:]
            self.request(head.split(b" ", 2)[1].decode(), body)

    def request(self, path, body):
        if path == "/plan":
            self.state.reset(json.loads(body))
            self.transport.write(whole(200, b"{}"))
        elif path == "/stats":
            self.transport.write(whole(200, json.dumps(self.state.stats()).encode()))
        elif path == "/v1/models":
            self.transport.write(whole(200, json.dumps({"object": "list", "data": self.state.listed}).encode()))
        elif path == "/v1/chat/completions":
            self.completion(json.loads(body))
        else:
            self.transport.write(whole(404, error("no such path")))

    def completion(self, body):
        state = self.state
        state.received += 1
        for outage in list(state.outages):
            if state.received > outage["after"]:
                state.outages.remove(outage)
                if outage["kind"] == "another":
                    state.become(outage)
                if outage["kind"] != "another" or "seconds" in outage:
                    self.server.outage(outage)
                    return
        mark = MARK.search(body["messages"][-1]["content"])
        item, answer = mark.groups() if mark else ("greeting", "A")
        question = f"{item}/{body.get('seed')}"
        if state.most is not None:
            state.in_flight += 1
            if state.in_flight > state.most:
                state.in_flight -= 1
                state.did["full"] += 1
                self.transport.write(whole(429, error("full")))
                return
            asyncio.get_running_loop().call_later(0.005, self.answer_full, question, item, answer)
            return
        self.answer(question, item, answer)

    def answer_full(self, *what):
        self.state.in_flight -= 1
        self.answer(*what)

    def answer(self, question, item, answer):
        state = self.state
        kind = state.fault(question)
        state.asked[question] += 1
        text = f"item={item}\nANSWER: {answer}"
        good = document(text, next(state.told))
        if kind is not None:
            state.did[kind] += 1
        if kind is None or kind in HEALTHY:
            state.answered[question] += 1
        if kind is None:
            self.transport.write(whole(200, good))
        elif kind in BYTES:
            self.transport.write(BYTES[kind](good, text))
        elif kind in CUT:
            self.transport.write(CUT[kind](good, text))
            self.transport.close() if CUT[kind](good, text) else self.transport.abort()
        else:
            first, again = SLOW[kind]
            self.transport.write(first)
            self.go_on(again)

    def go_on(self, again):
        if not self.paused:
            self.transport.write(again)
        self.drip = asyncio.get_running_loop().call_later(DRIP_SECONDS if len(again) < 99 else 0, self.go_on, again)


class Server:
    def __init__(self, port):
        self.state, self.port = State(), port

    async def listen(self):
        for _ in range(100):
            try:
                self.listening = await asyncio.get_running_loop().create_server(
                    lambda: Connection(self), "127.0.0.1", self.port, backlog=1024
                )
                break
            except OSError:
                await asyncio.sleep(0.05)
        self.port = self.listening.sockets[0].getsockname()[1]

    def outage(self, outage):
        if outage["kind"] == "die":
            os._exit(1)
        self.listening.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        asyncio.get_running_loop().call_later(outage["seconds"], lambda: asyncio.ensure_future(self.listen()))

    async def forever(self):
        await self.listen()
        print(self.port, flush=True)  # noqa: T201 - for whoever started it
        parent = os.getppid()
        while os.getppid() == parent:  # noqa: ASYNC110 - a test that was killed leaves no server behind
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(Server(int(sys.argv[1]) if len(sys.argv) > 1 else 0).forever())
