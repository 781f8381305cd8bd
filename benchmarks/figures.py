"""The tables of docs/statistics.md anew, under the page's headings: `python benchmarks/figures.py [PART...]`.

They are what the benchmarks print by themselves, one after the other, seeded. `--comparisons N` simulates N comparisons
a cell everywhere (draws, for p(gold)); without it each has the number that it takes by itself. A row of the page that
says another number is that cell alone with it: `python benchmarks/decide.py CELL --comparisons N`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

PARTS: Final = {
    "p_gold": ("p(gold)", "--draws"),
    "failures": ("What has no score", "--comparisons"),
    "alerts": ("Beside accuracy", "--comparisons"),
    "decide_bank": ("How many repeats", "--comparisons"),
    "simulation": ("How often it errs", "--comparisons"),
    "decide": ("Whole packs", "--comparisons"),
    "decide_rounds": ("In rounds", "--comparisons"),
}
"""By program of this folder: the heading whose figures it prints, and its option for how many are simulated."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--comparisons", type=int, help="simulated comparisons a cell (default: each program's own)")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - PARTS.keys()):
        parser.error(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    given = sys.argv
    for name in options.parts or PARTS:
        heading, option = PARTS[name]
        print(f"\n## {heading} (benchmarks/{name}.py)\n", flush=True)
        sys.argv = [name] if options.comparisons is None else [name, option, str(options.comparisons)]
        importlib.import_module(name).main()
    sys.argv = given


if __name__ == "__main__":
    main()
