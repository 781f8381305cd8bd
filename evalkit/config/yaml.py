"""YAML text into a tree that remembers the place of every key: bounded, safe, without YAML's surprises."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import yaml

from evalkit.config.base import ENVIRONMENT_NAME
from evalkit.config.redact import is_secret_name
from evalkit.errors import ConfigError

# Where each key of a configuration was written, so that an error can name the file and the line


MAX_PROBLEMS: Final = 20
MAX_LINE_CHARACTERS: Final = 600

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A place: a file with a line (from 1), or an override of the command line, which has no line."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


def dotted(path: KeyPath) -> str:
    """A key as people write it: `suites.0.repeats`."""
    return ".".join(str(part) for part in path)


def told(problems: Sequence[str], more: int = 0) -> str:
    """Problems one per line: at most MAX_PROBLEMS of MAX_LINE_CHARACTERS each, then how many more there are."""
    lines = [
        line if len(line) <= MAX_LINE_CHARACTERS else f"{line[:MAX_LINE_CHARACTERS]}..."
        for line in problems[:MAX_PROBLEMS]
    ]
    more += len(problems) - len(lines)
    return "\n".join([*lines, f"... and {more} more"] if more else lines)


@dataclass(frozen=True, slots=True)
class Origins:
    """The places of all keys, by dotted key. Where a key stands says nothing of what it says: all compare equal."""

    places: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    secrets: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    handed: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def where(self, key: str) -> str:
        """The place of a dotted key, else of the nearest section around it, else ""."""
        while key:
            if key in self.places:
                return str(self.places[key])
            key = key.rpartition(".")[0]
        return ""


# YAML text into a tree. It is read as `yaml.safe_load` does with these differences: keys are text; a key given twice is
# refused; dates, octal and sexagesimal numbers stay text (`010`, `12:30`, `2026-01-31`); `1e-3` is a number; only the
# plain tags are known.


MAX_FILE_BYTES: Final = 2**20
MAX_DEPTH: Final = 40
MAX_NODES: Final = 50_000

Scalar: TypeAlias = str | int | float | bool | None

# Turns the text of a scalar at a place into its final text (environment variables); it may raise ConfigError.
Interpolate: TypeAlias = Callable[[str, Origin, str], str]

# Under these keys a value may be of any type, so an unquoted ${VARIABLE} is read as YAML would read its value.
_OPEN_KEYS: Final = frozenset({"extra_body", "chat_template_kwargs"})

_TAG: Final = "tag:yaml.org,2002:"
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

# The Python value of a scalar whose type is known.
_CONVERTED: Final[Mapping[str, Callable[[str], Scalar]]] = {
    "str": str,
    "null": lambda _text: None,
    "bool": lambda text: _BOOLEANS[text.lower()],
    "int": int,
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the place of its key (for a list entry, its own place)."""

    value: Mapping[str, Node] | tuple[Node, ...] | Scalar
    origin: Origin

    def plain(self) -> Any:
        """The value without places: dicts, lists and scalars."""
        if isinstance(self.value, Mapping):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, part: str | int) -> Node | None:
        """The value under a key or index, None where there is none."""
        if isinstance(self.value, Mapping):
            return self.value.get(str(part))
        if isinstance(self.value, tuple) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None

    def children(self) -> Mapping[str, Node]:
        """What a mapping holds; nothing where it is none."""
        return self.value if isinstance(self.value, Mapping) else {}

    def mapped(self, change: Callable[[str, Origin, KeyPath], Scalar], path: KeyPath = ()) -> Node:
        """The same tree with every text in it changed; `change` is told the text, its place and its path."""
        if isinstance(self.value, Mapping):
            return replace(self, value={key: node.mapped(change, (*path, key)) for key, node in self.value.items()})
        if isinstance(self.value, tuple):
            return replace(self, value=tuple(node.mapped(change, (*path, i)) for i, node in enumerate(self.value)))
        return replace(self, value=change(self.value, self.origin, path)) if isinstance(self.value, str) else self

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """This node and all below it, each with its path."""
        yield path, self
        inner = enumerate(self.value) if isinstance(self.value, tuple) else self.children().items()
        for key, node in inner:
            yield from node.walk((*path, key))


def find(tree: Node, path: KeyPath) -> Node | None:
    """The value at a path, None where there is none."""
    node: Node | None = tree
    for part in path:
        node = node.child(part) if node is not None else None
    return node


def merge(base: Node, overlay: Node) -> Node:
    """`overlay` over `base`: mappings merge deeply, everything else replaces."""
    if not isinstance(base.value, Mapping) or not isinstance(overlay.value, Mapping):
        return overlay
    merged = dict(base.value)
    for key, node in overlay.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return replace(overlay, value=merged)


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with a bound on the depth and with scalars that read as people mean them."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's class attribute, filled below
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; refuses what is nested too deeply before Python's own stack would end."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern, _first in (
    ("bool", "|".join(f"{word}|{word.title()}|{word.upper()}" for word in _BOOLEANS), "tTfFyYnNoO"),
    ("int", r"-?(?:0|[1-9][0-9]{0,18})", "-0123456789"),
    ("float", r"[-+]?(?:[0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?", "-+.0123456789"),
    ("float", r"[-+]?[0-9]{1,40}[eE][-+]?[0-9]{1,3}", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Composer.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})\\Z"), list(_first))


