"""YAML files and `--set` overrides into one checked `EndpointConfig`; mistakes are sentences with file and line."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from evalkit.config.launch import KNOWN_MODEL
from evalkit.config.problems import problems
from evalkit.config.redact import redacted, remember
from evalkit.config.sampling import Sampling
from evalkit.config.schema import EndpointConfig
from evalkit.config.yaml import (
    Interpolate,
    Interpolator,
    KeyPath,
    Node,
    Origin,
    Origins,
    dotted,
    merge,
    parse,
    parse_value,
    read_text,
)
from evalkit.errors import ConfigError, StorageError, did_you_mean
from evalkit.resources import data_folder

# `--set a.b=c`: one value of a configuration, changed from the command line


MAX_OVERRIDE_CHARACTERS: Final = 100_000


def _overridden(tree: Node, text: str, interpolate: Interpolate) -> Node:
    """The tree with `a.b=c` applied. The value is YAML; nothing after the `=` is null.

    `suites.0.repeats` is a key of a list entry, `suites.mmlu.repeats` one of the entry of that name. Messages name the
    key and never the value, which may be secret.

    Raises `ConfigError`: no `=`, an empty part of the key, a value that is not YAML, no such entry of a list, or a key
    under something that is no mapping.
    """
    key, equals, value = text.partition("=")
    parts = tuple(key.strip().split("."))
    source = f"--set {key.strip()}"
    if not equals or not all(parts):
        raise ConfigError(f"{source}: write it as key=value, for example --set sampling.temperature=0.6")
    if parts == ("extends",):
        raise ConfigError(f"{source}: only a file can extend another")
    if len(value) > MAX_OVERRIDE_CHARACTERS:
        raise ConfigError(f"{source}: the value is longer than {MAX_OVERRIDE_CHARACTERS} characters")
    return _set(tree, parts, _resolve_paths(parse_value(value, parts, source, interpolate), parts, Path()), source)


def _set(node: Node | None, parts: Sequence[str], value: Node, source: str) -> Node:
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    origin = Origin(source) if node is None else node.origin
    if node is None or node.value is None:
        return Node({part: _set(None, rest, value, source)}, origin)
    if isinstance(node.value, Mapping):
        return Node({**node.value, part: _set(node.value.get(part), rest, value, source)}, origin)
    if isinstance(node.value, tuple):
        index = _index_of(node.value, part, source)
        entry = node.value[index]
        if rest and isinstance(entry.value, str):  # a suite that is given by its bare name
            entry = Node({"name": entry}, entry.origin)
        changed = _set(entry, rest, value, source)
        return Node((*node.value[:index], changed, *node.value[index + 1 :]), origin)
    raise ConfigError(f"{source}: '{part}' cannot be set: {origin} holds a single value there, not a mapping")


def _index_of(entries: Sequence[Node], part: str, source: str) -> int:
    names = [_name(entry) for entry in entries]
    if part.isascii() and part.isdigit() and len(part) < 6:
        if int(part) < len(entries):
            return int(part)
    elif part in names:
        return names.index(part)
    hint = did_you_mean(part, filter(None, names), f": there are {len(entries)}, counted from 0")
    raise ConfigError(f"{source}: the list has no entry {part!r}{hint}")


def _name(entry: Node) -> str:
    """The name by which a list entry can be picked, "" where it has none."""
    named = entry.child("name") if isinstance(entry.value, Mapping) else entry
    return named.value if named is not None and isinstance(named.value, str) else ""


# YAML files and overrides into one checked `EndpointConfig`; every mistake is a sentence with its file and line


MAX_EXTENDS: Final = 10

# Where a configuration holds paths ("*": any key or index); a relative one counts from the file that holds it.
_PATH_KEYS: Final = (
    "tls.ca_file judge.tls.ca_file suite_folders.* data data.* flagscale flagscale.config pack runs bank "
    "operators operators.path launch.config launch.model launch.chat_template_file launch.cwd launch.log"
)
PATH_KEYS: Final = frozenset(tuple(key.split(".")) for key in _PATH_KEYS.split())


def load_config(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), completed: Callable[[Node], Node] | None = None
) -> EndpointConfig:
    """Read an endpoint's configuration: the file, what it extends, then the overrides `a.b=c` in their order.

    `completed` adds what a file of another program says that this one names (`serve.flagscale.with_flagscale`).

    Raises:
        ConfigError: anything wrong with a file, a key, a value, a variable or an override; one line for each problem.
    """
    interpolator = Interpolator()
    tree = _load_file(Path(path), interpolator, ())
    for text in overrides:
        tree = _overridden(tree, text, interpolator)
    tree = tree if completed is None else completed(tree)
    try:
        config = EndpointConfig.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError(redacted(problems(error, tree), interpolator.secrets)) from None
    places = {dotted(key): node.origin for key, node in tree.walk() if key}
    found = frozenset(interpolator.secrets), frozenset(interpolator.handed)
    config.remember_origins(Origins(MappingProxyType(places), *found))
    remember(config.known_secrets())
    return config


def _load_file(path: Path, interpolator: Interpolator, above: tuple[str, ...], asked_by: str = "") -> Node:
    """One file merged over the file that it extends; `above` are the files that led here, `asked_by` the last line."""
    real = os.path.realpath(path)
    tree = _resolve_paths(parse(read_text(path, asked_by), str(path), interpolator), (), path.parent)
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


def _resolve_paths(node: Node, path: KeyPath, folder: Path) -> Node:
    """The same tree with the relative paths that it holds counted from `folder`."""

    def resolved(text: str, _origin: Origin, at: KeyPath) -> str:
        held = any(
            len(pattern) == len(at) and all(want in ("*", part) for want, part in zip(pattern, at, strict=True))
            for pattern in PATH_KEYS
        )
        keep = not held or text == "" or (at == ("launch", "model") and text == KNOWN_MODEL)
        keep |= at == ("pack",) and not text.endswith(".yaml")
        return text if keep else os.path.normpath(_beside(folder, text))

    return node.mapped(resolved, path)


def _beside(folder: Path, written: str) -> Path:
    """A path as it was written in a file of `folder`; `~` is the home folder, where there is one."""
    try:
        return folder / Path(written).expanduser()
    except RuntimeError:
        return folder / written


# What is allowed in a configuration but seldom meant: said in a sentence, never changed in silence


def warnings_for(
    config: EndpointConfig, repeats: Mapping[str, int] | None = None, sampling: Mapping[str, Sampling] | None = None
) -> tuple[str, ...]:
    """Sentences about a configuration that does what it says but perhaps not what was meant.

    `repeats` gives the planned samples of every item by suite, where a pack or suite decides them, `sampling` how they
    are drawn, where a pack may decide it; without them only what the file itself says is looked at.
    """
    drawn = sampling or {}
    planned = {choice.name: choice.repeats or 1 for choice in config.suites} | dict(repeats or {})
    repeated, greedy = list[str](), list[str]()
    for suite in planned or [""]:
        said = drawn.get(suite) or config.sampling_for(suite)
        if said.temperature > 0:
            continue
        decides = _says(config, suite, "temperature")
        if (count := planned.get(suite, 1)) > 1:
            key = f"suites.{_index(config, suite)}.repeats"
            asks = f"{config.where(key)} ({key})" if config.says(key) else f"suite {suite}"
            repeated.append(
                f"{asks} asks for {count} repeats, and {decides} gives temperature 0: all are asked, and will differ "
                "only by the noise of the server; raise the temperature or set repeats to 1"
            )
        if said.chat_template_kwargs.get("enable_thinking") is True:
            greedy.append(
                f"{decides} gives temperature 0 to a thinking model: greedy thinking tends to repeat itself without "
                "end; the model's authors advise a temperature such as 0.6"
            )
    found = [*repeated, *greedy]
    if not config.tls.verify:
        place = config.where("tls.verify")
        found.append(
            f"{place}{': ' if place else ''}the server's certificate is not checked: anyone in between can read on"
        )
    return tuple(dict.fromkeys(found))


def _index(config: EndpointConfig, suite: str) -> int | None:
    return next((index for index, choice in enumerate(config.suites) if choice.name == suite), None)


def _says(config: EndpointConfig, suite: str, parameter: str) -> str:
    """Which key decides a sampling parameter of a suite, with its place: "ref.yaml:7 (sampling.temperature)"."""
    sections = [] if (index := _index(config, suite)) is None else [f"suites.{index}.sampling"]
    for section in [*sections, "sampling"]:
        for key in (f"{section}.{parameter}", f"{section}.profile"):
            if config.says(key):
                return f"{config.where(key)} ({key})"
    return f"the default of sampling.{parameter}"


# Configuration files to start from: a commented pair, and the part that both share

PAIR: Final = ("reference.yaml", "candidate.yaml", "common.yaml")


def write_pair(folder: str | Path) -> list[Path]:
    """Write reference.yaml, candidate.yaml and common.yaml into a folder, which is made where it is missing.

    Raises `ConfigError`: one of the three is there already (nothing is written then); `StorageError`: the folder cannot
    be written (then none of them is there).
    """
    paths = [Path(folder) / name for name in PAIR]
    there = [str(path) for path in paths if path.is_symlink() or path.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)}: already there: move it away, or choose another folder")
    from evalkit.files import write_whole  # who only reads a configuration writes nothing

    written: list[Path] = []
    try:
        for path in paths:
            write_whole(path, (data_folder("start") / path.name).read_bytes())
            written.append(path)
    except StorageError:
        for path in written:
            path.unlink()
        raise
    return paths
