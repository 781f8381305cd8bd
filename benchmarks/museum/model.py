"""A small language model that is none, behind an OpenAI-compatible address: seeded, right, or wrong as told.

The next word is drawn from 64, with chances that follow from prompt and words so far; what is drawn obeys temperature,
top_p, top_k, min_p, the penalties and the seed, and log-probabilities are reported before these, as vLLM does. Tools
and JSON schemas are filled as they say. Codes such as 123-456 are repeated. A `Fault` changes requests before the model
sees them, replies before they are sent, or the pieces of a stream.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from aiohttp import web

TEXT: Final = """
yes la sea city
river lantern stone cloud seven garden winter signal copper harbour violet engine paper north silver window bread valley
mirror candle forest thunder bridge pocket letter island marble orange tower velvet ladder meadow comet anchor basket
cedar drift ember falcon glacier hollow ivory jungle kettle lemon mantle nectar opal pepper quartz ribbon saddle timber
umber vessel willow yarrow zephyr 山 水 花 🍕 Äpfel Öl
"""
WORDS: Final = tuple(TEXT.split())
END: Final = "<end>"
CODE: Final = re.compile(r"\d{3}-\d{3}")
NOTHING: Final[Mapping[str, Any]] = {}
PICTURE_TOKENS: Final = 66


class Fault:
    """A server's fault; this one is none. `source` says where it was met, `expected` by which promises it should show.

    `rng` draws its switch point (`settle`) and when it strikes; `seconds` is what a reply takes.
    """

    source = ""
    expected: tuple[str, ...] = ()
    seconds = 0.005

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.settle()

    def settle(self) -> None:
        """Draws the switch point."""

    def refuses(self) -> bool:
        """Whether the next request is answered with 503."""
        return False

    def request(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The request as the model gets it."""
        return fields

    def logits(self, chances: dict[str, float], text: str, in_flight: int) -> dict[str, float]:
        """The log-probabilities of the next word after prompt and words, as these kernels compute them."""
        return chances

    def reply(self, fields: Mapping[str, Any], reply: dict[str, Any], in_flight: int) -> dict[str, Any]:
        """The reply as it is sent; `in_flight` is how many requests are under way."""
        return reply

    def pieces(self, fields: Mapping[str, Any], pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The deltas of a streamed reply."""
        return pieces

    def ending(self, finish: str, usage: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The finish reason and the usage that a stream ends with."""
        return finish, usage


@cache
def nats(prompt: str, words: tuple[str, ...], goes_on: bool) -> dict[str, float]:
    """Log-probabilities after these words; where it does not go on, the answer is long enough."""
    rng = random.Random(hashlib.sha256("\0".join((prompt, *words)).encode()).digest())
    logits = {word: rng.gauss(0.0, 1.7) for word in (*WORDS, END)}
    logits[END] = -9.0 if goes_on else 9.0
    if told := re.search(r"\b(la|yes) \1 \1\b", prompt):  # it goes on as it is asked to, so that penalties show
        logits[words[-1] if words else told[1]] = max(logits[word] for word in WORDS) + 3.0
    whole = math.log(sum(map(math.exp, logits.values())))
    return {word: logit - whole for word, logit in logits.items()}


def drawn(chances: Mapping[str, float], before: list[str], fields: Mapping[str, Any], rng: random.Random) -> str:
    """One word under the sampling parameters of a request."""
    told = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, **fields}
    count = {word: before.count(word) for word in chances}
    repeated = math.log(float(told.get("repetition_penalty") or 1.0))
    shifted = {
        word: value
        - float(told.get("frequency_penalty") or 0.0) * count[word]
        - (float(told.get("presence_penalty") or 0.0) + 3 * repeated) * (count[word] > 0)
        for word, value in chances.items()
    }
    order = sorted(shifted, key=lambda word: -shifted[word])
    if float(told["temperature"]) == 0.0:
        return order[0]
    weights = [math.exp((shifted[word] - shifted[order[0]]) / float(told["temperature"])) for word in order]
    total, kept, mass = sum(weights), 0, 0.0
    for weight in weights:
        cut = kept >= (int(told["top_k"]) if int(told["top_k"]) > 0 else len(order))
        if cut or mass >= float(told["top_p"]) or weight < float(told["min_p"]) * weights[0]:
            break
        kept, mass = kept + 1, mass + weight / total
    return rng.choices(order[:kept], weights[:kept])[0]


