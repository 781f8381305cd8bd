"""The pair that `init` writes loads as it stands, names every key, and never overwrites."""

import re

import pytest

from evalkit.config import EndpointConfig, Limits, Sampling, load_config, warnings_for, write_pair
from evalkit.config.load import PAIR
from evalkit.config.schema import differences
from evalkit.errors import ConfigError, StorageError
from evalkit.resources import data_folder

FILES = {name: (data_folder("start") / name).read_text() for name in PAIR}


@pytest.fixture
def pair(tmp_path, monkeypatch):
    for name in ("EVALKIT_MODEL", "REFERENCE_URL", "CANDIDATE_URL"):
        monkeypatch.delenv(name, raising=False)
    return write_pair(tmp_path / "new" / "pair")


def test_the_pair_loads_and_differs_only_in_name_and_address(pair):
    assert [path.name for path in pair] == ["reference.yaml", "candidate.yaml", "common.yaml"]
    reference, candidate = load_config(pair[0]), load_config(pair[1])
    assert [difference.key for difference in differences(reference, candidate)] == ["base_url", "name"]
    assert warnings_for(reference) == ()


def test_the_pair_takes_its_addresses_from_the_environment(pair, monkeypatch):
    monkeypatch.setenv("CANDIDATE_URL", "http://other:9/v1")
    assert load_config(pair[1]).urls == ("http://other:9/v1",)


def test_every_key_is_shown(pair):
    text = "\n".join(FILES.values())
    keys = {*EndpointConfig.model_fields, *Sampling.model_fields, *Limits.model_fields, "extends"}
    missing = [key for key in keys if not re.search(rf"^[ #]*(?:- )?{key}:", text, re.MULTILINE)]
    assert missing == []


@pytest.mark.parametrize("name", ["reference.yaml", "candidate.yaml", "common.yaml"])
def test_what_is_commented_out_is_right_too(pair, name, tmp_path, monkeypatch):
    """Every commented key, taken in on its own, loads: a comment that would be refused is a trap."""
    monkeypatch.setenv("TEAM_HEADER", "x")
    served = "serve: [{serve_id: vllm_model, engine: vllm, engine_args: {model: m}}]\n"
    (pair[0].parent / "conf").mkdir()
    (pair[0].parent / "conf" / "serve.yaml").write_text(served)
    original = FILES[name].splitlines()
    target = next(path for path in pair if path.name == name)
    whole = pair[1] if name == "candidate.yaml" else pair[0]
    tried = 0
    for start, line in enumerate(original):
        if not re.match(r" *# ?[a-z_]+:(?: |$)", line) or re.match(r"# +qwen3|  # (?:qwen3|greedy)", line):
            continue
        lines = list(original)
        indent = len(line) - len(line.lstrip())
        index = start
        while index < len(lines) and (index == start or re.match(rf" {{{indent}}}# {{2,}}\S", lines[index])):
            lines[index] = lines[index].replace("# ", "", 1)
            index += 1
        key = line.strip("# ").partition(":")[0]
        if key == "base_urls":
            lines = [entry for entry in lines if not entry.startswith("base_url:")]
        if key == "suites":
            lines = [entry for entry in lines if not entry.startswith("pack:")]
        target.write_text("\n".join(lines) + "\n")
        config = load_config(whole)
        assert config.where(key) or config.where(f"sampling.{key}") or config.where(f"limits.{key}"), key
        tried += 1
    assert tried >= {"reference.yaml": 8, "candidate.yaml": 3, "common.yaml": 20}[name]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "common.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"common\.yaml: already there"):
        write_pair(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["common.yaml"]
    assert (tmp_path / "common.yaml").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_pair(tmp_path / "file" / "sub")
