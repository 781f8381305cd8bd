"""`make bench`: runs evalkit's own speed and memory benchmarks one after another, each in a process of its own.

    python benchmarks/run.py [NAME...]

Without names, all that need neither another harness nor stored model outputs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("client", "compare", "grading", "html_report", "images")


def main() -> int:
    """Runs the benchmarks and gives 1 where one of them failed."""
    failed = []
    for name in sys.argv[1:] or NAMES:
        print(f"\n=== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
