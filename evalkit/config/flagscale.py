"""Reads a FlagScale serve configuration: which engine serves what where, with which arguments and variables.

Only YAML and FlagScale's own rules, no import of it (read at FlagScale 0.8 and 1.0 alpha):

    port     launch.port (`--port`), else experiment.runner.deploy.port, else engine_args.port, else 8000
             (SGLang and llama.cpp listen on 30000 and 8080 then: FlagScale passes them no port)
    model    engine_args.served_model_name (a list: its first), else engine_args.model
    merging  vLLM: engine_args over engine_args_specific.vllm; SGLang and llama.cpp: the specific ones over engine_args
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from evalkit.config.yaml import Node, Origin, merge, parse_file
from evalkit.errors import ConfigError

DEFAULT_PORTS: Final = {"vllm": 8000, "sglang": 30_000, "llama_cpp": 8080}
EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never listened on
LOCAL: Final = "127.0.0.1"
MAX_REFERENCES: Final = 20

_REFERENCE: Final = re.compile(r"\$\{([^${}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORT: Final = re.compile(r"(?:^|[;&\s])export\s+([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|[^\s;&]*)")
_GROUP: Final = re.compile(r"[A-Za-z0-9_./@-]{1,200}")


@dataclass(frozen=True, slots=True)
class FromCommandLine:
    """What `flagscale serve` is told beside the file: it wins over the file."""

    port: int | None = None
    model_path: str | None = None
    engine_args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlagScaleServe:
    """One served model as its configuration says. `env` holds variables as text, `engine_args` the merged arguments.

    `host` is where to ask (127.0.0.1 for a server that listens everywhere); `nodes` is the hostfile of a multi-node
    setup; `log` is where FlagScale writes the engine's output, relative to its working folder.
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
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    told: FromCommandLine | None = None,
    asked_by: str = "",
) -> FlagScaleServe:
    """Read a serve configuration and the files that its `defaults` name.

    `overrides` are dotted keys with values, as FlagScale takes them from Hydra (`experiment.envs.USE_FLAGGEMS: true`);
    `asked_by` stands before the sentence about an absent file.

    Raises:
        ConfigError: a file is absent or no YAML, a key is missing or of another kind; names file and line.
    """
    tree = _composed(path, asked_by)
    for key, value in (overrides or {}).items():
        tree = merge(tree, _nested(key.split("."), value, Origin("overrides")))
    resolved = _Resolver(tree).resolve(tree)
    return _Reader(path, resolved).read(told or FromCommandLine())


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


def _nested(parts: list[str], value: Any, origin: Origin) -> Node:
    node = as_node(value, origin)
    for part in reversed(parts):
        node = Node({part: node}, origin)
    return node


