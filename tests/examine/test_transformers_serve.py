"""The real `transformers serve`: what it does wrong is asked of it directly, and the doctor must say just that.

Opt-in, because its environment has 1.2 GB: EVALKIT_TRANSFORMERS names the program (CONTRIBUTING.md says how to make
it). What a version does wrong is not taken for granted: a later one that mends a fault passes, once the doctor says no
more of it. FAULTS holds what was seen of those versions that were tried. The same faults are in tests/support/toy.py, for every day.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import weights
from programs import program_of
from standin import Refused

from evalkit.config import CommandLaunch
from evalkit.serve.launch import launched

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "EVALKIT_TRANSFORMERS"
# As the user has it; other tests point it elsewhere for the rest of the session.
USERS_CACHE = os.environ.get("EVALKIT_CACHE", "")

CAREFUL = {"no logprobs", "one choice", "list of models broken", "top_k refused", "no prompt logprobs"}
FAULTS = {
    ("5.23.0", "plain"): CAREFUL | {"stop text kept", "always greedy"},
    ("5.23.0", "continuous batching"): CAREFUL | {"stop ignored", "first sampling stays", "seeds lost in a crowd"},
}

# A folder as save_pretrained writes it, and a second one whose model samples unless it is told not to.
CONVERT = """
import pathlib, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
gguf, plain, sampling = map(pathlib.Path, sys.argv[1:])
named = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
model = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.float32)
model.hf_quantizer = None
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(plain)
AutoTokenizer.from_pretrained(**named).save_pretrained(plain)
sampling.mkdir()
for file in plain.iterdir():
    (sampling / file.name).symlink_to(file)
(sampling / "generation_config.json").unlink()
model.generation_config.do_sample = True
model.generation_config.save_pretrained(sampling)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program():
    """`transformers` of its own environment."""
    return program_of(VARIABLE)


@pytest.fixture(scope="module")
def folders(program, tmp_path_factory):
    """The model as two folders, made out of the embedded endpoint's weights by the program's own Python."""
    home = tmp_path_factory.mktemp("smollm2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_CACHE", USERS_CACHE)
        try:
            gguf = weights.fetch("Q4_1")
        except Refused as error:
            pytest.skip(f"no weights: {error}")
    made = {"plain": home / "plain", "continuous batching": home / "sampling"}
    subprocess.run([program.with_name("python"), "-c", CONVERT, gguf, *made.values()], check=True, env=offline(home))
    return made


def offline(home):
    """An environment without a hub: neither a network nor a cache folder."""
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "nothing-here"), "OMP_NUM_THREADS": "1"}
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, **own}


def version_of(program):
    code = "import importlib.metadata as m; print(m.version('transformers'))"
    return subprocess.check_output([program.with_name("python"), "-c", code], text=True).strip()


class Asked:
    """Plain HTTP, without any of evalkit's."""

    def __init__(self, session, base_url, model):
        self.session, self.base_url, self.model = session, base_url, model

    async def status(self, path):
        async with self.session.get(self.base_url + path) as answer:
            return answer.status

    async def post(self, path, **fields):
        async with self.session.post(self.base_url + path, json={"model": self.model, **fields}) as answer:
            return answer.status, await answer.json() if answer.status == 200 else None

    async def chat(self, **fields):
        messages = [{"role": "user", "content": "Write a sentence about a river and a mountain."}]
        return await self.post("/chat/completions", messages=messages, **{"max_tokens": 24, **fields})

    async def text(self, **fields):
        status, reply = await self.chat(**fields)
        assert status == 200, fields
        return reply["choices"][0]["message"]["content"]

    async def faults(self):
        """What this server does wrong, seen from outside."""
        _, both = await self.chat(temperature=0, logprobs=True, top_logprobs=2, n=2, max_tokens=4)
        stopped = await self.text(temperature=0, stop=["e"])
        refused, _ = await self.chat(temperature=0, top_k=-1, max_tokens=4)
        status, echoed = await self.post("/completions", prompt="Good day to you", max_tokens=1, echo=True, logprobs=1)
        greedy = [await self.text(temperature=0, seed=seed) for seed in (1, 2)]
        seeds = (1, 2, 1, 2)
        drawn = [await self.text(temperature=1.0, seed=seed) for seed in seeds]
        crowd = await asyncio.gather(*(self.text(temperature=1.0, seed=seed) for seed in seeds))
        honoured = drawn[0] == drawn[2] != drawn[1] == drawn[3]
        left = "e" in stopped
        return {
            name
            for name, seen in {
                "no logprobs": not both["choices"][0].get("logprobs"),
                "one choice": len(both["choices"]) == 1,
                "stop text kept": left and len(stopped.partition("e")[2]) < 16,
                "stop ignored": left and len(stopped.partition("e")[2]) >= 16,
                "list of models broken": await self.status("/models") != 200,
                "top_k refused": refused != 200,
                "no prompt logprobs": status != 200 or not echoed["choices"][0].get("logprobs"),
                "always greedy": len({*greedy, *drawn}) == 1,
                "first sampling stays": greedy[0] != greedy[1],
                "seeds lost in a crowd": honoured and sum(map(str.__ne__, drawn, crowd)) >= len(seeds) - 1,
            }.items()
            if seen
        }


