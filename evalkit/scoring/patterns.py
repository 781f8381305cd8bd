"""The regular expressions of the scorers: they lie in patterns.toml, a table a module, and are compiled when used."""

import re
from pathlib import Path
from typing import Any

from evalkit.resources import toml_table


class Patterns:
    """The patterns of one table, as attributes. Raises `AttributeError`: the table has no such entry."""

    def __init__(self, table: str) -> None:
        self._table = table

    def __getattr__(self, name: str) -> re.Pattern[str]:
        """The pattern `name`, compiled when first asked for."""
        if name not in self._entries:
            raise AttributeError(f"patterns.toml has no {name!r} in [{self._table}]")
        compiled = re.compile(self._text(name))
        setattr(self, name, compiled)
        return compiled

    def _text(self, name: str) -> str:
        return re.sub("<<([a-z_]+)>>", lambda found: self._text(found[1]), "".join(self._entries[name]))

    @property
    def _entries(self) -> dict[str, Any]:
        return toml_table(Path(__file__).with_suffix(".toml"), self._table)


of = Patterns  # `patterns.of("reply")`: those of a module, by the name of its table
