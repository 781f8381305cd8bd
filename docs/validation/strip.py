"""Makes a run folder small and free of benchmark texts: what a comparison of two folders reads, and nothing else.

    python docs/validation/strip.py RUN... OUT

Journals (replies) and documents (questions) are left out, so a comparison of stripped runs shows no texts; the names of
replies, which do not compress, are left out too, and the tables are stored as they are, for the archive to compress.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def strip(run: Path, out: Path) -> None:
    """Write what is kept of `run` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.jsonl").write_text((run / "manifest.jsonl").read_text().splitlines()[-1] + "\n")
    for path in (*run.glob("items-*.parquet"), *run.glob("scores-*.parquet")):
        table = pq.read_table(path)
        if path.name.startswith("scores-"):
            for name, value in (("key", None), ("offset", -1)):
                at, field = table.schema.get_field_index(name), table.schema.field(name)
                table = table.set_column(at, field, pa.array([value] * len(table), field.type))
        pq.write_table(table, out / path.name, compression="none", use_dictionary=False)
        if path.name.startswith("items-"):
            (out / path.name.replace("items-", "docs-")).with_suffix(".jsonl").touch()


if __name__ == "__main__":
    *runs, target = map(Path, sys.argv[1:])
    for folder in runs:
        strip(folder, target / folder.name)
