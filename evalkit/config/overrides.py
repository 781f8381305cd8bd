"""`--set a.b=c`: one value of a configuration, changed from the command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evalkit.config.origin import Origin
from evalkit.config.tree import Interpolate, Node, parse_value
from evalkit.errors import ConfigError

MAX_OVERRIDE_CHARACTERS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Override:
    """A parsed `a.b=c`; `source` is how messages name it (never with its value, which may be secret)."""

    parts: tuple[str, ...]
    value: Node
    source: str

    def apply(self, tree: Node) -> Node:
        """The tree with this override applied.

        `suites.0.repeats` is a key of a list entry, `suites.mmlu.repeats` one of the entry of that name.

        Raises:
            ConfigError: the list has no such entry, or a part of the key is under something that is no mapping.
        """
        return self._set(tree, self.parts)

    def _set(self, node: Node | None, parts: Sequence[str]) -> Node:
        if not parts:
            return self.value
        part, rest = parts[0], parts[1:]
        origin = Origin(self.source) if node is None else node.origin
        if node is None or node.value is None:
            return Node({part: self._set(None, rest)}, origin)
        if isinstance(node.value, Mapping):
            changed = self._set(node.value.get(part), rest)
            return Node({**node.value, part: changed}, origin)
        if isinstance(node.value, tuple):
            index = self._index(node.value, part)
            entry = node.value[index]
            if rest and isinstance(entry.value, str):  # a suite that is given by its bare name
                entry = Node({"name": entry}, entry.origin)
            changed = self._set(entry, rest)
            return Node((*node.value[:index], changed, *node.value[index + 1 :]), origin)
        raise ConfigError(f"{self.source}: '{part}' cannot be set: {origin} holds a single value there, not a mapping")

    def _index(self, entries: Sequence[Node], part: str) -> int:
        names = [_name(entry) for entry in entries]
        if part.isascii() and part.isdigit() and len(part) < 6:
            if int(part) < len(entries):
                return int(part)
        elif part in names:
            return names.index(part)
        known = [name for name in names if name]
        near = difflib.get_close_matches(part, known, n=1)
        hint = f": did you mean {near[0]!r}?" if near else f": there are {len(entries)}, counted from 0"
        raise ConfigError(f"{self.source}: the list has no entry {part!r}{hint}")


def parse_override(text: str, interpolate: Interpolate) -> Override:
    """Read `a.b=c`. The value is YAML; nothing after the `=` is null.

    Raises:
        ConfigError: no `=`, an empty part of the key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {key}: write it as key=value, for example --set sampling.temperature=0.6")
    source = f"--set {key}"
    if key == "extends":
        raise ConfigError(f"{source}: only a file can extend another")
    if len(value) > MAX_OVERRIDE_CHARACTERS:
        raise ConfigError(f"{source}: the value is longer than {MAX_OVERRIDE_CHARACTERS} characters")
    return Override(tuple(key.split(".")), parse_value(value, tuple(key.split(".")), source, interpolate), source)


def _name(entry: Node) -> str:
    """The name by which a list entry can be picked, "" where it has none."""
    named = entry.child("name") if isinstance(entry.value, Mapping) else entry
    return named.value if named is not None and isinstance(named.value, str) else ""
