"""The tables of the validation note are what its stored runs give; the examples that it names parse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.config import load_config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples" / "vllm-flaggems").glob("*.yaml") if path.stem != "common")


@pytest.mark.slow
def test_the_tables_regenerate():
    done = subprocess.run(
        [ROOT / "docs" / "validation" / "regenerate.sh"],
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (ROOT / "docs" / "validation.md").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_parse_and_take_turns(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.launch.chooses_port
    assert config.launch.sequential
