"""Prints what the comparisons of ask.py said, a row each: `table.py RESULTS.jsonl.xz`; regenerate.sh calls it."""

# ruff: noqa: INP001, T201 - a script
from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

FOUND_BY = {"stopped.contract": "the contract", "stopped.probe": "the probe", "stopped.doctor": "the doctor"}


def cells(said: dict[str, Any]) -> tuple[str, ...]:
    """Name, verdict, exit code, what found it, what it said, seconds."""
    first, *others = said["reasons"]
    by = FOUND_BY.get(first["code"], "")
    what = ""
    if by == "the contract":
        what = "; ".join(first["values"]["labels"])
    elif by == "the probe":
        why = others[0]["values"]["why"]["values"]
        what = f"{why['measure']} {why['x']:.2g}"
    elif by == "the doctor":
        what = first["values"]["check"]
    elif said.get("probe"):
        what = f"probe {said['probe']['verdict']}, mean {said['probe']['mean_abs_nats']:.2g} nats a token"
    return said["name"], said["verdict"], str(said["exit"]), by, what, f"{said['seconds']:.0f}"


def main(results: Path) -> None:
    """The table."""
    print("| candidate | verdict | exit | found by | what | seconds |\n|---|---|---|---|---|---|")
    with lzma.open(results, "rt") as lines:
        for line in lines:
            print(f"| {' | '.join(cells(json.loads(line)))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
