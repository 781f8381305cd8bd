"""`launch: {kind: flagscale}` with a stand-in for FlagScale that has its habits: it starts in the background and returns."""

import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from evalkit.config import load_config
from evalkit.endpoint.identity import served_models
from evalkit.errors import LaunchError
from evalkit.serve.flagscale import with_flagscale
from evalkit.serve.launch import opened

STAND_IN = """#!{python}
import argparse, json, os, pathlib, re, subprocess, sys

if "--help" in sys.argv:
    print(os.environ.get("HELP", "serve MODEL_NAME [YAML_PATH] --model-path --port --engine-args"))
    raise SystemExit
record = {{"argv": sys.argv[1:], "cwd": os.getcwd()}}
record["env"] = {{k: os.environ.get(k) for k in ("USE_FLAGGEMS", "GEMS_VENDOR", "EXTRA")}}
pathlib.Path(os.environ["RECORD"]).write_text(json.dumps(record))
if "--config" in sys.argv:
    sys.argv.remove("--config")
parser = argparse.ArgumentParser()
parser.add_argument("verb")
parser.add_argument("name")
parser.add_argument("yaml")
parser.add_argument("--port")
parser.add_argument("--model-path")
parser.add_argument("--engine-args")
asked = parser.parse_args()
print("Using configuration yaml:", asked.yaml)
text = pathlib.Path(asked.yaml).with_name("serve").joinpath("8b.yaml").read_text()
port = asked.port or re.search(r"port: (\\d+)", text)[1]
logs = pathlib.Path("outputs/demo_8b/serve_logs")
(logs / "pids").mkdir(parents=True, exist_ok=True)
engine = "{python} {engine} " + port + " " + os.environ.get("HABIT", "serves")
script = f"nohup bash -c '{{engine}}; sync' >> {{logs}}/host_0_localhost.output 2>&1 & echo $! > {{logs}}/pids/host.pid"
subprocess.run(script, shell=True, check=True)
"""

