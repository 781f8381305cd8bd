"""Asks what serve.sh started: `ask.py OUT.jsonl.xz`; one comparison by pack.yaml a candidate.

Six at a time, to keep a rented card busy; each with a reference run of its own, so that what it costs is what it would
cost alone. The faults of proxy.py stand before `native-again`. A line of OUT.jsonl.xz is what is kept of a
comparison: its verdict, reasons, probe and rows, and its seconds from the first to the last.
"""

# ruff: noqa: INP001, S603, T201 - a script
from __future__ import annotations

import contextlib
import json
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from proxy import FAULTS

HERE = Path(__file__).resolve().parent
SERVED = {
    "native-again": 8002,
    "compiled": 8003,
    "triton-attention": 8004,
    "float16": 8005,
    "small-batches": 8006,
    "chunked": 8007,
    "flaggems": 8008,
    "damaged": 8011,
    "rope": 8012,
    "template": 8013,
    "kv-fp8": 8014,
    "weights-fp8": 8015,
    "truncated": 8016,
}
PROXIED = {fault: 8100 + at for at, fault in enumerate(FAULTS)}


def answers(port: int) -> bool:
    """Whether a server is there."""
    with contextlib.suppress(URLError, OSError), urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as reply:
        return bool(reply.status == 200)
    return False


@contextlib.contextmanager
def proxies() -> Iterator[None]:
    """The servers of proxy.py, while the body runs."""
    started = [
        subprocess.Popen([sys.executable, HERE / "proxy.py", "http://127.0.0.1:8002", str(port), fault])
        for fault, port in PROXIED.items()
    ]
    while not all(answers(port) for port in PROXIED.values()):
        time.sleep(0.1)
    yield
    for one in started:
        one.kill()


def endpoint(folder: Path, name: str, port: int) -> Path:
    """The YAML file of one side."""
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\nbase_url: http://127.0.0.1:{port}/v1\nmodel: smollm2\nbuild: {name}\n"
        f"pack: {HERE / 'pack.yaml'}\n"
        "sampling: {profile: greedy, seed: 0, max_tokens: 128}\nlimits: {concurrency: 32}\n"
    )
    return path


def compared(name: str, port: int) -> dict[str, Any] | None:
    """One comparison with `native`; None where it said nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        sides = [endpoint(Path(scratch), *side) for side in (("native", 8001), (name, port))]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "evalkit", "compare", *sides, "--quiet", "--json"],
            cwd=scratch,
            check=False,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - began
    print(f"{name}: exit {done.returncode}, {seconds:.0f} s {done.stderr[-300:]}", flush=True)
    said = json.loads(done.stdout) if done.stdout else {}
    kept = {key: said[key] for key in ("verdict", "reasons", "probe", "suites") if key in said}
    return {"name": name, "exit": done.returncode, "seconds": round(seconds, 1), **kept} if kept else None


def main(out: Path) -> None:
    """All that answer."""
    with proxies(), ThreadPoolExecutor(6) as pool:
        there = {name: port for name, port in {**SERVED, **PROXIED}.items() if answers(port)}
        print("not there:", *({**SERVED, **PROXIED}.keys() - there.keys()))
        found = [one for one in pool.map(compared, there, there.values()) if one is not None]
    with lzma.open(out, "wt") as lines:
        lines.writelines(f"{json.dumps(one)}\n" for one in found)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
