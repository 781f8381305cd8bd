"""Real servers of one set of weights, each held against llama.cpp by doctor, contract, probe and compare.

`make test-servers` runs it. Opt-in, for their environments have gigabytes: a variable names each program
(CONTRIBUTING.md says how they are installed), and what is not named is skipped with that reason. With `-s` each prints
what it took and said. What is amiss of a version that was tried stands in SERVERS; another
version's findings are shown, and must be true as well.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import weights
from programs import program_of
from standin import Refused

from evalkit.config import CommandLaunch, EndpointConfig, FlagScaleLaunch, LlamaCppLaunch
from evalkit.examine import contract
from evalkit.examine.contract import alone, held, signed
from evalkit.model import Verdict
from evalkit.render.words import say
from evalkit.serve.flagscale import read_flagscale
from evalkit.serve.launch import launched

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
# As the user has it; other tests point it elsewhere for the rest of the session.
USERS_CACHE = os.environ.get("EVALKIT_CACHE", "")
MODEL = "smollm2"
ITEMS = int(os.environ.get("EVALKIT_SERVERS_ITEMS", "200"))
SECONDS = 1200, 300
"""What the contract may take of a CPU that is slow, where its own bounds are of a server in use."""

# A folder as save_pretrained writes it, in the numbers of the GGUF file.
CONVERT = """
import pathlib, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
gguf, out = map(pathlib.Path, sys.argv[1:3])
named = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
model = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.float32)
model.hf_quantizer = None
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.to(getattr(torch, sys.argv[3])).save_pretrained(out)
AutoTokenizer.from_pretrained(**named).save_pretrained(out)
"""


@dataclass(frozen=True)
class Real:
    """A server: the variable that names its program, what follows it, in which numbers it computes, what is amiss.

    `amiss` are promises that it breaks in truth, `problems` checks of the doctor that say so. `probed` is False where it
    gives no log-probabilities of given texts. Of transformers serve and mlx_lm.server `amiss` is what the doctor saw, not yet
    what a whole contract did.
    """

    variable: str
    argv: Sequence[str] = ()
    dtype: str = "bfloat16"
    env: Mapping[str, str] = field(default_factory=dict)
    named: str = MODEL
    health: str = "/v1/models"
    amiss: frozenset[str] = frozenset()
    problems: frozenset[str] = frozenset()
    probed: bool = True


VLLM = ("--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "4096")
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
QUIET = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
AT = ("--host", "127.0.0.1", "--port", "{port}")
SERVERS = {
    "vLLM": Real("EVALKIT_VLLM", ("serve", "{model}", "--served-model-name", MODEL, *VLLM, *TOOLS, *AT), env=QUIET),
    "transformers serve": Real(
        "EVALKIT_TRANSFORMERS",
        ("serve", "{model}", "--device", "cpu", *AT),
        dtype="float32",
        named="{model}",
        health="/health",
        amiss=frozenset({"limit.stop", "limit.n", "limit.logprobs", "tools.required"}),
        problems=frozenset({"stop", "logprobs", "temperature"}),
        probed=False,
    ),
    "mlx_lm.server": Real(
        "EVALKIT_MLX",
        ("--model", "{model}", *AT),
        dtype="float32",
        named="{model}",
        health="/health",
        amiss=frozenset({"limit.n", "tools.required"}),
        probed=False,
    ),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Makes the folder of a server's weights, once for each number format, by the Python beside a program."""
    home, made = tmp_path_factory.mktemp("weights"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_CACHE", USERS_CACHE)
        try:
            gguf = weights.fetch("BF16")
        except Refused as error:
            pytest.skip(f"no weights: {error}")

    def make(program, dtype):
        if dtype not in made:
            python = os.environ.get("EVALKIT_TRANSFORMERS")
            python = Path(shutil.which(python) or program) if python else program
            subprocess.run(
                [python.with_name("python"), "-c", CONVERT, gguf, home / dtype, dtype], check=True, env=offline(home)
            )
            made[dtype] = home / dtype
        return made[dtype]

    return make


def offline(home):
    """An environment without a hub: neither a network nor a cache folder."""
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "nothing-here"), "OMP_NUM_THREADS": "2"}
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, **own}


