"""What `judge-table` says of published reports, and whether the items that it asks for decide them: give it a CSV file.

FILE holds two means a row, as `evalkit judge-table` takes it. Beside each verdict stands the p-value of Fisher's exact
test (one-sided, the reference on the same number of items), then the number of items that the table is told to have,
and how often equal candidates and ones 10 points worse are decided rightly with it: drawn anew, seeded, and judged by
the function that judges a published row.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import fisher_exact

import evalkit
from evalkit.model import Verdict
from evalkit.publish.published import LOSS, PublishedJudgment, PublishedRow, judge_row

DEGRADED_LEVEL: Final = 0.05


class Line(NamedTuple):
    """One report: what is said of it, Fisher's p-value, and the shares (0 to 1) that are decided rightly."""

    name: str
    judgment: PublishedJudgment
    p: float
    equal: float
    worse: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV with metric, n, reference, candidate")
    parser.add_argument("--tables", type=int, default=1000, help="simulated tables for each report and truth")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    heads = ("report", "verdict", "Fisher's p", "items", "equal decided", "10 worse decided")
    print(f"| {' | '.join(heads)} |\n| :-- | :-- |{' --: |' * 4}")
    found = list(lines(options.file, options.tables, options.seed))
    for one in found:
        shares = f"{one.judgment.needed:,} | {100 * one.equal:.1f} | {100 * one.worse:.1f}"
        print(f"| {one.name} | {one.judgment.verdict.value} | {one.p:.3f} | {shares} |", flush=True)
    false = sum(one.judgment.verdict is Verdict.DEGRADED and one.p >= DEGRADED_LEVEL for one in found)
    print(f"{len(found)} reports, {sum(one.p < DEGRADED_LEVEL for one in found)} significant by Fisher's test at .05")
    print(f"called DEGRADED and not significant: {false}")


def lines(file: Path, tables: int, seed: int) -> Iterator[Line]:
    """The reports of a file, in its order."""
    rng = np.random.default_rng(seed)
    sizes = [int(row.split(",")[2]) for row in file.read_text(encoding="utf-8").splitlines()[1:]]
    judged = [(table.name, one) for table in evalkit.judge_tables([file]) for one in table.judgments]
    for (name, one), n in zip(judged, sizes, strict=True):
        assert one.reference is not None
        assert one.candidate is not None
        assert one.needed is not None
        right = round(one.reference * n), round(one.candidate * n)
        fisher: Any = fisher_exact([[right[0], n - right[0]], [right[1], n - right[1]]], "greater")
        p = float(fisher.pvalue)
        equal, worse = (_decided(one, truth, tables, rng) for truth in (0.0, LOSS))
        yield Line(name, one, p, equal, worse)


def _decided(one: PublishedJudgment, loss: float, tables: int, rng: np.random.Generator) -> float:
    """The share of new tables with the recommended number of items that are decided rightly."""
    n, mean = one.needed or 0, one.reference or 0.0
    means = rng.binomial(n, [mean, max(0.0, mean - loss)], (tables, 2)) / n
    rows = (PublishedRow("", *pair, step=0.0, sizes=(n,), margin=one.margin) for pair in means.tolist())
    wanted = Verdict.DEGRADED if loss else Verdict.EQUIVALENT
    return sum(judge_row(row).verdict is wanted for row in rows) / tables


if __name__ == "__main__":
    main()
