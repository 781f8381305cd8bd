"""The first items of a stored run as a run of its own: what a smaller `--limit` would have asked.

cut(RUN, OUT, ITEMS) keeps so many items of every suite, in the order in which a larger limit adds them.
"""

# ruff: noqa: INP001 - used by tables.py
from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from strip import rewritten

from evalkit.run.manifest import SuiteRecord

SIZES = (20, 50, 100, 200, 400, 800)


def order(suite: str, items: list[str]) -> list[str]:
    """By a hash of the item, so that a larger number only adds items."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{suite}|{item}".encode()).digest())


def kept(run: Path, size: int) -> dict[str, set[str]]:
    """The first items of each suite."""
    items: dict[str, list[str]] = {}
    for row in _rows(run, "items", ["suite", "item"]):
        items.setdefault(row["suite"], []).append(row["item"])
    return {suite: set(order(suite, names)[:size]) for suite, names in items.items()}


def cut(run: Path, out: Path, size: int) -> Path:
    """Write the first items of each suite of `run` to the folder `out`."""
    chosen = kept(run, size)

    def row(said: dict[str, Any]) -> dict[str, Any] | None:
        return said if said["item"] in chosen[said["suite"]] else None

    def suite(record: SuiteRecord) -> SuiteRecord:
        count = len(chosen[record.suite])
        return replace(record, items=count, items_in_data=count, rows=count * record.repeats)

    rewritten(run, out, row, row, suite)
    return out


def generated(run: Path, suite: str, size: int) -> int:
    """The tokens that the server generated for the first items of a suite."""
    chosen = kept(run, size)[suite]
    rows = _rows(run, "scores", ["suite", "item", "completion_tokens"])
    return sum(row["completion_tokens"] or 0 for row in rows if row["suite"] == suite and row["item"] in chosen)


def _rows(run: Path, kind: str, columns: list[str]) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(run.glob(f"{kind}-*.parquet"))
        for row in pq.read_table(path, columns=columns).to_pylist()
    ]