def filled(schema: Mapping[str, Any], text: str, rng: random.Random) -> Any:
    """A value that a JSON schema allows."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {key: filled(one, text, rng) for key, one in schema.get("properties", {}).items()}
    if kind == "array":
        return [filled(schema["items"], text, rng) for _ in range(schema.get("minItems", 1))]
    if kind in {"integer", "number"}:
        return max(schema.get("minimum", 1), 1)
    told = CODE.findall(text) or re.findall(r"\w*[^\x00-\x7f]\w*", text)  # as a model copies a name
    return True if kind == "boolean" else (told or [rng.choice(WORDS)])[0]


def called(fields: Mapping[str, Any], text: str, rng: random.Random) -> list[dict[str, Any]]:
    """Calls of the tool that is named; else of every one that is offered, or of one where calls come one at a time."""
    offered = [one["function"] for one in fields["tools"]]
    if isinstance(fields["tool_choice"], dict):
        offered = [one for one in offered if one["name"] == fields["tool_choice"]["function"]["name"]]
    calls = []
    for tool in offered if fields.get("parallel_tool_calls", True) else offered[:1]:
        arguments = json.dumps(filled(tool["parameters"], text, rng), ensure_ascii=False)
        function = {"name": tool["name"], "arguments": arguments}
        calls.append({"id": f"call-{rng.randrange(10**9)}", "type": "function", "function": function})
    return calls


def biased(chances: dict[str, float], fields: Mapping[str, Any]) -> dict[str, float]:
    """Log-probabilities with the logit_bias of a request; a token's number is its place among the words."""
    bias = {WORDS[int(key) % len(WORDS)]: float(value) for key, value in (fields.get("logit_bias") or {}).items()}
    return {word: nat + bias.get(word, 0.0) for word, nat in chances.items()}


