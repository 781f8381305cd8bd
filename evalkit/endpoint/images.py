"""Pictures on their way to an endpoint: decoded once, normalised to RGB pixels, sent as PNG data URLs.

Every server decodes, rotates and flattens in its own way; what is sent here leaves it no choice: EXIF orientation is
applied, alpha lies on white, CMYK, 16-bit, palette and bilevel pictures are plain RGB, and PNG keeps each pixel. One
`ImageEncoder` serves both endpoints of a comparison, so that both get the same bytes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from evalkit.errors import UNREADABLE, DataError
from evalkit.model import ImageRef, Message, Prompt

if TYPE_CHECKING:
    from PIL import Image

DATA_URL_PREFIX: Final = "data:image/png;base64,"
DECODE_LIMIT_PIXELS: Final = 89_478_485
"""No picture is decoded above this: 256 MiB of RGB, the size from which Pillow speaks of a decompression bomb."""
SIDE_LIMIT_PIXELS: Final = 65_535
"""No side may be longer: the limit of JPEG, and beyond what any image processor takes."""
DEFAULT_CACHE_BYTES: Final = 64 * 1024 * 1024

# Level 1 costs a third of zlib's usual level 6 and its files are a tenth larger; the way to an endpoint is short.
_COMPRESS_LEVEL: Final = 1
# No EPS, PDF or WMF: their readers start other programs.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
_MAX_WORKERS: Final = 4
_DAMAGE: Final = (*UNREADABLE, struct.error, zlib.error)  # what Pillow's readers raise for broken files


class ImageProblem(DataError):  # noqa: N818 - it becomes a Failure of kind IMAGE, not an error of the run
    """A picture that cannot be sent; the sentence says which one and why."""


def normalise(source: bytes, max_pixels: int | None = None) -> Image.Image:
    """Decode a picture to 8-bit RGB, upright, on white; never resized.

    `max_pixels` is a limit on width x height, not a target: a larger picture is refused. Of an animation the first
    frame is taken; of 16-bit samples the high byte.

    Raises `ImageProblem`: the bytes are no picture, are damaged, or decode to more than is allowed.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(source), formats=_FORMATS) as picture:
            _check_size(picture.size, max_pixels)
            picture.load()
            with suppress(*_DAMAGE):  # a damaged EXIF block says nothing about the pixels and is passed over
                ImageOps.exif_transpose(picture, in_place=True)
            return _flat(picture)
    except Image.DecompressionBombError as error:
        raise ImageProblem(f"the picture claims more pixels than can be decoded safely: {error}") from error
    except Image.UnidentifiedImageError as error:
        kinds = ", ".join(_FORMATS)
        raise ImageProblem(f"{len(source)} bytes are not a picture in a known format ({kinds})") from error
    except MemoryError as error:
        raise ImageProblem("the picture does not fit in memory when decoded") from error
    except _DAMAGE as error:
        raise ImageProblem(f"the picture is truncated or damaged: {error or type(error).__name__}") from error


def encode(source: bytes, max_pixels: int | None = None) -> str:
    """Normalise a picture and write it as a PNG data URL; equal pixels give equal bytes under one zlib.

    Raises `ImageProblem`: as `normalise`.
    """
    picture = normalise(source, max_pixels)
    png = io.BytesIO()
    picture.save(png, "PNG", compress_level=_COMPRESS_LEVEL)
    return DATA_URL_PREFIX + base64.b64encode(png.getbuffer()).decode("ascii")


def _check_size(size: tuple[int, int], max_pixels: int | None) -> None:
    """Refuse by the header alone, before any memory is taken for pixels."""
    width, height = size
    if not width or not height:
        raise ImageProblem(f"the picture is {width} x {height} pixels: there is nothing to show")
    if max(width, height) > SIDE_LIMIT_PIXELS:
        raise ImageProblem(f"the picture is {width} x {height} pixels; no side may be above {SIDE_LIMIT_PIXELS}")
    if width * height > DECODE_LIMIT_PIXELS:
        raise ImageProblem(f"the picture is {width} x {height} pixels; more than {DECODE_LIMIT_PIXELS} are not decoded")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageProblem(
            f"the picture is {width} x {height} = {width * height} pixels, above the suite's max_pixels of "
            f"{max_pixels}; pictures are never resized: raise max_pixels or leave it out"
        )


