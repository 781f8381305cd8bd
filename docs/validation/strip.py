"""Makes a run folder small and free of benchmark texts: what a comparison of two folders reads, and nothing else.

    python docs/validation/strip.py RUN... OUT

Journals (replies) and questions are left out, so a comparison of stripped runs shows no texts; the names of replies,
which do not compress, are left out too, and the tables are stored as they are, for the archive to compress.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from evalkit.run import manifest
from evalkit.run.items import ITEMS, items_path
from evalkit.run.manifest import SuiteRecord
from evalkit.run.parquet import Table, encoded
from evalkit.run.tables import SCORES, scores_path

Kept: TypeAlias = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Gives a row as it is to be kept, None for one that is not."""


def rewritten(run: Path, out: Path, item: Kept, score: Kept, suite: Callable[[SuiteRecord], SuiteRecord]) -> None:
    """Write the last session of `run` to the folder `out`, with its rows and suites changed."""
    out.mkdir(parents=True, exist_ok=True)
    session, suites = manifest.latest(run), []
    for record in session.suites:
        content = _changed(items_path(run, record.items_digest), ITEMS, item)
        digest = hashlib.sha256(content).hexdigest()[: len(record.items_digest)]
        items_path(out, digest).write_bytes(content)
        suites.append(replace(suite(record), items_digest=digest))
    scores = scores_path(run, session.plan)
    (out / scores.name).write_bytes(_changed(scores, SCORES, score))
    manifest.append(out, replace(session, suites=suites))


def _changed(path: Path, columns: Any, kept: Kept) -> bytes:
    rows = (kept(row) for row in pq.read_table(path).to_pylist())
    header = Table(path, columns).header
    found = (SimpleNamespace(**row) for row in rows if row is not None)
    return encoded(columns, found, header, compression="none")


def strip(run: Path, out: Path) -> None:
    """Write what is kept of `run` to the folder `out`."""
    rewritten(
        run,
        out,
        lambda row: {**row, "question": None, "target": None, "doc": None},
        lambda row: {**row, "key": None, "offset": -1},
        lambda record: record,
    )


if __name__ == "__main__":
    *runs, target = map(Path, sys.argv[1:])
    for folder in runs:
        strip(folder, target / folder.name)