@dataclass(slots=True)
class _Resolver:
    """OmegaConf's references: `${oc.env:NAME}`, `${oc.env:NAME,default}` and `${dotted.key}` from the root."""

    root: Node
    depth: int = 0

    def resolve(self, node: Node) -> Node:
        """The tree with every reference filled in."""
        if isinstance(node.value, Mapping):
            return replace(node, value={key: self.resolve(child) for key, child in node.value.items()})
        if isinstance(node.value, tuple):
            return replace(node, value=tuple(self.resolve(child) for child in node.value))
        if isinstance(node.value, str) and "${" in node.value:
            return replace(node, value=self._text(node.value, node.origin))
        return node

    def _text(self, text: str, origin: Origin) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole:
            return self._value(whole[1], origin)
        return _REFERENCE.sub(lambda match: str(self._value(match[1], origin)), text)

    def _value(self, reference: str, origin: Origin) -> Any:
        self.depth += 1
        if self.depth > MAX_REFERENCES:
            raise ConfigError(f"{origin}: ${{{reference}}}: references lead round in a circle, or too deep")
        try:
            if ":" in reference:
                return self._environment(reference, origin)
            node: Node | None = self.root
            for part in reference.split("."):
                node = node.child(int(part) if part.isdecimal() else part) if node is not None else None
            if node is None or isinstance(node.value, Mapping | tuple):
                raise ConfigError(f"{origin}: ${{{reference}}}: there is no such value in the configuration")
            return self._text(node.value, origin) if isinstance(node.value, str) else node.value
        finally:
            self.depth -= 1

    def _environment(self, reference: str, origin: Origin) -> str:
        resolver, _, argument = reference.partition(":")
        name, comma, default = argument.partition(",")
        if resolver != "oc.env" or not _NAME.fullmatch(name.strip()):
            raise ConfigError(f"{origin}: ${{{reference}}}: evalkit knows ${{oc.env:NAME}} and ${{a.dotted.key}} only")
        if name.strip() in os.environ:
            return os.environ[name.strip()]
        if comma:
            return default.strip()
        raise ConfigError(f"{origin}: ${{{reference}}}: the environment variable {name.strip()} is not set: export it")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes the served model out of the resolved tree."""

    path: Path
    tree: Node

    def read(self, told: FromCommandLine) -> FlagScaleServe:
        item = self._item()
        engine = self._engine(item)
        arguments = self._arguments(item, engine, told)
        model = arguments.get("model")
        if not isinstance(model, str) or not model:
            raise ConfigError(f"{item.origin}: engine_args.model is missing: the path or name of the served model")
        port = self._port(engine, arguments, told)
        arguments["port"] = port
        host = str(arguments.get("host") or LOCAL)
        experiment = str(self._at("experiment.exp_name") or self.path.stem)
        return FlagScaleServe(
            name=experiment,
            engine=engine,
            model=model,
            served_name=_served_name(arguments, model),
            host=LOCAL if host in EVERYWHERE else host,
            port=port,
            env=self._variables(),
            engine_args=arguments,
            nodes=str(found) if (found := self._at("experiment.runner.hostfile")) else None,
            log=Path(str(self._at("experiment.exp_dir") or "outputs")) / "serve_logs" / "host_0_localhost.output",
        )

    def _at(self, key: str) -> Any:
        node: Node | None = self.tree
        for part in key.split("."):
            node = node.child(part) if node is not None else None
        return None if node is None else node.plain()

    def _item(self) -> Node:
        serve = self.tree.child("serve")
        if serve is None:
            raise ConfigError(f"{self.path}: has no serve: section; is it FlagScale's serve.yaml, with its defaults?")
        items = serve.value if isinstance(serve.value, tuple) else ()
        for item in items:
            if isinstance(item.value, Mapping) and item.child("serve_id") is not None:
                return item
        raise ConfigError(f"{serve.origin}: serve: must be a list whose entries have serve_id, engine and engine_args")

    def _engine(self, item: Node) -> str:
        told = item.child("engine")
        engine = self._at("experiment.task.backend") or (told.value if told is not None else None)
        if engine not in DEFAULT_PORTS:
            place = told.origin if told is not None else item.origin
            raise ConfigError(f"{place}: engine: must be one of {', '.join(DEFAULT_PORTS)}, not {engine!r}")
        return str(engine)

    def _arguments(self, item: Node, engine: str, told: FromCommandLine) -> dict[str, Any]:
        common = self._mapping(item, "engine_args")
        specific = self._mapping(item.child("engine_args_specific"), engine)
        # vLLM gets one mapping; the others get both lists of flags, of which the later wins.
        merged = {**specific, **common} if engine == "vllm" else {**common, **specific}
        if told.model_path is not None:
            merged["model"] = told.model_path
        return merged | dict(told.engine_args)

    def _mapping(self, node: Node | None, key: str) -> dict[str, Any]:
        found = node.child(key) if node is not None else None
        if found is None or found.value is None:
            return {}
        plain = found.plain()
        if not isinstance(plain, dict):
            raise ConfigError(f"{found.origin}: {key}: must be a mapping of the engine's options")
        return plain

    def _port(self, engine: str, arguments: Mapping[str, Any], told: FromCommandLine) -> int:
        deployed = self._at("experiment.runner.deploy.port")
        port = told.port or deployed or arguments.get("port") or DEFAULT_PORTS[engine]
        if not str(port).isdecimal() or not 0 < int(port) < 65_536:
            raise ConfigError(f"{self.path}: the port must be a number from 1 to 65535, not {port!r}")
        return int(port)

    def _variables(self) -> dict[str, str]:
        """Variables of experiment.envs, and those that cmds.before_start exports, over which envs win."""
        before = self._at("experiment.cmds.before_start")
        exported = {name: value.strip("\"'") for name, value in _EXPORT.findall(str(before or ""))}
        envs = self._at("experiment.envs") or {}
        if not isinstance(envs, dict):
            raise ConfigError(f"{self.path}: experiment.envs: must be a mapping of environment variables")
        named = {key: value for key, value in envs.items() if not isinstance(value, dict | list)}
        return exported | {key: _as_text(value) for key, value in named.items()}


def _served_name(arguments: Mapping[str, Any], model: str) -> str:
    name = arguments.get("served_model_name")
    if isinstance(name, list):
        name = name[0] if name else None
    return str(name) if name else model


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def is_on(value: str | None) -> bool:
    """Whether a switch such as USE_FLAGGEMS is on, as FlagScale and FlagGems read it."""
    return value is not None and value.strip().lower() in {"1", "true", "yes", "on"}


# ---------------------------------------------------------------- `flagscale:` of an endpoint's file


SWITCH: Final = "USE_FLAGGEMS"
_GIVEN: Final = frozenset({"config", "overrides"})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def with_flagscale(tree: Node) -> Node:
    """The tree of an endpoint's file with what its FlagScale configuration says; unchanged where it names none.

    What the file itself says stays: an address of its own (a server on another machine), another model name.

    Raises:
        ConfigError: the configuration cannot be read or launched as it is; one sentence with file and line.
    """
    launch = _launch(tree)
    source = tree.child("flagscale")
    if source is None or source.value is None:
        source = launch.child("config") if launch is not None else None
    if source is None or source.value is None or not isinstance(tree.value, Mapping):
        return tree
    path, overrides = _given(source)
    if path is None:
        return tree  # the schema says what is wrong
    found = read_flagscale(path, overrides, _told(launch), f"{source.origin}: flagscale: ")
    added: dict[str, Any] = {"flagscale": _described(source, path, overrides, found)}
    if tree.child("base_url") is None and tree.child("base_urls") is None:
        added["base_url"] = Node(found.base_url, source.origin)
    if tree.child("model") is None:
        added["model"] = Node(found.served_name, source.origin)
    if launch is not None:
        _check_launch(launch, overrides, found)
        filled = {**_mapping(launch), "config": Node(str(path), source.origin)}
        added["launch"] = replace(launch, value={"name": Node(found.name, source.origin)} | filled)
    return replace(tree, value={**tree.value, **added})


def _launch(tree: Node) -> Node | None:
    """The launch section, where it is FlagScale's."""
    launch = tree.child("launch")
    kind = launch.child("kind") if launch is not None else None
    return launch if kind is not None and kind.value == "flagscale" else None


