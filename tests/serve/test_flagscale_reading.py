"""FlagScale's serve configurations are read by FlagScale's own rules, and every mistake has its sentence."""

from pathlib import Path

import pytest

from evalkit.config import load_config, public_dump
from evalkit.config.schema import differences
from evalkit.errors import ConfigError
from evalkit.serve.flagscale import FromCommandLine, is_on, read_flagscale, with_flagscale

SERVE = """\
defaults:
- _self_
- serve: 8b
experiment:
  exp_name: demo_8b
  exp_dir: outputs/${experiment.exp_name}
  task: {type: serve}
  runner:
    hostfile: null
    deploy: {use_fs_serve: false}
  envs:
    CUDA_VISIBLE_DEVICES: 0
    USE_FLAGGEMS: true
  cmds:
    before_start: source /opt/env.sh && export GEMS_VENDOR=nvidia; export USE_FLAGGEMS=0
action: run
hydra: {run: {dir: "${experiment.exp_dir}/hydra"}}
"""
MODEL = """\
- serve_id: vllm_model
  engine: vllm
  engine_args:
    model: ${oc.env:DEMO_MODEL,/models/demo}
    host: 0.0.0.0
    port: 9010
    served_model_name: demo-nvidia-flagos
    gpu_memory_utilization: 0.9
    enforce_eager: false
    trust_remote_code: true
    limit_mm_per_prompt: '{"image": 18}'
  engine_args_specific:
    vllm: {tensor_parallel_size: 2, port: 1}
    sglang: {tp: 4, port: 30001}
"""


@pytest.fixture
def serve(tmp_path):
    """Writes conf/serve.yaml and conf/serve/8b.yaml, changed by replacements, and gives the first's path."""

    def write(main=SERVE, model=MODEL, **replaced):
        for old, new in replaced.items():
            main, model = main.replace(old, new), model.replace(old, new)
        folder = tmp_path / "conf" / "serve"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "8b.yaml").write_text(model)
        (folder.parent / "serve.yaml").write_text(main)
        return folder.parent / "serve.yaml"

    return write


def endpoint(tmp_path, text):
    path = tmp_path / "flagos.yaml"
    path.write_text(text)
    return path


# ---------------------------------------------------------------- reading


def test_a_whole_configuration(serve):
    found = read_flagscale(serve())
    assert (found.engine, found.model, found.served_name) == ("vllm", "/models/demo", "demo-nvidia-flagos")
    assert found.base_url == "http://127.0.0.1:9010/v1"
    assert found.env == {"CUDA_VISIBLE_DEVICES": "0", "USE_FLAGGEMS": "true", "GEMS_VENDOR": "nvidia"}
    assert found.log == Path("outputs/demo_8b/serve_logs/host_0_localhost.output")
    assert (found.name, found.nodes) == ("demo_8b", None)
    assert found.engine_args["tensor_parallel_size"] == 2


def test_the_port_by_order_of_precedence(serve):
    assert read_flagscale(serve()).port == 9010
    deployed = serve(**{"use_fs_serve: false": "use_fs_serve: false, port: 9011"})
    assert read_flagscale(deployed).port == 9011
    assert read_flagscale(deployed).engine_args["port"] == 9011
    assert read_flagscale(deployed, told=FromCommandLine(port=9012)).port == 9012
    without = serve(**{"    port: 9010\n": "", ", port: 1}": "}"})
    assert read_flagscale(without).port == 8000


def test_ray_serve_which_is_the_default_listens_where_deploy_says(serve):
    assert read_flagscale(serve(**{"{use_fs_serve: false}": "{use_fs_serve: true, port: 9011}"})).port == 9011
    assert read_flagscale(serve(**{"{use_fs_serve: false}": "{port: 9011}"})).port == 9011
    assert read_flagscale(serve(**{"{use_fs_serve: false}": "{}"})).port == 8000


