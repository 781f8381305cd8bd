"""Makes a run folder small and free of benchmark texts: what a comparison of two folders reads, and nothing else.

    python docs/validation/strip.py RUN... OUT

Journals (replies) and documents (questions) are left out, so a comparison of stripped runs shows no texts; digests,
which do not compress, are cut to sixteen characters, the same on both sides.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import json
import sys
from pathlib import Path

DIGESTS = ("h", "k", "doc_hash", "prompt")
KEPT = 16


def strip(run: Path, out: Path) -> None:
    """Write what is kept of `run` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.jsonl").write_text((run / "manifest.jsonl").read_text().splitlines()[-1] + "\n")
    for path in (*run.glob("items-*.jsonl"), *run.glob("scores-*.jsonl")):
        with path.open() as rows, (out / path.name).open("w") as kept:
            for row in map(json.loads, rows):
                row.update({key: row[key][:KEPT] for key in DIGESTS if isinstance(row.get(key), str)})
                if "j" in row:
                    row["j"] = -1
                kept.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        if path.name.startswith("items-"):
            (out / path.name.replace("items-", "docs-")).touch()


if __name__ == "__main__":
    *runs, target = map(Path, sys.argv[1:])
    for folder in runs:
        strip(folder, target / folder.name)
