"""The table in docs/statistics.md is the one that benchmarks/error_rates.py prints, and it keeps its promise."""

from pathlib import Path

import error_rates
import pytest
from simulation import Design

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def documented():
    lines = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("| items | k |")) :]
    return table[: table.index("")]


def test_the_documented_table_is_the_printed_one(documented):
    assert documented[:2] == error_rates.header().splitlines()
    first_rows = [line for line in documented[2:] if line.startswith("| 30 |")]
    assert first_rows[0] == error_rates.row(Design(30, 1, 0.05), comparisons=20_000, seed=2026)
    assert first_rows[3] == error_rates.row(Design(30, 1, 0.10), comparisons=20_000, seed=2026)


def test_the_documented_rates_keep_the_promise(documented):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in documented[2:] if line.startswith("| ")]
    assert len(rows) == sum(len(margins) for margins in error_rates.DESIGNS.values()) * len(error_rates.REPEATS)
    false_equivalents = [float(cell) for row in rows for cell in row[3 : 3 + len(error_rates.AT_MARGIN)]]
    assert max(false_equivalents) <= 6.0
    assert sum(rate > 5.5 for rate in false_equivalents) < 0.1 * len(false_equivalents)