def test_flagscale_0_8_has_deploy_in_another_place(serve):
    older = {"    deploy: {use_fs_serve: false}\n": "  deploy: {use_fs_serve: false, port: 9011}\n"}
    assert read_flagscale(serve(**older)).port == 9011


def test_flagscale_0_6_has_one_model_and_no_deploy(serve):
    model = "model_args:\n  vllm_model: {model-tag: /models/demo, port: 4567, action-args: [trust-remote-code]}\n"
    main = SERVE.replace("    deploy: {use_fs_serve: false}\n", "")
    found = read_flagscale(serve(main, model))
    assert (found.model, found.port, found.engine) == ("/models/demo", 4567, "vllm")


def test_a_search_for_settings_is_no_server(serve):
    with pytest.raises(ConfigError, match="auto_tune starts many servers"):
        read_flagscale(serve(**{"action: run": "action: auto_tune"}))


def test_what_launch_says_reaches_the_references(serve, tmp_path, monkeypatch):
    monkeypatch.delenv("DEMO_MODEL", raising=False)
    serve(**{"DEMO_MODEL,/models/demo": "DEMO_MODEL"})
    launch = "launch: {kind: flagscale, env: {DEMO_MODEL: /nfs/demo}}"
    text = f"name: flagos\nflagscale: conf/serve.yaml\n{launch}\n"
    config = load_config(endpoint(tmp_path, text), (), with_flagscale)
    assert config.flagscale.engine_args["model"] == "/nfs/demo"


@pytest.mark.parametrize("more", ["type: cloud", "hostfile: hosts", "deploy: {prefill_decode_disaggregation: true}"])
def test_what_runs_on_several_machines_or_engines_is_not_started(serve, tmp_path, more):
    plain = "    hostfile: null\n    deploy: {use_fs_serve: false}\n"
    serve(**{plain: f"    {more}\n"})
    text = "name: flagos\nflagscale: conf/serve.yaml\n"
    load_config(endpoint(tmp_path, text), (), with_flagscale)
    with pytest.raises(ConfigError, match="start it by hand, and leave launch out"):
        load_config(endpoint(tmp_path, text + "launch: {kind: flagscale}\n"), (), with_flagscale)


def test_an_example_of_the_installed_flagscale_is_known_by_its_name(serve, tmp_path, monkeypatch):
    examples = tmp_path / "env" / "lib" / "python3.12" / "site-packages" / "flag_scale" / "examples"
    (examples / "demo").mkdir(parents=True)
    serve().parent.rename(examples / "demo" / "conf")
    program = tmp_path / "env" / "bin" / "flagscale"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    config = load_config(endpoint(tmp_path, "name: flagos\nflagscale: demo\n"), (), with_flagscale)
    assert config.base_url == "http://127.0.0.1:9010/v1"
    with pytest.raises(ConfigError, match=r"flagscale: .*other"):
        load_config(endpoint(tmp_path, "name: flagos\nflagscale: other\n"), (), with_flagscale)


@pytest.mark.parametrize(("engine", "port"), [("sglang", 30001), ("llama_cpp", 9010)])
def test_other_engines_take_the_later_flag(serve, engine, port):
    found = read_flagscale(serve(**{"engine: vllm": f"engine: {engine}"}))
    assert (found.engine, found.port) == (engine, port)
    assert ("tp" in found.engine_args) == (engine == "sglang")


@pytest.mark.parametrize(("engine", "port"), [("vllm", 8000), ("sglang", 30_000), ("llama_cpp", 8080)])
def test_without_a_port_the_engines_own(serve, engine, port):
    changes = {"    port: 9010\n": "", ", port: 1}": "}", ", port: 30001}": "}", "engine: vllm": f"engine: {engine}"}
    assert read_flagscale(serve(**changes)).port == port


def test_the_newer_place_of_the_engine_wins(serve):
    assert read_flagscale(serve(**{"{type: serve}": "{type: serve, backend: sglang}"})).engine == "sglang"


