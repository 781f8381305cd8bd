"""No damage to what a run leaves changes a score without a word; the benchmark does the same 2,100 times."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "mutations.py"


@pytest.mark.slow
def test_damaged_runs_are_said_or_made_again():
    done = subprocess.run([sys.executable, PROGRAM, "--each", "3", "--seed", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "84 mutations, each read in two ways" in done.stdout
    assert ": 0 wrong" in done.stdout
