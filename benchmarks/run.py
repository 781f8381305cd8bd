"""`make bench`: runs evalkit's own speed and memory benchmarks one after another, each in a process of its own.

    python benchmarks/run.py [NAME...]

Without names, all that need neither another harness nor stored model outputs. `asking` is what asking costs, with both
clients, plain and streamed: compare ratios within its tables, not figures of different machines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOADS = (
    {"requests": 12_000, "in_flight": 64},
    {"requests": 1800, "in_flight": 64, "stream": True},
    {"requests": 2400, "in_flight": 64, "client": "openai"},
    {"requests": 900, "in_flight": 64, "client": "openai", "stream": True},
)
COMMANDS = {
    "asking": [["bench/asking.py", json.dumps(load)] for load in LOADS],
    **{name: [[f"{name}.py"]] for name in ("compare", "grading", "html_report", "images")},
}


def main() -> int:
    """Runs the benchmarks and gives 1 where one of them failed."""
    failed = []
    for name in sys.argv[1:] or COMMANDS:
        print(f"\n=== {name}", flush=True)
        for program, *arguments in COMMANDS.get(name, [[f"{name}.py"]]):
            if subprocess.run([sys.executable, HERE / program, *arguments], check=False).returncode:
                failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
