"""A long run against a server with every fault at once: all is accounted for, memory and open files stay level.

In short form by default; `EVALKIT_SOAK=50000 pytest tests/run/test_soak.py -s` is the long one.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evalkit.config import load_config
from evalkit.run.plan import prepare

REQUESTS = int(os.environ.get("EVALKIT_SOAK", "2000"))
REPEATS = 10
IN_FLIGHT = 48
# A stall holds a slot for two seconds; these are kept rare.
OFTEN = {
    "500": 1.0, "502_html": 1.0, "503": 1.0, "error_in_200": 0.5, "aborted": 0.5, "html": 0.5, "half_json": 1.0,
    "not_utf8": 0.5, "empty": 0.5, "no_choices": 0.5, "null": 0.5, "not_gzip": 0.5, "not_http": 0.5, "429": 0.5,
    "json_as_stream": 0.5, "half_event": 0.5, "stream_without_end": 0.5, "half_stream": 0.5, "half_body": 0.5,
    "half_chunks": 0.5, "dropped": 1.0, "silent": 0.1, "loris": 0.1, "loris_stream": 0.1, "loris_error": 0.1,
    "text_plain": 1.0, "no_type": 1.0, "stream": 1.0, "twice": 1.0,
}  # fmt: skip
"""Faults that heal, in per cent of the questions."""
FOR_EVER = {"400": 0.2, "declared_huge": 0.1, "huge": 0.02, "gzip_bomb": 0.02, "empty": 0.05, "500": 0.05}
LOOK = 6
"""Pages that are asked for at once when the endpoint is looked at again after an outage."""
LEVEL_MIB = 24
"""How much more memory the last quarter of a run may have than the second: the answers alone are more."""


class Watcher:
    """Memory and open files of a process, looked at every 50 ms until it ends."""

    def __init__(self, process):
        self.rss_mib, self.files = [], []
        proc = Path("/proc") / str(process.pid)
        while process.poll() is None:
            try:
                pages = int((proc / "statm").read_text().split()[1])
                self.files.append(sum(1 for _ in (proc / "fd").iterdir()))
                self.rss_mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
            except (FileNotFoundError, ProcessLookupError, IndexError):
                break
            time.sleep(0.05)

    def quarter(self, number):
        """The median of memory in a quarter (0 to 3) of the run, in MiB."""
        size = len(self.rss_mib) // 4
        return statistics.median(self.rss_mib[number * size : (number + 1) * size])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and open files are read from /proc")
def test_a_long_run_with_every_fault_loses_nothing_and_stays_level(faulty, questions, ended):
    planned = REQUESTS // REPEATS * REPEATS
    faulty.plan(
        *({"kind": kind, "share": share / 100, "times": 2} for kind, share in OFTEN.items()),
        *({"kind": kind, "share": share / 100, "times": -1} for kind, share in FOR_EVER.items()),
        {"kind": "restart", "after": planned // 3, "seconds": 1.0},
        {"kind": "restart", "after": 2 * planned // 3, "seconds": 1.0},
    )
    limits = {"concurrency": IN_FLIGHT, "stall_seconds": 2.0, "max_body_mb": 1, "retries": 3}
    config = questions(faulty.url, planned // REPEATS, repeats=REPEATS, sampled=True, **limits)
    prepare(load_config(config))  # builds the suite, which is not what is watched
    command = [sys.executable, "-m", "evalkit", "run", str(config), "--quiet", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        seen = Watcher(process)
        out, err = process.communicate(timeout=1200)
    stats, end = faulty.stats, ended(planned)
    end.check()
    lost = stats["questions"] - stats["answered"]
    assert stats["questions"] == planned
    assert stats["answered_twice"] == 0, "an answer that had come was asked for again"
    assert len(end.failures) == lost
    assert process.returncode == (3 if lost else 0), err
    report = json.loads(out)["suites"][0]
    assert report["mean"] == 1.0, "a fault was scored"
    assert report["counts"] == {"scored": planned - lost} | ({"failed": lost} if lost else {})
    assert stats["peak_connections"] < 2 * IN_FLIGHT, "some are closed at one end only, for a moment"
    assert stats["connections"] <= 1
    files = statistics.median(seen.files)
    assert max(seen.files) <= files + IN_FLIGHT + LOOK
    assert seen.quarter(3) - seen.quarter(1) <= LEVEL_MIB
    print(  # noqa: T201 - what the long form is run for
        f"\n{stats['received']} requests for {planned} questions, {lost} never answered ({dict(end.kinds)}); MiB by "
        f"quarter {[round(seen.quarter(n)) for n in range(4)]}, at most {max(seen.rss_mib):.0f}; "
        f"open files {files:.0f}, at most {max(seen.files)}; connections at most {stats['peak_connections']}"
    )
