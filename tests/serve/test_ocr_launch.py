"""`launch: {kind: ocr}`: the server comes up, reads, is damaged as told, and says what is not installed."""

import base64
import io
import json
import shutil
import urllib.request

import pytest
from PIL import Image, ImageDraw, ImageFont

from evalkit.config import OcrLaunch
from evalkit.errors import LaunchError
from evalkit.serve.launch import launched

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")


def config(**more):
    return OcrLaunch.model_validate({"kind": "ocr", **more})


def models(url):
    with urllib.request.urlopen(url + "/models", timeout=30) as answer:
        return json.loads(answer.read())["data"]


def read(url, word):
    picture = Image.new("RGB", (300, 90), "white")
    ImageDraw.Draw(picture).text((20, 20), word, font=ImageFont.load_default(40), fill="black")
    png = io.BytesIO()
    picture.save(png, "PNG")
    part = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()},
    }
    body = json.dumps({"model": "tesseract", "messages": [{"role": "user", "content": [part]}]}).encode()
    request = urllib.request.Request(url + "/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@needs_tesseract
async def test_it_comes_up_under_the_engines_name_and_reads(tmp_path):
    async with launched(config(max_images=3), None, tmp_path / "log") as server:
        card = models(server.base_url)[0]
        assert card["id"] == "tesseract"
        assert card["owned_by"].startswith("tesseract-")
        assert read(server.base_url, "HARBOR")["choices"][0]["message"]["content"] == "HARBOR"


@needs_tesseract
async def test_damage_reaches_the_reader(tmp_path):
    async with launched(config(degrade={"shrink": 0.08, "jpeg": 5}), None, tmp_path / "log") as server:
        reply = read(server.base_url, "HARBOR")
    assert reply["choices"][0]["message"]["content"] != "HARBOR"
    assert (reply["evalkit"]["images"][0]["width"], reply["evalkit"]["images"][0]["height"]) == (300, 90)


async def refused(tmp_path, **more):
    with pytest.raises(LaunchError) as caught:
        async with launched(config(**more), None, tmp_path / "log"):
            raise AssertionError
    return str(caught.value)


async def test_an_engine_that_is_not_installed_is_one_sentence(tmp_path):
    (tmp_path / "rapidocr_onnxruntime.py").write_text("raise ImportError('no such module here')")
    nothing = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    said = await refused(tmp_path, env=nothing)
    assert said.endswith("apt-get install tesseract-ocr")
    assert "\n" not in said
    assert "flagos-evalkit[ocr]" in await refused(tmp_path, env=nothing, engine="rapidocr")


@needs_tesseract
async def test_language_data_that_is_missing_is_named_with_its_package(tmp_path):
    said = await refused(tmp_path, languages=["eng", "xx_yy"])
    assert "tesseract-ocr-xx-yy" in said
    assert "\n" not in said