def _mapping(node: Node) -> Mapping[str, Node]:
    return node.value if isinstance(node.value, Mapping) else {}


def _given(source: Node) -> tuple[Path | None, dict[str, Any]]:
    """Path and overrides; None where they are not what the schema takes."""
    if isinstance(source.value, str):
        return Path(source.value), {}
    for key, node in _mapping(source).items():
        if key in {"engine", "engine_args", "env"}:
            raise ConfigError(f"{node.origin}: flagscale.{key}: is read from the serve configuration: change it there")
        if key not in _GIVEN:
            return None, {}
    config, overrides = source.child("config"), source.child("overrides")
    plain = overrides.plain() if overrides is not None else None
    path = Path(config.value) if config is not None and isinstance(config.value, str) else None
    return path, plain if isinstance(plain, dict) else {}


def _told(launch: Node | None) -> FromCommandLine:
    """What `launch` passes to `flagscale serve`; values of a wrong kind are left for the schema to refuse."""
    if launch is None:
        return FromCommandLine()
    values = {key: node.plain() for key, node in _mapping(launch).items()}
    port, model_path, engine_args = (values.get(key) for key in ("port", "model_path", "engine_args"))
    return FromCommandLine(
        port=port if isinstance(port, int) and not isinstance(port, bool) else None,
        model_path=model_path if isinstance(model_path, str) else None,
        engine_args=engine_args if isinstance(engine_args, dict) else {},
    )


def _described(source: Node, path: Path, overrides: Mapping[str, Any], found: FlagScaleServe) -> Node:
    origin = source.origin
    variables = {name: value for name, value in found.env.items() if _VARIABLE.fullmatch(name)}
    said: dict[str, Any] = {
        "config": str(path),
        "overrides": dict(overrides),
        "engine": found.engine,
        "engine_args": dict(found.engine_args),
        "env": variables,
    }
    return as_node(said, origin)


def _check_launch(launch: Node, overrides: Mapping[str, Any], found: FlagScaleServe) -> None:
    if overrides:
        raise ConfigError(
            f"{launch.origin}: launch: `flagscale serve` takes no overrides: change the serve configuration, or use "
            "launch.port, launch.model_path and launch.engine_args"
        )
    if found.nodes is not None:
        raise ConfigError(
            f"{launch.origin}: launch: the serve configuration has a hostfile ({found.nodes}): FlagScale's start over "
            "several machines ends every Python process of theirs; start it by hand, and leave launch out"
        )
    wanted = launch.child("flaggems")
    told = found.env.get(SWITCH)
    if wanted is not None and isinstance(wanted.value, bool) and told is not None and is_on(told) != wanted.value:
        raise ConfigError(
            f"{wanted.origin}: launch.flaggems is {str(wanted.value).lower()}, and the serve configuration sets "
            f"{SWITCH} to {told}, which wins: make them agree"
        )
