"""An OpenAI-compatible server around text recognition: real pixels in, text out, no GPU and no weights to fetch.

    python -m evalkit.serve.ocr --engine tesseract --port 8000

It serves the tests of the way of the pictures and the multimodal demo. Its answer is the text that it reads in the
request's pictures, in order; where the request lists options ("A. ...") it is the letter of the most similar one.
Text recognition survives a lossy copy, so an answer alone proves nothing about the way: every response says under
`evalkit` which parts arrived in which order, and the digest of the pixels of each picture as it arrived. With
`--degrade` the pictures are damaged after that, before they are read: a candidate that is worse for a known reason.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import difflib
import io
import json
import logging
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evalkit.endpoint.images import DECODE_LIMIT_PIXELS, pixel_digest
from evalkit.errors import EndpointError, EvalkitError
from evalkit.serve.ocr_engines import ENGINES, Degrade, Engine, load_engine

if TYPE_CHECKING:
    from aiohttp import web
    from PIL import Image


_LOG: Final = logging.getLogger(__name__)
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_OPTION: Final = re.compile(r"^[ \t]*\(?([A-Z])[.):\u3001][ \t]+(\S.*)$", re.MULTILINE)
_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,")
_KEPT_READINGS: Final = 2048
NO_PICTURE: Final = "There is no picture to read."
MESSAGE_TOKENS: Final = 4
MIB: Final = 1 << 20


class BadRequest(Exception):  # noqa: N818 - it is an answer of the server: HTTP 400 with this sentence
    """The request is refused with HTTP 400."""


@dataclass(frozen=True, slots=True)
class Received:
    """One picture as it arrived: declared type, real format, mode, size and the digest of its pixels as RGB."""

    media_type: str
    format: str
    mode: str
    width: int
    height: int
    pixels: str
    picture: Image.Image = field(repr=False, compare=False)

    def described(self) -> dict[str, Any]:
        """What a response tells about it."""
        names = ("media_type", "format", "mode", "width", "height", "pixels")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat request taken apart: `parts` are "text" and "image" in order of arrival over all messages."""

    text: str
    parts: tuple[str, ...]
    pictures: tuple[Received, ...]
    messages: int
    max_tokens: int | None
    stream: bool
    usage_in_stream: bool


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server behaves: damage, limits on pictures a request and on the body, and the name of its model."""

    degrade: Degrade = field(default_factory=Degrade)
    max_images: int = 64
    max_body_mib: int = 128
    model: str | None = None


def parse_request(body: Any, max_images: int) -> Asked:
    """Take a chat completion request apart and decode its pictures; nothing is ever fetched.

    Raises:
        BadRequest: it is no chat request, has too many pictures, or one that is no data URL of a picture.
    """
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: a list of messages is needed")
    texts: list[str] = []
    kinds: list[str] = []
    urls: list[str] = []
    for part in _content_parts(messages):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            urls.append(str(part["image_url"].get("url", "")))
        else:
            raise BadRequest(f"messages: a content part of type {kind!r} is not understood")
        kinds.append("text" if kind == "text" else "image")
    if len(urls) > max_images:
        raise BadRequest(f"At most {max_images} image(s) may be provided in one prompt, this one has {len(urls)}.")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    stream_options = body.get("stream_options")
    return Asked(
        text="\n".join(texts),
        parts=tuple(kinds),
        pictures=tuple(decode(url) for url in urls),
        messages=len(messages),
        max_tokens=limit if isinstance(limit, int) and limit > 0 else None,
        stream=bool(body.get("stream")),
        usage_in_stream=isinstance(stream_options, dict) and bool(stream_options.get("include_usage")),
    )


def _content_parts(messages: Sequence[Any]) -> Iterator[Any]:
    """The content parts of all messages in order; plain text is one part."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            yield {"type": "text", "text": content}
        elif isinstance(content, list):
            yield from content
        elif content is not None or not isinstance(message, dict):
            raise BadRequest("messages: the content is text or a list of parts")


def decode(url: str) -> Received:
    """Decode a data URL as any server would: no orientation, no background, only what lies in the pixels.

    Raises:
        BadRequest: it is no base64 data URL, or not a picture.
    """
    from PIL import Image

    head = _DATA_URL.match(url)
    if head is None:
        raise BadRequest("image_url: only data URLs in base64 are read; nothing is fetched")
    try:
        source = base64.b64decode(url[head.end() :], validate=True)
        picture = Image.open(io.BytesIO(source), formats=_FORMATS)
        if picture.width * picture.height > DECODE_LIMIT_PIXELS:
            raise BadRequest(f"image_url: {picture.width} x {picture.height} pixels are too many")
        kind = str(picture.format)
        rgb = picture.convert("RGB")
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadRequest(f"image_url: not a picture: {error}") from error
    return Received(
        media_type=head.group(1),
        format=kind,
        mode=picture.mode,
        width=rgb.width,
        height=rgb.height,
        pixels=pixel_digest(rgb.width, rgb.height, rgb.tobytes()),
        picture=rgb,
    )


def listed_options(text: str) -> list[str]:
    """The options that a prompt lists as lines "A. ...", "(B) ..." in order from A; [] for fewer than two."""
    options: list[str] = []
    for match in _OPTION.finditer(text):
        if match.group(1) == chr(ord("A") + len(options)):
            options.append(match.group(2).strip())
    return options if len(options) > 1 else []


def answer(prompt: str, readings: Sequence[str]) -> str:
    """What the server says: the letter of the most similar option, or else the text that was read."""
    read = "\n".join(readings)
    options = listed_options(prompt)
    if not options:
        return read if readings else NO_PICTURE
    folded = " ".join(read.casefold().split())
    likeness = [difflib.SequenceMatcher(None, folded, option.casefold(), autojunk=False).ratio() for option in options]
    return f"Answer: {chr(ord('A') + likeness.index(max(likeness)))}"


