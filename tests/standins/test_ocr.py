"""The embedded OCR endpoint: what arrives is reported pixel by pixel, in order, and what is read is really read."""

import asyncio
import base64
import hashlib
import io
import json
import shutil
import sys

import aiohttp
import ocr
import pytest
from aiohttp.test_utils import TestClient, TestServer
from ocr import BadRequest, Degrade, OcrServer, ServerOptions, _lines, cut, decode, load_engine
from PIL import Image, ImageDraw, ImageFont
from standin import Refused

from evalkit.endpoint.images import ImageEncoder, normalise
from evalkit.model import ImageRef, Prompt

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")


def rendered(text, size=40, colour="black"):
    font = ImageFont.load_default(size)
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    picture = Image.new("RGB", (int(box[2]) + 40, int(box[3]) + 40), "white")
    ImageDraw.Draw(picture).multiline_text((20, 20), text, font=font, fill=colour)
    return picture


def saved(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def pixel_digest(picture):
    return hashlib.sha256(f"{picture.width}x{picture.height}\n".encode() + picture.tobytes()).hexdigest()


def part_of(source, media_type="image/png"):
    return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{base64.b64encode(source).decode()}"}}


def text_part(text):
    return {"type": "text", "text": text}


class SizeEngine:
    """Reads a picture's size, so that order, damage and repeats show without any recognition."""

    name = "size-1"

    def __init__(self):
        self.calls = 0

    def read(self, picture):
        self.calls += 1
        return f"{picture.width}x{picture.height}"


async def ask(options, *contents, engine=None, **body):
    server = OcrServer(engine or SizeEngine(), options)
    async with TestClient(TestServer(server.app())) as client:
        replies = []
        for content in contents:
            message = {"role": "user", "content": content}
            response = await client.post("/v1/chat/completions", json={"model": "m", "messages": [message], **body})
            replies.append((response.status, await response.json()))
        return replies


async def test_order_type_mode_and_pixels_are_reported():
    red, blue = Image.new("RGB", (3, 2), "red"), Image.new("RGBA", (5, 4), (0, 0, 255, 128))
    content = [part_of(saved(red)), text_part("then"), part_of(saved(blue))]
    [(status, reply)] = await ask(ServerOptions(), content)
    assert status == 200
    assert reply["choices"][0]["message"]["content"] == "3x2\n5x4"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["evalkit"]["parts"] == ["image", "text", "image"]
    first, second = reply["evalkit"]["images"]
    assert (first["mode"], first["width"], first["height"], first["format"]) == ("RGB", 3, 2, "PNG")
    assert first["pixels"] == hashlib.sha256(b"3x2\n" + b"\xff\x00\x00" * 6).hexdigest()
    assert second["mode"] == "RGBA", "a client that forgets to flatten alpha is seen"


async def test_the_digest_sees_a_lossy_copy_that_the_answer_does_not():
    picture = rendered("HARBOR")
    exact, lossy = part_of(saved(picture)), part_of(saved(picture, "JPEG", quality=95), "image/jpeg")
    (_, first), (_, second) = await ask(ServerOptions(), [exact], [lossy])
    assert first["choices"][0]["message"]["content"] == second["choices"][0]["message"]["content"]
    digest = pixel_digest(picture)
    assert first["evalkit"]["images"][0]["pixels"] == digest
    assert second["evalkit"]["images"][0]["pixels"] != digest


@pytest.mark.parametrize("count", range(1, 8))
async def test_what_the_encoder_sends_arrives_exact_and_in_order(count):
    pictures = [Image.new("RGBA", (2 + i, 3), (10 * i, 200, 30, 255)).convert(mode) for i, mode in
                zip(range(count), ["RGB", "RGBA", "L", "P", "1", "LA", "CMYK"], strict=False)]  # fmt: skip
    sources = [saved(p, "TIFF" if p.mode == "CMYK" else "PNG") for p in pictures]
    refs = tuple(ImageRef(hashlib.sha256(s).hexdigest(), lambda s=s: s) for s in sources)
    content = [text_part("a")]
    for index in reversed(range(count)):
        content += [{"type": "image_ref", "index": index}, text_part(f"[image {index + 1}]")]
    async with ImageEncoder() as encoder:
        [message] = await encoder.messages(Prompt("d", messages=({"role": "user", "content": content},), images=refs))
    [(status, reply)] = await ask(ServerOptions(), message["content"])
    assert status == 200
    expected = [pixel_digest(normalise(source)) for source in reversed(sources)]
    assert [image["pixels"] for image in reply["evalkit"]["images"]] == expected
    assert {image["mode"] for image in reply["evalkit"]["images"]} == {"RGB"}
    assert reply["evalkit"]["parts"] == ["text"] + ["image", "text"] * count


async def test_damage_is_done_after_the_digest_was_taken():
    picture = Image.new("RGB", (90, 60), "white")
    [(_, reply)] = await ask(ServerOptions(degrade=Degrade(shrink=1 / 3)), [part_of(saved(picture))])
    assert reply["choices"][0]["message"]["content"] == "30x20"
    assert reply["evalkit"]["images"][0]["pixels"] == pixel_digest(picture)


async def test_a_repeated_picture_is_read_once():
    engine = SizeEngine()
    source = part_of(saved(Image.new("RGB", (4, 4))))
    await ask(ServerOptions(), [source, source], [source], engine=engine)
    assert engine.calls == 1


async def test_a_question_without_a_picture_is_told_so():
    [(_, reply)] = await ask(ServerOptions(), "Hi.")
    assert reply["choices"][0]["message"]["content"] == ocr.NO_PICTURE


async def test_streaming_says_the_same():
    server = OcrServer(SizeEngine(), ServerOptions())
    content = [part_of(saved(Image.new("RGB", (i, 2)))) for i in (1, 2, 3)]
    body = {
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with TestClient(TestServer(server.app())) as client:
        raw = await (await client.post("/v1/chat/completions", json=body)).text()
    events = [line.removeprefix("data: ") for line in raw.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert said == "1x2\n2x2\n3x2"
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == 3


async def test_models_and_health_answer():
    server = OcrServer(SizeEngine(), ServerOptions(model="reader"))
    async with TestClient(TestServer(server.app())) as client:
        assert (await (await client.get("/v1/models")).json())["data"][0]["id"] == "reader"
        assert (await client.get("/health")).status == 200


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}], "nothing is fetched"),
        ([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}], "nothing is fetched"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!"}}], "not a picture"),
        ([part_of(b"no picture")], "not a picture"),
        ([{"type": "image_ref", "index": 0}], "'image_ref' is not understood"),
        ([part_of(saved(Image.new("RGB", (1, 1))))] * 4, "At most 3 image"),
        (7, "text or a list"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_sentence(content, says):
    [(status, reply)] = await ask(ServerOptions(max_images=3), content)
    assert status == 400
    assert says in reply["error"]["message"]


async def test_a_body_that_is_too_large_is_413_and_no_json_is_400(monkeypatch):
    monkeypatch.setattr(ocr, "MOST_BODY_BYTES", 1 << 20)
    server = OcrServer(SizeEngine(), ServerOptions())
    async with TestClient(TestServer(server.app())) as client:
        response = await client.post("/v1/chat/completions", data=b" " * (2 << 20))
        assert response.status == 413
        response = await client.post("/v1/chat/completions", data=b"{")
        assert (response.status, "no JSON" in (await response.json())["error"]["message"]) == (400, True)
        response = await client.post("/v1/chat/completions", json=[])
        assert response.status == 400


async def test_the_token_limit_cuts_and_says_so():
    content = [part_of(saved(Image.new("RGB", (i, 2)))) for i in (1, 2, 3)]
    [(_, reply)] = await ask(ServerOptions(), content, max_tokens=2)
    assert reply["choices"][0]["message"]["content"] == "1x2\n2x2"
    assert reply["choices"][0]["finish_reason"] == "length"
    assert cut("a  b", 2) == ("a  b", 2, "stop")


def test_decode_refuses_a_bomb_by_its_header():
    big = Image.new("1", (12_000, 12_000))
    with pytest.raises(BadRequest, match="too many"), pytest.warns(Image.DecompressionBombWarning):
        decode(part_of(saved(big))["image_url"]["url"])


def test_damage_is_checked_and_the_same_every_time():
    for wrong in ({"shrink": 0}, {"shrink": 2}, {"jpeg": 0}, {"jpeg": 96}):
        with pytest.raises(Refused, match="degrade"):
            Degrade(**wrong)
    damaged = Degrade(0.5, 10).apply(rendered("5743"))
    assert damaged.size[0] == round(rendered("5743").width / 2)
    assert damaged.tobytes() == Degrade(0.5, 10).apply(rendered("5743")).tobytes()


def test_boxes_beside_each_other_make_a_line():
    def box(x, y, width=10, height=10):
        return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]

    boxes = [(box(50, 1), "b"), (box(0, 30), "c"), (box(0, 0), "a"), (box(20, 31), "d")]
    assert _lines(boxes) == ["a b", "c d"]
    assert _lines([]) == []


