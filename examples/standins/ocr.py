"""An OpenAI-compatible server around text recognition: real pixels in, text out, no GPU and no weights to fetch.

    python examples/standins/ocr.py '{"engine": "tesseract", "port": 8000}'

It serves the tests of the way of the pictures and the multimodal demo. Its answer is the text that it reads in the
request's pictures, in order. Text recognition survives a lossy copy, so an answer alone proves nothing about the way:
every response says under `evalkit` which parts arrived in which order, and the digest of the pixels of each picture as
it arrived. With `degrade` the pictures are damaged after that, before they are read: a candidate that is worse for a
known reason.

The two engines share no code and no weights, so that two servers around them are a genuine reference and candidate pair
whose answers differ on hard pictures. Both run on two CPU cores and give the same text for the same pixels. The
settings are those of `launch: {kind: ocr}`; port 0, or none, is any free one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeAlias

from aiohttp import web
from PIL import Image
from standin import Refused, run

DECODE_LIMIT_PIXELS: Final = 89_478_485
"""As evalkit's own: no picture is decoded above this."""
NO_PICTURE: Final = "There is no picture to read."
MESSAGE_TOKENS: Final = 4
MOST_BODY_BYTES: Final = 128 << 20

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,")
_READ_SECONDS: Final = 120.0
_RAPIDOCR: Final = "pip install 'flagos-evalkit[ocr]' (and libgl1 on a bare Debian)"


class EngineError(Exception):
    """An engine could not read a picture: HTTP 500 with this sentence."""


class BadRequest(Exception):  # noqa: N818 - it is an answer of the server: HTTP 400 with this sentence
    """The request is refused with HTTP 400."""


@dataclass(frozen=True, slots=True)
class Degrade:
    """Damage done to every picture: `shrink` in (0, 1] scales both sides, `jpeg` in 1 to 95 re-encodes."""

    shrink: float = 1.0
    jpeg: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.shrink <= 1 or not (self.jpeg is None or 1 <= self.jpeg <= 95):
            raise Refused(f"degrade {self.shrink}, {self.jpeg}: shrink lies in (0, 1] and jpeg in 1 to 95")

    def apply(self, picture: Image.Image) -> Image.Image:
        """Shrink first, then JPEG, as a careless proxy would; the same pixels in give the same pixels out."""
        if self.shrink < 1:
            size = (max(1, round(picture.width * self.shrink)), max(1, round(picture.height * self.shrink)))
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        if self.jpeg is not None:
            coded = io.BytesIO()
            picture.save(coded, "JPEG", quality=self.jpeg)
            picture = Image.open(io.BytesIO(coded.getvalue())).convert("RGB")
        return picture