class _Fast(getattr(yaml, "CSafeLoader", _Composer)):  # type: ignore[misc] # libyaml's, ten times as fast, where it is
    """The same composer in C; the builder bounds what it lets through."""

    yaml_implicit_resolvers = _Composer.yaml_implicit_resolvers


def read_bytes(path: Path, asked_by: str = "") -> bytes:
    """What a file holds, which is bounded so that a wrong path cannot fill the memory; `asked_by` begins messages.

    Raises `ConfigError`: it cannot be read, is too large, or is a pipe or device, which may never come to an end.
    """
    try:
        # Opening a pipe that nobody writes to would wait for somebody who does.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            raw = file.read(MAX_FILE_BYTES + 1) if regular else b""
    except OSError as error:
        usual = {errno.ENOENT: "there is no such file", errno.EISDIR: "is a folder, not a YAML file"}
        why = usual.get(error.errno or 0, f"cannot be read: {error.strerror}")
        raise ConfigError(f"{asked_by}{path}: {why}") from None
    if not regular:
        raise ConfigError(f"{asked_by}{path}: is a pipe or a device: write it into a file, and give that")
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_FILE_BYTES // 2**20} MiB: is it a configuration?")
    return raw


def read_text(path: Path, asked_by: str = "") -> str:
    """The text of a file. Raises `ConfigError`: as `read_bytes`, and where it is not UTF-8."""
    raw = read_bytes(path, asked_by)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text") from None


def parse(text: str, source: str, interpolate: Interpolate, tags: Collection[str] = ()) -> Node:
    """Read one YAML document; `source` is how messages name the file, scalars with one of `tags` are text.

    Raises `ConfigError`: not YAML, too large or nested too deeply, a key twice, an unknown tag, or what `interpolate`
    says; one line for each problem.
    """
    return _read(text, (), _Builder(source, lines=True, interpolate=interpolate, tags=tags))


def parse_file(path: Path, asked_by: str = "", tags: Collection[str] = ()) -> Node:
    """Read a YAML file in which `${...}` is not evalkit's. Raises `ConfigError`: as `read_text` and `parse`."""
    return parse(read_text(path, asked_by), str(path), lambda text, _origin, _key: text, tags)


def parse_value(text: str, path: KeyPath, source: str, interpolate: Interpolate) -> Node:
    """Read the value of an override for the key `path`; it has no lines, and no text is null.

    Raises `ConfigError`: as for `parse`.
    """
    return _read(text, path, _Builder(source, lines=False, interpolate=interpolate))


def _read(text: str, path: KeyPath, builder: _Builder) -> Node:
    try:
        root = yaml.compose(text, _Composer if "\t" in text else _Fast)  # libyaml lets tabs through
    except (yaml.YAMLError, UnicodeEncodeError):
        try:  # once more in Python, which says better what is wrong
            root = yaml.compose(text, _Composer)
        except yaml.YAMLError as error:
            raise ConfigError(told([_syntax_problem(error, text, builder)])) from None
    if root is None:
        return Node({} if builder.lines else None, builder.at(0))
    tree = builder.build(root, path, builder.of(root))
    if builder.problems:
        raise ConfigError(told(builder.problems))
    return tree