def test_what_the_command_line_says_wins(serve):
    told = FromCommandLine(model_path="/other", engine_args={"served_model_name": ["a", "b"], "seed": 3})
    found = read_flagscale(serve(), told=told)
    assert (found.model, found.served_name, found.engine_args["seed"]) == ("/other", "a", 3)


def test_overrides_as_hydra_takes_them(serve):
    overrides = {"experiment.envs.USE_FLAGGEMS": False, "experiment.runner.deploy.port": 7000}
    found = read_flagscale(serve(), overrides)
    assert (found.env["USE_FLAGGEMS"], found.port) == ("false", 7000)


def test_the_environment_and_references(serve, monkeypatch):
    monkeypatch.setenv("DEMO_MODEL", "/nfs/demo")
    assert read_flagscale(serve()).model == "/nfs/demo"
    assert read_flagscale(serve(**{"/models/demo}": "}-${experiment.exp_name}"})).model == "/nfs/demo-demo_8b"


def test_the_model_stands_in_for_its_name(serve):
    assert read_flagscale(serve(**{"    served_model_name: demo-nvidia-flagos\n": ""})).served_name == "/models/demo"


def test_switches_as_flaggems_reads_them():
    assert [is_on(value) for value in ("1", "true", "True", " on", "0", "false", "", None)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"- serve: 8b": "- serve: 9b"}, "serve.yaml:3: defaults.serve: {conf}/serve/9b.yaml: there is no such file"),
        ({"- serve: 8b": "- serve: ../../etc/x"}, "defaults.serve: must be the name of a file in"),
        ({"- serve: 8b\n": ""}, "has no serve: section"),
        ({"- _self_": "- optional"}, "defaults: evalkit reads `_self_` and `group: name` only"),
        ({"engine: vllm": "engine: trt"}, "8b.yaml:2: engine: must be one of vllm, sglang, llama_cpp, not 'trt'"),
        ({"- serve_id: vllm_model\n  engine": "- engine"}, "serve: must be a list whose entries have serve_id"),
        ({"    model: ${oc.env:DEMO_MODEL,/models/demo}\n": ""}, "engine_args.model is missing"),
        ({"${oc.env:DEMO_MODEL,/models/demo}": "${oc.env:NO_SUCH_THING}"}, "NO_SUCH_THING is not set: export it"),
        ({"/models/demo}": "/models/demo}/${a.b}"}, "${{a.b}}: there is no such value"),
        ({"exp_name: demo_8b": "exp_name: ${experiment.exp_name}"}, "references lead round in a circle"),
        ({"${oc.env:DEMO_MODEL,/models/demo}": "${oc.decode:x}"}, "evalkit knows ${{oc.env:NAME}}"),
        ({"port: 9010": "port: many"}, "the port must be a number from 1 to 65535, not 'many'"),
        ({"engine_args:\n": "engine_args: 3\n  other:\n"}, "engine_args: must be a mapping"),
        ({"  envs:\n": "  envs: 3\n  other:\n"}, "experiment.envs: must be a mapping"),
        ({"action: run": "\taction: run"}, "a tab cannot indent YAML"),
    ],
)
def test_mistakes_name_file_and_line(serve, changes, words):
    path = serve(**changes)
    with pytest.raises(ConfigError) as error:
        read_flagscale(path)
    assert words.format(conf=path.parent) in str(error.value), str(error.value)


def test_an_absent_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        read_flagscale(tmp_path / "serve.yaml")


# ---------------------------------------------------------------- in an endpoint's file


def test_it_fills_in_address_and_model(serve, tmp_path):
    serve()
    config = load_config(endpoint(tmp_path, "name: flagos\nflagscale: conf/serve.yaml\n"), (), with_flagscale)
    assert (config.base_url, config.model) == ("http://127.0.0.1:9010/v1", "demo-nvidia-flagos")
    assert config.flagscale.engine == "vllm"
    assert config.where("base_url").endswith("flagos.yaml:2")
    dump = public_dump(config)["flagscale"]
    assert dump["env"]["USE_FLAGGEMS"] == "true"
    assert dump["engine_args"]["gpu_memory_utilization"] == 0.9