def said_by(findings):
    """The faults that the doctor names, by the words it has for them; each must say why, and how to mend it."""
    words = {
        "no logprobs": ("logprobs", "is ignored"),
        "one choice": ("n", "gives 1 choice"),
        "stop text kept": ("stop", "is left in the answer"),
        "stop ignored": ("stop", "`stop` is ignored"),
        "list of models broken": ("reachable", "its list of models is broken"),
        "top_k refused": ("fields", "requests with top_k get no answer"),
        "no prompt logprobs": ("prompt_logprobs", "cannot be had"),
        "always greedy": ("temperature", "gives the greedy answer each time"),
        "first sampling stays": ("temperature", "draws answers at random"),
        "seeds lost in a crowd": ("seed", "not among other requests"),
    }
    named = set()
    for fault, (check, what) in words.items():
        for one in findings:
            if one["check"] == check and what in one["what"]:
                assert one["severity"] != "ok", one
                assert one["why"], one
                assert one["fix"], one
                named.add(fault)
    return named


async def evalkit(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "evalkit", *map(str, arguments)]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=environment)


@pytest.fixture
def examined(program, folders, tmp_path):
    """Starts the program, lets `before` ask first, asks it directly, has the doctor look at it, and `after` go on."""

    async def examine(mode, *options, before=None, after=None):
        model = str(folders[mode])
        argv = [str(program), "serve", model, "--host", "127.0.0.1", "--port", "{port}", "--device", "cpu", *options]
        launch = {"kind": "command", "argv": argv, "env": offline(tmp_path), "health_path": "/health"}
        log = tmp_path / "server.log"
        timeout = aiohttp.ClientTimeout(total=600)
        async with (
            launched(CommandLaunch.model_validate(launch), None, log) as server,
            aiohttp.ClientSession(timeout=timeout) as session,
        ):
            asked = Asked(session, server.base_url, model)
            if before:
                await before(asked)
            seen = await asked.faults()
            sampling = {"temperature": 0.0, "top_k": -1}
            endpoint = {"name": "careless", "base_url": server.base_url, "model": model, "sampling": sampling}
            file = tmp_path / "careless.yaml"
            suites = [{"name": "demo", "sampling": {"max_tokens": 16}}]
            more = {"logprobs": True, "suites": suites, "runs": str(tmp_path / "runs")}
            file.write_text(json.dumps({**endpoint, **more}))
            done = await evalkit("doctor", file, "--json", "--no-data")
            assert done.returncode == 3, done.stdout + done.stderr
            report = json.loads(done.stdout)["endpoints"][0]
            if after:
                await after(file)
        return seen, said_by(report["findings"])

    return examine


def is_what_was_seen(program, mode, seen):
    """Where this version was tried before, the record must still be true: docs/doctor.md repeats it."""
    recorded = FAULTS.get((version_of(program), mode))
    assert recorded is None or seen == recorded


async def test_the_doctor_says_what_the_server_does_wrong(program, examined):
    async def after(file):
        done = await evalkit("probe", file, file)
        assert done.returncode == 3
        assert "the fidelity probe is not supported by" in done.stderr
        refused = await evalkit("run", file, "--limit", "1", "--quiet")
        assert refused.returncode == 3
        assert "top_k" in refused.stdout, "the field that the doctor names is what the run stumbles over"
        for name, overrides in (("whole", ()), ("streamed", ("--set", "stream=true"))):
            done = await evalkit("run", file, "--limit", "2", "--json", "--set", "sampling.top_k=null", "--set", f"name={name}", *overrides)  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr

    seen, said = await examined("plain", after=after)
    assert said == seen
    is_what_was_seen(program, "plain", seen)


async def test_the_doctor_says_that_another_request_decided_the_sampling(program, examined):
    async def before(asked):
        await asked.text(temperature=1.5, seed=7, max_tokens=4)

    # Without a number of blocks the cache takes 10 GB.
    options = ("--continuous-batching", "--cb-num-blocks", "64")
    seen, said = await examined("continuous batching", *options, before=before)
    assert said == seen
    is_what_was_seen(program, "continuous batching", seen)