def cut(text: str, max_tokens: int | None) -> tuple[str, int, str]:
    """(text, tokens, finish reason); a token is a word here."""
    words = list(re.finditer(r"\S+", text))
    if max_tokens is None or len(words) <= max_tokens:
        return text, len(words), "stop"
    return text[: words[max_tokens - 1].end()], max_tokens, "length"


class OcrServer:
    """The server's state: the engine, its threads, and what it has read before (by pixels, so a repeat is free)."""

    def __init__(self, engine: Engine, options: ServerOptions | None = None) -> None:
        self._engine = engine
        self._options = options or ServerOptions()
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="evalkit-ocr")
        self._readings: OrderedDict[str, str] = OrderedDict()
        self.model = self._options.model or engine.name

    def app(self) -> web.Application:
        """The aiohttp application: `/v1/chat/completions`, `/v1/models`, `/health`."""
        from aiohttp import web

        app = web.Application(client_max_size=self._options.max_body_mib * MIB)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _app: web.Application) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _health(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"status": "ok"})

    async def _models(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        card = {"id": self.model, "object": "model", "created": 0, "owned_by": self._engine.name}
        return web.json_response({"object": "list", "data": [card]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        loop = asyncio.get_running_loop()
        try:
            body = json.loads(await request.read())
            asked = await loop.run_in_executor(self._pool, parse_request, body, self._options.max_images)
        except json.JSONDecodeError as error:
            return _refusal(400, f"the body is no JSON: {error}")
        except BadRequest as error:
            return _refusal(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            return _refusal(413, f"the body is larger than {self._options.max_body_mib} MiB")
        try:
            readings = [await self._read(picture) for picture in asked.pictures]
        except EvalkitError as error:
            return _refusal(500, str(error))
        text, tokens, finish = cut(answer(asked.text, readings), asked.max_tokens)
        response = self._response(asked, text, tokens, finish)
        if asked.stream:
            return await _stream(request, response, usage=asked.usage_in_stream)
        return web.json_response(response)

    async def _read(self, received: Received) -> str:
        known = self._readings.get(received.pixels)
        if known is None:
            known = await asyncio.get_running_loop().run_in_executor(self._pool, self._read_now, received.picture)
            self._readings[received.pixels] = known
            while len(self._readings) > _KEPT_READINGS:
                self._readings.popitem(last=False)
        return known

    def _read_now(self, picture: Image.Image) -> str:
        """In a thread of the pool."""
        return self._engine.read(self._options.degrade.apply(picture))

    def _response(self, asked: Asked, text: str, tokens: int, finish: str) -> dict[str, Any]:
        # A word is a token; a message costs some more, as in any chat template, a picture as many as in Qwen's models.
        words = MESSAGE_TOKENS * asked.messages + len(asked.text.split())
        prompt_tokens = words + sum(p.width * p.height // 784 + 1 for p in asked.pictures)
        return {
            "id": f"chatcmpl-{time.time_ns():x}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                    "logprobs": None,
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": prompt_tokens + tokens,
            },
            "evalkit": {"parts": list(asked.parts), "images": [picture.described() for picture in asked.pictures]},
        }


def _refusal(status: int, message: str) -> web.Response:
    from aiohttp import web

    return web.json_response(
        {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}, status=status
    )


async def _stream(request: web.Request, response: dict[str, Any], *, usage: bool) -> web.StreamResponse:
    """The same answer as server-sent events, a line of the text a chunk."""
    from aiohttp import web

    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await stream.prepare(request)
    choice = response["choices"][0]
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": line}, None) for line in choice["message"]["content"].splitlines(keepends=True)]
    deltas.append(({}, choice["finish_reason"]))
    shared = {key: response[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    chunks: list[dict[str, Any]] = [
        {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas
    ]
    chunks[-1]["evalkit"] = response["evalkit"]
    if usage:
        chunks.append({**shared, "choices": [], "usage": response["usage"]})
    for chunk in chunks:
        await stream.write(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n")
    await stream.write(b"data: [DONE]\n\n")
    await stream.write_eof()
    return stream


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evalkit.serve.ocr", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--engine", choices=ENGINES, required=True, help="the recogniser that answers")
    parser.add_argument("--language", default="eng", help="Tesseract's language data, such as eng or chi_sim+eng")
    parser.add_argument("--degrade", default="", help="damage every picture first: shrink:0.3, jpeg:20, or both")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000)")
    parser.add_argument("--max-images", type=int, default=64, help="refuse requests with more pictures (default 64)")
    parser.add_argument("--max-body-mib", type=int, default=128, help="refuse larger request bodies (default 128)")
    parser.add_argument("--model", help="name of the model in /v1/models (default: the engine's)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code (`evalkit.errors`)."""
    from aiohttp import web

    options = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        engine = load_engine(options.engine, options.language)
        settings = ServerOptions(
            Degrade.parse(options.degrade), options.max_images, options.max_body_mib, options.model
        )
    except EvalkitError as error:
        _LOG.error("%s", error)
        return error.exit_code
    server = OcrServer(engine, settings)

    def listening(_banner: str) -> None:
        _LOG.info("%s listens on http://%s:%d/v1", server.model, options.host, options.port)

    try:
        web.run_app(server.app(), host=options.host, port=options.port, print=listening, access_log=None)
    except OSError as error:
        _LOG.error("%s:%d cannot be listened on: %s", options.host, options.port, error.strerror)
        return EndpointError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
