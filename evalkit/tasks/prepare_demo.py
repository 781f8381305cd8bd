"""Rows that say themselves to which split they belong: one file holds the items and the worked examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def by_split(rows: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows whose `split` is the one that is asked for, as they are.

    Raises:
        ValueError: where a row has no `id` or no `split`.
    """
    documents = []
    for number, row in enumerate(rows):
        missing = [name for name in ("id", "split") if not row.get(name)]
        if missing:
            raise ValueError(f"row {number} has no {' and no '.join(missing)}")
        if row["split"] == options["_split"]:
            documents.append({key: value for key, value in row.items() if not key.startswith("_") and key != "split"})
    return documents