def test_what_is_not_installed_is_a_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(Refused, match="apt-get install tesseract-ocr"):
        load_engine("tesseract")
    with pytest.raises(Refused, match="use tesseract or rapidocr"):
        load_engine("guess")


@needs_tesseract
def test_an_unknown_language_is_a_sentence():
    with pytest.raises(Refused, match="tesseract-ocr-xx-yy"):
        load_engine("tesseract", ["eng", "xx_yy"])


WORDS = ["HARBOR", "5743", "COPPER MOON", "Total 12.40\nVAT 2.10"]


@needs_tesseract
async def test_tesseract_reads_what_was_sent_and_damage_is_found():
    engine = load_engine("tesseract")
    assert engine.name.startswith("tesseract-")
    contents = [[part_of(saved(rendered(word)))] for word in WORDS]
    exact = await ask(ServerOptions(), *contents, engine=engine)
    assert [reply["choices"][0]["message"]["content"] for _, reply in exact] == WORDS
    damaged = await ask(ServerOptions(degrade=Degrade(shrink=0.18, jpeg=10)), *contents, engine=engine)
    right = sum(
        reply["choices"][0]["message"]["content"] == word for (_, reply), word in zip(damaged, WORDS, strict=True)
    )
    assert right < len(WORDS)


@needs_tesseract
async def test_tesseract_keeps_the_order_of_many_pictures():
    words = ["ALPHA", "BRAVO", "DELTA"]
    content = [part_of(saved(rendered(word))) for word in words]
    [(_, reply)] = await ask(ServerOptions(), content, engine=load_engine("tesseract"))
    assert reply["choices"][0]["message"]["content"] == "\n".join(words)


def test_rapidocr_is_a_second_engine_that_really_reads():
    pytest.importorskip("rapidocr_onnxruntime", reason="the extra `ocr` is not installed")
    engine = load_engine("rapidocr")
    assert [engine.read(rendered(word)) for word in ("HARBOR", "5743")] == ["HARBOR", "5743"]
    assert engine.read(Image.new("RGB", (60, 60), "white")) == ""
    with pytest.raises(Refused, match="leave it out"):
        load_engine("rapidocr", ["chi_sim"])


@needs_tesseract
async def test_the_command_serves_until_it_is_stopped():
    command = (sys.executable, ocr.__file__, '{"engine": "tesseract"}')
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        told = json.loads(await asyncio.wait_for(process.stderr.readline(), 60))
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{told['port']}/health") as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)
    assert process.returncode == 0