def _flat(picture: Image.Image) -> Image.Image:
    """8-bit RGB without metadata, whatever the mode; alpha is composited on white."""
    from PIL import Image

    transparent = "transparency" in picture.info
    if picture.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit samples to 255, which turns a greyscale scan white.
        picture, transparent = _high_bytes(picture), False
    if picture.mode in {"RGBa", "La"}:
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    if transparent or picture.mode in {"RGBA", "LA", "PA"}:
        top = picture.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", top.size, "white"), top).convert("RGB")
    else:
        flat = picture if picture.mode == "RGB" else picture.convert("RGB")
    flat.info = {}  # a colour profile or text in it would be written into the PNG
    return flat


def _high_bytes(picture: Image.Image) -> Image.Image:
    """The high byte of 16-bit greyscale, as Pillow itself takes it of 16-bit colour."""
    from PIL import Image

    big_endian = picture.mode == "I;16B"
    samples = (picture if big_endian else picture.convert("I;16")).tobytes()
    return Image.frombytes("L", picture.size, samples[0 if big_endian else 1 :: 2])


def _load_and_encode(ref: ImageRef) -> str:
    """In a worker thread: read the source, check that it is what was planned, encode."""
    name = f"picture {ref.digest[:12]}"
    try:
        source = ref.load()
    except (OSError, DataError) as error:
        raise ImageProblem(f"{name} cannot be read: {error}") from error
    if hashlib.sha256(source).hexdigest() != ref.digest:
        raise ImageProblem(f"{name} has changed since the plan was made: its bytes have another SHA-256")
    try:
        return encode(source, ref.max_pixels)
    except ImageProblem as problem:
        raise ImageProblem(f"{name}: {problem}") from problem


_Key = tuple[str, int | None]


class ImageEncoder:
    """Fills the pictures into prompts: a bounded pool of threads, one encoding a picture, a byte-bounded cache.

    Threads, because Pillow lets go of the interpreter's lock while it decodes and compresses: two threads encode
    twice as fast as one and do not need the sources copied to another process. Use it from one event loop.
    """

    def __init__(self, *, workers: int | None = None, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._workers = workers or min(_MAX_WORKERS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="evalkit-image")
        self._cache: OrderedDict[_Key, str] = OrderedDict()
        self._cache_bytes = cache_bytes
        self.held_bytes = 0
        """Bytes of the data URLs in the cache; never above the limit."""
        self._running: dict[_Key, asyncio.Task[str]] = {}
        self.encoded = 0
        """How many pictures have been encoded so far; a repeat that the cache answered is not counted."""

    async def messages(self, prompt: Prompt) -> tuple[Message, ...]:
        """Return the prompt's messages with every `image_ref` part replaced by an `image_url` part, in place.

        Raises `ImageProblem`: a picture cannot be read or decoded, or a part refers to a picture that is not there.
        """
        return tuple([await self._message(message, prompt.images) for message in prompt.messages])

    async def picture(self, ref: ImageRef) -> str:
        """The data URL of one picture: encode it, or find it in the cache, or wait for the encoding that is under way.

        Raises `ImageProblem`: as `messages`.
        """
        key = (ref.digest, ref.max_pixels)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._encode(key, ref))
            # Its failure counts as seen: the one who waited for it may have been cancelled.
            task.add_done_callback(lambda task: None if task.cancelled() else task.exception())
            self._running[key] = task
        # Others may wait for the same picture: a cancelled request must not take it from them.
        return await asyncio.shield(task)

    def close(self) -> None:
        """Let the threads end; pictures that are waiting for one are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _message(self, message: Message, images: tuple[ImageRef, ...]) -> Message:
        content = message.get("content")
        if not isinstance(content, list | tuple):
            return message
        return {**message, "content": [await self._part(part, images) for part in content]}

    async def _part(self, part: Any, images: tuple[ImageRef, ...]) -> Any:
        if not isinstance(part, Mapping) or part.get("type") != "image_ref":
            return part
        index = part["index"]
        if not 0 <= index < len(images):
            raise ImageProblem(f"the prompt refers to picture {index + 1}, but the item has {len(images)}")
        return {"type": "image_url", "image_url": {"url": await self.picture(images[index])}}

    async def _encode(self, key: _Key, ref: ImageRef) -> str:
        try:
            url = await asyncio.get_running_loop().run_in_executor(self._pool, _load_and_encode, ref)
        finally:
            del self._running[key]
        self.encoded += 1
        if len(url) <= self._cache_bytes:
            self._cache[key] = url
            self.held_bytes += len(url)
        while self.held_bytes > self._cache_bytes:
            _, oldest = self._cache.popitem(last=False)
            self.held_bytes -= len(oldest)
        return url
