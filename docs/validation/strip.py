"""Makes a run folder small and free of benchmark texts: what a comparison of two folders reads, and nothing else.

    python docs/validation/strip.py RUN... OUT

Journals (replies) and questions are left out, so a comparison of stripped runs shows no texts; the names of replies,
which do not compress, are left out too, and the tables are stored as they are, for the archive to compress.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq

from evalkit.run import manifest
from evalkit.run.items import ITEMS, items_path
from evalkit.run.parquet import Table, encoded
from evalkit.run.tables import SCORES, scores_path


def strip(run: Path, out: Path) -> None:
    """Write what is kept of the last session of `run` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    session, suites = manifest.latest(run), []
    for record in session.suites:
        content = _without(items_path(run, record.items_digest), ITEMS, {"question": None, "target": None, "doc": None})
        digest = hashlib.sha256(content).hexdigest()[: len(record.items_digest)]
        items_path(out, digest).write_bytes(content)
        suites.append(replace(record, items_digest=digest))
    scores = scores_path(run, session.plan)
    (out / scores.name).write_bytes(_without(scores, SCORES, {"key": None, "offset": -1}))
    manifest.append(out, replace(session, suites=suites))


def _without(path: Path, columns: Any, gone: Mapping[str, Any]) -> bytes:
    rows = (SimpleNamespace(**{**row, **gone}) for row in pq.read_table(path).to_pylist())
    return encoded(columns, rows, Table(path, columns).header, compression="none")


if __name__ == "__main__":
    *runs, target = map(Path, sys.argv[1:])
    for folder in runs:
        strip(folder, target / folder.name)
