"""Measures a whole run of a multimodal suite: time and peak memory of `evalkit run` on OCRBench's 1,000 items.

    python benchmarks/multimodal_run.py [--items 1 100 300 1000]

The pictures are those of `images.py`, in the mix of sizes of the public suites, in one parquet file with image structs
as the Hub has them; every hundred items have the same hundred pictures (one of 12 megapixels), so that runs of another
length differ in their length alone. They go to a loopback server in another process that throws them away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from images import draw

sys.path.append(str(Path(__file__).with_name("bench")))
import canned

ROWS_PER_GROUP = 100
FIRST_PICTURE = 60  # of a hundred with one photograph of 12 megapixels


def write_rows(path: Path, items: int) -> int:
    """An OCRBench of invented rows; gives the bytes of its pictures."""
    import pyarrow as pa
    from pyarrow import parquet

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = [(name, pa.string()) for name in ("dataset", "question", "question_type")]
    schema = pa.schema([*texts, ("answer", pa.list_(pa.string())), ("image", picture)])
    total = 0
    with parquet.ParquetWriter(path, schema) as out:
        for start in range(0, items, ROWS_PER_GROUP):
            rows = []
            for n in range(start, min(items, start + ROWS_PER_GROUP)):
                source = draw(FIRST_PICTURE + n % ROWS_PER_GROUP)
                total += len(source)
                row = {"dataset": "own", "question": f"What is written in picture {n}?", "answer": [f"w{n}"]}
                kind = {"question_type": "Regular Text Recognition"}
                rows.append({**row, **kind, "image": {"bytes": source, "path": f"{n}.png"}})
            out.write_table(pa.Table.from_pylist(rows, schema))
    return total


def measure(items: int) -> str:
    """One run of `evalkit run`, in a process of its own: a sentence with its figures."""
    with canned.serving() as port, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data" / "ocrbench"
        folder.mkdir(parents=True)
        total = write_rows(folder / "test.parquet", items)
        suites = [{"name": "ocrbench", "partial_data": True}]
        config = {"name": "bench", "model": canned.MODEL, "base_url": f"http://127.0.0.1:{port}/v1", "suites": suites}
        file = Path(scratch) / "bench.yaml"
        file.write_text(json.dumps({**config, "data": str(folder.parent), "runs": str(Path(scratch) / "runs")}))
        command = [sys.executable, "-m", "evalkit", "run", str(file), "--quiet"]
        before = time.perf_counter()
        run = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
        _pid, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - before
    return (
        f"{items} items, {total / 2**20:.0f} MiB of pictures: exit code {run.returncode}, {seconds:.1f} s, "
        f"{used.ru_utime + used.ru_stime:.1f} s of processor time, peak resident size {used.ru_maxrss / 1024:.0f} MiB"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1, 100, 300, 1000])
    for items in parser.parse_args().items:
        print(measure(items), flush=True)


if __name__ == "__main__":
    main()
