"""The first items of a stored run as a run of its own: what a smaller `--limit` would have asked.

cut(RUN, OUT, ITEMS) keeps so many items of every suite, in the order in which a larger limit adds them.
"""

# ruff: noqa: INP001 - used by tables.py
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SIZES = (20, 50, 100, 200, 400, 800)


def order(suite: str, items: list[str]) -> list[str]:
    """By a hash of the item, so that a larger number only adds items."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{suite}|{item}".encode()).digest())


def kept(run: Path, size: int) -> dict[str, set[str]]:
    """The first items of each suite."""
    items: dict[str, list[str]] = {}
    for row in _table(run, "items").select(["suite", "item"]).to_pylist():
        items.setdefault(row["suite"], []).append(row["item"])
    return {suite: set(order(suite, names)[:size]) for suite, names in items.items()}


def cut(run: Path, out: Path, size: int) -> Path:
    """Write the first items of each suite of `run` to the folder `out`."""
    out.mkdir(parents=True)
    chosen = kept(run, size)
    about = json.loads((run / "manifest.jsonl").read_text())
    for block in about["suites"]:
        count = len(chosen[block["suite"]])
        block.update(items=count, items_in_data=count, rows=count * block["repeats"])
    (out / "manifest.jsonl").write_text(json.dumps(about) + "\n")
    for path in run.glob("docs-*.jsonl"):
        (out / path.name).touch()  # empty, as strip.py leaves them
    for path in run.glob("*-*.parquet"):
        table = pq.read_table(path)
        rows = table.select(["suite", "item"]).to_pylist()
        pq.write_table(table.filter(pa.array([row["item"] in chosen[row["suite"]] for row in rows])), out / path.name)
    return out


def generated(run: Path, suite: str, size: int) -> int:
    """The tokens that the server generated for the first items of a suite."""
    chosen = kept(run, size)[suite]
    rows = _table(run, "scores").select(["suite", "item", "completion_tokens"]).to_pylist()
    return sum(row["completion_tokens"] or 0 for row in rows if row["suite"] == suite and row["item"] in chosen)


def _table(run: Path, kind: str) -> Any:
    (path,) = run.glob(f"{kind}-*.parquet")
    return pq.read_table(path)