class Tesseract:
    """The Tesseract program, one process a picture, one thread each; pages are read as one block of text."""

    def __init__(self, languages: Sequence[str] = ("eng",)) -> None:
        program = shutil.which("tesseract")
        if program is None:
            raise Refused("engine tesseract: the program is not installed; on Debian: apt-get install tesseract-ocr")
        self._program = program
        known = self._run("--list-langs").split()[1:]
        missing = [part for part in languages if part not in known]
        if missing:
            package = missing[0].replace("_", "-")
            raise Refused(
                f"language {'+'.join(languages)}: Tesseract has no data for {missing[0]!r}; on Debian: "
                f"apt-get install tesseract-ocr-{package}"
            )
        self._language = "+".join(languages)
        self.name = self._run("--version").splitlines()[0].replace(" ", "-") + f"-{self._language}"

    def read(self, picture: Image.Image) -> str:
        """The text in an RGB picture, lines in reading order, "" where it finds none; may be called from many threads.

        Raises:
            EngineError: Tesseract fails or takes longer than two minutes.
        """
        # PNM costs nothing to write; Tesseract warns about the missing resolution on stderr, which is not read.
        coded = io.BytesIO()
        picture.save(coded, "PPM")
        return self._run("stdin", "stdout", "--psm", "6", "-l", self._language, source=coded.getvalue()).strip()

    def _run(self, *arguments: str, source: bytes = b"") -> str:
        try:
            done = subprocess.run(  # noqa: S603 - a program found on PATH, no shell, the picture comes on stdin
                [self._program, *arguments],
                input=source,
                capture_output=True,
                timeout=_READ_SECONDS,
                check=True,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise EngineError(f"tesseract ended with code {error.returncode}: {said[-1] if said else ''}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"tesseract did not read a picture: {error}") from error
        return done.stdout.decode(errors="replace")


class RapidOcr:
    """PP-OCR (detection and recognition networks) under onnxruntime; its models lie in the package itself."""

    def __init__(self) -> None:
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise Refused(f"engine rapidocr: {error}; {_RAPIDOCR}") from error
        # Left to itself it enlarges every small picture to 736 pixels a side: a hundred times slower, and worse.
        self._engine: Any = RapidOCR(
            det_limit_type="max", det_limit_side_len=960, intra_op_num_threads=1, inter_op_num_threads=1
        )
        self._lock = threading.Lock()  # the engine keeps the scaling of the picture at hand in its own fields
        self.name = f"rapidocr-onnxruntime-{version('rapidocr-onnxruntime')}"

    def read(self, picture: Image.Image) -> str:
        """The recognised text; boxes that stand beside each other make one line."""
        import numpy as np

        blue_green_red = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        with self._lock:
            found, _seconds = self._engine(blue_green_red)
        return "\n".join(_lines([(box, str(text)) for box, text, _score in found or ()]))


def _lines(boxes: Sequence[tuple[Sequence[Sequence[float]], str]]) -> list[str]:
    """Texts of boxes (four corners each) as lines from top to bottom, each from left to right."""
    placed = []
    for corners, text in boxes:
        xs, ys = zip(*corners, strict=True)
        placed.append((sum(ys) / len(ys), min(xs), max(ys) - min(ys), text))
    lines: list[list[tuple[float, float, float, str]]] = []
    for box in sorted(placed):
        # The same line: the centres are closer than half a letter's height.
        if lines and box[0] - lines[-1][0][0] < 0.5 * min(box[2], lines[-1][0][2]):
            lines[-1].append(box)
        else:
            lines.append([box])
    return [" ".join(box[3] for box in sorted(line, key=lambda box: box[1])) for line in lines]


Engine: TypeAlias = Tesseract | RapidOcr


def load_engine(name: str, languages: Sequence[str] = ("eng",)) -> Engine:
    """Build the engine called `name`; `languages` are Tesseract's data, RapidOCR reads Chinese and English.

    Raises:
        Refused: the program, the package or its language data are not installed, or there is no such engine.
    """
    if name == "tesseract":
        return Tesseract(languages)
    if name != "rapidocr":
        raise Refused(f"engine {name!r}: use tesseract or rapidocr")
    if tuple(languages) != ("eng",):
        raise Refused("languages: rapidocr reads Chinese and English together; leave it out")
    return RapidOcr()


Received: TypeAlias = tuple[Image.Image, dict[str, Any]]
"""A picture, and how it arrived: declared type, real format, mode, size and the digest of its pixels as RGB."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat request taken apart: `parts` are "text" and "image" in order of arrival over all messages."""

    text: str
    parts: list[str]
    pictures: list[Received]
    messages: int
    max_tokens: int | None
    stream: bool


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server behaves: damage, the most pictures of a request, and the name of its model."""

    degrade: Degrade = field(default_factory=Degrade)
    max_images: int = 64
    model: str | None = None


def parse_request(source: bytes, max_images: int) -> Asked:
    """Take a chat completion request apart and decode its pictures; nothing is ever fetched.

    Raises:
        BadRequest: it is no chat request, has too many pictures, or one that is no data URL of a picture.
    """
    try:
        body = json.loads(source)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: a list of messages is needed")
    parts = list(_content_parts(messages))
    urls = [said for kind, said in parts if kind == "image"]
    if len(urls) > max_images:
        raise BadRequest(f"At most {max_images} image(s) may be provided in one prompt, this one has {len(urls)}.")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    return Asked(
        text="\n".join(said for kind, said in parts if kind == "text"),
        parts=[kind for kind, _said in parts],
        pictures=[decode(url) for url in urls],
        messages=len(messages),
        max_tokens=limit if isinstance(limit, int) and limit > 0 else None,
        stream=bool(body.get("stream")),
    )


def _content_parts(messages: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The content parts of all messages in order, "text" or "image" with its text or URL; plain text is one part."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else 0
        if not isinstance(content, str | list | None):
            raise BadRequest("messages: the content is text or a list of parts")
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
            match part:
                case {"type": "text"}:
                    yield "text", str(part.get("text", ""))
                case {"type": "image_url", "image_url": {**image}}:
                    yield "image", str(image.get("url", ""))
                case _:
                    kind = part.get("type") if isinstance(part, dict) else None
                    raise BadRequest(f"messages: a content part of type {kind!r} is not understood")


def decode(url: str) -> Received:
    """Decode a data URL as any server would: no orientation, no background, only what lies in the pixels.

    Raises:
        BadRequest: it is no base64 data URL, or not a picture.
    """
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
    pixels = hashlib.sha256(f"{rgb.width}x{rgb.height}\n".encode() + rgb.tobytes()).hexdigest()
    size = {"width": rgb.width, "height": rgb.height}
    about = {"media_type": head.group(1), "format": kind, "mode": picture.mode, **size, "pixels": pixels}
    return rgb, about


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
        self._readings: dict[str, str] = {}
        self.model = self._options.model or engine.name

    def app(self) -> web.Application:
        """The aiohttp application: `/v1/chat/completions`, `/v1/models`, `/health`."""
        app = web.Application(client_max_size=MOST_BODY_BYTES)
        asked = {"/v1/models": self._models, "/health": self._health}
        app.add_routes([web.post("/v1/chat/completions", self._chat), *(web.get(*one) for one in asked.items())])
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _app: web.Application) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, _request: web.Request) -> web.Response:
        card = {"id": self.model, "object": "model", "created": 0, "owned_by": self._engine.name}
        return web.json_response({"object": "list", "data": [card]})

    async def _chat(self, request: web.Request) -> web.Response:
        loop, source = asyncio.get_running_loop(), await request.read()
        try:
            asked = await loop.run_in_executor(self._pool, parse_request, source, self._options.max_images)
            readings = [await self._read(picture, about["pixels"]) for picture, about in asked.pictures]
        except (BadRequest, EngineError) as error:
            status = 400 if isinstance(error, BadRequest) else 500
            told = {"message": str(error), "type": type(error).__name__, "param": None, "code": status}
            return web.json_response({"error": told}, status=status)
        response = self._response(asked, *cut("\n".join(readings) if readings else NO_PICTURE, asked.max_tokens))
        return _events(response) if asked.stream else web.json_response(response)

    async def _read(self, picture: Image.Image, digest: str) -> str:
        if digest not in self._readings:

            def read() -> str:
                return self._engine.read(self._options.degrade.apply(picture))

            self._readings[digest] = await asyncio.get_running_loop().run_in_executor(self._pool, read)
        return self._readings[digest]

    def _response(self, asked: Asked, text: str, tokens: int, finish: str) -> dict[str, Any]:
        # A word is a token; a message costs some more, as in any chat template, a picture as many as in Qwen's models.
        words = MESSAGE_TOKENS * asked.messages + len(asked.text.split())
        prompt_tokens = words + sum(one.width * one.height // 784 + 1 for one, _about in asked.pictures)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}
        return {
            "id": f"chatcmpl-{time.time_ns():x}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [choice],
            "usage": {**usage, "total_tokens": prompt_tokens + tokens},
            "evalkit": {"parts": asked.parts, "images": [about for _picture, about in asked.pictures]},
        }


def _events(response: Mapping[str, Any]) -> web.Response:
    """The same answer as server-sent events, a line of the text a chunk: all is known before the first is sent."""
    choice = response["choices"][0]
    lines = choice["message"]["content"].splitlines(keepends=True)
    choices: list[dict[str, Any]]
    choices = [{"index": 0, "delta": {"content": line}, "finish_reason": None} for line in lines]
    choices.append({"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]})
    shared = {key: response[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    last = {**shared, "choices": [], "usage": response["usage"], "evalkit": response["evalkit"]}
    chunks = [*({**shared, "choices": [one]} for one in choices), last]
    events = [*(json.dumps(chunk, ensure_ascii=False) for chunk in chunks), "[DONE]"]
    return web.Response(text="".join(f"data: {event}\n\n" for event in events), content_type="text/event-stream")


def serve(settings: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """Serves until it is interrupted."""
    engine = load_engine(settings["engine"], settings.get("languages", ("eng",)))
    known = {key: settings[key] for key in ("max_images", "model") if key in settings}
    server = OcrServer(engine, ServerOptions(Degrade(**settings.get("degrade", {})), **known))
    try:
        listening = socket.create_server(("127.0.0.1", settings.get("port", 0)), backlog=128)
    except OSError as error:
        raise Refused(f"port {settings['port']} cannot be listened on: {error.strerror}") from error
    port = listening.getsockname()[1]
    web.run_app(server.app(), sock=listening, print=lambda _banner: tell(port=port), access_log=None)


if __name__ == "__main__":
    sys.exit(run(serve))
