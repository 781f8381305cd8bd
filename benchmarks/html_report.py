"""How long the HTML report of a large comparison takes to make, and how large it is: 14 suites, 20,000 changed answers.

The bars are 5 seconds of processor time, which other work on the machine does not lengthen, and 40 MB; the exit code is
1 where one is missed. Replies have the lengths of reasoning models' answers, and the comparison is read from its file
first, as `evalkit report` does.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from evalkit.model import Comparison, Flip, Verdict
from evalkit.render.document import from_json, to_json
from evalkit.render.html import report

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import render_example

SECONDS, MEGABYTES = 5.0, 40.0
PHRASES = (
    *("so", "the answer follows", "from what is given", "and we check it once more"),
    *("因此", "答案", "<b> &", "\\frac{1}{2}"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", type=int, default=14)
    parser.add_argument("--flips", type=int, default=20_000)
    parser.add_argument("--pieces", type=int, default=150, help="phrases of a reply, on average")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "comparison.json"
        file.write_bytes(to_json(comparison(given.suites, given.flips, given.pieces)))
        started = time.process_time()
        read = from_json(file.read_bytes(), str(file))
        loaded = time.process_time()
        text = report(read)
        ended = time.process_time()
        size = len(text.encode()) / 1e6
        stored = file.stat().st_size / 1e6
    seconds = ended - loaded
    what = f"{given.suites} suites, {given.flips} flips"
    print(f"{what}: comparison of {stored:.0f} MB read in {loaded - started:.2f} CPU s")
    print(f"HTML made in {seconds:.2f} CPU s (bar {SECONDS:g} s), {size:.1f} MB (bar {MEGABYTES:g} MB)")
    return 0 if seconds < SECONDS and size < MEGABYTES else 1


def comparison(suites: int, flips: int, pieces: int) -> Comparison:
    """Invented, from the examples of the tests; the replies are random phrases, alike at their beginnings."""
    chosen = tuple(
        render_example.suite(f"suite{number}", f"Suite {number}", Verdict.EQUIVALENT, gated=False)
        for number in range(suites)
    )
    dice = random.Random(7)
    made = tuple(_flip(dice, chosen[number % suites].suite, number, pieces) for number in range(flips))
    return replace(render_example.clean(), suites=chosen, macro=None, flips=made)


def _flip(dice: random.Random, suite: str, number: int, pieces: int) -> Flip:
    length = dice.randint(pieces // 2, pieces * 3 // 2)
    alike = dice.randint(0, length)
    shared = " ".join(dice.choices(PHRASES, k=alike))
    texts = [f"{shared} {' '.join(dice.choices(PHRASES, k=length - alike))} {letter}" for letter in "AB"]
    return Flip(
        suite, f"item-{number:05d}", dice.choice(("regressed", "improved", "changed")), 1.0, 0.0, "scored", "scored",
        "A", "B", texts[0], texts[1], "A", dice.random(), question="Which of these is right, and why? " * 10,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
