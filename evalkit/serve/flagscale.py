"""Reads a FlagScale serve configuration: which engine serves what where, with which arguments and variables.

Only YAML and FlagScale's own rules, no import of it (read at FlagScale 0.6.5, 0.8.0, 0.9.0 and main of 2025-11):

    port     launch.port (`--port`), else the port of experiment.runner.deploy (0.8: of experiment.deploy), else
             8000 where deploy.use_fs_serve is not false (Ray Serve), else engine_args.port, else 8000
             (SGLang and llama.cpp listen on 30000 and 8080 then: FlagScale passes them no port)
    0.6      serve.model_args.vllm_model stands for engine_args, and there is no deploy
    model    engine_args.served_model_name (a list: its first), else engine_args.model
    merging  vLLM: engine_args over engine_args_specific.vllm; SGLang and llama.cpp: the specific ones over engine_args
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from evalkit.config.base import ENVIRONMENT_NAME
from evalkit.config.yaml import Node, Origin, find, merge, parse_file
from evalkit.errors import ConfigError

DEFAULT_PORTS: Final = {"vllm": 8000, "sglang": 30_000, "llama_cpp": 8080}
EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never listened on
LOCAL: Final = "127.0.0.1"
MAX_REFERENCES: Final = 20

_REFERENCE: Final = re.compile(r"\$\{([^${}]*)\}")
_EXPORT: Final = re.compile(r"(?:^|[;&\s])export\s+([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|[^\s;&]*)")
_GROUP: Final = re.compile(r"[A-Za-z0-9_./@-]{1,200}")


@dataclass(frozen=True, slots=True)
class FromCommandLine:
    """What `flagscale serve` is told beside the file, and wins over it; `env` is added to evalkit's environment."""

    port: int | None = None
    model_path: str | None = None
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlagScaleServe:
    """One served model as its configuration says. `env` holds variables as text, `engine_args` the merged arguments.

    `host` is where to ask (127.0.0.1 for a server that listens everywhere); `nodes` says what spreads the server over
    several machines or engines, if anything does; `log` is where FlagScale writes the engine's output, relative to its
    working folder.
    """

    name: str
    engine: str
    model: str
    served_name: str
    host: str
    port: int
    env: Mapping[str, str]
    engine_args: Mapping[str, Any]
    nodes: str | None
    log: Path

    @property
    def base_url(self) -> str:
        """The address of the OpenAI-compatible endpoint."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/v1"


def read_flagscale(
    path: Path, overrides: Mapping[str, Any] | None = None, told: FromCommandLine | None = None, asked_by: str = ""
) -> FlagScaleServe:
    """Read a serve configuration and the files that its `defaults` name.

    `overrides` are dotted keys with values, as FlagScale takes them from Hydra (`experiment.envs.USE_FLAGGEMS: true`);
    `asked_by` stands before the sentence about an absent file.

    Raises `ConfigError`: a file is absent or no YAML, a key is missing or of another kind; names file and line.
    """
    tree = _composed(path, asked_by)
    for key, value in (overrides or {}).items():
        nested = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        tree = merge(tree, as_node(nested, Origin("overrides")))
    told = told or FromCommandLine()
    around = {**os.environ, **told.env}
    resolved = tree.mapped(lambda text, origin, _path: _filled(text, origin, tree, around))
    return _read(path, resolved, told)


def _composed(path: Path, asked_by: str) -> Node:
    """The file with what `defaults` adds: `- serve: 8b` puts serve/8b.yaml under the key `serve`."""
    tree = parse_file(path, asked_by)
    if not isinstance(tree.value, Mapping):
        raise ConfigError(f"{tree.origin}: a FlagScale configuration is a mapping with experiment: and defaults:")
    own = replace(tree, value={key: node for key, node in tree.value.items() if key not in {"defaults", "hydra"}})
    defaults = tree.child("defaults")
    if defaults is None:
        return own
    if not isinstance(defaults.value, tuple):
        raise ConfigError(f"{defaults.origin}: defaults: must be a list such as [_self_, {{serve: 8b}}]")
    composed = Node({}, tree.origin)
    placed = False
    for entry in defaults.value:
        if entry.value == "_self_":
            composed, placed = merge(composed, own), True
        elif isinstance(entry.value, Mapping):
            for group, chosen in entry.value.items():
                composed = merge(composed, _group(path, group, chosen))
        else:
            raise ConfigError(f"{entry.origin}: defaults: evalkit reads `_self_` and `group: name` only")
    return composed if placed else merge(composed, own)


def _group(path: Path, group: str, chosen: Node) -> Node:
    name = chosen.value
    if not isinstance(name, str | int) or not _GROUP.fullmatch(f"{group}/{name}") or ".." in f"{group}/{name}":
        raise ConfigError(f"{chosen.origin}: defaults.{group}: must be the name of a file in {path.parent / group}")
    file = path.parent / group / f"{name}.yaml"
    return Node({group: parse_file(file, f"{chosen.origin}: defaults.{group}: ")}, chosen.origin)


def as_node(value: Any, origin: Origin) -> Node:
    """Plain values as a tree, all at one place."""
    if isinstance(value, Mapping):
        return Node({str(key): as_node(item, origin) for key, item in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Node(tuple(as_node(item, origin) for item in value), origin)
    return Node(value, origin)


def _filled(text: str, origin: Origin, root: Node, around: Mapping[str, str], depth: int = 0) -> Any:
    """OmegaConf's references: `${oc.env:NAME}`, `${oc.env:NAME,default}` and `${dotted.key}` from the root.

    `around` are the environment's variables.
    """

    def value(match: re.Match[str]) -> Any:
        shown = f"{origin}: {match[0]}"
        if depth == MAX_REFERENCES:
            raise ConfigError(f"{shown}: references lead round in a circle, or too deep")
        resolver, colon, argument = match[1].partition(":")
        if colon:
            name, comma, default = (part.strip() for part in argument.partition(","))
            if resolver != "oc.env" or not ENVIRONMENT_NAME.fullmatch(name):
                raise ConfigError(f"{shown}: evalkit knows ${{oc.env:NAME}} and ${{a.dotted.key}} only")
            if name not in around and not comma:
                raise ConfigError(f"{shown}: the environment variable {name} is not set: export it")
            return around.get(name, default)
        node = find(root, tuple(int(part) if part.isdecimal() else part for part in match[1].split(".")))
        if node is None or isinstance(node.value, Mapping | tuple):
            raise ConfigError(f"{shown}: there is no such value in the configuration")
        return _filled(node.value, origin, root, around, depth + 1) if isinstance(node.value, str) else node.value

    whole = _REFERENCE.fullmatch(text)
    return value(whole) if whole else _REFERENCE.sub(lambda match: str(value(match)), text)


def _read(path: Path, tree: Node, told: FromCommandLine) -> FlagScaleServe:
    """Takes the served model out of the resolved tree."""
    item = _item(path, tree)
    engine = _engine(tree, item)
    common = _options(item.child("engine_args"), "engine_args")
    specific = _options(find(item, ("engine_args_specific", engine)), engine)
    # vLLM gets one mapping; the others get both lists of flags, of which the later wins.
    arguments = {**specific, **common} if engine == "vllm" else {**common, **specific}
    arguments |= ({} if told.model_path is None else {"model": told.model_path}) | dict(told.engine_args)
    model = arguments.get("model")
    if not isinstance(model, str) or not model:
        raise ConfigError(f"{item.origin}: engine_args.model is missing: the path or name of the served model")
    deploy = _at(tree, "experiment.runner.deploy") or _at(tree, "experiment.deploy")
    deploy = deploy if isinstance(deploy, dict) else {}
    # FlagScale 0.6 has neither `deploy` nor Ray Serve in between, nor a serve_id.
    direct = item.child("serve_id") is None or not deploy.get("use_fs_serve", True)
    behind = arguments.get("port") or DEFAULT_PORTS[engine] if direct else 8000
    port = told.port or deploy.get("port") or behind
    if not str(port).isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"{path}: the port must be a number from 1 to 65535, not {port!r}")
    host = str(arguments.get("host") or LOCAL)
    served = arguments.get("served_model_name")
    hostfile, kind = (_at(tree, f"experiment.runner.{key}") for key in ("hostfile", "type"))
    spread = {
        f"a hostfile ({hostfile})": hostfile,
        "runner.type: cloud": kind == "cloud",
        "prefill_decode_disaggregation": deploy.get("prefill_decode_disaggregation"),
    }
    return FlagScaleServe(
        name=str(_at(tree, "experiment.exp_name") or path.stem),
        engine=engine,
        model=model,
        served_name=str((next(iter(served), None) if isinstance(served, list) else served) or model),
        host=LOCAL if host in EVERYWHERE else host,
        port=int(port),
        env=_variables(path, tree),
        engine_args=arguments | {"port": int(port)},
        nodes=next((words for words, said in spread.items() if said), None),
        log=Path(str(_at(tree, "experiment.exp_dir") or "outputs")) / "serve_logs" / "host_0_localhost.output",
    )


def _at(tree: Node, key: str) -> Any:
    node = find(tree, tuple(key.split(".")))
    return None if node is None else node.plain()


def _item(path: Path, tree: Node) -> Node:
    serve = tree.child("serve")
    if serve is None:
        raise ConfigError(f"{path}: has no serve: section; is it FlagScale's serve.yaml, with its defaults?")
    if _at(tree, "action") == "auto_tune":
        raise ConfigError(f"{path}: action: auto_tune starts many servers in turn and keeps none: set it to run")
    if (old := find(serve, ("model_args", "vllm_model"))) is not None:
        options = {key.replace("-", "_"): node for key, node in old.children().items()}
        options |= {"model": options.pop("model_tag")} if "model_tag" in options else {}
        return Node({"engine": Node("vllm", old.origin), "engine_args": Node(options, old.origin)}, old.origin)
    for item in serve.value if isinstance(serve.value, tuple) else ():
        if item.child("serve_id") is not None:
            return item
    raise ConfigError(f"{serve.origin}: serve: must be a list whose entries have serve_id, engine and engine_args")


def _engine(tree: Node, item: Node) -> str:
    told = item.child("engine")
    engine = _at(tree, "experiment.task.backend") or (told.value if told is not None else None)
    if engine not in DEFAULT_PORTS:
        place = (told or item).origin
        raise ConfigError(f"{place}: engine: must be one of {', '.join(DEFAULT_PORTS)}, not {engine!r}")
    return str(engine)


def _options(found: Node | None, key: str) -> dict[str, Any]:
    plain = None if found is None else found.plain()
    if found is not None and not isinstance(plain, dict | None):
        raise ConfigError(f"{found.origin}: {key}: must be a mapping of the engine's options")
    return plain or {}


def _variables(path: Path, tree: Node) -> dict[str, str]:
    """Variables of experiment.envs, and those that cmds.before_start exports, over which envs win."""
    before = str(_at(tree, "experiment.cmds.before_start") or "")
    envs = _at(tree, "experiment.envs") or {}
    if not isinstance(envs, dict):
        raise ConfigError(f"{path}: experiment.envs: must be a mapping of environment variables")
    exported = {name: value.strip("\"'") for name, value in _EXPORT.findall(before)}
    plain = {key: "" if value is None else value for key, value in envs.items() if not isinstance(value, dict | list)}
    return exported | {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in plain.items()
    }


def is_on(value: str | None) -> bool:
    """Whether a switch such as USE_FLAGGEMS is on, as FlagScale and FlagGems read it."""
    return value is not None and value.strip().lower() in {"1", "true", "yes", "on"}


SWITCH: Final = "USE_FLAGGEMS"


def with_flagscale(tree: Node) -> Node:
    """The tree of an endpoint's file with what its FlagScale configuration says; unchanged where it names none.

    What the file itself says stays: an address of its own (a server on another machine), another model name.

    Raises `ConfigError`: the configuration cannot be read or launched as it is; one sentence with file and line.
    """
    launch = tree.child("launch")
    if launch is None or _at(launch, "kind") != "flagscale":
        launch = None
    source = tree.child("flagscale")
    if (source is None or source.value is None) and launch is not None:
        source = launch.child("config")
    if source is None or not isinstance(tree.value, Mapping):
        return tree
    path, overrides = _given(source)
    if path is None:
        return tree  # the schema says what is wrong
    path = _by_name(path, "flagscale" if launch is None else str((_at(launch, "program") or ["flagscale"])[-1]))
    found = read_flagscale(path, overrides, _told(launch), f"{source.origin}: flagscale: ")
    said = {"config": str(path), "overrides": overrides, "engine": found.engine, "engine_args": found.engine_args}
    said["env"] = {name: value for name, value in found.env.items() if ENVIRONMENT_NAME.fullmatch(name)}
    added = {"flagscale": as_node(said, source.origin)}
    if tree.child("base_url") is None and tree.child("base_urls") is None:
        added["base_url"] = Node(found.base_url, source.origin)
    if tree.child("model") is None:
        added["model"] = Node(found.served_name, source.origin)
    if launch is not None:
        _check_launch(launch, overrides, found)
        filled = {"name": Node(found.name, source.origin), **launch.children()}
        added["launch"] = replace(launch, value=filled | {"config": Node(str(path), source.origin)})
    return replace(tree, value={**tree.value, **added})


def _given(source: Node) -> tuple[Path | None, dict[str, Any]]:
    """Path and overrides; no path where they are not what the schema takes."""
    if isinstance(source.value, str):
        return Path(source.value), {}
    said = source.children()
    for key in said.keys() & {"engine", "engine_args", "env"}:
        raise ConfigError(f"{said[key].origin}: flagscale.{key}: is read from the serve configuration: change it there")
    path, overrides = (_at(source, key) for key in ("config", "overrides"))
    usable = isinstance(path, str) and said.keys() <= {"config", "overrides"}
    return Path(path) if usable else None, overrides if isinstance(overrides, dict) else {}


def _by_name(path: Path, program: str) -> Path:
    """The serve configuration of an example of the installed FlagScale, where its name is given and no file."""
    if path.exists() or path.suffix or (installed := shutil.which(program)) is None:
        return path
    examples = Path(installed).resolve().parents[1].glob("lib/python3*/site-packages/flag_scale/examples")
    files = (f"{path.name}/conf/{file}.yaml" for file in ("serve", f"config_{path.name}"))
    return next((folder / file for folder, file in product(examples, files) if (folder / file).is_file()), path)


def _told(launch: Node | None) -> FromCommandLine:
    """What `launch` passes to `flagscale serve`; values of a wrong kind are left for the schema to refuse."""
    kinds = {"port": int, "model_path": str, "engine_args": dict, "env": dict}
    said = {} if launch is None else {key: _at(launch, key) for key in kinds}
    usable: dict[str, Any] = {key: value for key, value in said.items() if type(value) is kinds[key]}
    return FromCommandLine(**usable)


def _check_launch(launch: Node, overrides: Mapping[str, Any], found: FlagScaleServe) -> None:
    if overrides:
        raise ConfigError(
            f"{launch.origin}: launch: `flagscale serve` takes no overrides: change the serve configuration, or use "
            "launch.port, launch.model_path and launch.engine_args"
        )
    if found.nodes is not None:
        raise ConfigError(
            f"{launch.origin}: launch: the serve configuration has {found.nodes}: FlagScale's start over several "
            "machines or engines ends every Python process of theirs; start it by hand, and leave launch out"
        )
    wanted = launch.child("flaggems")
    told = found.env.get(SWITCH)
    if wanted is not None and isinstance(wanted.value, bool) and told is not None and is_on(told) != wanted.value:
        raise ConfigError(
            f"{wanted.origin}: launch.flaggems is {str(wanted.value).lower()}, and the serve configuration sets "
            f"{SWITCH} to {told}, which wins: make them agree"
        )
