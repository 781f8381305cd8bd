"""The regular expressions of the scorers: they lie in patterns.toml, a table a module, and are compiled when used."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path


class Patterns:
    """The patterns of one table, as attributes. Raises `AttributeError`: the table has no such entry."""

    def __init__(self, table: str) -> None:
        """Those of `table`."""
        self._table = table

    def __getattr__(self, name: str) -> re.Pattern[str]:
        """The pattern `name`, compiled when first asked for."""
        if name not in _tables()[self._table]:
            raise AttributeError(f"patterns.toml has no {name!r} in [{self._table}]")
        compiled = re.compile(self._text(name))
        setattr(self, name, compiled)
        return compiled

    def _text(self, name: str) -> str:
        entry = _tables()[self._table][name]
        return re.sub("<<([a-z_]+)>>", lambda found: self._text(found[1]), "".join(entry))


def of(table: str) -> Patterns:
    """The patterns of a module, by the name of its table."""
    return Patterns(table)


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, str | list[str]]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