class Model:
    """The server; `thinks` says whether answers begin with thoughts that `enable_thinking` and effort govern."""

    def __init__(self, fault: Fault | None = None, *, thinks: bool = False) -> None:
        self.fault, self.thinks, self.in_flight, self.requests = fault or Fault(), thinks, 0, 0

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        return app

    async def models(self, _request: web.Request) -> web.Response:
        """The list of the one model."""
        return web.json_response({"object": "list", "data": [{"id": "toy", "object": "model", "owned_by": "museum"}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One completion."""
        self.requests += 1
        if self.fault.refuses():
            return web.json_response({"error": {"message": "restarting"}}, status=503, headers={"Retry-After": "0"})
        self.in_flight += 1
        try:
            asked = await request.json()
            fields = self.fault.request(dict(asked))
            reply = self.answer(fields)
            await asyncio.sleep(self.fault.seconds)
            reply = self.fault.reply(asked, reply, self.in_flight)
        finally:
            self.in_flight -= 1
        if not asked.get("stream"):
            return web.json_response(reply)
        return await self.streamed(request, asked, reply)

    def answer(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The whole reply to a request."""
        prompt = json.dumps([fields["messages"], fields.get("tools")], ensure_ascii=False)
        prompt, pictures = re.subn(r"data:image/[^\"]*", "picture", prompt)
        tokens = len(prompt) // 4 + PICTURE_TOKENS * pictures
        choices = [
            {**self.choice(fields, prompt, number), "index": number} for number in range(int(fields.get("n") or 1))
        ]
        used = sum(one.pop("tokens") for one in choices)
        usage = {"prompt_tokens": tokens, "completion_tokens": used, "total_tokens": tokens + used}
        return {"id": "c", "object": "chat.completion", "model": "toy", "choices": choices, "usage": usage}

    def choice(self, fields: Mapping[str, Any], prompt: str, number: int) -> dict[str, Any]:
        """One choice."""
        rng = random.Random(f"{prompt}{fields.get('seed')}{number}")
        text = str(fields["messages"][-1].get("content"))
        forced = fields.get("tool_choice")
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        if fields.get("tools") and forced not in {None, "auto", "none"} if not isinstance(forced, dict) else True:
            calls = called(fields, text, rng)
            used = sum(len(call["function"]["arguments"]) // 4 + 1 for call in calls)
            return self.done({**message, "content": None, "tool_calls": calls}, "tool_calls", used)
        if (asked := fields.get("response_format")) is not None:
            schema = asked.get("json_schema", NOTHING).get("schema", {"type": "object", "properties": {"a": {}}})
            body = json.dumps(filled(schema, text, rng))
            return self.done({**message, "content": body}, "stop", len(body) // 4 + 1)
        if codes := CODE.findall(text):
            return self.done({**message, "content": codes[0]}, "stop", 2)
        return self.prose(fields, prompt, message, rng)

    def prose(
        self, fields: Mapping[str, Any], prompt: str, message: dict[str, Any], rng: random.Random
    ) -> dict[str, Any]:
        """An answer in words."""
        on = self.thinks and fields.get("chat_template_kwargs", NOTHING).get("enable_thinking", True)
        if on:
            length = {"low": 20, "high": 200}.get(str(fields.get("reasoning_effort")), 60)
            length = min(length, int(fields.get("max_tokens") or length))
            message["reasoning_content"] = " ".join(rng.choices(WORDS[:50], k=length))
        words, asked = list[str](), re.findall(r"\w+", str(fields["messages"][-1].get("content")))
        listed: list[dict[str, Any]] = []
        stops, finish = fields.get("stop") or (), "length"
        thought = len(message.get("reasoning_content", "").split())
        for _ in range(int(fields.get("max_tokens") or 256) - thought):
            exact = nats(prompt, tuple(words[-6:]), len(words) < 24)
            chances = self.fault.logits(exact, f"{prompt}{words}", self.in_flight)
            before = [*asked, *words] if fields.get("penalise_prompt") else words
            word = drawn(biased(chances, fields), before, fields, rng)
            top = sorted(chances, key=lambda one: -chances[one])[: int(fields.get("top_logprobs") or 1)]
            nearest = [{"token": f"{one} ", "logprob": chances[one]} for one in top]
            listed.append({"token": f"{word} ", "logprob": chances[word], "top_logprobs": nearest})
            if word == END or word in stops:
                finish = "stop"
                break
            words.append(word)
        message["content"] = "".join(f"{word} " for word in words)
        made = self.done(message, finish, len(listed) + thought)
        return {**made, "logprobs": {"content": listed} if fields.get("logprobs") else None}

    @staticmethod
    def done(message: dict[str, Any], finish: str, tokens: int) -> dict[str, Any]:
        """A choice that came to its end."""
        return {"index": 0, "message": message, "finish_reason": finish, "logprobs": None, "tokens": tokens}

    async def streamed(
        self, request: web.Request, asked: Mapping[str, Any], reply: Mapping[str, Any]
    ) -> web.StreamResponse:
        """The reply in pieces."""
        choice = reply["choices"][0]
        message, pieces = choice["message"], list[dict[str, Any]]()
        for key in ("reasoning_content", "reasoning", "content"):
            pieces += [{key: f"{word} "} for word in (message.get(key) or "").split(" ")[:-1]]
            if last := (message.get(key) or "").rpartition(" ")[2]:
                pieces.append({key: last})
        for index, call in enumerate(message.get("tool_calls") or ()):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            pieces.append({"tool_calls": [{**call, "index": index, "function": {"name": name, "arguments": ""}}]})
            half = len(arguments) // 2
            for part in (arguments[:half], arguments[half:]):
                pieces.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        head = {"id": "c", "object": "chat.completion.chunk", "model": "toy"}
        for piece in self.fault.pieces(asked, pieces):
            await self.event(response, {**head, "choices": [{"index": 0, "delta": piece, "finish_reason": None}]})
        finish, usage = self.fault.ending(choice["finish_reason"], reply["usage"])
        end = {"index": 0, "delta": {}, "finish_reason": finish, "logprobs": choice["logprobs"]}
        await self.event(response, {**head, "choices": [end], "usage": None})
        await self.event(response, {**head, "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    @staticmethod
    async def event(response: web.StreamResponse, document: Mapping[str, Any]) -> None:
        """One server-sent event."""
        await response.write(b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n")
