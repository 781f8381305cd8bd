"""Every serve configuration of FlagScale's own examples, where EVALKIT_FLAGSCALE names checkouts (a folder a version).

    EVALKIT_FLAGSCALE=/src/flagscale-0.8.0:/src/flagscale-0.9.0 pytest tests/serve/test_flagscale_checkout.py -s

Each is read with the port that FlagScale's own functions give, or refused in a sentence that names its file.
"""

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from evalkit.errors import ConfigError
from evalkit.serve.flagscale import read_flagscale

CHECKOUTS = [Path(folder) for folder in os.environ.get("EVALKIT_FLAGSCALE", "").split(os.pathsep) if folder]


def port_of_flagscale(file):
    """What `_reset_serve_port` and `run_fs_serve_vllm.py` of FlagScale make of a configuration, read without Hydra."""
    tree = yaml.safe_load(file.read_text())
    chosen = next(entry["serve"] for entry in tree["defaults"] if isinstance(entry, dict) and "serve" in entry)
    serve = yaml.safe_load((file.parent / "serve" / f"{chosen}.yaml").read_text())
    experiment = tree["experiment"]
    if isinstance(serve, dict):
        return serve["model_args"]["vllm_model"].get("port", 8000)
    deploy = (experiment.get("runner") or {}).get("deploy") or experiment.get("deploy") or {}
    if deploy.get("port"):
        return deploy["port"]
    item = next(one for one in serve if "serve_id" in one)
    usual = {"vllm": 8000, "sglang": 30_000, "llama_cpp": 8080}[item["engine"]]
    return item["engine_args"].get("port", usual) if deploy.get("use_fs_serve", True) is False else 8000


@pytest.mark.parametrize(
    ("experiment", "port"),
    [
        ("{deploy: {port: 7}}", 7),
        ("{runner: {deploy: {port: 7}}}", 7),
        ("{deploy: {use_fs_serve: false}}", 9),
        ("{}", 8000),
    ],
)
def test_the_port_by_each_place_of_deploy(tmp_path, experiment, port):
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "m.yaml").write_text("[{serve_id: v, engine: vllm, engine_args: {model: m, port: 9}}]")
    file = tmp_path / "s.yaml"
    file.write_text(f"{{defaults: [serve: m], experiment: {experiment}}}")
    assert port_of_flagscale(file) == read_flagscale(file).port == port


@pytest.mark.skipif(not CHECKOUTS, reason="EVALKIT_FLAGSCALE names no checkout of FlagScale")
@pytest.mark.parametrize("checkout", CHECKOUTS, ids=lambda folder: folder.name)
def test_every_serve_configuration_is_read_rightly_or_refused(checkout, monkeypatch):
    monkeypatch.setenv("QWEN3_PATH", "/models/qwen3")
    files = [file for file in sorted(checkout.glob("examples/*/conf/*.yaml")) if "type: serve" in file.read_text()]
    assert files
    counts, refused = Counter(), []
    for file in files:
        try:
            found = read_flagscale(file)
        except ConfigError as error:
            assert str(file.parent) in str(error)
            refused.append(f"{file.relative_to(checkout)}: {error}")
            counts["refused"] += 1
            continue
        assert found.port == port_of_flagscale(file), file
        assert found.model, file
        counts["right"] += 1
    print(f"\n{checkout.name}: {dict(counts)}", *refused, sep="\n  ")  # noqa: T201 - with -s: what the comparison says
