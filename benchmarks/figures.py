"""The figures of docs/statistics.md anew, under the page's headings: `python benchmarks/figures.py [PART...]`.

Seeded, as the page has them: the tables of whole packs and of rounds row by row, each with its number of comparisons,
the others as their programs print them by themselves. `--quick` simulates 20 comparisons a cell everywhere (draws, for
p(gold)), `--comparisons N` so many. A test holds that the page has no other row.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import decide
import decide_rounds

from evalkit.model import Verdict

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

_TEXT, _AT_ONCE = "flagrelease-text, 5 rounds", "flagrelease-text, asked at once, equal"
_SEEN, _SEEN_AT_ONCE = "flagrelease-multimodal, 5 rounds", "flagrelease-multimodal, asked at once"
_NIGHT = "nightly against a bank of 16"
PACKS: Final = {
    f"{_TEXT}, equal": ("text, in rounds, identical", 1000),
    f"{_TEXT}, every suite worse by the overall margin of 1.5 points": ("text, in rounds, all at -margin", 1000),
    f"{_TEXT}, GPQA alone worse by its guard of 4 points": ("text, in rounds, GPQA at -guard", 1000),
    f"{_TEXT}, LiveBench alone worse by its guard of 4 points": ("text, in rounds, LiveBench at -guard", 1000),
    f"{_TEXT}, every suite 2 points worse": ("text, in rounds, all 2 worse", 1000),
    f"{_TEXT}, every suite 5 points worse": ("text, in rounds, all 5 worse", 1000),
    f"{_AT_ONCE}, .1 % of each side's requests fail for good": ("text, identical, .1 % a side fail", 1000),
    f"{_AT_ONCE}, .5 % fail, and .5 % of those again": ("text, identical, .5 % fail, asked again", 1000),
    f"{_NIGHT}, equal": ("nightly, bank of 16, identical", 1000),
    f"{_NIGHT}, every suite worse by the overall margin of 2 points": ("nightly, bank of 16, all at -margin", 1000),
    f"{_NIGHT}, MuSR alone worse by its guard of 5 points": ("nightly, bank of 16, MuSR at -guard", 1000),
    f"{_NIGHT}, every suite 3 points worse": ("nightly, bank of 16, all 3 worse", 1000),
    "nightly-logprob against a bank of 16, equal": ("nightly-logprob, bank of 16, identical", 1000),
    "nightly-logprob against a bank of 16, every suite worse by the overall margin of 2 points": (
        "nightly-logprob, bank of 16, all at -margin",
        1000,
    ),
    "nightly-logprob against a bank of 16, every suite 3 points worse": (
        "nightly-logprob, bank of 16, all 3 worse",
        1000,
    ),
    f"{_SEEN}, equal": ("multimodal, in rounds, identical", 1000),
    f"{_SEEN}, every suite worse by 1.5 points": ("multimodal, in rounds, all at -margin", 1000),
    f"{_SEEN}, BLINK alone worse by its guard of 4 points": ("multimodal, in rounds, BLINK at -guard", 1000),
    f"{_SEEN_AT_ONCE}, equal": ("multimodal, identical", 2000),
    f"{_SEEN_AT_ONCE}, every suite worse by 1.5 points": ("multimodal, all at -margin", 2000),
    f"{_SEEN_AT_ONCE}, every suite 2 points worse": ("multimodal, all 2 worse", 2000),
    f"{_SEEN_AT_ONCE}, BLINK alone worse by its guard of 4 points": ("multimodal, BLINK at -guard", 2000),
    "flagrelease-omni, 5 rounds, equal": ("omni, in rounds, identical", 1000),
    "flagrelease-omni, 5 rounds, every suite worse by 1.5 points": ("omni, in rounds, all at -margin", 1000),
}
"""The page's rows of whole packs: a cell of `decide.py`, and how many comparisons."""
ROUNDS: Final = {
    "equal": ("identical", 1000),
    "every suite worse by the overall margin of 1.5 points": ("all at -margin", 1000),
    "GPQA alone worse by its guard of 4 points": ("GPQA at -guard", 1000),
    "MMLU alone worse by its guard of 4 points": ("MMLU at -guard", 1000),
    "MuSR alone worse by its guard of 4 points": ("MuSR at -guard", 1000),
    "every suite 5 points worse": ("all 5 worse", 1000),
    "every suite 30 points worse": ("all 30 worse", 1000),
    "MuSR alone 40 points worse": ("MuSR alone 40 worse", 1000),
}
"""The page's rows in rounds: a cell of `decide_rounds.py`, and how many comparisons."""
_VERDICTS: Final = (Verdict.EQUIVALENT.value, Verdict.DEGRADED.value, Verdict.INCONCLUSIVE.value)
HEADS: Final = {
    "decide": ("pack and truth", *_VERDICTS, "comparisons"),
    "decide_rounds": ("truth", *_VERDICTS[:2], *decide_rounds.HEADS, "comparisons"),
}
CUT: Final = ("text, identical, with rates", 300)
"""The cell in which answers are also cut or refused, of which the page says how many comparisons have an alert."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--comparisons", type=int, help="simulated comparisons a cell (default: as the page has them)")
    parser.add_argument("--quick", action="store_const", const=20, dest="comparisons", help="20 comparisons a cell")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - PARTS.keys()):
        parser.error(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    tables: Mapping[str, Callable[[int | None], None]] = {"decide": packs, "decide_rounds": in_rounds}
    for name in options.parts or PARTS:
        print(f"\n## {PARTS[name][0]} (benchmarks/{name}.py)\n", flush=True)
        if name in tables:
            tables[name](options.comparisons)
        else:
            _by_itself(name, options.comparisons)


def packs(comparisons: int | None) -> None:
    """Prints the page's table of whole packs, and what it says of answers that are cut."""
    _heads("decide")
    for label, name, n in _rows(PACKS, comparisons):
        found = decide.counted(decide.CELLS[name], n, seed=2026)
        _row([label, *(f"{100 * found[head] / n:.1f}" for head in _VERDICTS), f"{n:,}"])
    n = comparisons or CUT[1]
    found = decide.counted(decide.CELLS[CUT[0]], n, seed=2026)
    alerts, passed = found[decide.ALERT], 100 * found[_VERDICTS[0]] / n
    print(f"\nOf {n} equal ones with 17 % of answers cut, refused or the like, {alerts} had an alert beside")
    print(f"accuracy, and {passed:.1f} % were EQUIVALENT.")


def in_rounds(comparisons: int | None) -> None:
    """Prints the page's table of flagrelease-text in rounds."""
    _heads("decide_rounds")
    fixed: dict[float, float] = {}
    for label, name, n in _rows(ROUNDS, comparisons):
        _row([label, *decide_rounds.told(decide_rounds.CELLS[name], n, 2026, fixed), f"{n:,}"])


def _rows(rows: Mapping[str, tuple[str, int]], comparisons: int | None) -> Iterator[tuple[str, str, int]]:
    yield from ((label, name, comparisons or n) for label, (name, n) in rows.items())


def _heads(name: str) -> None:
    _row(HEADS[name])
    print(f"|---|{'---:|' * (len(HEADS[name]) - 1)}")


def _row(cells: list[str] | tuple[str, ...]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _by_itself(name: str, comparisons: int | None) -> None:
    """Runs another program of this folder with its own number of comparisons, or with that one."""
    given = sys.argv
    sys.argv = [name] if comparisons is None else [name, PARTS[name][1], str(comparisons)]
    importlib.import_module(name).main()
    sys.argv = given


if __name__ == "__main__":
    main()
