"""Every example's files load, with the variables set and without, and say what their READMEs promise."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from evalkit.config import FlagScaleLaunch, load_config
from evalkit.config.schema import differences
from evalkit.serve.flagscale import with_flagscale
from evalkit.serve.operators import OFF, says_flagos
from evalkit.tasks.suites import find_pack

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SET = {
    "vllm": {"MODEL_PATH": "/m", "SERVED_NAME": "m", "GEMS_VENDOR": "metax", "CANDIDATE_BUILD": "x"},
    "sglang": {"REFERENCE_URL": "http://a:1/v1", "CANDIDATE_URL_1": "http://b:1/v1", "CANDIDATE_KEY_NAME": "K"},
    "flagscale": {"QWEN3_PATH": "/m", "GEMS_VENDOR": "metax"},
    "slurm": {"MODEL_PATH": "/m", "RUNS_FOLDER": "/shared/runs"},
}
NAMES = sorted(SET)


@pytest.fixture(params=[False, True], ids=["defaults", "variables"])
def pair(request, monkeypatch):
    """Loads the pair of a folder, with or without its variables."""

    def load(name):
        for variable, value in SET[name].items():
            if request.param:
                monkeypatch.setenv(variable, value)
            else:
                monkeypatch.delenv(variable, raising=False)
        return [load_config(EXAMPLES / name / file, (), with_flagscale) for file in ("reference.yaml", "flagos.yaml")]

    load.set = request.param
    return load


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_loads_and_asks_both_sides_the_same(pair, name):
    reference, candidate = pair(name)
    assert reference.name != candidate.name
    assert reference.sampling == candidate.sampling
    assert reference.limits == candidate.limits
    assert reference.pack == candidate.pack
    assert find_pack(reference.pack).suites
    assert {one.key for one in differences(reference, candidate)} & {
        "build",
        "base_url",
        "base_urls",
        "flagscale.config",
    }
    unset = {"temperature", "top_p", "repetition_penalty"} - set(reference.sampling.parameters())
    assert not unset, "nothing is left to a server's defaults"


def test_vllm_starts_the_same_command_with_other_variables(pair):
    reference, candidate = pair("vllm")
    assert reference.launch.argv == candidate.launch.argv
    assert reference.launch.argv[:2] == ("vllm", "serve")
    assert reference.launch.chooses_port
    assert reference.launch.sequential
    assert candidate.launch.sequential
    assert reference.launch.env == OFF
    assert says_flagos(candidate.launch.env)
    assert all(candidate.launch.env[name] != value for name, value in OFF.items())
    assert candidate.launch.env["GEMS_VENDOR"] == ("metax" if pair.set else "nvidia")


def test_sglang_has_replicas_and_a_key_by_name(pair):
    _reference, candidate = pair("sglang")
    assert len(candidate.urls) == 2
    assert candidate.api_key_env == ("K" if pair.set else "SGLANG_API_KEY")


def test_flagscale_fills_in_address_and_model(pair):
    reference, candidate = pair("flagscale")
    assert (reference.base_url, candidate.base_url) == ("http://127.0.0.1:9010/v1", "http://127.0.0.1:9011/v1")
    assert reference.model == candidate.model == "qwen3-8b"
    assert isinstance(candidate.launch, FlagScaleLaunch)
    assert candidate.launch.sequential
    found = {one.key: (one.reference, one.candidate) for one in differences(reference, candidate)}
    assert found["flagscale.env.USE_FLAGGEMS"] == ("false", "true")
    assert candidate.flagscale.engine_args["model"] == ("/m" if pair.set else "/models/Qwen3-8B")


def test_slurm_keeps_runs_where_every_job_finds_them(pair):
    reference, _candidate = pair("slurm")
    assert reference.runs == (Path("/shared/runs") if pair.set else EXAMPLES / "slurm" / "runs")
    script = EXAMPLES / "slurm" / "compare.sbatch"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "evalkit compare reference.yaml flagos.yaml" in script.read_text()


STAND_IN = """#!/bin/bash
trap 'exit 130' TERM
touch started
[ "$STAND_IN" = waits ] || exit "$STAND_IN"
while true; do sleep 0.05; done
"""


@pytest.mark.parametrize(("habit", "code"), [("0", 0), ("4", 4), ("130", 130), ("waits", 130)])
def test_the_slurm_job_ends_as_evalkit_does_and_passes_the_warning_on(tmp_path, habit, code):
    (tmp_path / "evalkit").write_text(STAND_IN)
    (tmp_path / "evalkit").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STAND_IN": habit, "SLURM_SUBMIT_DIR": str(tmp_path)}
    job = subprocess.Popen(["bash", EXAMPLES / "slurm" / "compare.sbatch"], env=environment)
    while not (tmp_path / "started").exists():
        assert job.poll() is None or habit != "waits"
        time.sleep(0.01)
    if habit == "waits":
        job.send_signal(signal.SIGTERM)
    assert job.wait(120) == code


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_is_short_and_names_its_files(name):
    text = (EXAMPLES / name / "README.md").read_text()
    assert len(text.splitlines()) < 40
    assert "reference.yaml flagos.yaml" in text or "sbatch compare.sbatch" in text
    assert all(variable in text for variable in SET[name] if variable.endswith(("PATH", "URL", "URL_1", "FOLDER")))
