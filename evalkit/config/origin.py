"""Where each key of a configuration was written, so that an error can name the file and the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

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

    def where(self, key: str) -> str:
        """The place of a dotted key, else of the nearest section around it, else ""."""
        while key:
            if key in self.places:
                return str(self.places[key])
            key = key.rpartition(".")[0]
        return ""
