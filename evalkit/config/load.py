"""YAML files and overrides into one checked `EndpointConfig`; every mistake is a sentence with its file and line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from evalkit.config.flagscale_source import with_flagscale
from evalkit.config.interpolate import Interpolator
from evalkit.config.launch import KNOWN_MODEL
from evalkit.config.origin import KeyPath, Origins, dotted
from evalkit.config.overrides import parse_override
from evalkit.config.problems import problems
from evalkit.config.redact import redacted
from evalkit.config.schema import EndpointConfig
from evalkit.config.tree import Node, merge, parse
from evalkit.errors import ConfigError

MAX_FILE_BYTES: Final = 2**20
MAX_EXTENDS: Final = 10

# Where a configuration holds paths ("*": any key or index); a relative one counts from the file that holds it.
PATH_KEYS: Final[frozenset[tuple[str, ...]]] = frozenset(
    {
        ("tls", "ca_file"),
        ("judge", "tls", "ca_file"),
        ("suite_folders", "*"),
        ("data",),
        ("data", "*"),
        ("flagscale",),
        ("flagscale", "config"),
        ("launch", "config"),
        ("launch", "model"),
        ("launch", "chat_template_file"),
        ("launch", "cwd"),
        ("launch", "log"),
        ("runs",),
    }
)


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> EndpointConfig:
    """Read an endpoint's configuration: the file, what it extends, then the overrides `a.b=c` in their order.

    Raises:
        ConfigError: anything wrong with a file, a key, a value, a variable or an override; one line for each problem.
    """
    interpolator = Interpolator()
    tree = _load_file(Path(path), interpolator, ())
    for text in overrides:
        override = parse_override(text, interpolator)
        resolved = replace(override, value=_resolve_paths(override.value, override.parts, Path()))
        tree = resolved.apply(tree)
    tree = with_flagscale(tree)
    try:
        config = EndpointConfig.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError(redacted(problems(error, tree), interpolator.secrets)) from None
    places = {dotted(key): node.origin for key, node in tree.walk() if key}
    config.remember_origins(Origins(MappingProxyType(places), frozenset(interpolator.secrets)))
    return config


def _load_file(path: Path, interpolator: Interpolator, above: tuple[str, ...], asked_by: str = "") -> Node:
    """One file merged over the file that it extends; `above` are the files that led here, `asked_by` the last line."""
    real = os.path.realpath(path)
    tree = _resolve_paths(parse(_read(path, asked_by), str(path), interpolator), (), path.parent)
    if not isinstance(tree.value, Mapping):
        raise ConfigError(f"{tree.origin}: a configuration is a mapping of keys, such as 'name: reference'")
    extends = tree.child("extends")
    if extends is None:
        return tree
    own = replace(tree, value={key: node for key, node in tree.value.items() if key != "extends"})
    if not isinstance(extends.value, str) or not extends.value:
        raise ConfigError(f"{extends.origin}: extends: must be the path of one YAML file")
    base = _beside(path.parent, extends.value)
    chain = (*above, real)
    if os.path.realpath(base) in chain:
        raise ConfigError(f"{extends.origin}: extends: {base} extends itself in the end: break the circle")
    if len(chain) > MAX_EXTENDS:
        raise ConfigError(f"{extends.origin}: extends: more than {MAX_EXTENDS} files extend one another")
    return merge(_load_file(base, interpolator, chain, f"{extends.origin}: extends: "), own)


def _read(path: Path, asked_by: str) -> str:
    """The text of a file, which is bounded so that a wrong path cannot fill the memory."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{asked_by}{path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{asked_by}{path}: is a folder, not a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{asked_by}{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_FILE_BYTES // 2**20} MiB: is it a configuration?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text") from None


def _resolve_paths(node: Node, path: KeyPath, folder: Path) -> Node:
    """The same tree with the relative paths that it holds counted from `folder`."""
    if isinstance(node.value, Mapping):
        return replace(
            node, value={key: _resolve_paths(item, (*path, key), folder) for key, item in node.value.items()}
        )
    if isinstance(node.value, tuple):
        entries = enumerate(node.value)
        return replace(node, value=tuple(_resolve_paths(item, (*path, index), folder) for index, item in entries))
    if not isinstance(node.value, str) or not _is_path_key(path) or node.value == "":
        return node
    if path == ("launch", "model") and node.value == KNOWN_MODEL:
        return node
    return replace(node, value=os.path.normpath(_beside(folder, node.value)))


def _beside(folder: Path, written: str) -> Path:
    """A path as it was written in a file of `folder`; `~` is the home folder, where there is one."""
    try:
        return folder / Path(written).expanduser()
    except RuntimeError:
        return folder / written


def _is_path_key(path: KeyPath) -> bool:
    return any(
        len(pattern) == len(path) and all(want in ("*", part) for want, part in zip(pattern, path, strict=True))
        for pattern in PATH_KEYS
    )
