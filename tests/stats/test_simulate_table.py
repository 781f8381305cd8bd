"""The table in docs/statistics.md is the one that benchmarks/error_rates.py prints, and it keeps its promise."""

import importlib.util
from pathlib import Path

import pytest

from evalkit.stats.simulate import Design

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("error_rates", ROOT / "benchmarks" / "error_rates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def documented():
    lines = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("| items | k |")) :]


def test_the_documented_table_is_the_printed_one(script, documented):
    assert documented[:2] == script.header().splitlines()
    first_rows = [line for line in documented[2:] if line.startswith("| 30 |")]
    assert first_rows[0] == script.row(Design(30, 1, 0.05), comparisons=20_000, seed=2026)
    assert first_rows[3] == script.row(Design(30, 1, 0.10), comparisons=20_000, seed=2026)


def test_the_documented_rates_keep_the_promise(script, documented):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in documented[2:] if line.startswith("| ")]
    assert len(rows) == sum(len(margins) for margins in script.DESIGNS.values()) * len(script.REPEATS)
    false_equivalents = [float(cell) for row in rows for cell in row[3 : 3 + len(script.AT_MARGIN)]]
    assert max(false_equivalents) <= 6.0
    assert sum(rate > 5.5 for rate in false_equivalents) < 0.1 * len(false_equivalents)
