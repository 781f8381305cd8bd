"""Measures the way of the pictures: time and memory of encoding, and what a repeat costs.

    python benchmarks/images.py [--items 1000] [--workers 2]
    python benchmarks/images.py --runs 1 100 300 1000

The pictures are drawn here, in the mix of sizes and formats of the public suites: word crops of OCRBench, exam figures
of MMMU, screenshots of MMMU-Pro's vision set, and some photographs of 12 megapixels. Requests run as the scheduler runs
them: some in flight at a time, each item asked of two endpoints.

With --runs, instead, time and peak memory of `evalkit run` on OCRBench with so many items each: one parquet file with
image structs as the Hub has them; every hundred items have the same hundred pictures (one of 12 megapixels), so that
runs of another length differ in their length alone. They go to a loopback server that throws them away.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import random
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from compare import measure
from PIL import Image

from evalkit.endpoint.images import DEFAULT_CACHE_BYTES, ImageEncoder
from evalkit.model import ImageRef, Prompt

sys.path.append(str(Path(__file__).with_name("bench")))
import canned

SIZES = ((180, 60), (400, 300), (640, 480), (1000, 800), (1856, 1620), (4000, 3000))
SHARES = (0.30, 0.30, 0.20, 0.12, 0.07, 0.01)
IN_FLIGHT = 16
ROWS_PER_GROUP = 100
FIRST_PICTURE = 60  # of a hundred with one photograph of 12 megapixels


def draw(index: int) -> bytes:
    """One picture as a data set would ship it: a gradient with noise as JPEG, or flat shapes as PNG."""
    chance = random.Random(index)
    size = chance.choices(SIZES, SHARES)[0]
    base = Image.linear_gradient("L").resize(size).convert("RGB")
    out = io.BytesIO()
    if chance.random() < 0.5:
        grain = Image.frombytes("RGB", (128, 128), chance.randbytes(3 * 128 * 128)).resize(size)
        Image.blend(base, grain, 0.3).save(out, "JPEG", quality=90)
    else:
        base.paste((chance.randrange(256), 40, 90), (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
        base.save(out, "PNG")
    return out.getvalue()


def prompt(path: Path) -> Prompt:
    """A one-picture item whose source is read from its file when it is needed."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    part = {"type": "image_ref", "index": 0}
    message = {"role": "user", "content": [{"type": "text", "text": "?"}, part]}
    return Prompt(digest=digest, messages=(message,), images=(ImageRef(digest, path.read_bytes),))


async def run(prompts: list[Prompt], workers: int) -> None:
    """Every item twice, as for two endpoints, with a bounded number in flight."""
    gate = asyncio.Semaphore(IN_FLIGHT)
    largest = 0

    async with ImageEncoder(workers=workers) as encoder:

        async def ask(item: Prompt) -> None:
            nonlocal largest
            async with gate:
                for _endpoint in range(2):
                    await encoder.messages(item)
                largest = max(largest, encoder.held_bytes)

        before, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(ask(item) for item in prompts))
        seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{len(prompts)} items for two endpoints: {encoder.encoded} encodings, {seconds:.1f} s "
            f"({1000 * cpu / len(prompts):.1f} ms of processor time an item), cache at most "
            f"{largest / 2**20:.0f} of {DEFAULT_CACHE_BYTES / 2**20:.0f} MiB, peak resident size {peak:.0f} MiB"
        )


# ---------------------------------------------------------------- whole runs


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


def whole_run(items: int) -> str:
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
        taken = measure(["env", "HF_HUB_OFFLINE=1", *command])
    return (
        f"{items} items, {total / 2**20:.0f} MiB of pictures: exit code {taken.code}, {taken.wall:.1f} s, "
        f"{taken.cpu:.1f} s of processor time, peak resident size {taken.mb:.0f} MiB"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, nargs="+", metavar="ITEMS", help="measure whole runs of so many items")
    options = parser.parse_args()
    for items in options.runs or ():
        print(whole_run(items), flush=True)
    if options.runs:
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(index) for index in range(options.items)]
        with ProcessPoolExecutor(1) as elsewhere:  # so that this process's peak is the encoder's
            for path, source in zip(paths, elsewhere.map(draw, range(options.items)), strict=True):
                path.write_bytes(source)
        asyncio.run(run([prompt(path) for path in paths], options.workers))


if __name__ == "__main__":
    main()
