"""What a server runs on: versions of its own Python, and chips by their vendors' tools."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest
from compare_factory import NOW, shifted, side, suite

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.config import EndpointConfig
from evalkit.publish.cards import CardSubject, card, load_style
from evalkit.serve import facts
from evalkit.serve.facts import build_of, with_build
from evalkit.waits import finished

# As printed by nvidia-smi 580.159.04 on one H200, its line twice.
NVIDIA = "NVIDIA H200, 580.159.04, 96.00.A5.00.1A\nNVIDIA H200, 580.159.04, 96.00.A5.00.1A\n"
PYTHON = "#!/bin/sh\necho '{}'\n"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that is all of the PATH; `programs(name, text)` puts a program there."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(facts, "versions", facts.versions.__wrapped__)

    def put(name, text):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
        return str(tmp_path / name)

    return put


def test_the_chips_of_a_known_tool(programs):
    programs("nvidia-smi", f"#!/bin/sh\nprintf '{NVIDIA}'\n")
    found = finished(facts.facts("no-such-program"))
    told = {"chip": "NVIDIA H200", "driver": "580.159.04", "firmware": "96.00.A5.00.1A", "chips": "2"}
    assert found == told
    assert build_of(found) == "chip=NVIDIA_H200 driver=580.159.04 firmware=96.00.A5.00.1A chips=2"


def test_the_words_of_another_tool_are_kept_bounded_and_are_no_build(programs):
    programs("mx-smi", "#!/bin/sh\nprintf 'C550 41C\\n'; yes x\n")
    found = finished(facts.facts("no-such-program"))
    assert found["vendor"] == "metax"
    assert found["words"].startswith("C550 41C")
    assert len(found["words"]) == facts.WORDS_BYTES
    assert build_of(found) == "vendor=metax"


def test_a_tool_that_fails_is_passed_over(programs):
    programs("nvidia-smi", "#!/bin/sh\nexit 9\n")
    programs("npu-smi", "#!/bin/sh\necho Ascend910B\n")
    assert finished(facts.facts("no-such-program")) == {"vendor": "ascend", "words": "Ascend910B\n"}


def test_versions_are_those_of_the_servers_own_python(programs):
    python = programs("python3", PYTHON.format(json.dumps({"vllm": "0.10.0", "torch": "2.7.1"})))
    programs("vllm", f"#!{python}\nimport vllm\n")
    assert facts.versions("vllm") == facts.versions("python3") == {"vllm": "0.10.0", "torch": "2.7.1"}
    programs("conda", f"#!{programs('python', PYTHON.format(json.dumps({'torch': '1'})))}\n")
    assert facts.versions("conda") == {}, "a Python without an engine serves nothing"
    assert facts.versions("sh") == facts.versions("no-such-program") == {}
    assert facts.versions(sys.executable) == {}


def test_a_started_server_has_a_build_of_its_packages_unless_its_file_says_one(programs):
    python = programs("python3", PYTHON.format(json.dumps({"vllm": "0.10.0", "torch": "2.7.1+cu128"})))
    programs("vllm", f"#!{python}\n")
    said = {"name": "a", "model": "m", "suites": ["demo"]}
    launch = {"kind": "command", "argv": ["vllm", "serve", "{port}"]}
    config = EndpointConfig.model_validate({**said, "launch": launch})
    assert with_build(config).build == "vllm=0.10.0 torch=2.7.1+cu128"
    assert with_build(EndpointConfig.model_validate({**said, "launch": launch, "build": "b7"})).build == "b7"
    assert with_build(EndpointConfig.model_validate({**said, "base_url": "http://h:1/v1"})).build is None
    other = {**launch, "argv": ["bash", "-c", "vllm serve {port}"]}
    assert with_build(EndpointConfig.model_validate({**said, "launch": other})).build is None


def test_the_command_prints_a_build(programs, run_evalkit):
    programs("nvidia-smi", f"#!/bin/sh\nprintf '{NVIDIA}'\n")
    path = {"PATH": os.environ["PATH"]}
    done = run_evalkit("facts", "no-such-program", env=path)
    assert done.stdout.splitlines()[0] == "chip:          NVIDIA H200"
    assert done.stdout.splitlines()[-1].startswith("build:         chip=NVIDIA_H200 ")
    assert json.loads(run_evalkit("facts", "no-such-program", "--json", env=path).stdout)["chips"] == "2"


def test_a_card_has_what_each_side_ran_on():
    sides = [side(name, suite(one)) for name, one in zip(("ref", "cand"), shifted(400, 2, 2), strict=True)]
    told = {"facts.chip": "NVIDIA H200", "facts.vllm": "0.10.0", "facts.words": "a screenful"}
    sides[0] = replace(sides[0], identity=replace(sides[0].identity, endpoint=told))
    text = card(compare(*sides, Policy(), NOW), load_style("evalkit"), CardSubject(chip="Ascend"))
    assert "chip NVIDIA H200, vllm 0.10.0" in text
    assert "screenful" not in text
