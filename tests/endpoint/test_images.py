"""Pictures: what is sent decodes to the normalised pixels, each is encoded once, and hostile files are one sentence."""

import asyncio
import base64
import hashlib
import io
import struct
import threading
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from evalkit.endpoint.images import DATA_URL_PREFIX, ImageEncoder, ImageProblem, encode, normalise
from evalkit.model import ImageRef, Prompt

WIDTH, HEIGHT = 7, 5


def gradient(mode="RGB", size=(WIDTH, HEIGHT), salt=0):
    """A small picture in which every pixel differs, so that a turn, a swap or a re-encoding shows."""
    width, height = size
    picture = Image.new("RGBA", size)
    picture.putdata(
        [
            ((x * 31 + salt) % 256, (y * 47 + salt * 3) % 256, (x * y * 13 + 60) % 256, (40 * x + 25 * y) % 256)
            for y in range(height)
            for x in range(width)
        ]
    )
    return picture if mode == "RGBA" else picture.convert(mode)


def saved(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def received(url):
    """What a server sees: the data URL decoded, without a conversion of any kind."""
    assert url.startswith(DATA_URL_PREFIX)
    picture = Image.open(io.BytesIO(base64.b64decode(url.removeprefix(DATA_URL_PREFIX), validate=True)))
    picture.load()
    return picture


def on_white(rgba):
    """Composite by the formula, pixel by pixel: an independent check of Pillow's own compositing."""
    r, g, b, a = rgba
    return tuple(round((c * a + 255 * (255 - a)) / 255) for c in (r, g, b))


def ref(source, max_pixels=None):
    return ImageRef(digest=hashlib.sha256(source).hexdigest(), load=lambda: source, max_pixels=max_pixels)


def pixels(picture):
    return list(picture.getdata())


def assert_exact(source, expected):
    """The picture that is received holds `expected`, a list of RGB triples."""
    got = received(encode(source))
    assert got.mode == "RGB"
    assert pixels(got) == expected


# ---------------------------------------------------------------- pixel exactness, by kind of source


def test_rgb_png_is_exact():
    source = gradient()
    assert_exact(saved(source), pixels(source))


@pytest.mark.parametrize("quality", [30, 95])
def test_jpeg_is_sent_as_its_decoded_pixels(quality):
    source = saved(gradient(size=(16, 24)), "JPEG", quality=quality)
    assert_exact(source, pixels(Image.open(io.BytesIO(source))))


def test_webp_under_another_name_is_sniffed():
    picture = gradient()
    assert_exact(saved(picture, "WEBP", lossless=True), pixels(picture))


def test_greyscale_and_bilevel_become_equal_channels():
    grey = gradient("L")
    assert_exact(saved(grey), [(v, v, v) for v in pixels(grey)])
    bilevel = gradient("L").point(lambda v: 255 * (v > 100)).convert("1")
    assert_exact(saved(bilevel), [(v, v, v) for v in pixels(bilevel)])


def test_palette_is_looked_up():
    palette = gradient().quantize(16)
    assert palette.mode == "P"
    assert_exact(saved(palette), pixels(palette.convert("RGB")))


def test_palette_with_a_transparent_index_lies_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    assert_exact(saved(palette, transparency=0), [(255, 255, 255), (200, 100, 50)])
    assert_exact(saved(palette, "GIF", transparency=0), [(255, 255, 255), (200, 100, 50)])


def test_rgb_with_a_transparent_colour_lies_on_white():
    picture = Image.new("RGB", (2, 1))
    picture.putdata([(1, 2, 3), (4, 5, 6)])
    assert_exact(saved(picture, transparency=(1, 2, 3)), [(255, 255, 255), (4, 5, 6)])


def test_alpha_is_composited_on_white():
    picture = gradient("RGBA")
    sent = received(encode(saved(picture)))
    for got, rgba in zip(pixels(sent), pixels(picture), strict=True):
        assert all(abs(a - b) <= 1 for a, b in zip(got, on_white(rgba), strict=True)), (got, rgba)
    clear = Image.new("RGBA", (1, 1), (9, 9, 9, 0))
    assert_exact(saved(clear), [(255, 255, 255)])


def test_grey_with_alpha_is_composited_on_white():
    picture = Image.new("LA", (3, 1))
    picture.putdata([(0, 0), (0, 255), (100, 255)])
    assert_exact(saved(picture), [(255, 255, 255), (0, 0, 0), (100, 100, 100)])


def test_cmyk_jpeg_becomes_rgb():
    source = saved(gradient("CMYK", size=(16, 16)), "JPEG", quality=95)
    opened = Image.open(io.BytesIO(source))
    assert opened.mode == "CMYK"
    assert_exact(source, pixels(opened.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(kind):
    values = [0, 255, 256, 4096, 32768, 65535]
    picture = Image.frombytes("I;16", (6, 1), struct.pack("<6H", *values))
    assert_exact(saved(picture, kind), [(v >> 8,) * 3 for v in values])


def test_sixteen_bit_big_endian_tiff_keeps_its_high_byte():
    values = [0, 255, 256, 4096, 32768, 65535]
    tags = [
        (256, 4, 1, 6), (257, 4, 1, 1), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16), (262, 3, 1, 1 << 16),
        (273, 4, 1, 110), (277, 3, 1, 1 << 16), (279, 4, 1, 12),
    ]  # fmt: skip
    source = b"MM\x00\x2a" + struct.pack(">I", 8) + struct.pack(">H", len(tags))
    source += b"".join(struct.pack(">HHII", *tag) for tag in tags) + b"\0\0\0\0"
    assert len(source) == 110
    source += struct.pack(">6H", *values)
    assert_exact(source, [(v >> 8,) * 3 for v in values])


def test_sixteen_bit_colour_png_keeps_its_high_byte():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = b"\0" + struct.pack(">6H", 0x1234, 0x00FF, 0xFFFF, 0x8000, 0x7FFF, 0x0100)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    source = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert_exact(source, [(0x12, 0x00, 0xFF), (0x80, 0x7F, 0x01)])


def oriented(picture, orientation, kind, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, kind, exif=exif.tobytes(), **options)


def upright(pixel_at, orientation, width, height):
    """The EXIF orientations by their definition: where row 0 and column 0 of the stored picture belong."""
    stored = {
        1: lambda x, y: (x, y), 2: lambda x, y: (width - 1 - x, y), 3: lambda x, y: (width - 1 - x, height - 1 - y),
        4: lambda x, y: (x, height - 1 - y), 5: lambda x, y: (y, x), 6: lambda x, y: (y, height - 1 - x),
        7: lambda x, y: (width - 1 - y, height - 1 - x), 8: lambda x, y: (width - 1 - y, x),
    }[orientation]  # fmt: skip
    out_width, out_height = (width, height) if orientation < 5 else (height, width)
    return [pixel_at[stored(x, y)] for y in range(out_height) for x in range(out_width)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    source = oriented(gradient(), orientation, kind, **options)
    plain = Image.open(io.BytesIO(oriented(gradient(), 1, kind, **options))).convert("RGB")
    pixel_at = {(x, y): plain.getpixel((x, y)) for x in range(WIDTH) for y in range(HEIGHT)}
    assert_exact(source, upright(pixel_at, orientation, WIDTH, HEIGHT))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(value):
    assert_exact(oriented(gradient(), value, "PNG"), pixels(gradient()))


def test_a_damaged_exif_block_does_not_cost_the_picture():
    source = saved(gradient(size=(16, 16)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert received(encode(source)).width == 16


def test_metadata_stays_behind_and_bytes_are_deterministic():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = encode(saved(gradient()))
    tagged = encode(saved(gradient(), icc_profile=profile, dpi=(300, 300)))
    assert tagged == plain == encode(saved(gradient(), "TIFF"))
    assert received(tagged).info == {}


def test_the_first_frame_of_an_animation_is_sent():
    frames = [gradient(salt=s).quantize(8) for s in (0, 90)]
    source = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_exact(source, pixels(frames[0].convert("RGB")))


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"]),
    kind=st.sampled_from(["PNG", "TIFF", "JPEG"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    salt=st.integers(0, 255),
    orientation=st.integers(1, 8),
)
def test_received_pixels_are_the_normalised_pixels(mode, kind, width, height, salt, orientation):
    picture = gradient(mode, (width, height), salt)
    writable = {"PNG": {"RGB", "RGBA", "L", "LA", "P", "1"}, "JPEG": {"RGB", "L", "CMYK"}}
    if mode not in writable.get(kind, {mode}):
        return
    source = oriented(picture, orientation, kind)
    expected = normalise(source)
    assert expected.size == ((width, height) if orientation < 5 else (height, width))
    assert_exact(source, pixels(expected))


# ---------------------------------------------------------------- what cannot be sent


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"", "0 bytes are not a picture"),
        (b"<html>404</html>", "not a picture in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture in a known format"),
        (saved(gradient(size=(64, 64)))[:200], "truncated or damaged"),
        (saved(gradient(size=(64, 64)), "JPEG")[:-300], "truncated or damaged"),
    ],
)
def test_what_is_no_picture_is_one_sentence(source, says):
    with pytest.raises(ImageProblem, match=says) as caught:
        encode(source)
    assert "\n" not in str(caught.value)


def bomb(width, height):
    """A tiny PNG whose header claims a huge picture."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "size", [(100_000, 1), (1, 100_000), (10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_bombs_are_refused_by_their_header(size):
    with pytest.raises(ImageProblem, match="pixels"):
        encode(bomb(*size))


def test_max_pixels_refuses_and_never_resizes():
    source = saved(gradient(size=(20, 10)))
    assert encode(source, max_pixels=200) == encode(source)
    with pytest.raises(ImageProblem, match=r"20 x 10 = 200 pixels, above the suite's max_pixels of 199"):
        encode(source, max_pixels=199)


SOURCES = [
    saved(gradient(size=(24, 24))),
    saved(gradient(size=(24, 24)), "JPEG"),
    saved(gradient(size=(24, 24)), "WEBP", lossless=True),
    saved(gradient(size=(24, 24)).quantize(16), "GIF"),
    saved(gradient(size=(24, 24)), "TIFF", compression="tiff_lzw"),
    saved(gradient(size=(24, 24)), "BMP"),
    saved(gradient(size=(24, 24)), "PPM"),
]


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=st.sampled_from(SOURCES),
    edits=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6),
    keep=st.integers(0, 5000),
)
def test_no_damage_escapes_as_another_error(source, edits, keep):
    damaged = bytearray(source)
    for position, value in edits:
        damaged[position % len(damaged)] = value
    try:
        encode(bytes(damaged[:keep]))
    except ImageProblem as problem:
        assert str(problem)


# ---------------------------------------------------------------- the encoder


def prompt_of(messages, *sources):
    return Prompt(digest="p", messages=tuple(messages), images=tuple(ref(s) for s in sources))


def image_part(index):
    return {"type": "image_ref", "index": index}


def text_part(text):
    return {"type": "text", "text": text}


@pytest.mark.parametrize("count", range(1, 8))
async def test_order_and_interleaving_stay_intact(count):
    sources = [saved(gradient(salt=20 * i, size=(4 + i, 6))) for i in range(count)]
    parts = []
    for index in reversed(range(count)):
        parts += [text_part(f"[image {index + 1}]"), image_part(index)]
    parts += [text_part("and again"), image_part(0), text_part("end")]
    user = {"role": "user", "content": parts}
    system = {"role": "system", "content": "plain text"}
    async with ImageEncoder(workers=2) as encoder:
        sent = await encoder.messages(prompt_of([system, user], *sources))
        assert encoder.encoded == count
    assert sent[0] == system
    assert len(sent[1]["content"]) == len(parts)
    for was, now in zip(parts, sent[1]["content"], strict=True):
        if was["type"] == "text":
            assert now == was
        else:
            assert set(now) == {"type", "image_url"}
            assert set(now["image_url"]) == {"url"}
            assert pixels(received(now["image_url"]["url"])) == pixels(normalise(sources[was["index"]]))
    assert parts[1] == image_part(count - 1), "the prompt itself is not changed"


async def test_a_prompt_without_pictures_goes_through():
    messages = ({"role": "user", "content": "hi"}, {"role": "user", "content": [text_part("a")]})
    async with ImageEncoder() as encoder:
        assert await encoder.messages(Prompt(digest="p", messages=messages)) == messages


async def test_a_part_without_its_picture_is_a_problem():
    async with ImageEncoder() as encoder:
        with pytest.raises(ImageProblem, match=r"picture 2, but the item has 1"):
            await encoder.messages(prompt_of([{"role": "user", "content": [image_part(1)]}], saved(gradient())))


async def test_repeats_at_the_same_time_share_one_encoding():
    gate = threading.Event()
    source = saved(gradient())
    loads = []

    def load():
        loads.append(1)
        gate.wait(5)
        return source

    picture = ImageRef(digest=hashlib.sha256(source).hexdigest(), load=load)
    async with ImageEncoder(workers=2) as encoder:
        waiting = [asyncio.create_task(encoder.picture(picture)) for _ in range(10)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        again = await encoder.picture(picture)
    assert len(loads) == encoder.encoded == 1
    assert isinstance(results[0], asyncio.CancelledError), "only the one that was cancelled goes without"
    assert all(result is again for result in results[1:])


async def test_the_same_source_under_another_limit_is_another_picture():
    source = saved(gradient())
    async with ImageEncoder() as encoder:
        await encoder.picture(ref(source))
        with pytest.raises(ImageProblem, match="max_pixels"):
            await encoder.picture(ref(source, max_pixels=3))


async def test_the_cache_holds_no_more_than_its_bytes():
    sources = [saved(gradient(size=(30, 30), salt=i)) for i in range(12)]
    one = len(encode(sources[0]))
    async with ImageEncoder(workers=1, cache_bytes=4 * one) as encoder:
        for source in sources:
            await encoder.picture(ref(source))
            assert encoder.held_bytes <= 4 * one
        assert encoder.held_bytes > 2 * one
        before = encoder.encoded
        await encoder.picture(ref(sources[-1]))
        assert encoder.encoded == before, "the newest is still there"
        await encoder.picture(ref(sources[0]))
        assert encoder.encoded == before + 1, "the oldest has made room"


async def test_a_picture_larger_than_the_cache_is_sent_and_not_kept():
    async with ImageEncoder(cache_bytes=10) as encoder:
        assert received(await encoder.picture(ref(saved(gradient())))).width == WIDTH
        assert encoder.held_bytes == 0


async def test_no_more_threads_load_than_there_are_workers():
    lock, inside, most = threading.Lock(), 0, 0

    def loader(source):
        def load():
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            try:
                return source
            finally:
                with lock:
                    inside -= 1

        return load

    sources = [saved(gradient(salt=i)) for i in range(30)]
    refs = [ImageRef(hashlib.sha256(s).hexdigest(), loader(s)) for s in sources]
    async with ImageEncoder(workers=2) as encoder:
        await asyncio.gather(*[encoder.picture(r) for r in refs])
    assert 1 <= most <= 2


async def test_a_missing_or_changed_file_is_a_problem_that_names_the_picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(gradient()))
    picture = ImageRef(hashlib.sha256(path.read_bytes()).hexdigest(), path.read_bytes)
    prompt = Prompt(digest="p", messages=({"role": "user", "content": [image_part(0)]},), images=(picture,))
    async with ImageEncoder(cache_bytes=0) as encoder:
        await encoder.messages(prompt)
        path.write_bytes(saved(gradient(salt=5)))
        with pytest.raises(ImageProblem, match=f"picture {picture.digest[:12]} has changed"):
            await encoder.messages(prompt)
        path.unlink()
        with pytest.raises(ImageProblem, match=f"picture {picture.digest[:12]} cannot be read"):
            await encoder.messages(prompt)