ENGINE = """
import http.server, json, sys, time

port, habit = int(sys.argv[1]), sys.argv[2]
print("engine begins on", port, flush=True)
if habit == "dies":
    print("RuntimeError: no kernel image for this device, key sk-engine-secret", flush=True)
    sys.exit(1)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": "demo"}]}).encode()
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

SERVE = """\
defaults: [_self_, {serve: 8b}]
experiment:
  exp_name: demo_8b
  exp_dir: outputs/${experiment.exp_name}
  task: {type: serve}
  runner: {deploy: {use_fs_serve: false}}
  envs: {CUDA_VISIBLE_DEVICES: 0}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """A folder with the stand-in on the PATH; `stack(launch)` writes the endpoint's file and gives its configuration."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    program = tmp_path / "bin" / "flagscale"
    engine = tmp_path / "engine.py"
    engine.write_text(ENGINE)
    program.write_text(STAND_IN.format(python=sys.executable, engine=engine))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record.json"))
    monkeypatch.delenv("USE_FLAGGEMS", raising=False)
    monkeypatch.delenv("GEMS_VENDOR", raising=False)
    port = free_port()
    (tmp_path / "conf" / "serve").mkdir(parents=True)
    (tmp_path / "conf" / "serve.yaml").write_text(SERVE)
    served = {"model": "/models/demo", "served_model_name": "demo", "host": "0.0.0.0", "port": port}
    text = "- serve_id: vllm_model\n  engine: vllm\n  engine_args:\n"
    text += "".join(f"    {key}: {value}\n" for key, value in served.items())
    (tmp_path / "conf" / "serve" / "8b.yaml").write_text(text)

    def configured(**launch):
        lines = {"kind": "flagscale", "cwd": str(tmp_path / "work"), "ready_seconds": 20, "stop_seconds": 10} | launch
        path = tmp_path / "flagos.yaml"
        path.write_text(f"name: flagos\nflagscale: conf/serve.yaml\nlaunch: {json.dumps(lines)}\n")
        return load_config(path, (), with_flagscale), tmp_path

    configured.port = port
    configured.record = lambda: json.loads((tmp_path / "record.json").read_text())
    return configured


async def test_it_starts_answers_and_leaves_nothing(stack):
    config, folder = stack(flaggems=True, vendor="nvidia", env={"EXTRA": "1"})
    log = folder / "runs" / "server.log"
    async with opened(config, log) as settings:
        assert settings.base_urls == (f"http://127.0.0.1:{stack.port}/v1",)
        assert settings.model == "demo"
        assert (await served_models(settings)).ids == ("demo",)
    assert not listens(stack.port)
    told = stack.record()
    assert told["argv"] == ["serve", "demo_8b", str(folder / "conf" / "serve.yaml")]
    assert told["env"] == {"USE_FLAGGEMS": "1", "GEMS_VENDOR": "nvidia", "EXTRA": "1"}
    assert Path(told["cwd"]) == folder / "work"
    assert "Using configuration yaml" in log.read_text()
    assert "engine begins" in (folder / "work/outputs/demo_8b/serve_logs/host_0_localhost.output").read_text()


async def test_options_are_passed_on_and_decide_the_address(stack):
    port = free_port()
    config, folder = stack(port=port, model_path="/nfs/m", engine_args={"seed": 3}, name="demo", flaggems=False)
    async with opened(config, folder / "server.log") as settings:
        assert settings.base_urls == (f"http://127.0.0.1:{port}/v1",)
    assert not listens(port)
    told = stack.record()
    assert told["argv"][:2] == ["serve", "demo"]
    assert told["argv"][3:] == ["--model-path", "/nfs/m", "--port", str(port), "--engine-args", '{"seed": 3}']
    assert told["env"] == {"USE_FLAGGEMS": "0", "GEMS_VENDOR": None, "EXTRA": None}


async def test_another_program_may_stand_before_it(stack):
    config, folder = stack(program=["env", "EXTRA=2", "flagscale"])
    async with opened(config, folder / "server.log"):
        pass
    assert stack.record()["env"]["EXTRA"] == "2"


async def test_an_engine_that_dies_is_explained_by_its_own_log(stack, monkeypatch):
    monkeypatch.setenv("ENGINE_KEY", "sk-engine-secret")
    config, folder = stack(env={"HABIT": "dies"})
    old = folder / "work" / "outputs" / "demo_8b" / "serve_logs"
    old.mkdir(parents=True)
    (old / "host_0_localhost.output").write_text("RuntimeError: from another day\n")
    with pytest.raises(LaunchError) as error:
        async with opened(config, folder / "server.log"):
            raise AssertionError("it must not come up")
    message = str(error.value)
    assert "no kernel image for this device" in message
    assert "Using configuration yaml" in message
    assert "another day" not in message
    assert "sk-engine-secret" not in message


async def test_a_program_that_is_not_there_and_a_port_that_is_taken(stack):
    config, folder = stack(program=["no-such-flagscale"])
    with pytest.raises(LaunchError, match="no-such-flagscale serve demo_8b"):
        async with opened(config, folder / "server.log"):
            raise AssertionError("it must not come up")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.port))
        taken.listen()
        config, folder = stack()
        with pytest.raises(LaunchError, match=r"already in use: .*set launch\.port"):
            async with opened(config, folder / "server.log"):
                raise AssertionError("it must not come up")


async def test_the_newer_command_line_is_known_by_its_help_and_so_is_what_it_lacks(stack, monkeypatch):
    monkeypatch.setenv("HELP", "serve [OPTIONS] MODEL --config -c PATH --stop")
    config, folder = stack()
    async with opened(config, folder / "server.log"):
        pass
    told = stack.record()["argv"]
    assert told == ["serve", "demo_8b", "--config", str(folder / "conf" / "serve.yaml")]
    config, folder = stack(port=free_port())
    with pytest.raises(LaunchError, match="of this FlagScale has no --port: change the serve configuration"):
        async with opened(config, folder / "server.log"):
            raise AssertionError("it must not come up")


async def test_a_model_path_that_hydra_would_split_goes_another_way(stack):
    config, folder = stack(model_path="/nfs/step=100", engine_args={"seed": 3})
    async with opened(config, folder / "server.log"):
        pass
    assert stack.record()["argv"][3:] == ["--engine-args", '{"model": "/nfs/step=100", "seed": 3}']
