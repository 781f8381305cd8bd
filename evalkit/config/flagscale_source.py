"""`flagscale:` of an endpoint's file: fills in the address, the model and what is served from a serve configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evalkit.config.flagscale import FlagScaleServe, FromCommandLine, as_node, is_on, read_flagscale
from evalkit.config.tree import Node
from evalkit.errors import ConfigError

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
