"""Three endpoints that read pictures, started by evalkit on your CPU: is a copy still the same, when pictures get lost?

The reference is compared with a faithful copy and with one that damages its pictures, by evalkit's own commands. The
script exits with 0 exactly when the verdicts are the expected ones: EQUIVALENT, DEGRADED.
"""
# ruff: noqa: INP001, S603, T201 - a script that people run, which runs evalkit and talks to them

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

# candidate: (what it is, the verdict that evalkit must give, and the exit code that stands for it)
CANDIDATES = {
    "faithful": ("the same pictures by another way", "EQUIVALENT", 0),
    "degraded": ("pictures at 70 % and as JPEG", "DEGRADED", 1),
}
VERDICTS = {0: "EQUIVALENT", 1: "DEGRADED", 3: "INVALID", 4: "INCONCLUSIVE"}
INTERRUPTED = 130


def main() -> int:
    """Runs the demonstration and gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--runs", type=Path, default=HERE / "runs", help="folder for what comes back (default: %(default)s)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="ask everything again, into a new folder beside the old one"
    )
    given = parser.parse_args()
    runs = given.runs / time.strftime("%Y%m%d-%H%M%S") if given.fresh else given.runs
    codes: dict[str, int] = {}
    for name, (what, _verdict, _code) in CANDIDATES.items():
        print(f"\n{'=' * 78}\n{name}: {what}\n{'=' * 78}", flush=True)
        codes[name] = compare(name, runs)
        if codes[name] not in VERDICTS:
            return codes[name]  # evalkit has said why
    return summarise(codes)


def compare(name: str, runs: Path) -> int:
    """`evalkit compare reference.yaml NAME.yaml`, and its exit code."""
    files = [str(HERE / f"{side}.yaml") for side in ("reference", name)]
    process = subprocess.Popen([sys.executable, "-m", "evalkit", "compare", *files, "--set", f"runs={runs}"])
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # it has had the same signal, and stops its servers before it ends
        return INTERRUPTED


def summarise(codes: dict[str, int]) -> int:
    """Prints what was expected and what came, and gives 0 where all is as expected."""
    print(f"\n{'candidate':<10} {'expected':<13} {'verdict':<13} exit code")
    for name, (_, expected, _code) in CANDIDATES.items():
        print(f"{name:<10} {expected:<13} {VERDICTS[codes[name]]:<13} {codes[name]}")
    as_expected = all(codes[name] == code for name, (_, _, code) in CANDIDATES.items())
    print(f"\n{'all as expected' if as_expected else 'NOT as expected'}")
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