def test_what_the_file_says_itself_stays(serve, tmp_path):
    serve()
    text = "name: a\nbase_url: http://far:1/v1\nmodel: m\nflagscale: {config: conf/serve.yaml}\n"
    config = load_config(endpoint(tmp_path, text), (), with_flagscale)
    assert (config.base_url, config.model) == ("http://far:1/v1", "m")


def test_two_sides_differ_in_what_flagscale_says(serve, tmp_path):
    serve()
    text = "name: {name}\nflagscale: {{config: conf/serve.yaml, overrides: {{{overrides}}}}}\n"
    sides = []
    changed = {"ref": "experiment.envs.USE_FLAGGEMS: false", "cand": "experiment.runner.deploy.port: 9011"}
    for name, overrides in changed.items():
        path = endpoint(tmp_path, text.format(name=name, overrides=overrides))
        sides.append(load_config(path, (), with_flagscale))
    found = {one.key: (one.reference, one.candidate) for one in differences(*sides)}
    assert found["flagscale.env.USE_FLAGGEMS"] == ("false", "true")
    assert found["flagscale.engine_args.port"] == ("9010", "9011")


def test_secrets_of_the_servers_environment_are_not_stored(serve, tmp_path):
    serve(**{"CUDA_VISIBLE_DEVICES: 0": "HF_TOKEN: hf_abcdefgh"})
    config = load_config(endpoint(tmp_path, "name: a\nflagscale: conf/serve.yaml\n"), (), with_flagscale)
    assert "hf_abcdefgh" not in str(public_dump(config))


def test_a_launch_takes_the_configuration(serve, tmp_path):
    serve()
    text = "name: a\nflagscale: conf/serve.yaml\nlaunch: {kind: flagscale, port: 9100, flaggems: true}\n"
    config = load_config(endpoint(tmp_path, text), (), with_flagscale)
    assert config.base_url == "http://127.0.0.1:9100/v1"
    assert config.launch.config == tmp_path / "conf" / "serve.yaml"
    assert config.launch.name == "demo_8b"
    alone = load_config(
        endpoint(tmp_path, "name: a\nlaunch: {kind: flagscale, config: conf/serve.yaml, name: x}\n"), (), with_flagscale
    )
    assert (alone.launch.name, alone.flagscale.engine) == ("x", "vllm")


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("flagscale: conf/serve.yaml\nlaunch: {kind: flagscale, flaggems: false}", {}, "which wins: make them agree"),
        (
            "flagscale: conf/serve.yaml\nlaunch: {kind: flagscale}",
            {"hostfile: null": "hostfile: hosts.txt"},
            "ends every Python process",
        ),
        (
            "flagscale: {config: conf/serve.yaml, overrides: {action: x}}\nlaunch: {kind: flagscale}",
            {},
            "takes no overrides",
        ),
        ("flagscale: {config: conf/serve.yaml, engine: vllm}", {}, "is read from the serve configuration"),
        ("flagscale: {config: conf/serve.yaml, port: 3}", {}, "unknown key 'port' in flagscale"),
        ("flagscale: 3\nmodel: x\nbase_url: http://a/v1", {}, "a.yaml:2: flagscale"),
        ("model: x\nlaunch: {kind: flagscale}", {}, "launch kind flagscale needs flagscale"),
        ("flagscale: conf/other.yaml", {}, "a.yaml:2: flagscale: {tmp}/conf/other.yaml: there is no such file"),
    ],
)
def test_mistakes_in_the_endpoints_file(serve, tmp_path, text, changes, words):
    serve(**changes)
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\n{text}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path, (), with_flagscale)
    assert words.format(tmp=tmp_path) in str(error.value), str(error.value)
    assert "a.yaml:" in str(error.value)