def _syntax_problem(error: yaml.YAMLError, text: str, builder: _Builder) -> str:
    """One sentence for what PyYAML spreads over several lines."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position)
        return f"{builder.at(line)}: not YAML: the character at position {position} is not allowed"
    lines = text.splitlines()
    line_text = lines[mark.line] if mark.line < len(lines) else ""
    place = builder.at(mark.line)
    problem = getattr(error, "problem", None) or "cannot be read"
    if "\t" in line_text[: len(line_text) - len(line_text.lstrip())]:
        return f"{place}: a tab cannot indent YAML: use spaces"
    if "'\\t'" in problem:
        return f"{place}: a tab cannot stand between a key and its value: use spaces"
    if problem.startswith("but "):
        problem = f"{getattr(error, 'context', '')}, {problem}"
    before, variable, _ = line_text.partition("${")
    hint = ": put quotes around ${...} inside {...} or [...]" if variable and any(c in before for c in "{[,") else ""
    return f"{place}: not YAML: {problem}{hint}"


@dataclass(slots=True)
class _Builder:
    """Turns PyYAML's nodes into ours; problems are gathered, so that a user sees all of them at once."""

    source: str
    lines: bool  # an override has none
    interpolate: Interpolate
    tags: Collection[str] = ()  # tags that mean text
    problems: list[str] = field(default_factory=list)
    nodes: int = 0

    def at(self, line: int) -> Origin:
        return Origin(self.source, line + 1 if self.lines else None)

    def of(self, node: yaml.Node) -> Origin:
        return self.at(node.start_mark.line)

    def build(self, node: yaml.Node, path: KeyPath, origin: Origin) -> Node:
        """One node and all below it; aliases are copied, and a bound on the whole stops those that multiply."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ConfigError(f"{self.source}: holds more than {MAX_NODES} values, aliases included")
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{origin}: nested more than {MAX_DEPTH} deep, or an alias that holds itself")
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, path), origin)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, "seq")
            children = [self.build(child, (*path, index), self.of(child)) for index, child in enumerate(node.value)]
            return Node(tuple(children), origin)
        if isinstance(node, yaml.ScalarNode):
            return Node(self._scalar(node, path, origin), origin)
        raise TypeError(f"PyYAML composed a {type(node).__name__}")

    def _check_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != _TAG + expected:
            self.problems.append(f"{self.of(node)}: the tag {node.tag!r} is not allowed here")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Node]:
        self._check_tag(node, "map")
        inherited: dict[str, Node] = {}
        own: dict[str, Node] = {}
        for key, value in node.value:
            origin = self.of(key)
            if key.tag == _TAG + "merge":
                inherited = self._merged(value, path) | inherited
            elif not isinstance(key, yaml.ScalarNode):
                self.problems.append(f"{origin}: a key must be text, not a list or mapping")
            elif (name := self._characters(key.value, origin)) in own:
                where = dotted((*path, name))
                self.problems.append(
                    f"{origin}: {where!r} is given twice: the first time on line {own[name].origin.line}"
                )
            else:
                own[name] = self.build(value, (*path, name), origin)
        return inherited | own

    def _characters(self, text: str, origin: Origin) -> str:
        r"""The text with surrogate pairs, as JSON's "\ud83d\ude00" gives them, joined into their characters."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.problems.append(f"{origin}: holds half a character: a surrogate without its partner")
            return ""

    def _merged(self, node: yaml.Node, path: KeyPath) -> dict[str, Node]:
        """What `<<: *anchor` or `<<: [*first, *second]` brings in; an earlier mapping wins."""
        merged: dict[str, Node] = {}
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            # One step down, so that a mapping which merges itself meets the bound on the depth.
            built = self.build(part, (*path, "<<"), self.of(part))
            if isinstance(built.value, Mapping):
                merged = {**built.value, **merged}
            else:
                self.problems.append(f"{self.of(part)}: '<<' takes a mapping")
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath, origin: Origin) -> Scalar:
        text = self._characters(node.value, origin)
        kind = "str" if node.tag in self.tags else node.tag.removeprefix(_TAG)
        if kind not in _CONVERTED:
            self.problems.append(f"{origin}: the tag {node.tag!r} is not allowed here")
            return None
        if kind == "str" and "$" in text:
            try:
                text = self.interpolate(text, origin, dotted(path))
            except ConfigError as error:
                self.problems.append(str(error))
                return None
            if text != node.value and not node.style and not _OPEN_KEYS.isdisjoint(path):
                kind = _kind_of(text)
        try:
            return _CONVERTED[kind](text)
        except (ValueError, KeyError):  # only an explicit tag, such as `!!int many`, gets here
            self.problems.append(f"{origin}: {text!r} is not of the type that its tag says")
            return None


def _kind_of(text: str) -> str:
    """The type that an unquoted scalar has by its looks."""
    resolvers = _Composer.yaml_implicit_resolvers.get(text[:1], [])
    return next((str(tag).removeprefix(_TAG) for tag, pattern in resolvers if pattern.match(text)), "str")


# `${VAR}` and `${VAR:-default}` in the values of a configuration file


_MARK: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


@dataclass(slots=True)
class Interpolator:
    """Fills environment variables in; `secrets` gathers the values of variables whose names say that they are secret.

    `handed` gathers those of others that stand under an `env`, for a server.

    As in a shell, the default stands in for a variable that is unset or empty; `$${` is a literal `${`.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)
    handed: set[str] = field(default_factory=set, repr=False)

    def __call__(self, text: str, origin: Origin, key: str) -> str:
        """`text` with its variables filled in.

        Raises `ConfigError`: a variable is unset and has no default, or a `${` is not closed.
        """

        def value(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name, has_default, default = (match[1] or "").partition(":-")
            if not ENVIRONMENT_NAME.fullmatch(name):
                raise ConfigError(
                    f"{origin}: {key}: '{match[0]}' is not a variable: write ${{NAME}} or ${{NAME:-default}}, "
                    "and $${ for a literal ${"
                )
            if name not in self.environment and not has_default:
                raise ConfigError(
                    f"{origin}: {key}: the environment variable {name} is not set: "
                    f"export it, or give a default with ${{{name}:-...}}"
                )
            filled = self.environment.get(name, "")
            if filled and is_secret_name(name):
                self.secrets.add(filled)
            elif filled and ".env." in key:
                self.handed.add(filled)
            return filled or default

        return _MARK.sub(value, text)
