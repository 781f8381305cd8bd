"""What a run takes on disk keeps to its bars, and to what is said of it beforehand."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "storage.py"


@pytest.mark.slow
def test_replies_of_every_kind_keep_to_their_bars_and_to_the_forecast(shared_data):
    done = subprocess.run([sys.executable, PROGRAM, shared_data], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missed" not in done.stdout