class Sitting:
    """A pair of endpoints, what evalkit is asked of them, and what each of it took and said."""

    def __init__(self, folder, name, addresses, named):
        self.name, self.folder, self.files, self.took = name, folder, {}, {}
        for side, base_url in addresses.items():
            told = {"name": side, "base_url": base_url, "model": named if side == "other" else MODEL}
            more = {"suites": ["demo"], "sampling": {"profile": "greedy", "seed": 0}, "limits": {"concurrency": 4}}
            self.files[side] = folder / f"{side}.yaml"
            self.files[side].write_text(json.dumps({**told, **more, "runs": str(folder / "runs")}))

    async def evalkit(self, command, *arguments):
        """A command as a user gives it: its exit code and what it prints as JSON."""
        argv = [sys.executable, "-m", "evalkit", command, *map(str, arguments), "--json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "EVALKIT_CACHE": USERS_CACHE}
        clock = time.monotonic()
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, env=environment)
        self.took[command] = f"{time.monotonic() - clock:.0f} s"
        assert done.stdout, done.stderr[-4000:]
        return done.returncode, json.loads(done.stdout)

    async def doctor(self):
        """The checks that are problems of the server."""
        _code, told = await self.evalkit("doctor", self.files["other"], "--no-data")
        return {one["check"] for one in told["endpoints"][0]["findings"] if one["severity"] == "problem"}

    async def contract(self):
        """The promises that the server breaks, those that the pair differs in, and how many requests were left out."""
        configs = [EndpointConfig.model_validate(json.loads(file.read_text())) for file in self.files.values()]
        sheets = await signed(configs)
        sheet = sheets[1]
        self.took["contract"] = f"{sheet.seconds:.0f} s, {sheet.requests} requests, {sheet.tokens:,} tokens"
        broken = {one.promise: one.first for one in alone(sheet) if one.problem}
        made = held(*sheets, "2026-01-01T00:00:00+00:00")
        worse = {row.suite: say(row.reasons[0]) for row in made.suites if row.verdict is Verdict.DEGRADED}
        return broken, worse, sheet.left

    async def probe(self):
        """The probe's verdict and its K3 estimate."""
        _code, told = await self.evalkit("probe", *self.files.values(), "--neutral", "--quiet", "--out", self.folder)
        return told["verdict"]

    async def compare(self):
        """The verdict of the demo suite."""
        options = ("--quiet", "--no-probe", "--limit", ITEMS)
        _code, told = await self.evalkit("compare", *self.files.values(), *options)
        return told["verdict"]

    def say(self, **what):
        """What is known by now, so that it is seen where a later step fails."""
        print(self.name, *(f"{key}: {value}" for key, value in {**self.took, **what}.items()), sep="; ", flush=True)  # noqa: T201


async def examined(sitting, real, *, briefly=False):
    """Everything that evalkit asks of a pair; what is said must be true, and the weights are the same."""
    problems = await sitting.doctor()
    sitting.say(problems=sorted(problems))
    broken, worse, left = ({}, {}, 0) if briefly else await sitting.contract()
    sitting.say(broken=broken, worse=worse, left=left)
    probed = await sitting.probe() if real.probed else "not to be had"
    sitting.say(probe=probed)
    compared = await sitting.compare()
    sitting.say(compare=compared)
    assert problems <= real.problems
    assert broken.keys() <= real.amiss, broken
    assert worse.keys() <= real.amiss, worse
    assert probed in {"EQUIVALENT", "not to be had"}
    assert compared in {"EQUIVALENT", "INCONCLUSIVE"}, "the same weights are not stopped"


def embedded(tmp_path):
    """llama.cpp on the same weights, the reference of every pair."""
    return launched(
        LlamaCppLaunch(kind="llama_cpp", weights_type="BF16", slots=4, context=16_384), None, tmp_path / "a"
    )


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", USERS_CACHE)
    monkeypatch.setattr(contract, "SECONDS", SECONDS)


@pytest.mark.parametrize("name", SERVERS)
async def test_what_is_said_of_a_real_server_is_true_and_the_same_weights_are_the_same(name, model, tmp_path):
    real = SERVERS[name]
    program = program_of(real.variable)
    folder = str(model(program, real.dtype))
    argv = [str(program), *(one.replace("{model}", folder) for one in real.argv)]
    launch = {"kind": "command", "argv": argv, "env": {**offline(tmp_path), **real.env}, "health_path": real.health}
    async with (
        embedded(tmp_path) as one,
        launched(CommandLaunch.model_validate(launch), None, tmp_path / "b") as two,
    ):
        addresses = {"llama": one.base_url, "other": two.base_url}
        await examined(Sitting(tmp_path, name, addresses, real.named.replace("{model}", folder)), real)


async def test_flagscale_serves_what_vllm_serves(model, tmp_path):
    """FlagScale stops servers by their names on the whole machine: a `pkill` of the test's own keeps it from that."""
    program = program_of("EVALKIT_FLAGSCALE_PROGRAM")
    spared = tmp_path / "bin"
    spared.mkdir()
    (spared / "pkill").write_text("#!/bin/sh\nexit 1\n")
    (spared / "pkill").chmod(0o755)
    args = {"model": str(model(program, "bfloat16")), "served_model_name": MODEL, "host": "127.0.0.1", "port": 18_207}
    engine = {"dtype": "bfloat16", "enforce_eager": True, "max_model_len": 4096}
    serve = [{"serve_id": "vllm_model", "engine": "vllm", "engine_args": {**args, **engine}}]
    runner = {"hostfile": None, "deploy": {"use_fs_serve": False}}
    experiment = {"exp_name": "s", "exp_dir": str(tmp_path / "out"), "task": {"type": "serve"}, "runner": runner}
    hydra = {"run": {"dir": "${experiment.exp_dir}/hydra"}}
    defaults = ["_self_", {"serve": "m"}]
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "m.yaml").write_text(json.dumps(serve))
    file = tmp_path / "serve.yaml"
    file.write_text(
        json.dumps({"defaults": defaults, "experiment": {**experiment, "envs": QUIET}, "action": "run", "hydra": hydra})
    )
    path = os.pathsep.join((str(spared), str(program.parent), os.environ["PATH"]))
    env = {**offline(tmp_path), "PATH": path}
    launch = {"kind": "flagscale", "program": [str(program)], "config": str(file), "env": env, "cwd": str(tmp_path)}
    async with (
        embedded(tmp_path) as one,
        launched(FlagScaleLaunch.model_validate(launch), read_flagscale(file).base_url, tmp_path / "b") as two,
    ):
        addresses = {"llama": one.base_url, "other": two.base_url}
        await examined(Sitting(tmp_path, "FlagScale", addresses, MODEL), Real(""), briefly=True)
