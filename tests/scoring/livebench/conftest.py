"""The English punkt model for the tests: found on the machine, else taken once from the wheel that carries it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from evalkit.scoring.livebench import instructions

CARRIER = "llama-index-core==0.14.25"
INSIDE = "llama_index/core/_static/nltk_cache/tokenizers/punkt_tab/english/"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalkit-tests" / "nltk_data"


@pytest.fixture(scope="session")
def punkt(tmp_path_factory):
    """Makes `sentences.data_folder()` find the model, or skips with the reason."""
    if instructions.data_folder() is None and not (CACHE / "tokenizers/punkt_tab/english/sent_starters.txt").is_file():
        _fetch(tmp_path_factory.mktemp("wheel"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLTK_DATA", os.pathsep.join(filter(None, [os.environ.get("NLTK_DATA", ""), str(CACHE)])))
        yield instructions.data_folder()


def _fetch(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), CARRIER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"no punkt model on this machine, and downloading {CARRIER} took too long")
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        pytest.skip(f"no punkt model on this machine, and {CARRIER} cannot be downloaded: {done.stderr[-200:]}")
    target = CACHE / "tokenizers" / "punkt_tab" / "english"
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name in instructions._MODEL_FILES:
            (target / name).write_bytes(wheel.read(INSIDE + name))
