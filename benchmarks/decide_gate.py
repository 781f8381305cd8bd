"""How often `evalkit gate` errs at 50 and 30 questions, beside a gate of two numbers, and with as many as it asks for.

Simulated ports of one reference: equal ones, and ones that answer a fifth fewer questions rightly. A question's chance
is drawn from a beta law with the reference's mean; both sides answer it once, independently. "two numbers" passes where
the candidate lost at most the threshold. `means` are two scores and the number of questions, `reviews` scores by
question. "decided" is the share of new ports, asked as many questions as a first gate said, that are decided rightly.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from evalkit.model import Verdict
from evalkit.publish.published import PublishedJudgment
from evalkit.resources import data_folder

sys.path.insert(0, str(data_folder("skills") / "evalkit"))
import gate

LOSS: Final = 0.2
ANEW: Final = 1_000
"""New ports that are asked as many questions as was said, of each truth: most of the time goes there."""
LIKENESS: Final = 0.6
"""The correlation of two answers to one question: most questions are easy or hard for a model, few are open."""


class Cell(NamedTuple):
    """Shares, 0 to 1: equal ports that fail and worse ones that pass, by two numbers and by the gate; open; decided."""

    door: str
    n: int
    alarms_before: float
    passes_before: float
    alarms: float
    passes: float
    open_still: float
    asked: int
    equal_decided: float
    worse_decided: float


def cells(ports: int, reference: float, threshold_pt: float, seed: int = 2026) -> Iterator[Cell]:
    """What comes of so many equal and so many worse ports, for both doors and both numbers of questions."""
    rng = np.random.default_rng(seed)
    for door in ("means", "reviews"):
        for n in (50, 30):
            yield cell(rng, door, n, ports, (reference, threshold_pt))


def cell(rng: np.random.Generator, door: str, n: int, ports: int, asked_for: tuple[float, float]) -> Cell:
    """One door and number of questions; `asked_for` is the reference's mean and the threshold in points."""
    reference, threshold_pt = asked_for
    fails, now, asked, decided = {}, {}, [], {}
    for loss, wanted in ((0.0, Verdict.EQUIVALENT), (LOSS, Verdict.DEGRADED)):
        drawn = [_counts(rng, n, reference, loss) for _ in range(ports)]
        found = [_gate(door, counts, threshold_pt) for counts in drawn]
        fails[loss] = sum(100 * (lost - gained) / n > threshold_pt for _both, lost, gained, _none in drawn) / ports
        now[loss] = Counter(one.verdict for one in found)
        again = [max(n, one.needed or n) for one in found[: min(ports, ANEW)]]
        words = [_gate(door, _counts(rng, more, reference, loss), threshold_pt).verdict for more in again]
        asked += again
        decided[loss] = words.count(wanted) / len(words)
    still = sum(verdicts[Verdict.INCONCLUSIVE] for verdicts in now.values()) / (2 * ports)
    alarms, passes = now[0.0][Verdict.DEGRADED] / ports, now[LOSS][Verdict.EQUIVALENT] / ports
    errs = fails[0.0], 1 - fails[LOSS], alarms, passes
    return Cell(door, n, *errs, still, int(np.median(asked)), decided[0.0], decided[LOSS])


def _counts(rng: np.random.Generator, n: int, reference: float, loss: float) -> tuple[int, int, int, int]:
    """How many questions both sides answer rightly, the reference alone, the candidate alone, and neither."""
    spread = (1 - LIKENESS) / LIKENESS
    chances = rng.beta(reference * spread, (1 - reference) * spread, n)
    one, two = rng.random((2, n)) < np.array([chances, (1 - loss) * chances])
    both, lost, gained = int(np.sum(one & two)), int(np.sum(one & ~two)), int(np.sum(two & ~one))
    return both, lost, gained, n - both - lost - gained


@cache
def _gate(door: str, counts: tuple[int, int, int, int], threshold_pt: float) -> PublishedJudgment:
    scores = np.repeat([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]], counts, axis=1)
    sides = []
    for name, row in zip(("v1", "v2"), scores, strict=True):
        samples = {str(number): [score] for number, score in enumerate(row.tolist())} if door == "reviews" else {}
        sides.append(gate.Result(Path(name), {"benchmark": "mine"}, float(row.mean()), len(row), samples))
    return gate.judged(sides[0], sides[1], threshold_pt, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ports", type=int, default=10_000, help="simulated ports a cell and truth")
    parser.add_argument("--reference", type=float, default=0.6, help="the reference's mean")
    parser.add_argument("--threshold", type=float, default=5.0, help="in percentage points")
    options = parser.parse_args()
    heads = "read", "n", "two numbers: false alarms", "bad passes", "gate: false alarms", "bad passes", "open"
    print(f"| {' | '.join(heads)} | n asked for | equal decided | worse decided |\n| :-- |{' --: |' * 9}")
    for one in cells(options.ports, options.reference, options.threshold):
        shares = [f"{100 * share:.1f}" for share in one[2:7]]
        last = [f"{one.asked:,}", f"{100 * one.equal_decided:.1f}", f"{100 * one.worse_decided:.1f}"]
        print(f"| {one.door} | {one.n} | {' | '.join([*shares, *last])} |", flush=True)


if __name__ == "__main__":
    main()
