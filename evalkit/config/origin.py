"""Where each key of a configuration was written, so that an error can name the file and the line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

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


@dataclass(frozen=True, slots=True)
class Origins:
    """The places of all keys, by dotted key. Where a key stands says nothing of what it says: all compare equal."""

    places: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    secrets: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def where(self, key: str) -> str:
        """The place of a dotted key, else of the nearest section around it, else ""."""
        while key:
            if key in self.places:
                return str(self.places[key])
            key = key.rpartition(".")[0]
        return ""
