"""Prints the tables of docs/validation.md from the stored runs and probes; regenerate.sh calls it.

python docs/validation/tables.py RUNS PROBES
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PAIRS = (
    ("native", "native-again", "native-whole", "native-again-whole", "native-sampled", "native-again-sampled"),
    ("native", "flaggems", "native-whole", "flaggems-whole", "native-sampled", "flaggems-sampled"),
    ("native", "damaged"),
    ("native", "rope"),
    ("native", "template"),
    ("native", "truncated"),
    ("native-launched", "flaggems-all"),
)


def suites(reference: Path, candidate: Path, out: str) -> None:
    """One row a suite, as `evalkit compare` judges it."""
    command = (sys.executable, "-m", "evalkit", "compare", str(reference), str(candidate), "--json", "-q", "--out", out)
    told = json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout)  # noqa: S603
    for one in told["suites"]:
        low, high = (one["ci90"] or (None, None))[:2]
        interval = "" if low is None else f"{100 * low:+.2f} to {100 * high:+.2f}"
        means = [one["reference"], one["candidate"]]
        shown = ["" if mean is None else f"{100 * mean:.2f}" for mean in means]
        alerts = "; ".join(row["alert"] for row in one["behaviour"] if row["alert"])
        cells = (candidate.name, one["label"], f"{one['n_items']}×{one['k_reference']:g}", *shown, interval)
        print(f"| {' | '.join(cells)} | ±{100 * one['margin']:g} | {one['verdict']} | {alerts} |")  # noqa: T201


def probe(path: Path) -> None:
    """One row a probe: the reference's texts on the candidate."""
    told = json.loads(path.read_text())
    found = next(iter(told["comparisons"].values()))
    numbers = ("k3", "nll_shift")
    cells = [f"{found[name]['point']:.2g}" for name in numbers] + [f"{found[n]:.2g}" for n in ("mean_abs", "max_abs")]
    greedy = f"{told['greedy']['identical']} of {told['greedy']['compared']}"
    print(f"| {path.stem} | {found['tokens']} | {' | '.join(cells)} | {greedy} | {told['verdict']} |")  # noqa: T201


if __name__ == "__main__":
    runs, probes = map(Path, sys.argv[1:])
    print("| candidate | suite | n×k | ref. | cand. | difference, 90 % | margin | verdict | alerts |")  # noqa: T201
    print("|---|---|---|---|---|---|---|---|---|")  # noqa: T201
    with tempfile.TemporaryDirectory() as scratch:
        for pair in PAIRS:
            for first, second in zip(pair[::2], pair[1::2], strict=True):
                suites(runs / first, runs / second, scratch)
    print("\n| candidate | tokens | k3 | nll shift | mean abs. | max | greedy identical | verdict |")  # noqa: T201
    print("|---|---|---|---|---|---|---|---|")  # noqa: T201
    for file in sorted(probes.glob("*.json")):
        probe(file)
