"""Launch sections: the three kinds, their defaults, and the contradictions that are refused."""

import pytest
from pydantic import TypeAdapter, ValidationError

from evalkit.config import CommandLaunch, EndpointConfig, Launch, LlamaCppLaunch, OcrLaunch

ADAPTER = TypeAdapter(Launch)


def test_the_kind_decides_the_model():
    assert isinstance(ADAPTER.validate_python({"kind": "llama_cpp"}), LlamaCppLaunch)
    assert isinstance(ADAPTER.validate_python({"kind": "command", "argv": ["x"]}), CommandLaunch)
    assert isinstance(ADAPTER.validate_python({"kind": "ocr"}), OcrLaunch)


def test_llama_cpp_defaults_suit_a_small_shared_machine():
    launch = LlamaCppLaunch(kind="llama_cpp")
    assert (launch.model, launch.weights_type, launch.threads, launch.slots, launch.context) == (
        "smollm2",
        "F16",
        1,
        2,
        2048,
    )
    assert (launch.cache_type_k, launch.cache_type_v, launch.flash_attention) == ("f16", "f16", "auto")
    assert (launch.attention_rotation, launch.rope_freq_base, launch.port, launch.sequential) == (True, None, 0, False)


def test_command_defaults():
    launch = CommandLaunch(kind="command", argv=("x",))
    assert (launch.health_path, launch.ready_seconds, launch.stop_seconds) == ("/v1/models", 1800, 30)
    assert (launch.env, launch.cwd, launch.log, launch.sequential) == ({}, None, None, False)


@pytest.mark.parametrize(("written", "meant"), [(True, "on"), (False, "off"), ("on", "on"), ("auto", "auto")])
def test_a_bare_on_or_off_is_a_word_here(written, meant):
    assert LlamaCppLaunch.model_validate({"kind": "llama_cpp", "flash_attention": written}).flash_attention == meant


def test_numbers_in_a_command_line_are_taken_as_they_were_written():
    launch = CommandLaunch.model_validate({"kind": "command", "argv": ["serve", "--port", 8000], "env": {"GPU": 1}})
    assert launch.argv == ("serve", "--port", "8000")
    assert launch.env == {"GPU": "1"}


@pytest.mark.parametrize(("argv", "chooses"), [(["x", "--port={port}"], True), (["x", "8000"], False)])
def test_a_port_mark_means_a_free_port(argv, chooses):
    assert CommandLaunch(kind="command", argv=tuple(argv)).chooses_port is chooses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chat_template": "x", "chat_template_file": "y"}, "exclude each other"),
        ({"cache_type_v": "q4_0", "flash_attention": "off"}, "needs flash attention"),
        ({"model": "gpt-9"}, "smollm2 or the path"),
        ({"model": "a.gguf", "weights_type": "F32"}, "smollm2 only"),
    ],
)
def test_contradictions_of_llama_cpp_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        LlamaCppLaunch.model_validate({"kind": "llama_cpp", **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "Some.GGUF"},
        {"cache_type_v": "q4_0"},
        {"cache_type_k": "q4_0", "flash_attention": "off"},
        {"cache_type_v": "f32", "flash_attention": "off"},
    ],
)
def test_what_llama_cpp_can_do_is_taken(changes):
    assert LlamaCppLaunch.model_validate({"kind": "llama_cpp", **changes})


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "command"},
        {"kind": "command", "argv": []},
        {"kind": "command", "argv": [" "]},
        {"kind": "command", "argv": "vllm serve"},
        {"kind": "command", "argv": ["x", 1.5]},
        {"kind": "command", "argv": ["x"], "health_path": "health"},
        {"kind": "command", "argv": ["x"], "env": {"A=B": "x"}},
        {"kind": "command", "argv": ["x"], "env": {"A": True}},
        {"kind": "command", "argv": ["x"], "ready_seconds": 0},
        {"kind": "llama_cpp", "port": 70_000},
        {"kind": "llama_cpp", "cache_type_k": "q2"},
        {"kind": "llama_cpp", "threads": 0},
        {"kind": "docker"},
        {},
    ],
)
def test_what_cannot_be_started_is_refused(bad):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(bad)


def test_ocr_defaults_and_damage():
    launch = OcrLaunch(kind="ocr")
    assert (launch.engine, launch.languages, launch.max_images, launch.port) == ("tesseract", ("eng",), 64, 0)
    assert (launch.degrade.shrink, launch.degrade.jpeg) == (1.0, None)
    damaged = OcrLaunch.model_validate({"kind": "ocr", "degrade": {"shrink": 0.5, "jpeg": 20}})
    assert (damaged.degrade.shrink, damaged.degrade.jpeg) == (0.5, 20)


@pytest.mark.parametrize(
    "bad",
    [
        {"engine": "guess"},
        {"degrade": {"shrink": 0}},
        {"degrade": {"shrink": 1.5}},
        {"degrade": {"jpeg": 100}},
        {"degrade": "jpeg:20"},
        {"languages": []},
        {"engine": "rapidocr", "languages": ["chi_sim"]},
    ],
)
def test_what_ocr_cannot_do_is_refused(bad):
    with pytest.raises(ValidationError):
        OcrLaunch.model_validate({"kind": "ocr", **bad})


def test_an_embedded_server_has_no_address_of_the_users():
    with pytest.raises(ValidationError, match="no effect with launch kind ocr"):
        EndpointConfig.model_validate(
            {"name": "a", "model": "tesseract", "base_url": "http://127.0.0.1:1/v1", "launch": {"kind": "ocr"}}
        )
