"""Measures the way of the pictures: time and memory of encoding, threads against processes, and what a repeat costs.

    python benchmarks/images.py [--items 1000] [--workers 2]

The pictures are drawn here, in the mix of sizes and formats of the public suites: word crops of OCRBench, exam figures
of MMMU, screenshots of MMMU-Pro's vision set, and some photographs of 12 megapixels. Requests run as the scheduler runs
them: some in flight at a time, each item asked of two endpoints.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import random
import resource
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from evalkit.endpoint.images import DEFAULT_CACHE_BYTES, ImageEncoder, encode
from evalkit.model import ImageRef, Prompt

SIZES = ((180, 60), (400, 300), (640, 480), (1000, 800), (1856, 1620), (4000, 3000))
SHARES = (0.30, 0.30, 0.20, 0.12, 0.07, 0.01)
IN_FLIGHT = 16


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


def compare_pools(workers: int) -> None:
    """The same pictures through threads and through processes of the same number."""
    sources = [draw(index) for index in range(60)]
    pools: list[tuple[str, Executor]] = [
        ("one thread", ThreadPoolExecutor(1)),
        (f"{workers} threads", ThreadPoolExecutor(workers)),
        (f"{workers} processes", ProcessPoolExecutor(workers)),
    ]
    for name, pool in pools:
        with pool:
            list(pool.map(encode, sources[:workers]))
            before = time.perf_counter()
            list(pool.map(encode, sources))
            print(f"{name}: {1000 * (time.perf_counter() - before) / len(sources):.1f} ms a picture")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(index) for index in range(options.items)]
        with ProcessPoolExecutor(1) as elsewhere:  # so that this process's peak is the encoder's
            for path, source in zip(paths, elsewhere.map(draw, range(options.items)), strict=True):
                path.write_bytes(source)
        asyncio.run(run([prompt(path) for path in paths], options.workers))
    compare_pools(options.workers)


if __name__ == "__main__":
    main()
